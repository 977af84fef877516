//! The files that `trtexec` writes: times by `--exportTimes`, outputs by `--exportOutput`, layers by `--exportProfile`.
//!
//! The forms are those of `exportJSONTrace`, `exportJSONOutput` and `exportJSONProfile` in `samples/common/sampleReporting` of NVIDIA's
//! public repository `TensorRT`. Outputs look like JSON and need not be: names are not escaped, and values may be `nan`.

use std::str::FromStr;
use std::time::Duration;

use half::f16;
use serde::Deserialize;

use crate::{Data, DataType, Layer, Tensor};

/// One inference, of which the file tells more.
#[derive(Deserialize)]
struct Trace {
    /// The copies of inputs to the GPU, the computing and the copies of outputs back, in milliseconds.
    #[serde(rename = "latencyMs")]
    latency: f64,
}

/// The latency of each inference in nanoseconds. The error is one line.
pub(super) fn times(text: &str) -> Result<Vec<u64>, String> {
    let traces: Vec<Trace> =
        serde_json::from_str(text).map_err(|error| format!("its times cannot be read: {error}"))?;
    let nanos = |trace: &Trace| {
        let nanos = (trace.latency * 1e6).round();
        // A day is longer than any inference, and a number of nanoseconds that `f64` holds.
        (1.0..86.4e12).contains(&nanos).then_some(nanos as u64)
    };
    let times: Option<Vec<u64>> = traces.iter().map(nanos).collect();
    times.ok_or_else(|| "its times are no times".to_owned())
}

/// One entry of a profile, the first of which holds a count and nothing of a layer.
#[derive(Deserialize)]
struct Profiled {
    name: Option<String>,
    /// Mean of the inferences, in milliseconds.
    #[serde(rename = "averageMs")]
    average: Option<f64>,
}

/// The time of each layer. The error is one line.
pub(super) fn layers(text: &str) -> Result<Vec<Layer>, String> {
    let entries: Vec<Profiled> =
        serde_json::from_str(text).map_err(|error| format!("its profile cannot be read: {error}"))?;
    let layer = |(name, average): (String, f64)| {
        let time = Duration::try_from_secs_f64(average / 1e3).ok()?;
        Some(Layer {
            name,
            // An engine's layers are fused of several operators, which their names tell.
            operator: String::new(),
            time,
        })
    };
    let named = entries
        .into_iter()
        .filter_map(|entry| entry.name.zip(entry.average));
    let layers: Option<Vec<Layer>> = named.map(layer).collect();
    layers.ok_or_else(|| "its profile holds times that are none".to_owned())
}

/// One output as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written<'a> {
    pub(super) name: &'a str,
    shape: Vec<usize>,
    values: &'a str,
}

impl Written<'_> {
    /// Its values as those of a type, which the file does not tell. The error is one line.
    pub(super) fn tensor(&self, data_type: DataType) -> Result<Tensor, String> {
        let data = match data_type {
            DataType::F32 => self.numbers().map(Data::F32),
            DataType::F16 => self
                .numbers()
                .map(|values: Vec<f32>| Data::F16(values.into_iter().map(f16::from_f32).collect())),
            DataType::I64 => self.numbers().map(Data::I64),
            DataType::I32 => self.numbers().map(Data::I32),
            DataType::I8 => self.numbers().map(Data::I8),
            DataType::U8 => self.numbers().map(Data::U8),
            DataType::Bool => self
                .numbers()
                .map(|values: Vec<u8>| Data::Bool(values.into_iter().map(|value| value != 0).collect())),
        };
        let data =
            data.ok_or_else(|| format!("its output `{}` has values that are no {data_type}", self.name))?;
        Tensor::new(self.shape.clone(), data).map_err(|error| format!("its output `{}`: {error}", self.name))
    }

    fn numbers<T: FromStr>(&self) -> Option<Vec<T>> {
        let words = self.values.split(',').map(str::trim);
        let words = words.filter(|word| !word.is_empty());
        words.map(|word| word.parse().ok()).collect()
    }
}

/// The outputs, in no order. The error is one line.
pub(super) fn outputs(text: &str) -> Result<Vec<Written<'_>>, String> {
    let mut outputs = Vec::new();
    let mut rest = text;
    while let Some((_, entry)) = rest.split_once("{ \"name\" : \"") {
        let (output, behind) = output(entry).ok_or("its outputs cannot be read")?;
        outputs.push(output);
        rest = behind;
    }
    Ok(outputs)
}

