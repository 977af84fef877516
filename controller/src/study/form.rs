//! The form in which a runtime takes a quantized variant, and the devices and runtimes that get the same files.

use std::borrow::Cow;

use edgefront_optimizer::quantize::ActivationType;
use edgefront_optimizer::recipe::Recipe;
use edgefront_protocol::{Device, DeviceId, Format};

use super::{Study, provider_name, runtime_and_provider};
use crate::tvm_compile::Processor;

/// The runtime of its own, and the provider of ONNX Runtime.
const TENSORRT: &str = "tensorrt";

/// The remark on a measurement of `TensorRT` on a file in its form.
pub(super) const FOR_TENSORRT: &str = "quantized in the form that TensorRT takes, a file of its own: signed activations with zero in the middle, \
     biases in float";

/// Whether it is `TensorRT` that computes.
pub(super) fn is_tensorrt(runtime: &str, provider: &str) -> bool {
    runtime == TENSORRT || provider_name(provider) == TENSORRT
}

/// For whom the integers of a variant are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integers {
    /// For runtimes that take any; `auto` activations are of the type that the processor is fastest with.
    Processor(ActivationType),
    /// For `TensorRT`, which refuses all but one form.
    TensorRt,
}

impl Integers {
    /// Those that a runtime, as users write it, takes on a device.
    fn of(written: &str, device: &Device) -> Self {
        let (runtime, provider) = runtime_and_provider(written);
        if is_tensorrt(runtime, &provider) {
            Self::TensorRt
        } else {
            Self::Processor(ActivationType::for_architecture(&device.arch))
        }
    }

    /// What `auto` activations are.
    pub(super) fn activations(self) -> ActivationType {
        match self {
            Self::Processor(activations) => activations,
            Self::TensorRt => ActivationType::S8,
        }
    }

    /// What an error of making them tells of the form; `None` where there is no other.
    pub(super) fn form(self) -> Option<&'static str> {
        (self == Self::TensorRt).then_some("in the form that TensorRT takes")
    }

    /// The recipe that makes them. One that says itself of which type activations are stays as it is.
    pub(super) fn fit(self, recipe: &Recipe) -> Cow<'_, Recipe> {
        if self != Self::TensorRt || !recipe.needs_calibration() {
            return Cow::Borrowed(recipe);
        }
        let mut fitting = recipe.clone();
        fitting.for_tensorrt();
        Cow::Owned(fitting)
    }
}

/// What decides the files of a study beside its recipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) integers: Integers,
    /// For which machine code is made; `None` where none is measured.
    pub(super) processor: Option<Processor>,
}

/// Devices and runtimes that get files of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group<'a> {
    pub(super) kind: Kind,
    /// Each device with those of its runtimes that do, as they are written.
    users: Vec<(&'a DeviceId, Vec<&'a str>)>,
}

impl<'a> Group<'a> {
    /// The groups of these devices, each with the runtimes that it measures.
    pub(super) fn all(study: &Study, choices: &'a [(&'a Device, Vec<String>)]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for (device, runtimes) in choices {
            for (kind, runtimes) in kinds(study, device, runtimes) {
                let user = (&device.id, runtimes);
                match groups.iter_mut().find(|group| group.kind == kind) {
                    Some(group) => group.users.push(user),
                    None => groups.push(Self {
                        kind,
                        users: vec![user],
                    }),
                }
            }
        }
        groups
    }

    /// Whether this runtime of this device gets its files.
    pub(super) fn has(&self, device: &DeviceId, runtime: &str) -> bool {
        let mut users = self.users.iter();
        users.any(|(id, runtimes)| *id == device && runtimes.contains(&runtime))
    }

    /// The devices on which this runtime gets its files.
    pub(super) fn devices<'r>(&'r self, runtime: &'r str) -> impl Iterator<Item = &'a DeviceId> {
        let users = self.users.iter();
        users
            .filter(move |(_, runtimes)| runtimes.contains(&runtime))
            .map(|(id, _)| *id)
    }

    /// The runtimes that get the variants converted, each with the format.
    pub(super) fn converting<'s>(&self, study: &'s Study) -> Vec<(&'s str, Format)> {
        let mut converting = study.converting_runtimes();
        converting.retain(|(runtime, _)| self.users.iter().any(|(_, own)| own.contains(runtime)));
        converting
    }
}

/// The runtimes of a device by the kind of their files.
fn kinds<'a>(study: &Study, device: &Device, runtimes: &'a [String]) -> Vec<(Kind, Vec<&'a str>)> {
    let mut kinds: Vec<(Kind, Vec<&str>)> = Vec::new();
    for written in runtimes {
        let integers = Integers::of(written, device);
        match kinds.iter_mut().find(|(kind, _)| kind.integers == integers) {
            Some((_, own)) => own.push(written),
            None => kinds.push((
                Kind {
                    integers,
                    processor: None,
                },
                vec![written],
            )),
        }
    }
    let code = study.converting_runtimes().into_iter();
    let code: Vec<&str> = code
        .filter(|(_, format)| *format == Format::So)
        .map(|(runtime, _)| runtime)
        .collect();
    for (kind, runtimes) in &mut kinds {
        let runs_code = runtimes.iter().any(|runtime| code.contains(runtime));
        kind.processor = runs_code.then(|| Processor::of(device));
    }
    kinds
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_optimizer::quantize::Activations;
    use edgefront_optimizer::recipe::{Step, named};

    use super::*;
    use crate::store::fixture;

    #[test]
    fn tensorrt_gets_files_of_its_own_form_beside_the_others() {
        let study = Study::new("test", "m.onnx");
        let device = fixture::device("pi");
        let names = ["ort", "tensorrt", "ort:tensorrt", "tensorrt:fp16", "tract"];
        let choices = [(&device, names.map(str::to_owned).to_vec())];
        let groups = Group::all(&study, &choices);
        let of: Vec<_> = groups
            .iter()
            .map(|group| (group.kind.integers, group.users[0].1.clone()))
            .collect();
        let own = Integers::Processor(ActivationType::for_architecture(&device.arch));
        assert_eq!(
            of,
            [
                (own, vec!["ort", "tract"]),
                (
                    Integers::TensorRt,
                    vec!["tensorrt", "ort:tensorrt", "tensorrt:fp16"]
                )
            ]
        );
        assert!(groups[1].has(&device.id, "ort:tensorrt") && !groups[1].has(&device.id, "ort"));
    }

    #[test]
    fn what_a_user_chose_of_activations_stays() {
        let of = |recipe: &Recipe| match recipe.steps.last() {
            Some(Step::Quantize(options)) => (options.activations, options.symmetric, options.float_biases),
            _ => panic!("{recipe:?} does not quantize last"),
        };
        let mut recipe = named("ptq-int8-pc").unwrap();
        let fitting = Integers::TensorRt.fit(&recipe);
        assert_eq!(of(&fitting), (Activations::S8, true, true));
        let other = Integers::Processor(ActivationType::S8);
        assert_eq!(*other.fit(&recipe), recipe);
        let Some(Step::Quantize(options)) = recipe.steps.last_mut() else {
            panic!("it quantizes");
        };
        options.activations = Activations::U8;
        assert_eq!(*Integers::TensorRt.fit(&recipe), recipe);
        let trained = named("qat-int8").unwrap();
        assert_ne!(*Integers::TensorRt.fit(&trained), trained);
        let pruned = named("prune50").unwrap();
        assert_eq!(*Integers::TensorRt.fit(&pruned), pruned);
    }
}
