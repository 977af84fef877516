//! `edgefront pack`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use edgefront_protocol::pack::Head;
use edgefront_protocol::{Bytes, Digest};
use serde::Serialize;

use super::files::check_output;
use crate::data::{Extents, load_to_pack};
use crate::ui::{Exit, Ui, UsageError};

/// Packs a labelled data set into one file, the form in which devices score on it.
///
/// Byte pictures are resized, cropped and normalized as torchvision does it: `imagenet` (the default)
/// resizes the shorter side to 256/224 of the size, crops the centre, and normalizes with ImageNet's mean
/// and deviation; `unit` only divides by 255; `none` leaves numbers as they are. A TOML file may set
/// `resize`, `crop`, `mean`, `std` and `layout`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgefront pack photos/ -o val.safetensors
  edgefront pack photos/ -o val.safetensors --size 64x64
  edgefront pack val.npz -o val.safetensors --preprocess rules.toml")]
pub struct Args {
    /// An image folder (class/name.png) or an .npz file (`images`, `labels`).
    pub data: PathBuf,

    /// The pack to write.
    #[arg(short, long, value_name = "DATA.safetensors")]
    pub output: PathBuf,

    /// Preprocessing: imagenet, unit, none, or a TOML file [default: imagenet for byte pictures]
    #[arg(long, value_name = "NAME|FILE")]
    pub preprocess: Option<String>,

    /// Rows and columns of the pictures in the pack: those of the model's input [default: 224x224 for an
    /// image folder, the array's own for an .npz]
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    pub size: Option<[usize; 2]>,
}

/// What was packed.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    file: &'a Path,
    sha256: Digest,
    bytes: Bytes,
    pictures: usize,
    shape: [usize; 3],
    labels: bool,
    classes: &'a [String],
}

/// Runs the command.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Args {
        data,
        output,
        preprocess,
        size,
    } = args;
    // Devices and other commands know a pack by its extension.
    if output
        .extension()
        .is_none_or(|extension| extension != "safetensors")
    {
        let message = format!("{}: a pack's name ends with .safetensors", output.display());
        return Err(UsageError::new(message));
    }
    let rule = preprocess.as_deref().map(Path::new);
    check_output(&output, std::iter::once(data.as_path()).chain(rule))?;
    let bar = ui.bar(0, "packing");
    let pictures = load_to_pack(&data, preprocess.as_deref(), size, &|done, total| {
        bar.set_length(total);
        bar.inc(done);
    })?;
    bar.finish_and_clear();
    let bytes = pictures.encode()?;
    edgefront_files::replace(&output, &bytes)
        .with_context(|| format!("cannot write {}", output.display()))?;
    present(pictures.head(), &output, &bytes, ui)?;
    Ok(Exit::Done)
}

fn present(head: &Head, file: &Path, bytes: &[u8], ui: &Ui) -> anyhow::Result<()> {
    let picture = head.picture();
    if ui.json() {
        return ui.data_json(&Summary {
            file,
            sha256: Digest::of(bytes),
            bytes: Bytes(bytes.len() as u64),
            pictures: head.len(),
            shape: [picture.channels, picture.height, picture.width],
            labels: head.labels().is_some(),
            classes: head.classes(),
        });
    }
    let labels = match (head.labels(), head.classes().len()) {
        (None, _) => "without labels".to_owned(),
        (Some(_), 0) => "with labels".to_owned(),
        (Some(_), classes) => format!("of {classes} classes"),
    };
    ui.data(format_args!(
        "{}: {} pictures of {}, {labels}, {:.1} MB",
        file.display(),
        head.len(),
        Extents(picture),
        bytes.len() as f64 / 1e6
    ))
}

/// `224` or `224x320`: rows, then columns.
fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let extent = |text: &str| text.parse().ok().filter(|extent| (1..=16_384).contains(extent));
    let size = extent(height)
        .zip(extent(width))
        .map(|(height, width)| [height, width]);
    size.ok_or_else(|| "a size is rows x columns, such as 224x224".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_one_or_two_extents() {
        assert_eq!(parse_size("64"), Ok([64, 64]));
        assert_eq!(parse_size("64x48"), Ok([64, 48]));
        for wrong in ["", "0", "64x", "x64", "1x2x3", "-1", "99999"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