/// The output whose name begins the text, and what follows it.
fn output(text: &str) -> Option<(Written<'_>, &str)> {
    let (name, rest) = text.split_once("\"\n")?;
    let (_, rest) = rest.split_once("\"dimensions\" : \"(")?;
    let (extents, rest) = rest.split_once(")\"")?;
    let (_, rest) = rest.split_once("\"values\" : [")?;
    let (values, rest) = rest.split_once(']')?;
    let extents = extents
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty());
    let shape: Option<Vec<usize>> = extents.map(|extent| extent.parse().ok()).collect();
    let shape = shape?;
    Some((Written { name, shape, values }, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMES: &str = include_str!("../../fixtures/tensorrt/times.json");
    const LAYERS: &str = include_str!("../../fixtures/tensorrt/layers.json");
    const OUTPUTS: &str = include_str!("../../fixtures/tensorrt/outputs.json");

    #[test]
    fn the_latency_is_copies_and_computing() {
        assert_eq!(times(TIMES).unwrap(), [541_016, 538_147, 12_345_700]);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "[{}]",
            "[{\"latencyMs\" : 0}]",
            "[{\"latencyMs\" : -1}]",
            "[{\"latencyMs\" : 1e300}]",
        ] {
            let error = times(text).unwrap_err();
            assert!(error.starts_with("its times "), "{error}");
        }
    }

    #[test]
    fn layers_are_told_by_the_mean_of_their_inferences() {
        let layers = layers(LAYERS).unwrap();
        let told: Vec<_> = layers
            .iter()
            .map(|layer| (layer.name.as_str(), layer.time.as_nanos()))
            .collect();
        assert_eq!(told, [("conv1 + relu1", 21_300), ("pool", 4_750)]);
        for text in [
            "",
            "{}",
            "[{\"name\":\"a\",\"averageMs\":-1}]",
            "[{\"name\":\"a\",\"averageMs\":1e300}]",
        ] {
            assert!(
                super::layers(text).unwrap_err().starts_with("its profile "),
                "{text}"
            );
        }
    }

    #[test]
    fn outputs_are_told_by_their_names() {
        let outputs = outputs(OUTPUTS).unwrap();
        let names: Vec<_> = outputs.iter().map(|output| output.name).collect();
        assert_eq!(names, ["scores:0", "classes", "count"]);
        let scores = outputs[0].tensor(DataType::F32).unwrap();
        assert_eq!(scores.shape(), [2, 3]);
        let values = scores.as_f32().unwrap();
        assert_eq!(values[..2], [0.123_457, -1.5e-5]);
        assert!(values[2].is_nan() && values[3] == f32::INFINITY);
        let classes = outputs[1].tensor(DataType::I64).unwrap();
        assert_eq!(classes.data(), &Data::I64(vec![3, -1]));
        assert_eq!(outputs[2].tensor(DataType::I32).unwrap().shape(), [0; 0]);
    }

    #[test]
    fn values_of_another_type_or_number_are_refused() {
        let outputs = outputs(OUTPUTS).unwrap();
        let error = outputs[0].tensor(DataType::I8).unwrap_err();
        assert_eq!(error, "its output `scores:0` has values that are no i8");
        let cut = OUTPUTS.replace("0.123457, ", "");
        let error = super::outputs(&cut).unwrap()[0]
            .tensor(DataType::F32)
            .unwrap_err();
        assert!(error.contains("does not hold 5 elements"), "{error}");
        assert!(super::outputs(&OUTPUTS[..60]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String, at in 0..400usize, word in "[0-9a-z\",:({\\[ \n]{0,8}") {
            drop((times(&text), layers(&text), outputs(&text).is_ok()));
            let at = (0..=at.min(OUTPUTS.len())).rev().find(|&at| OUTPUTS.is_char_boundary(at)).unwrap();
            let damaged = format!("{}{word}{}", &OUTPUTS[..at], &OUTPUTS[at..]);
            for output in outputs(&damaged).unwrap_or_default() {
                for data_type in [DataType::F32, DataType::F16, DataType::I64, DataType::Bool] {
                    drop(output.tensor(data_type));
                }
            }
        }
    }
}
