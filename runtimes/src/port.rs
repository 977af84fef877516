//! From the inputs that a file declares and the options of a job to inputs with every axis known.

use crate::{Error, Options, Port, Tensor};

/// The provider that every runtime has.
pub(crate) const CPU: &str = "cpu";

/// More threads than any machine has cores; a larger number is a mistake that could exhaust the machine.
const MAX_THREADS: usize = 1024;

/// An input as a file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name in the model.
    pub name: String,
    /// Element type.
    pub data_type: crate::DataType,
    /// Extents, `None` where the file leaves them open.
    pub axes: Vec<Option<usize>>,
}

/// Refuses every provider but the CPU's.
pub(crate) fn require_cpu(runtime: &'static str, provider: &str) -> Result<(), Error> {
    if provider == CPU {
        return Ok(());
    }
    Err(Error::Provider {
        runtime,
        provider: provider.to_owned(),
        reason: format!("it has `{CPU}` alone"),
    })
}

/// Refuses numbers of threads or pictures that make no sense.
pub(crate) fn check_options(options: &Options) -> Result<(), String> {
    if !(1..=MAX_THREADS).contains(&options.threads) {
        return Err(format!(
            "{} threads are asked for, it takes 1 to {MAX_THREADS}",
            options.threads
        ));
    }
    if options.batch == 0 {
        return Err("the batch is 0, it must be at least 1".to_owned());
    }
    Ok(())
}

/// The inputs with every axis known: from `options.inputs` where given, else the file's own extents with an
/// open leading axis bound to the batch. The error is a reason in one line.
pub(crate) fn resolve(declared: &[Declared], options: &Options) -> Result<Vec<Port>, String> {
    check_options(options)?;
    if !options.inputs.is_empty() && options.inputs.len() != declared.len() {
        return Err(format!(
            "{} input shapes are given and the model has {}",
            options.inputs.len(),
            inputs(declared.len())
        ));
    }
    let shape = |(index, input): (usize, &Declared)| {
        let shape = match options.inputs.get(index) {
            Some(given) => fit(input, given)?,
            None => bind_batch(input, index, options.batch)?,
        };
        if !addressable(&shape) {
            return Err(format!("input `{}` of shape {shape:?} is too large", input.name));
        }
        Ok(Port {
            name: input.name.clone(),
            data_type: input.data_type,
            shape,
        })
    };
    declared.iter().enumerate().map(shape).collect()
}

fn inputs(n: usize) -> String {
    if n == 1 {
        "1 input".to_owned()
    } else {
        format!("{n} inputs")
    }
}

fn fit(input: &Declared, given: &[usize]) -> Result<Vec<usize>, String> {
    let fits = input.axes.len() == given.len()
        && input
            .axes
            .iter()
            .zip(given)
            .all(|(axis, &extent)| axis.is_none_or(|axis| axis == extent));
    if fits {
        Ok(given.to_vec())
    } else {
        Err(format!(
            "input `{}` is {}, which {given:?} does not fit",
            input.name,
            describe(&input.axes)
        ))
    }
}

fn bind_batch(input: &Declared, index: usize, batch: usize) -> Result<Vec<usize>, String> {
    // Only the first input must carry the batch: a second one may be a scalar or a table.
    if index == 0
        && let Some(&Some(fixed)) = input.axes.first()
        && fixed != batch
    {
        return Err(format!(
            "input `{}` is {} with a fixed batch, {batch} is asked for; export the model with a dynamic batch axis",
            input.name,
            describe(&input.axes)
        ));
    }
    let bound = input.axes.iter().enumerate().map(|(axis, &extent)| match extent {
        Some(extent) => Ok(extent),
        None if axis == 0 => Ok(batch),
        None => Err(format!(
            "input `{}` is {} and axis {axis} has no size; give the shape of the input",
            input.name,
            describe(&input.axes)
        )),
    });
    bound.collect()
}

fn addressable(shape: &[usize]) -> bool {
    // The widest element has 8 bytes.
    let bytes = shape.iter().try_fold(8usize, |n, &extent| n.checked_mul(extent));
    bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok())
}

fn describe(axes: &[Option<usize>]) -> String {
    let axes: Vec<String> = axes
        .iter()
        .map(|axis| axis.map_or_else(|| "?".to_owned(), |extent| extent.to_string()))
        .collect();
    format!("[{}]", axes.join(", "))
}

