//! Enlarging and shrinking pictures.

use super::{Lowering, Step};
use crate::convert::tflite::axes::CHANNELS_LAST;
use crate::convert::tflite::schema::{Centers, Code, Options};
use crate::error::Error;
use crate::proto::NodeProto;

/// How one axis of a picture is resized.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    input: usize,
    output: usize,
    /// Outputs for each input, as the model says it.
    scale: f64,
}

/// The three ways of TFLite.
const WAYS: [Centers; 3] = [
    Centers {
        align_corners: false,
        half_pixel: true,
    },
    Centers {
        align_corners: false,
        half_pixel: false,
    },
    Centers {
        align_corners: true,
        half_pixel: false,
    },
];

impl Lowering<'_> {
    /// `Resize` of a picture, where one of TFLite's ways takes the same samples.
    pub(super) fn resize(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let layout = self.resized_axes(step)?;
        let mode = node.text("mode").unwrap_or("nearest");
        if !matches!(mode, "nearest" | "linear") || node.int("antialias").unwrap_or(0) != 0 {
            return Err(refused(node));
        }
        let way = match mode {
            "linear" => WAYS
                .into_iter()
                .find(|&way| layout.iter().all(|axis| blends_alike(node, axis, way))),
            _ => WAYS
                .into_iter()
                .find(|&way| layout.iter().all(|axis| takes_alike(node, axis, way))),
        };
        let way = way.ok_or_else(|| refused(node))?;
        let picture = self.picture(step)?;
        let size = self.program.ints(&layout.map(|axis| axis.output as i32));
        let (code, options) = match mode {
            "linear" => (Code::ResizeBilinear, Options::ResizeBilinear(way)),
            _ => (Code::ResizeNearestNeighbor, Options::ResizeNearestNeighbor(way)),
        };
        let given = self.quantization(picture);
        self.emit_as(step, &CHANNELS_LAST, code, vec![picture, size], options, given)
    }

    fn resized_axes(&self, step: &Step) -> Result<[Axis; 2], Error> {
        let node = self.graph.node(step.id);
        let (from, to) = (self.shape(&node.input[0])?, self.shape(&node.output[0])?);
        if from.len() != CHANNELS_LAST.len() || from[..2] != to[..2] {
            return Err(Error::node(
                node,
                "it resizes other axes than height and width, which is not converted",
            ));
        }
        let scales = match self.graph.constant_input(step.id, 2) {
            Some(scales) if scales.count()? > 0 => Some(scales.floats()?),
            _ => None,
        };
        let given = |axis: usize| {
            let scales = scales.as_ref()?;
            // With `axes`, scales are those of these axes alone.
            scales
                .get((axis + scales.len()).checked_sub(from.len())?)
                .copied()
        };
        let axis = |axis: usize| Axis {
            input: from[axis],
            output: to[axis],
            scale: given(axis).map_or(to[axis] as f64 / from[axis] as f64, f64::from),
        };
        Ok([axis(2), axis(3)])
    }
}

fn refused(node: &NodeProto) -> Error {
    Error::node(
        node,
        "TFLite has no way to resize that takes the same samples; use mode `nearest` or `linear` with half_pixel, asymmetric or align_corners",
    )
}

/// Where the sample of output `index` lies in the input, by ONNX.
fn place(node: &NodeProto, axis: &Axis, index: usize) -> Option<f64> {
    let (at, input, output) = (index as f64, axis.input as f64, axis.output as f64);
    Some(
        match node
            .text("coordinate_transformation_mode")
            .unwrap_or("half_pixel")
        {
            "pytorch_half_pixel" | "align_corners" if axis.output == 1 => 0.0,
            "half_pixel" | "pytorch_half_pixel" => (at + 0.5) / axis.scale - 0.5,
            "asymmetric" => at / axis.scale,
            "align_corners" => at * (input - 1.0) / (output - 1.0),
            _ => return None,
        },
    )
}

/// Where TFLite takes it.
fn placed(axis: &Axis, way: Centers, index: usize) -> f64 {
    let (at, input, output) = (index as f64, axis.input as f64, axis.output as f64);
    if way.align_corners && axis.output > 1 {
        at * (input - 1.0) / (output - 1.0)
    } else if way.half_pixel {
        (at + 0.5) * input / output - 0.5
    } else {
        at * input / output
    }
}

/// Whether both blend the same samples in the same shares.
fn blends_alike(node: &NodeProto, axis: &Axis, way: Centers) -> bool {
    let last = axis.input as f64 - 1.0;
    (0..axis.output).all(|index| {
        let wanted = place(node, axis, index).map(|place| place.clamp(0.0, last));
        let given = placed(axis, way, index).clamp(0.0, last);
        wanted.is_some_and(|wanted| (wanted - given).abs() < 1e-5)
    })
}

/// Whether both take the same samples.
fn takes_alike(node: &NodeProto, axis: &Axis, way: Centers) -> bool {
    let last = axis.input as f64 - 1.0;
    (0..axis.output).all(|index| {
        let Some(place) = place(node, axis, index) else {
            return false;
        };
        let wanted = match node.text("nearest_mode").unwrap_or("round_prefer_floor") {
            "round_prefer_floor" => (place - 0.5).ceil(),
            "round_prefer_ceil" => (place + 0.5).floor(),
            "floor" => place.floor(),
            _ => place.ceil(),
        };
        // TFLite's coordinates with half pixels are those of the sample's left edge.
        let given = placed(axis, way, index);
        let given = match way {
            Centers { half_pixel: true, .. } => (given + 0.5).floor(),
            Centers {
                align_corners: true, ..
            } => given.round(),
            _ => given.floor(),
        };
        (wanted.clamp(0.0, last) - given.clamp(0.0, last)).abs() < 0.5
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{AttributeProto, node};

    fn resize(coordinates: &str, nearest: &str) -> NodeProto {
        let mut made = node("Resize", "resize", &["x"], &["y"]);
        made.set_attribute(AttributeProto::from_text(
            "coordinate_transformation_mode",
            coordinates,
        ));
        made.set_attribute(AttributeProto::from_text("nearest_mode", nearest));
        made
    }

    fn axis(input: usize, output: usize) -> Axis {
        Axis {
            input,
            output,
            scale: output as f64 / input as f64,
        }
    }

    fn way(node: &NodeProto, axis: &Axis) -> Option<Centers> {
        WAYS.into_iter().find(|&way| takes_alike(node, axis, way))
    }

    #[test]
    fn doubling_takes_the_same_samples_in_each_of_the_usual_ways() {
        for (coordinates, nearest) in [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")] {
            assert!(
                way(&resize(coordinates, nearest), &axis(5, 10)).is_some(),
                "{coordinates}"
            );
        }
        let odd = resize("asymmetric", "ceil");
        assert_eq!(way(&odd, &axis(5, 10)), None);
    }

    #[test]
    fn halves_lie_between_pixels() {
        let node = resize("half_pixel", "floor");
        assert!(blends_alike(&node, &axis(4, 8), WAYS[0]));
        assert!(!blends_alike(&node, &axis(4, 8), WAYS[1]));
        let corners = resize("align_corners", "floor");
        assert!(blends_alike(&corners, &axis(4, 7), WAYS[2]));
    }
}
