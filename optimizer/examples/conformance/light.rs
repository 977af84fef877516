//! Networks of the model zoo, whose weights are computed in the graph: each goes through every pass, and what
//! comes out runs on ONNX Runtime.

use std::path::Path;
use std::time::Instant;

use edgefront_optimizer::calibrate::Samples;
use edgefront_optimizer::check::check;
use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::{self, Recipe};
use edgefront_optimizer::{Model, shape};
use edgefront_runtimes::{Data, Options, Registry, Search, Tensor};

/// The variants that each network must survive.
const VARIANTS: [&str; 5] = ["fp16", "ptq-int8", "ptq-int8-pc", "prune50", "channel30"];

/// Prints a row a network; whether all passed.
pub(crate) fn run(folder: &Path) -> bool {
    let recipes: Vec<Recipe> = VARIANTS
        .iter()
        .map(|name| recipe::named(name).expect("the recipe is one of the named"))
        .collect();
    println!("networks: time of each variant in seconds, or why it failed");
    let mut all = true;
    for path in crate::entries(folder) {
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let cells: Vec<(String, Result<f64, String>)> = match Network::read(&path) {
            Ok(network) => recipes
                .iter()
                .map(|recipe| (recipe.name.clone(), network.make(recipe)))
                .collect(),
            Err(error) => vec![("check".to_owned(), Err(error))],
        };
        all &= cells.iter().all(|(_, result)| result.is_ok());
        let cells = cells.into_iter().map(|(recipe, result)| match result {
            Ok(seconds) => format!("{recipe} {seconds:.1}"),
            Err(error) => format!("{recipe} FAILED: {error}"),
        });
        println!("{name:<24} {}", cells.collect::<Vec<_>>().join("  "));
    }
    all
}

struct Network {
    model: Model,
    sample: Tensor,
    /// Extents of the output.
    output: Vec<usize>,
}

impl Samples for Network {
    fn len(&self) -> usize {
        2
    }

    fn sample(&self, _: usize) -> std::io::Result<Vec<Tensor>> {
        Ok(vec![self.sample.clone()])
    }
}

impl Network {
    fn read(path: &Path) -> Result<Self, String> {
        let model = Model::read(path).map_err(|error| error.to_string())?;
        let summary = check(&model).map_err(|error| error.to_string())?;
        let values =
            shape::infer(&model, &std::collections::BTreeMap::new()).map_err(|error| error.to_string())?;
        let extents = |name: &str| {
            let value = values.get(name);
            value
                .and_then(shape::Value::extents)
                .ok_or(format!("`{name}` has no known shape"))
        };
        let input = extents(&summary.inputs[0].name)?;
        let count = input.iter().product();
        // Pictures without structure: what matters is that no value is special.
        let pixels = (0..count).map(|index: usize| (index * 7919 % 1021) as f32 / 510.5 - 1.0);
        let data = Data::F32(pixels.collect());
        Ok(Self {
            output: extents(&summary.outputs[0].name)?,
            sample: Tensor::new(input, data).map_err(|error| error.to_string())?,
            model,
        })
    }

    /// Seconds that the variant took, once its outputs on ONNX Runtime are of the right shape and finite.
    fn make(&self, recipe: &Recipe) -> Result<f64, String> {
        let registry = Registry::new(&Search::default());
        let context = recipe::Context {
            calibration: Some(self),
            training: None,
            runtimes: &registry,
            threads: 2,
            device: edgefront_optimizer::train::Device::Cpu,
            activations: ActivationType::U8,
            progress: &|_| {},
        };
        let start = Instant::now();
        let (variant, _) =
            recipe::apply(self.model.clone(), recipe, &context).map_err(|error| error.to_string())?;
        let seconds = start.elapsed().as_secs_f64();
        let output = self.run(&registry, &variant)?;
        let values = output.as_f32().ok_or("its output is not float32")?;
        if output.shape() != self.output {
            return Err(format!(
                "its output is {:?}, not {:?}",
                output.shape(),
                self.output
            ));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(format!("its output holds {value}")),
            None => Ok(seconds),
        }
    }

    fn run(&self, registry: &Registry, model: &Model) -> Result<Tensor, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("variant.onnx");
        model.write(&path).map_err(|error| error.to_string())?;
        let options = Options {
            provider: "cpu".to_owned(),
            threads: 2,
            inputs: Vec::new(),
            batch: self.sample.shape()[0],
            spin: true,
            profile: false,
        };
        let run = || {
            let loaded = registry.get("ort")?.load(&path, &options)?;
            let mut session = loaded.session()?;
            session.bind(std::slice::from_ref(&self.sample))?;
            session.run()?;
            session.fetch()
        };
        let mut outputs = run().map_err(|error: edgefront_runtimes::Error| error.to_string())?;
        Ok(outputs.swap_remove(0))
    }
}
