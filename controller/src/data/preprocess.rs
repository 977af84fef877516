//! What happens to a picture before it enters a pack: resize, centre crop, and the normalization that the
//! pack carries. The geometry is torchvision's.

use std::path::Path;

use edgefront_protocol::pack::{Normalization, PictureShape};
use serde::Deserialize;

use super::error::{DataError, Extents, Problem};
use super::resample::{Part, Size, resize};

/// How pictures are prepared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Preprocess {
    pub name: String,
    resize: Option<Resize>,
    crop: Option<[usize; 2]>,
    pub normalization: Option<Normalization>,
    pub layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Resize {
    /// The shorter side, the ratio kept.
    Shorter(usize),
    /// Rows and columns.
    Exact([usize; 2]),
    /// The shorter side to 256/224 of the model's input, as ImageNet's networks are evaluated.
    #[serde(skip)]
    ImageNet,
}

/// The order of axes of byte pictures in an `.npz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    #[default]
    Nhwc,
    Nchw,
}

/// The file form of `--preprocess`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    resize: Option<Resize>,
    crop: Option<Crop>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    #[serde(default)]
    layout: Layout,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Crop {
    Square(usize),
    Exact([usize; 2]),
}

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The extent of a picture's side that `imagenet` takes where nothing says which.
const IMAGENET_SIDE: usize = 224;

/// A longer side is a typing error.
const MAX_SIDE: usize = 16_384;

impl Preprocess {
    /// The rule of this name, or of this TOML file. `channels` are the model's.
    pub(super) fn named(name: &str, channels: usize) -> Result<Self, DataError> {
        match name {
            "imagenet" => Ok(Self {
                resize: Some(Resize::ImageNet),
                normalization: Some(Normalization {
                    mean: IMAGENET_MEAN.to_vec(),
                    std: IMAGENET_STD.to_vec(),
                }),
                ..Self::bare(name)
            }),
            "unit" => Ok(Self {
                normalization: Some(unit(channels)),
                ..Self::bare(name)
            }),
            "none" => Ok(Self::bare(name)),
            _ => Self::read(Path::new(name), channels),
        }
    }

    fn bare(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            resize: None,
            crop: None,
            normalization: None,
            layout: Layout::Nhwc,
        }
    }

    fn read(path: &Path, channels: usize) -> Result<Self, DataError> {
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        if !is_toml {
            let message = "unknown preprocessing; it is `imagenet`, `unit`, `none` or a .toml file";
            return Err(Problem::usage(message).at(path));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| Problem::usage(edgefront_files::unread(&error)).at(path))?;
        Self::parse(&text, channels)
            .map(|rule| Self {
                name: path.display().to_string(),
                ..rule
            })
            .map_err(|message| Problem::usage(message).at(path))
    }

    fn parse(text: &str, channels: usize) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let normalization = match (file.mean, file.std) {
            (Some(mean), Some(std)) => Normalization { mean, std },
            (None, None) => unit(channels),
            _ => return Err("`mean` and `std` go together; give both or neither".to_owned()),
        };
        let crop = file.crop.map(|crop| match crop {
            Crop::Square(side) => [side; 2],
            Crop::Exact(extents) => extents,
        });
        let extents = crop.into_iter().flatten().chain(match file.resize {
            Some(Resize::Shorter(side)) => vec![side],
            Some(Resize::Exact(extents)) => extents.to_vec(),
            Some(Resize::ImageNet) | None => Vec::new(),
        });
        if extents
            .into_iter()
            .any(|extent| !(1..=MAX_SIDE).contains(&extent))
        {
            return Err(format!(
                "`resize` and `crop` are counted in pixels, 1 to {MAX_SIDE}"
            ));
        }
        Ok(Self {
            resize: file.resize,
            crop,
            normalization: Some(normalization),
            layout: file.layout,
            ..Self::bare("")
        })
    }

    /// The size that files of any size get where no model and no flag gives one: the rule's own, or what
    /// ImageNet's networks take.
    pub(super) fn own_size(&self) -> Option<Size> {
        let imagenet = Size {
            height: IMAGENET_SIDE,
            width: IMAGENET_SIDE,
        };
        self.written_size()
            .or_else(|| matches!(self.resize, Some(Resize::ImageNet)).then_some(imagenet))
    }

    /// The size that the rule gives in pixels. Pictures of an array have one size already, and keep it
    /// where the rule gives none.
    pub(super) fn written_size(&self) -> Option<Size> {
        match (self.crop, self.resize) {
            (Some([height, width]), _) | (None, Some(Resize::Exact([height, width]))) => {
                Some(Size { height, width })
            }
            _ => None,
        }
    }

    /// Resizes and crops a `[H, W, C]` picture to `target`. A picture that already has that size is taken as
    /// it is.
    pub(super) fn apply(
        &self,
        pixels: Vec<u8>,
        from: PictureShape,
        target: PictureShape,
    ) -> Result<Vec<u8>, Problem> {
        if from == target {
            return Ok(pixels);
        }
        let size_problem = |mend| Problem::Size {
            found: Extents(from),
            wanted: Extents(target),
            mend,
        };
        if from.channels != target.channels {
            return Err(size_problem("save them with that many channels"));
        }
        let target = Size {
            height: target.height,
            width: target.width,
        };
        if self
            .crop
            .is_some_and(|[height, width]| target != Size { height, width })
        {
            return Err(size_problem(
                "the preprocessing crops to yet another size; change its `crop`",
            ));
        }
        if self.resize.is_none() && self.crop.is_none() {
            return Err(size_problem(
                "resize them, or use `--preprocess imagenet` or a file with `resize`",
            ));
        }
        let from_size = Size {
            height: from.height,
            width: from.width,
        };
        let resized = self.resized(from_size, target);
        if resized.height < target.height || resized.width < target.width {
            return Err(size_problem(if self.resize.is_some() {
                "after the preprocessing's resize they are smaller; raise its `resize`"
            } else {
                "the preprocessing crops more than they have; give it a `resize`"
            }));
        }
        Ok(resize(
            &pixels,
            from.channels,
            from_size,
            resized,
            centre(resized, target),
        ))
    }

    fn resized(&self, from: Size, target: Size) -> Size {
        match self.resize {
            None => from,
            Some(Resize::Exact([height, width])) => Size { height, width },
            Some(Resize::Shorter(side)) => shorter_side(from, side),
            Some(Resize::ImageNet) => shorter_side(from, imagenet_side(target)),
        }
    }
}

/// 256/224 of the input's longer side, rounded down.
fn imagenet_side(target: Size) -> usize {
    target.height.max(target.width) * 256 / IMAGENET_SIDE
}

/// torchvision's `Resize(side)`: the longer side is `int(side * long / short)`.
fn shorter_side(from: Size, side: usize) -> Size {
    let Size { height, width } = from;
    if height <= width {
        Size {
            height: side,
            width: side * width / height,
        }
    } else {
        Size {
            height: side * height / width,
            width: side,
        }
    }
}

/// The part that torchvision's `CenterCrop` keeps.
fn centre(from: Size, size: Size) -> Part {
    Part {
        top: half_to_even(from.height - size.height),
        left: half_to_even(from.width - size.width),
        size,
    }
}

/// `int(round(margin / 2.0))` as Python rounds: halves to the even neighbour.
fn half_to_even(margin: usize) -> usize {
    match margin % 4 {
        3 => margin / 2 + 1,
        _ => margin / 2,
    }
}

fn unit(channels: usize) -> Normalization {
    Normalization {
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
    }
}
