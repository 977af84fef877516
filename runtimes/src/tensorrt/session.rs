//! One engine, run by a process of `trtexec` for each order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Loaded;
use super::exchange::Exchange;
use super::{NAME, files};
use crate::{Data, DataType, Error, Floats, Layer, Session, Span, Tensor, port};

/// How long `trtexec` runs untimed before it times, in milliseconds; its own default. Each process begins with a cold
/// GPU.
const WARM_UP: u32 = 200;

pub(super) struct TensorRtSession {
    loaded: Arc<Loaded>,
    /// What was bound, in the order of the inputs; empty before.
    inputs: Vec<Exchange>,
    /// What `trtexec` writes: outputs or times.
    written: Exchange,
    outputs: Vec<Tensor>,
    /// Median of the latest times, in nanoseconds.
    typical: Option<u64>,
}

impl TensorRtSession {
    pub(super) fn new(loaded: Arc<Loaded>) -> Result<Self, Error> {
        Ok(Self {
            loaded,
            inputs: Vec::new(),
            written: Exchange::new().map_err(|error| no_place(&error))?,
            outputs: Vec::new(),
            typical: None,
        })
    }

    /// Runs the engine on what was bound, with these flags beside, and gives what it wrote for the flag `export`.
    fn infer(&mut self, flags: impl IntoIterator<Item = String>, export: &str) -> Result<String, Error> {
        // What an earlier run wrote is not to be taken for this one's.
        self.written.write(&[]).map_err(|error| no_place(&error))?;
        let mut arguments = self.loaded.inference();
        if !self.inputs.is_empty() {
            let inputs = self.loaded.inputs.iter().zip(&self.inputs);
            let files: Vec<String> = inputs
                .map(|(port, file)| format!("{}:{}", port.name, file.path()))
                .collect();
            arguments.push(format!("--loadInputs={}", files.join(",")));
        }
        arguments.extend(flags);
        arguments.push(format!("{export}={}", self.written.path()));
        self.loaded.run(&arguments).map_err(failed)?;
        self.written
            .read()
            .map_err(|error| failed(format!("what it wrote cannot be read: {error}")))
    }
}

impl Session for TensorRtSession {
    fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error> {
        port::check(&self.loaded.inputs, inputs)?;
        self.inputs.truncate(inputs.len());
        while self.inputs.len() < inputs.len() {
            let file = Exchange::new().map_err(|error| no_place(&error))?;
            self.inputs.push(file);
        }
        for (input, file) in inputs.iter().zip(&mut self.inputs) {
            let bytes = bytes(input, self.loaded.narrows_integers());
            file.write(&bytes).map_err(|error| no_place(&error))?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        let once = [
            "--iterations=1".to_owned(),
            "--duration=0".to_owned(),
            "--warmUp=0".to_owned(),
        ];
        let text = self.infer(once, "--exportOutput")?;
        let written = files::outputs(&text).map_err(failed)?;
        let tensor = |(name, data_type): &(String, DataType)| {
            let found = written.iter().find(|output| output.name == name);
            let found = found.ok_or_else(|| format!("it wrote no output `{name}`"))?;
            found.tensor(*data_type)
        };
        let outputs: Result<Vec<_>, _> = self.loaded.outputs.iter().map(tensor).collect();
        self.outputs = outputs.map_err(failed)?;
        Ok(())
    }

    fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
        Ok(self.outputs.clone())
    }

    fn floats(&self, output: usize) -> Option<Floats<'_>> {
        self.outputs.get(output)?.floats()
    }

    /// `trtexec` goes on until both the runs and the time are reached and knows no longest time, so fewer runs are
    /// asked for where the latest ones were so slow that it would pass, and one before any is known.
    fn time(&mut self, span: Span) -> Option<Result<Vec<u64>, Error>> {
        let fit = |typical: u64| span.limit.as_nanos() as u64 / typical;
        let runs = self.typical.map_or(1, |typical| span.runs.min(fit(typical)));
        let flags = [
            format!("--iterations={}", runs.max(1)),
            format!("--duration={}", seconds(span.time.min(span.limit))),
            format!("--warmUp={WARM_UP}"),
        ];
        let timed = self.infer(flags, "--exportTimes").and_then(|text| {
            let times = files::times(&text).map_err(failed)?;
            self.typical = median(&times);
            match self.typical {
                Some(_) => Ok(times),
                None => Err(failed("it timed nothing".to_owned())),
            }
        });
        Some(timed)
    }

    fn profile(&mut self, inferences: u32) -> Option<Result<Vec<Layer>, Error>> {
        let flags = [
            format!("--iterations={inferences}"),
            "--duration=0".to_owned(),
            format!("--warmUp={WARM_UP}"),
        ];
        let text = self.infer(flags, "--exportProfile");
        Some(text.and_then(|text| files::layers(&text).map_err(failed)))
    }
}

fn failed(reason: String) -> Error {
    Error::Run {
        runtime: NAME,
        reason,
    }
}

fn no_place(error: &io::Error) -> Error {
    failed(format!("there is no place for its inputs and outputs: {error}"))
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

fn median(times: &[u64]) -> Option<u64> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(times.len() / 2).copied()
}

/// The elements as they lie in memory. Engines that know no 64-bit integers take them in 32 bits.
fn bytes(tensor: &Tensor, narrows_integers: bool) -> Vec<u8> {
    match tensor.data() {
        Data::F32(values) => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        Data::F16(values) => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        Data::I64(values) if narrows_integers => values
            .iter()
            .flat_map(|&value| narrowed(value).to_ne_bytes())
            .collect(),
        Data::I64(values) => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        Data::I32(values) => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        Data::I8(values) => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        Data::U8(values) => values.clone(),
        Data::Bool(values) => values.iter().map(|&value| u8::from(value)).collect(),
    }
}

/// As TensorRT narrows the weights of a file: what does not fit becomes the nearest that does.
fn narrowed(value: i64) -> i32 {
    value.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_engines_take_long_integers_in_32_bits() {
        let tensor = Tensor::new(vec![2], Data::I64(vec![-2, i64::MAX])).expect("it holds two");
        let narrow = [(-2i32).to_ne_bytes(), i32::MAX.to_ne_bytes()].concat();
        assert_eq!(bytes(&tensor, true), narrow);
        assert_eq!(bytes(&tensor, false).len(), 16);
    }
}
