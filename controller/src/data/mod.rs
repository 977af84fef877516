//! Labelled data sets, as users have them: an image folder, an `.npz`, or a pack. All become a [`Pack`] whose
//! pictures have the model's size.

mod arrays;
mod error;
mod folder;
mod npy;
mod npz;
mod preprocess;
mod resample;

use std::path::Path;

use edgefront_protocol::pack::{Pack, PictureShape};

pub use arrays::arrays;
pub use error::{DataError, Extents, Problem};
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

/// Channels of pictures where no model says otherwise.
const COLOURS: usize = 3;

/// Loads the data set at `path` for a model that takes pictures of `model_input`.
///
/// `preprocess` is `imagenet`, `unit`, `none` or a TOML file; by default `imagenet` for byte pictures and
/// `none` for floats. A pack has its preprocessing already and takes none. Labels are not needed here; ask
/// [`Pack::labels_for`].
pub fn load(
    path: &Path,
    preprocess: Option<&str>,
    model_input: PictureShape,
    labels: Labels,
) -> Result<Pack, DataError> {
    let size = Size {
        height: model_input.height,
        width: model_input.width,
    };
    if !is_pack(path) {
        let channels = model_input.channels;
        return read(path, preprocess, channels, Some(size), labels, &|_, _| {});
    }
    let pack = read_pack(path, preprocess)?;
    if pack.picture() == model_input {
        return Ok(pack);
    }
    let mend = "pack the pictures again with `edgefront pack --size`";
    Err(Problem::Size {
        found: Extents(pack.picture()),
        wanted: Extents(model_input),
        mend,
    }
    .at(path))
}

/// Extents of the pictures of the data set at `path`, for a model that takes any: those of a pack, what the
/// preprocessing gives, or else the pictures' own.
pub fn picture(path: &Path, preprocess: Option<&str>) -> Result<PictureShape, DataError> {
    let pack = if is_pack(path) {
        read_pack(path, preprocess)?
    } else {
        read(path, preprocess, COLOURS, None, Labels::Ignore, &|_, _| {})?
    };
    Ok(pack.picture())
}

/// Loads an image folder or an `.npz` to be packed. `size`, rows and columns, is by default what the
/// preprocessing gives or else the pictures' own.
pub fn load_to_pack(
    path: &Path,
    preprocess: Option<&str>,
    size: Option<[usize; 2]>,
    progress: Progress<'_>,
) -> Result<Pack, DataError> {
    if is_pack(path) {
        return Err(Problem::usage("is a pack already").at(path));
    }
    read(
        path,
        preprocess,
        COLOURS,
        size.map(|[height, width]| Size { height, width }),
        Labels::Read,
        progress,
    )
}

fn read(
    path: &Path,
    preprocess: Option<&str>,
    channels: usize,
    size: Option<Size>,
    labels: Labels,
    progress: Progress<'_>,
) -> Result<Pack, DataError> {
    let metadata = std::fs::metadata(path).map_err(|error| Problem::from(error).at(path))?;
    if metadata.is_dir() {
        folder::load(path, preprocess, channels, size, progress)
    } else if has_extension(path, "npz") {
        npz::Archive::open(path)?.load(preprocess, channels, size, labels, progress)
    } else {
        Err(Problem::UnknownForm.at(path))
    }
}

fn read_pack(path: &Path, preprocess: Option<&str>) -> Result<Pack, DataError> {
    if let Some(name) = preprocess {
        let message = format!("a pack has its preprocessing already; leave out `--preprocess {name}`");
        return Err(Problem::usage(message).at(path));
    }
    let bytes = std::fs::read(path).map_err(|error| Problem::from(error).at(path))?;
    Pack::decode(bytes).map_err(|error| Problem::from(error).at(path))
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
