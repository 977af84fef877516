//! Reads a data set from NumPy's `.npz`: `images` and, where there are any, `labels`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use edgefront_protocol::pack::{Pack, PictureShape};
use rayon::prelude::*;
use zip::ZipArchive;
use zip::read::ZipFile;

use super::error::{DataError, Extents, Problem};
use super::npy::{Header, read_header};
use super::preprocess::{Layout, Preprocess};
use super::resample::Size;
use super::{Labels, Progress};

/// Elements are read in pieces of this many bytes, so that memory follows what the file really holds and not
/// what its header claims.
const PIECE: usize = 1 << 20;

type Entry<'a> = ZipFile<'a, BufReader<File>>;

/// An `.npz` whose directory was read.
pub(super) struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
}

/// The pictures as they are in the file.
enum Images {
    Bytes { shape: [usize; 4], pixels: Vec<u8> },
    Floats { shape: [usize; 4], values: Vec<f32> },
}

impl<'a> Archive<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| Problem::from(error).at(path))?;
        let zip = ZipArchive::new(BufReader::new(file))
            .map_err(|error| Problem::Archive(error.to_string()).at(path))?;
        Ok(Self { path, zip })
    }

    /// Loads the data set. `size` is the pictures' own where it is `None`.
    pub(super) fn load(
        mut self,
        preprocess: Option<&str>,
        channels: usize,
        size: Option<Size>,
        labels: Labels,
        progress: Progress<'_>,
    ) -> Result<Pack, DataError> {
        let path = self.path;
        // The rule is checked before the pictures are read, so that a typing error is told at once.
        let rule = preprocess
            .map(|name| Preprocess::named(name, channels))
            .transpose()?;
        let pack = match self.images().map_err(|problem| problem.at(path))? {
            Images::Floats { shape, values } => floats(shape, &values, rule.as_ref(), channels, size),
            Images::Bytes { shape, pixels } => {
                let rule = rule.map_or_else(|| Preprocess::named("imagenet", channels), Ok)?;
                bytes(shape, pixels, &rule, channels, size, progress)
            }
        }
        .map_err(|problem| problem.at(path))?;
        let labels = match labels {
            Labels::Read => self.labels().map_err(|problem| problem.at(path))?,
            Labels::Ignore => None,
        };
        match labels {
            None => Ok(pack),
            Some(labels) => pack
                .with_labels(labels)
                .map_err(|error| Problem::from(error).at(path)),
        }
    }

    fn images(&mut self) -> Result<Images, Problem> {
        const NAME: &str = "images";
        const WANTED: &str = "save uint8 [N, H, W, C] or float32 [N, C, H, W]";
        let found = self.listed();
        let (header, mut entry) = self.array(NAME)?.ok_or(Problem::NoArray {
            name: NAME.to_owned(),
            found,
        })?;
        let array = |why: String| Problem::Array {
            name: NAME.to_owned(),
            why,
        };
        let shape = <[usize; 4]>::try_from(header.shape.as_slice()).map_err(|_| {
            array(format!(
                "has shape {:?}, four axes are wanted; {WANTED}",
                header.shape
            ))
        })?;
        match header.descr.as_str() {
            "|u1" | "<u1" | "u1" => Ok(Images::Bytes {
                shape,
                pixels: elements(&header, &mut entry, NAME, 1)?,
            }),
            "<f4" => {
                let bytes = elements(&header, &mut entry, NAME, size_of::<f32>())?;
                let value = |b: &[u8]| b.try_into().map_or(0.0, f32::from_le_bytes);
                let values = bytes.chunks_exact(size_of::<f32>()).map(value).collect();
                Ok(Images::Floats { shape, values })
            }
            other => Err(array(format!("has type `{other}`; {WANTED}"))),
        }
    }

    fn labels(&mut self) -> Result<Option<Vec<i64>>, Problem> {
        const NAME: &str = "labels";
        let Some((header, mut entry)) = self.array(NAME)? else {
            return Ok(None);
        };
        if header.descr != "<i8" || header.shape.len() != 1 {
            let why = format!(
                "has type `{}` and shape {:?}; save int64 [N], one class a picture",
                header.descr, header.shape
            );
            return Err(Problem::Array {
                name: NAME.to_owned(),
                why,
            });
        }
        let bytes = elements(&header, &mut entry, NAME, size_of::<i64>())?;
        let label = |b: &[u8]| b.try_into().map_or(0, i64::from_le_bytes);
        Ok(Some(bytes.chunks_exact(size_of::<i64>()).map(label).collect()))
    }

    /// The header of an array, and its elements to read; `None` where it is not there.
    pub(super) fn array(&mut self, name: &str) -> Result<Option<(Header, Entry<'_>)>, Problem> {
        let Some(index) = self.zip.index_for_name(&format!("{name}.npy")) else {
            return Ok(None);
        };
        let mut entry = self
            .zip
            .by_index(index)
            .map_err(|error| Problem::Archive(error.to_string()))?;
        let header = read_header(&mut entry).map_err(|error| Problem::Array {
            name: name.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Some((header, entry)))
    }

    /// Names of the arrays.
    pub(super) fn names(&self) -> Vec<String> {
        let files = self.zip.file_names().filter_map(Result::ok);
        files
            .filter_map(|name| name.strip_suffix(".npy").map(str::to_owned))
            .collect()
    }

    /// Names of the arrays as messages list them.
    pub(super) fn listed(&self) -> String {
        let names: Vec<_> = self.names().iter().map(|name| format!("`{name}`")).collect();
        if names.is_empty() {
            "no arrays".to_owned()
        } else {
            names.join(", ")
        }
    }
}

