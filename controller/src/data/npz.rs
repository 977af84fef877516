//! Reads a data set from NumPy's `.npz`: `images` and, where there are any, `labels`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use edgefront_protocol::pack::{Form, Head, Normalization, PictureShape};
use rayon::prelude::*;
use zip::ZipArchive;
use zip::read::ZipFile;

use super::error::{DataError, Extents, Problem};
use super::npy::{Header, read_header};
use super::pictures::{PIECE, Pictures, Spool};
use super::preprocess::{Layout, Preprocess};
use super::resample::Size;
use super::{COLOURS, Labels, Wanted};

/// The array of pictures.
const IMAGES: &str = "images";

type Entry<'a> = ZipFile<'a, BufReader<File>>;

/// An `.npz` whose directory was read.
pub(super) struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
}

/// The elements of an array, read from its first on.
pub(super) struct Elements<'a, R> {
    reader: R,
    name: &'a str,
    shape: Vec<usize>,
    /// Bytes of all of them.
    pub(super) length: usize,
}

/// What becomes of the pictures of an array.
struct Plan<'a> {
    count: usize,
    /// Extents in the file, and in the data set.
    found: PictureShape,
    wanted: PictureShape,
    form: Form,
    /// How byte pictures get from one to the other.
    rule: Option<&'a Preprocess>,
}