/// Whether `inputs` are what the model wants.
pub(crate) fn check(ports: &[Port], inputs: &[Tensor]) -> Result<(), Error> {
    for (index, port) in ports.iter().enumerate() {
        let expected = || format!("{} {:?}", port.data_type, port.shape);
        let Some(input) = inputs.get(index) else {
            return Err(Error::Input {
                index,
                expected: expected(),
                found: "nothing".to_owned(),
            });
        };
        if input.data_type() != port.data_type || input.shape() != port.shape {
            return Err(Error::Input {
                index,
                expected: expected(),
                found: describe_tensor(input),
            });
        }
    }
    match inputs.get(ports.len()) {
        Some(extra) => Err(Error::Input {
            index: ports.len(),
            expected: "nothing".to_owned(),
            found: describe_tensor(extra),
        }),
        None => Ok(()),
    }
}

fn describe_tensor(tensor: &Tensor) -> String {
    format!("{} {:?}", tensor.data_type(), tensor.shape())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::DataType;

    pub(crate) fn options() -> Options {
        Options {
            provider: CPU.to_owned(),
            threads: 1,
            inputs: Vec::new(),
            batch: 1,
            spin: true,
            profile: false,
        }
    }

    fn picture(axes: [Option<usize>; 4]) -> Declared {
        Declared {
            name: "image".to_owned(),
            data_type: DataType::F32,
            axes: axes.to_vec(),
        }
    }

    #[test]
    fn an_open_leading_axis_is_the_batch() {
        let declared = [picture([None, Some(3), Some(8), Some(8)])];
        let options = Options {
            batch: 4,
            ..options()
        };
        assert_eq!(resolve(&declared, &options).unwrap()[0].shape, [4, 3, 8, 8]);
    }

    #[test]
    fn a_fixed_batch_is_not_replaced() {
        let declared = [picture([Some(1), Some(3), Some(8), Some(8)])];
        let options = Options {
            batch: 4,
            ..options()
        };
        insta::assert_snapshot!(resolve(&declared, &options).unwrap_err(), @"input `image` is [1, 3, 8, 8] with a fixed batch, 4 is asked for; export the model with a dynamic batch axis");
    }

    #[test]
    fn other_open_axes_come_from_the_given_shape() {
        let declared = [picture([None, Some(3), None, None])];
        insta::assert_snapshot!(resolve(&declared, &options()).unwrap_err(), @"input `image` is [?, 3, ?, ?] and axis 2 has no size; give the shape of the input");
        let options = Options {
            inputs: vec![vec![1, 3, 8, 8]],
            ..options()
        };
        assert_eq!(resolve(&declared, &options).unwrap()[0].shape, [1, 3, 8, 8]);
    }

    #[test]
    fn a_given_shape_must_fit_the_model() {
        let declared = [picture([None, Some(3), None, None])];
        let with = |inputs| Options { inputs, ..options() };
        let wrong = resolve(&declared, &with(vec![vec![1, 1, 8, 8]])).unwrap_err();
        insta::assert_snapshot!(wrong, @"input `image` is [?, 3, ?, ?], which [1, 1, 8, 8] does not fit");
        let two = resolve(&declared, &with(vec![vec![1], vec![1]])).unwrap_err();
        insta::assert_snapshot!(two, @"2 input shapes are given and the model has 1 input");
        let huge = resolve(&declared, &with(vec![vec![usize::MAX, 3, 2, 2]])).unwrap_err();
        assert!(huge.ends_with("is too large"), "{huge}");
    }

    #[test]
    fn senseless_options_are_refused() {
        let declared = [picture([None; 4])];
        for (threads, batch) in [(0, 1), (1, 0), (usize::MAX, 1)] {
            let options = Options {
                threads,
                batch,
                ..options()
            };
            assert!(resolve(&declared, &options).is_err(), "{threads} {batch}");
        }
    }

    #[test]
    fn inputs_are_checked_one_by_one() {
        let ports = resolve(&[picture([None, Some(3), Some(2), Some(2)])], &options()).unwrap();
        let tensor = |data_type, shape: &[usize]| Tensor::zeros(data_type, shape.to_vec()).unwrap();
        let good = tensor(DataType::F32, &[1, 3, 2, 2]);
        check(&ports, std::slice::from_ref(&good)).unwrap();
        let refused = |inputs: &[Tensor]| check(&ports, inputs).unwrap_err().to_string();
        insta::assert_snapshot!(refused(&[]), @"input 0: expected f32 [1, 3, 2, 2], got nothing");
        insta::assert_snapshot!(refused(&[tensor(DataType::F16, &[1, 3, 2, 2])]), @"input 0: expected f32 [1, 3, 2, 2], got f16 [1, 3, 2, 2]");
        insta::assert_snapshot!(refused(&[good.clone(), good]), @"input 1: expected nothing, got f32 [1, 3, 2, 2]");
    }
}
