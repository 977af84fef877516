//! Reads a data set from an image folder: `class/name.png`, one folder a class.

use std::fs;
use std::path::{Path, PathBuf};

use edgefront_protocol::pack::{Form, Head, PictureShape};
use image::{ColorType, DynamicImage, ImageReader};
use rayon::prelude::*;

use super::error::{DataError, Problem};
use super::pictures::{Pictures, Spool};
use super::preprocess::Preprocess;
use super::resample::Size;
use super::{COLOURS, Wanted};

/// Pictures that a thread decodes before they are all written: enough that none waits long for another.
const PICTURES_OF_A_THREAD: usize = 8;

const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// The picture files of a folder with their labels.
struct Listing {
    classes: Vec<String>,
    files: Vec<(PathBuf, i64)>,
}

/// Loads the data set. Classes are numbered by the order of their names. Pictures follow one another class by
/// class in turn, so that the first so many are as balanced as the folder lets them be.
pub(super) fn load(folder: &Path, wanted: &Wanted<'_>) -> Result<Pictures, DataError> {
    let channels = wanted.channels.unwrap_or(COLOURS);
    let rule = Preprocess::named(wanted.preprocess.unwrap_or("imagenet"), channels)?;
    let Listing { classes, mut files } = list(folder)?;
    files.truncate(wanted.count(files.len()));
    let total = files.len() as u64;
    let size = match wanted.size.or(rule.own_size()) {
        Some(size) => size,
        None => decode(&files[0].0, channels)?.1,
    };
    let target = PictureShape {
        channels,
        height: size.height,
        width: size.width,
    };
    let here = |problem: Problem| problem.at(folder);
    let mut spool = Spool::new().map_err(here)?;
    for files in files.chunks(PICTURES_OF_A_THREAD * rayon::current_num_threads()) {
        // Whole first, so that of several bad pictures the first is named, whichever thread was fastest.
        let pictures: Vec<Result<_, DataError>> = files
            .par_iter()
            .map(|(file, _)| {
                let (pixels, own) = decode(file, channels)?;
                let found = PictureShape {
                    channels,
                    height: own.height,
                    width: own.width,
                };
                let prepared = rule
                    .apply(pixels, found, target)
                    .map_err(|problem| problem.at(file))?;
                (wanted.progress)(1, total);
                Ok(prepared)
            })
            .collect();
        for picture in pictures {
            spool.push(&picture?).map_err(here)?;
        }
    }
    let labels = files.iter().map(|&(_, label)| label).collect();
    Head::new(files.len(), target, Form::Bytes(rule.normalization))
        .and_then(|head| head.with_labels(labels))
        .and_then(|head| head.with_classes(classes))
        .map_err(Problem::from)
        .and_then(|head| spool.finish(head, folder))
        .map_err(here)
}

fn list(folder: &Path) -> Result<Listing, DataError> {
    let entries = sorted(folder)?;
    if entries.iter().any(|path| is_picture(path)) {
        let message =
            "pictures lie outside class folders; move them into one folder a class (class/name.png)";
        return Err(Problem::Folder(message).at(folder));
    }
    let folders: Vec<_> = entries.into_iter().filter(|path| path.is_dir()).collect();
    if folders.is_empty() {
        return Err(Problem::Folder("has no class folders; make it class/name.png").at(folder));
    }
    let mut classes = Vec::new();
    let mut files = Vec::new();
    for (label, class) in folders.iter().enumerate() {
        let pictures: Vec<_> = sorted(class)?
            .into_iter()
            .filter(|path| is_picture(path))
            .collect();
        if pictures.is_empty() {
            let message = "class folder has no .png, .jpg or .jpeg pictures; fill or remove it";
            return Err(Problem::Folder(message).at(class));
        }
        classes.push(
            class
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        );
        files.extend(
            pictures
                .into_iter()
                .enumerate()
                .map(|(rank, path)| (rank, label as i64, path)),
        );
    }
    files.sort_by_key(|&(rank, label, _)| (rank, label));
    let files = files.into_iter().map(|(_, label, path)| (path, label)).collect();
    Ok(Listing { classes, files })
}

/// The entries of a folder by name, without hidden ones.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut entries = read().map_err(|error| Problem::from(error).at(folder))?;
    entries.retain(|path| {
        path.file_name()
            .is_some_and(|name| !name.to_string_lossy().starts_with('.'))
    });
    entries.sort();
    Ok(entries)
}

fn is_picture(path: &Path) -> bool {
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) && path.is_file()
}

/// Decodes a picture to one or three channels, as Pillow's `convert("L")` and `convert("RGB")` do: alpha is
/// dropped, palettes are looked up, of 16-bit colours the high byte is taken. Like there, a camera's
/// orientation mark turns nothing.
fn decode(file: &Path, channels: usize) -> Result<(Vec<u8>, Size), DataError> {
    let picture = ImageReader::open(file)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|error| Problem::from(error).at(file))?
        .decode()
        .map_err(|error| Problem::Picture(error.to_string()).at(file))?;
    let size = Size {
        height: picture.height() as usize,
        width: picture.width() as usize,
    };
    let pixels = match channels {
        1 => luma(&picture),
        3 => rgb(&picture),
        _ => {
            let message =
                format!("a folder's pictures have 1 or 3 channels, the model takes {channels}; use an .npz");
            return Err(Problem::usage(message).at(file));
        }
    };
    pixels
        .map(|pixels| (pixels, size))
        .map_err(|problem| problem.at(file))
}

fn rgb(picture: &DynamicImage) -> Result<Vec<u8>, Problem> {
    match picture.color() {
        ColorType::L16 => Err(Problem::Picture(
            "16-bit greyscale loses its range in 8 bits; convert it to 8 bits as the model saw it".to_owned(),
        )),
        ColorType::La16 => {
            let grey = picture
                .as_luma_alpha16()
                .into_iter()
                .flat_map(|buffer| buffer.pixels());
            Ok(grey.flat_map(|pixel| [high(pixel.0[0]); 3]).collect())
        }
        ColorType::Rgb16 | ColorType::Rgba16 => {
            let colour = picture.to_rgb16();
            Ok(colour.as_raw().iter().copied().map(high).collect())
        }
        _ => Ok(picture.to_rgb8().into_raw()),
    }
}

/// ITU-R 601-2 luma in Pillow's 16-bit fixed point.
fn luma(picture: &DynamicImage) -> Result<Vec<u8>, Problem> {
    let weighted = |pixel: &[u8]| {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
    };
    Ok(rgb(picture)?.chunks_exact(3).map(weighted).collect())
}

fn high(value: u16) -> u8 {
    (value >> 8) as u8
}