impl<'a> Archive<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| Problem::from(error).at(path))?;
        let zip = ZipArchive::new(BufReader::new(file))
            .map_err(|error| Problem::Archive(error.to_string()).at(path))?;
        Ok(Self { path, zip })
    }

    /// Loads the data set.
    pub(super) fn load(mut self, wanted: &Wanted<'_>) -> Result<Pictures, DataError> {
        let path = self.path;
        let channels = match wanted.channels {
            Some(channels) => channels,
            None => self.channels(wanted.preprocess)?,
        };
        // The rule is checked before the pictures are read, so that a typing error is told at once.
        let rule = wanted
            .preprocess
            .map(|name| Preprocess::named(name, channels))
            .transpose()?;
        let imagenet = Preprocess::named("imagenet", channels)?;
        self.spool(rule.as_ref(), &imagenet, channels, wanted)
            .map_err(|problem| problem.at(path))
    }

    /// Channels of the pictures; those of a photograph where the array is none of pictures, which is told later.
    fn channels(&mut self, preprocess: Option<&str>) -> Result<usize, DataError> {
        let path = self.path;
        let layout = preprocess
            .map(|name| Preprocess::named(name, COLOURS))
            .transpose()?;
        let layout = layout.map_or(Layout::Nhwc, |rule| rule.layout);
        let found = self.array(IMAGES).map_err(|problem| problem.at(path))?;
        Ok(match found.map(|(header, _)| header) {
            Some(Header { shape, descr, .. }) if shape.len() == 4 => {
                let axis = if descr == "<f4" || layout == Layout::Nchw {
                    1
                } else {
                    3
                };
                shape[axis]
            }
            _ => COLOURS,
        })
    }

    fn spool(
        &mut self,
        rule: Option<&Preprocess>,
        default: &Preprocess,
        channels: usize,
        wanted: &Wanted<'_>,
    ) -> Result<Pictures, Problem> {
        const WANTED: &str = "save uint8 [N, H, W, C] or float32 [N, C, H, W]";
        let found = self.listed();
        let (header, entry) = self.array(IMAGES)?.ok_or(Problem::NoArray {
            name: IMAGES.to_owned(),
            found,
        })?;
        let array = |why: String| Problem::Array {
            name: IMAGES.to_owned(),
            why,
        };
        let shape = <[usize; 4]>::try_from(header.shape.as_slice()).map_err(|_| {
            array(format!(
                "has shape {:?}, four axes are wanted; {WANTED}",
                header.shape
            ))
        })?;
        let (plan, item) = match header.descr.as_str() {
            "|u1" | "<u1" | "u1" => (Plan::bytes(shape, rule.unwrap_or(default), channels, wanted)?, 1),
            "<f4" => (Plan::floats(shape, rule, channels, wanted)?, size_of::<f32>()),
            other => return Err(array(format!("has type `{other}`; {WANTED}"))),
        };
        // Before anything is read: pictures without pixels can be more than anybody can count.
        let head = Head::new(plan.count, plan.wanted, plan.form.clone())?;
        let elements = Elements::new(header, entry, IMAGES, item)?;
        let mut spool = Spool::new()?;
        plan.run(elements, wanted, &mut spool)?;
        let labels = match wanted.labels {
            Labels::Read => self.labels()?,
            Labels::Ignore => None,
        };
        let head = match labels {
            None => head,
            Some(labels) => head.with_labels(labels)?,
        };
        spool.finish(head.first(wanted.count(plan.count)), self.path)
    }

    fn labels(&mut self) -> Result<Option<Vec<i64>>, Problem> {
        const NAME: &str = "labels";
        let Some((header, entry)) = self.array(NAME)? else {
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
        let bytes = Elements::new(header, entry, NAME, size_of::<i64>())?.all()?;
        let labels = bytes.as_chunks().0.iter();
        Ok(Some(labels.map(|&label| i64::from_le_bytes(label)).collect()))
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

impl<'a, R: Read> Elements<'a, R> {
    /// The elements, of `item` bytes each, of an array whose header was read.
    pub(super) fn new(header: Header, reader: R, name: &'a str, item: usize) -> Result<Self, Problem> {
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
        Ok(Self {
            reader,
            name,
            shape: header.shape,
            length,
        })
    }

    /// All of them.
    pub(super) fn all(mut self) -> Result<Vec<u8>, Problem> {
        let bytes = self.next(self.length)?;
        self.end()?;
        Ok(bytes)
    }

    /// The next so many bytes. Memory follows what the file really holds and not what its header claims.
    fn next(&mut self, length: usize) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::with_capacity(length.min(PIECE));
        let read = (&mut self.reader).take(length as u64).read_to_end(&mut bytes);
        match read {
            Err(error) => Err(self.damaged(&error)),
            Ok(read) if read < length => Err(self.other_count("fewer")),
            Ok(_) => Ok(bytes),
        }
    }

    /// Refuses what follows the last element. The archive's checksum is checked here, too.
    fn end(&mut self) -> Result<(), Problem> {
        match self.reader.read(&mut [0]) {
            Err(error) => Err(self.damaged(&error)),
            Ok(0) => Ok(()),
            Ok(_) => Err(self.other_count("more")),
        }
    }

    fn damaged(&self, error: &io::Error) -> Problem {
        self.problem(format!("cannot be read: {error}; the file is damaged"))
    }

    fn other_count(&self, kind: &str) -> Problem {
        self.problem(format!(
            "holds {kind} elements than its shape {:?} says; the file is damaged",
            self.shape
        ))
    }

    fn problem(&self, why: String) -> Problem {
        Problem::Array {
            name: self.name.to_owned(),
            why,
        }
    }
}

impl<'a> Plan<'a> {
    /// Floats enter the model as they are.
    fn floats(
        [count, channels, height, width]: [usize; 4],
        rule: Option<&Preprocess>,
        wanted_channels: usize,
        wanted: &Wanted<'_>,
    ) -> Result<Self, Problem> {
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
        let size = wanted.size.unwrap_or(Size { height, width });
        let wanted = PictureShape {
            channels: wanted_channels,
            height: size.height,
            width: size.width,
        };
        let is_hollow = [count, channels, height, width].contains(&0);
        if found != wanted && !is_hollow {
            let mend = "float32 pictures are [N, C, H, W] and are not resized; save them in that shape";
            return Err(Problem::Size {
                found: Extents(found),
                wanted: Extents(wanted),
                mend,
            });
        }
        Ok(Self {
            count,
            found,
            wanted: found,
            form: Form::Floats,
            rule: None,
        })
    }

    /// Bytes are resized as the rule says.
    fn bytes(
        shape: [usize; 4],
        rule: &'a Preprocess,
        wanted_channels: usize,
        wanted: &Wanted<'_>,
    ) -> Result<Self, Problem> {
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
        if let Some(Normalization { mean, .. }) = &rule.normalization
            && mean.len() != wanted_channels
        {
            let message = format!(
                "`{}` normalizes {} channels and pictures of {wanted_channels} are wanted; use `--preprocess unit`, or a \
                 file with a `mean` and a `std` of each",
                rule.name,
                mean.len()
            );
            return Err(Problem::usage(message));
        }
        let size = wanted
            .size
            .or(rule.written_size())
            .unwrap_or(Size { height, width });
        let wanted = PictureShape {
            channels: wanted_channels,
            height: size.height,
            width: size.width,
        };
        let is_hollow = shape.contains(&0);
        let stays = is_hollow || found == wanted && rule.layout == Layout::Nhwc;
        Ok(Self {
            count,
            found,
            wanted: if is_hollow { found } else { wanted },
            form: Form::Bytes(rule.normalization.clone()),
            rule: (!stays).then_some(rule),
        })
    }

    /// Copies the pictures, a few at a time.
    fn run(
        &self,
        mut elements: Elements<'_, impl Read>,
        wanted: &Wanted<'_>,
        spool: &mut Spool,
    ) -> Result<(), Problem> {
        let count = wanted.count(self.count);
        let size = elements.length / self.count.max(1);
        // As many as fill a piece, and one for each thread that prepares them.
        let at_once = (PIECE / size.max(1)).max(rayon::current_num_threads());
        for start in (0..count).step_by(at_once) {
            let pixels = elements.next(at_once.min(count - start) * size)?;
            match (&self.form, self.rule) {
                (Form::Bytes(_), None) => spool.push(&pixels)?,
                (Form::Bytes(_), Some(rule)) => {
                    let prepare = |picture| self.prepare(picture, rule, wanted);
                    let prepared: Vec<Result<_, _>> = pixels.par_chunks_exact(size).map(prepare).collect();
                    for picture in prepared {
                        spool.push(&picture?)?;
                    }
                }
                (Form::Floats, _) => {
                    check_finite(&pixels, start, size)?;
                    spool.push(&pixels)?;
                }
            }
        }
        if count == self.count {
            elements.end()?;
        }
        Ok(())
    }

    fn prepare(&self, picture: &[u8], rule: &Preprocess, wanted: &Wanted<'_>) -> Result<Vec<u8>, Problem> {
        let picture = match rule.layout {
            Layout::Nhwc => picture.to_vec(),
            Layout::Nchw => interleave(picture, self.found.channels),
        };
        let prepared = rule.apply(picture, self.found, self.wanted);
        (wanted.progress)(1, wanted.count(self.count) as u64);
        prepared
    }
}

/// Every value of the pictures from number `first` on, of `size` bytes each, is finite.
fn check_finite(pixels: &[u8], first: usize, size: usize) -> Result<(), Problem> {
    let values = pixels
        .as_chunks()
        .0
        .iter()
        .map(|&value| f32::from_le_bytes(value));
    let Some((at, value)) = values.enumerate().find(|(_, value)| !value.is_finite()) else {
        return Ok(());
    };
    let picture = first + at * size_of::<f32>() / size;
    Err(Problem::Array {
        name: "images".to_owned(),
        why: format!("holds {value} in picture {picture}; save finite numbers"),
    })
}

/// `[C, H, W]` to `[H, W, C]`.
fn interleave(planes: &[u8], channels: usize) -> Vec<u8> {
    let plane = planes.len() / channels;
    (0..planes.len())
        .map(|index| planes[index % channels * plane + index / channels])
        .collect()
}