/// The bytes of an array's elements.
pub(super) fn elements(
    header: &Header,
    entry: &mut impl Read,
    name: &str,
    item: usize,
) -> Result<Vec<u8>, Problem> {
    let array = |why: String| Problem::Array {
        name: name.to_owned(),
        why,
    };
    if header.fortran_order && header.shape.len() > 1 {
        return Err(array(
            "is in Fortran order; save `numpy.ascontiguousarray` of it".to_owned(),
        ));
    }
    let length = header
        .shape
        .iter()
        .try_fold(item, |n, &extent| n.checked_mul(extent));
    let length = length.ok_or_else(|| array(format!("has the impossible shape {:?}", header.shape)))?;
    let mut bytes = Vec::with_capacity(length.min(PIECE));
    // One byte more than wanted shows whether there is too much.
    entry
        .take(length as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| array(format!("cannot be read: {error}; the file is damaged")))?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        let kind = if bytes.len() < length { "fewer" } else { "more" };
        Err(array(format!(
            "holds {kind} elements than its shape {:?} says; the file is damaged",
            header.shape
        )))
    }
}

fn floats(
    [count, channels, height, width]: [usize; 4],
    values: &[f32],
    rule: Option<&Preprocess>,
    wanted_channels: usize,
    size: Option<Size>,
) -> Result<Pack, Problem> {
    if let Some(rule) = rule.filter(|rule| rule.name != "none") {
        let message = format!(
            "float32 pictures enter the model as they are; leave out `--preprocess {}` or save uint8",
            rule.name
        );
        return Err(Problem::usage(message));
    }
    let found = PictureShape {
        channels,
        height,
        width,
    };
    let size = size.unwrap_or(Size { height, width });
    let wanted = PictureShape {
        channels: wanted_channels,
        height: size.height,
        width: size.width,
    };
    if found != wanted && found.volume() > 0 {
        let mend = "float32 pictures are [N, C, H, W] and are not resized; save them in that shape";
        return Err(Problem::Size {
            found: Extents(found),
            wanted: Extents(wanted),
            mend,
        });
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let picture = at / found.volume().max(1);
        let why = format!("holds {} in picture {picture}; save finite numbers", values[at]);
        return Err(Problem::Array {
            name: "images".to_owned(),
            why,
        });
    }
    Ok(Pack::from_floats(count, found, values)?)
}

fn bytes(
    shape: [usize; 4],
    pixels: Vec<u8>,
    rule: &Preprocess,
    wanted_channels: usize,
    size: Option<Size>,
    progress: Progress<'_>,
) -> Result<Pack, Problem> {
    let [count, height, width, channels] = match rule.layout {
        Layout::Nhwc => shape,
        Layout::Nchw => [shape[0], shape[2], shape[3], shape[1]],
    };
    let found = PictureShape {
        channels,
        height,
        width,
    };
    if rule.layout == Layout::Nhwc && channels != wanted_channels && shape[1] == wanted_channels {
        let why = format!(
            "has the shape {shape:?}, and bytes are [N, H, W, C]; save `images.transpose(0, 2, 3, 1)`, or give a \
             preprocessing file with `layout = \"nchw\"`"
        );
        return Err(Problem::Array {
            name: "images".to_owned(),
            why,
        });
    }
    let size = size.or(rule.written_size()).unwrap_or(Size { height, width });
    let wanted = PictureShape {
        channels: wanted_channels,
        height: size.height,
        width: size.width,
    };
    if found == wanted && rule.layout == Layout::Nhwc || count * found.volume() == 0 {
        return Ok(Pack::from_bytes(
            count,
            found,
            pixels,
            rule.normalization.clone(),
        )?);
    }
    let prepare = |picture: &[u8]| {
        let picture = match rule.layout {
            Layout::Nhwc => picture.to_vec(),
            Layout::Nchw => interleave(picture, channels),
        };
        let prepared = rule.apply(picture, found, wanted);
        progress(1, count as u64);
        prepared
    };
    let prepared: Vec<Result<_, _>> = pixels.par_chunks_exact(found.volume()).map(prepare).collect();
    Ok(Pack::from_bytes(
        count,
        wanted,
        prepared.into_iter().collect::<Result<Vec<_>, _>>()?.concat(),
        rule.normalization.clone(),
    )?)
}

/// `[C, H, W]` to `[H, W, C]`.
fn interleave(planes: &[u8], channels: usize) -> Vec<u8> {
    let plane = planes.len() / channels;
    (0..planes.len())
        .map(|index| planes[index % channels * plane + index / channels])
        .collect()
}
