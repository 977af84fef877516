//! Labelled data sets, as users have them: an image folder, an `.npz`, or a pack. All become [`Pictures`] of the
//! model's size, which stay on the disk.

mod arrays;
mod error;
mod folder;
mod npy;
mod npz;
mod pictures;
mod preprocess;
mod resample;

use std::path::Path;

use edgefront_protocol::pack::PictureShape;

pub use arrays::arrays;
pub use error::{DataError, Extents, Problem};
pub use pictures::Pictures;
use resample::Size;

/// Told from any thread after each picture: pictures that it stands for, and how many there are in all.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Whether the labels of a data set matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// They are read, and must be in order.
    Read,
    /// They are left out unseen, whatever they are.
    Ignore,
}

impl Labels {
    /// Reads labels that something uses.
    pub fn read_if(used: bool) -> Self {
        if used { Self::Read } else { Self::Ignore }
    }
}

/// Channels of a picture file where no model says otherwise.
const COLOURS: usize = 3;

/// What is asked of a reader.
struct Wanted<'a> {
    preprocess: Option<&'a str>,
    /// By default those of an array, or the three of a photograph.
    channels: Option<usize>,
    /// By default what the preprocessing gives, or else the pictures' own.
    size: Option<Size>,
    labels: Labels,
    /// How many pictures, from the first on; all where it is not given.
    limit: Option<usize>,
    progress: Progress<'a>,
}

impl Wanted<'_> {
    /// How many of `count` pictures are read.
    fn count(&self, count: usize) -> usize {
        self.limit.map_or(count, |limit| limit.min(count))
    }
}

/// Loads the data set at `path` for a model that takes pictures of `model_input`; of `limit` pictures only the
/// first so many, at least 1.
///
/// `preprocess` is `imagenet`, `unit`, `none` or a TOML file; by default `imagenet` for byte pictures and
/// `none` for floats. A pack has its preprocessing already and takes none. Labels are not needed here; ask
/// [`edgefront_protocol::pack::Head::labels_for`].
pub fn load(
    path: &Path,
    preprocess: Option<&str>,
    model_input: PictureShape,
    labels: Labels,
    limit: Option<usize>,
) -> Result<Pictures, DataError> {
    let size = Size {
        height: model_input.height,
        width: model_input.width,
    };
    let pictures = read(
        path,
        &Wanted {
            preprocess,
            channels: Some(model_input.channels),
            size: Some(size),
            labels,
            limit,
            progress: &|_, _| {},
        },
    )?;
    let found = pictures.head().picture();
    if found == model_input {
        return Ok(pictures);
    }
    let mend = "pack the pictures again with `edgefront pack --size`";
    Err(Problem::Size {
        found: Extents(found),
        wanted: Extents(model_input),
        mend,
    }
    .at(path))
}

/// Extents of the pictures of the data set at `path`, for a model that takes any: those of a pack, what the
/// preprocessing gives, or else the pictures' own.
pub fn picture(path: &Path, preprocess: Option<&str>) -> Result<PictureShape, DataError> {
    let pictures = read(
        path,
        &Wanted {
            preprocess,
            channels: None,
            size: None,
            labels: Labels::Ignore,
            limit: Some(1),
            progress: &|_, _| {},
        },
    )?;
    Ok(pictures.head().picture())
}

/// Loads an image folder or an `.npz` to be packed. `size`, rows and columns, is by default what the
/// preprocessing gives or else the pictures' own.
pub fn load_to_pack(
    path: &Path,
    preprocess: Option<&str>,
    size: Option<[usize; 2]>,
    progress: Progress<'_>,
) -> Result<Pictures, DataError> {
    if is_pack(path) {
        Pictures::of_pack(path, None)?;
        return Err(Problem::usage("is a pack already; use it as it is").at(path));
    }
    read(
        path,
        &Wanted {
            preprocess,
            channels: None,
            size: size.map(|[height, width]| Size { height, width }),
            labels: Labels::Read,
            limit: None,
            progress,
        },
    )
}

fn read(path: &Path, wanted: &Wanted<'_>) -> Result<Pictures, DataError> {
    let metadata = std::fs::metadata(path).map_err(|error| Problem::from(error).at(path))?;
    if metadata.is_dir() {
        folder::load(path, wanted)
    } else if is_pack(path) {
        read_pack(path, wanted)
    } else if has_extension(path, "npz") {
        npz::Archive::open(path)?.load(wanted)
    } else {
        Err(Problem::UnknownForm.at(path))
    }
}

fn read_pack(path: &Path, wanted: &Wanted<'_>) -> Result<Pictures, DataError> {
    if let Some(name) = wanted.preprocess {
        let message = format!("a pack has its preprocessing already; leave out `--preprocess {name}`");
        return Err(Problem::usage(message).at(path));
    }
    Pictures::of_pack(path, wanted.limit)
}

fn is_pack(path: &Path) -> bool {
    has_extension(path, "safetensors")
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests;
