//! A runtime that does nothing: what is measured with it is the harness's own overhead. Where that is set, it takes a
//! known time for it, so that what is said of latencies can be held against what they are: `cpu+delay=2ms`, and with
//! `stall=100ms@500` every 500th inference takes 100 ms longer. It knows no classes, so no data set can be scored with
//! it; an accuracy of nothing would be a made-up figure.

mod settings;

use std::path::Path;
use std::time::Instant;

use crate::port::{self, Declared};
use crate::{Data, DataType, Error, Floats, Model, Options, Port, Probe, Runtime, Session, Tensor};
use settings::Settings;

const NAME: &str = "null";

/// The runtime that does nothing. Any file is an artifact to it.
#[derive(Debug, Default)]
pub(crate) struct Null;

impl Runtime for Null {
    fn name(&self) -> &'static str {
        NAME
    }

    fn formats(&self) -> &'static [&'static str] {
        &["onnx", "tflite", "so"]
    }

    /// A setting without a provider before it is one of the CPU's.
    fn canonical_provider(&self, written: &str) -> String {
        let first = written.split('+').next().unwrap_or_default();
        let named = if first.contains('=') {
            format!("{}+{written}", port::CPU)
        } else {
            written.to_owned()
        };
        let known = Settings::split(&named).map(|(name, settings)| settings.behind(name));
        known.unwrap_or(named)
    }

    fn probe(&self) -> Result<Probe, Error> {
        Ok(Probe {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            providers: vec![port::CPU.to_owned()],
            library: None,
        })
    }

    /// The model has one `f32` input for each given shape, or a single one of `[batch, 1]`, and an output of
    /// `[batch, 1]`.
    fn load(&self, path: &Path, options: &Options) -> Result<Box<dyn Model>, Error> {
        let (name, settings) = Settings::split(&options.provider).map_err(|reason| Error::Provider {
            runtime: NAME,
            provider: options.provider.clone(),
            reason,
        })?;
        port::require_cpu(NAME, name)?;
        let load = |reason| Error::Load {
            runtime: NAME,
            path: path.to_owned(),
            reason,
        };
        std::fs::metadata(path).map_err(|error| load(error.to_string()))?;
        let declared: Vec<Declared> = (0..options.inputs.len().max(1))
            .map(|index| Declared {
                name: format!("input{index}"),
                data_type: DataType::F32,
                axes: options
                    .inputs
                    .get(index)
                    .map_or_else(|| vec![None, Some(1)], |shape| vec![None; shape.len()]),
            })
            .collect();
        Ok(Box::new(NullModel {
            inputs: port::resolve(&declared, options).map_err(load)?,
            outputs: vec!["output".to_owned()],
            batch: options.batch,
            provider: settings.behind(name),
            settings,
        }))
    }
}

struct NullModel {
    inputs: Vec<Port>,
    outputs: Vec<String>,
    batch: usize,
    /// With the settings.
    provider: String,
    settings: Settings,
}

impl Model for NullModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn provider(&self) -> &str {
        &self.provider
    }

    fn session(&self) -> Result<Box<dyn Session>, Error> {
        let zeros = Data::F32(vec![0.0; self.batch]);
        let output = Tensor::new(vec![self.batch, 1], zeros).map_err(|error| Error::Run {
            runtime: NAME,
            reason: error.to_string(),
        })?;
        Ok(Box::new(NullSession {
            inputs: self.inputs.clone(),
            output,
            settings: self.settings,
            inferences: 0,
        }))
    }
}

struct NullSession {
    inputs: Vec<Port>,
    output: Tensor,
    settings: Settings,
    /// How many were begun.
    inferences: u64,
}

impl Session for NullSession {
    fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error> {
        port::check(&self.inputs, inputs)
    }

    /// The processor is kept busy, for a sleep ends when the system likes.
    fn run(&mut self) -> Result<(), Error> {
        if self.settings == Settings::default() {
            return Ok(());
        }
        let begun = Instant::now();
        self.inferences += 1;
        let time = self.settings.time(self.inferences);
        while begun.elapsed() < time {
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
        Ok(vec![self.output.clone()])
    }

    fn floats(&self, output: usize) -> Option<Floats<'_>> {
        (output == 0).then(|| self.output.floats())?
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn model(options: &Options) -> Box<dyn Model> {
        let file = tempfile::NamedTempFile::new().unwrap();
        Null.load(file.path(), options).unwrap()
    }

    #[test]
    fn runs_any_bytes_of_any_shape() {
        let options = Options {
            inputs: vec![vec![2, 3, 8, 8]],
            batch: 2,
            ..port::tests::options()
        };
        let model = model(&options);
        let mut session = model.session().unwrap();
        let input = Tensor::zeros(DataType::F32, vec![2, 3, 8, 8]).unwrap();
        session.bind(&[input]).unwrap();
        session.run().unwrap();
        assert_eq!(session.fetch().unwrap()[0].shape(), [2, 1]);
    }

    #[test]
    fn takes_the_time_that_is_set_and_stalls() {
        let options = Options {
            provider: Null.canonical_provider("stall=20ms@3+delay=1ms"),
            ..port::tests::options()
        };
        let model = model(&options);
        assert_eq!(model.provider(), "cpu+delay=1ms+stall=20ms@3");
        let mut session = model.session().unwrap();
        let mut run = || {
            let begun = Instant::now();
            session.run().unwrap();
            begun.elapsed().as_millis()
        };
        let times = [run(), run(), run()];
        assert!(times[0] >= 1 && times[1] >= 1 && times[2] >= 21, "{times:?}");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let refused = |provider: &str| {
            let options = Options {
                provider: provider.to_owned(),
                ..port::tests::options()
            };
            Null.load(Path::new("/"), &options).err().unwrap().to_string()
        };
        insta::assert_snapshot!(refused("cuda"), @"runtime `null` cannot use provider `cuda`: it has `cpu` alone");
        assert_eq!(Null.canonical_provider("wait=2ms"), "cpu+wait=2ms");
        insta::assert_snapshot!(refused("cpu+wait=2ms"), @"runtime `null` cannot use provider `cpu+wait=2ms`: `wait=2ms` is no setting of it, as in cpu+delay=2ms+stall=100ms@500");
    }

    #[test]
    fn checks_inputs_as_the_others_do() {
        let model = model(&port::tests::options());
        let wrong = Tensor::zeros(DataType::U8, vec![1, 1]).unwrap();
        let error = model.session().unwrap().bind(&[wrong]).unwrap_err();
        assert_eq!(error.to_string(), "input 0: expected f32 [1, 1], got u8 [1, 1]");
    }
}
