//! The tensors that a model is given.

use edgefront_runtimes::{Data, DataType, Port, Tensor};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::message::Feed;

/// Inputs that do not fit the model, in one line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct Misfit(String);

/// One tensor for each of `ports`.
pub(crate) fn tensors(feed: &Feed, ports: &[Port]) -> Result<Vec<Tensor>, Misfit> {
    match feed {
        Feed::Random { seed } => random(*seed, ports),
        Feed::Pictures { picture, values } => pictures(*picture, values.clone(), ports).map(|t| vec![t]),
    }
}

/// The tensor of as many pictures as the model's only input takes.
pub(crate) fn pictures(picture: [usize; 3], values: Vec<f32>, ports: &[Port]) -> Result<Tensor, Misfit> {
    let [channels, height, width] = picture;
    let [port] = ports else {
        return Err(Misfit(format!(
            "the model has {} inputs and a data set of pictures feeds one",
            ports.len()
        )));
    };
    let volume = channels * height * width;
    let count = values.len() / volume.max(1);
    let shape = vec![count, channels, height, width];
    if port.shape != shape {
        return Err(Misfit(format!(
            "input `{}` of the model is {:?} and the pictures are {shape:?}; make the data set for this model, \
             or give the batch that the model has",
            port.name, port.shape
        )));
    }
    let data = match port.data_type {
        DataType::F32 => Data::F32(values),
        DataType::F16 => Data::F16(values.into_iter().map(half::f16::from_f32).collect()),
        other => {
            return Err(Misfit(format!(
                "input `{}` of the model is {other:?} and pictures are floats",
                port.name
            )));
        }
    };
    Tensor::new(shape, data).map_err(|error| Misfit(error.to_string()))
}

/// Floats between -1 and 1, any byte, and 0 or 1 where integers may be indices.
fn random(seed: u64, ports: &[Port]) -> Result<Vec<Tensor>, Misfit> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    ports.iter().map(|port| random_tensor(&mut rng, port)).collect()
}

fn random_tensor(rng: &mut ChaCha8Rng, port: &Port) -> Result<Tensor, Misfit> {
    let n = port.shape.iter().product();
    let unit = |rng: &mut ChaCha8Rng| rng.random_range(-1.0_f32..1.0);
    let data = match port.data_type {
        DataType::F32 => Data::F32((0..n).map(|_| unit(rng)).collect()),
        DataType::F16 => Data::F16((0..n).map(|_| half::f16::from_f32(unit(rng))).collect()),
        DataType::I64 => Data::I64((0..n).map(|_| rng.random_range(0..=1)).collect()),
        DataType::I32 => Data::I32((0..n).map(|_| rng.random_range(0..=1)).collect()),
        DataType::I8 => Data::I8((0..n).map(|_| rng.random()).collect()),
        DataType::U8 => Data::U8((0..n).map(|_| rng.random()).collect()),
        DataType::Bool => Data::Bool((0..n).map(|_| rng.random()).collect()),
        other => {
            return Err(Misfit(format!(
                "input `{}` has type {other:?}, for which there are no random values",
                port.name
            )));
        }
    };
    Tensor::new(port.shape.clone(), data).map_err(|error| Misfit(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn port(data_type: DataType, shape: &[usize]) -> Port {
        Port {
            name: "x".to_owned(),
            data_type,
            shape: shape.to_vec(),
        }
    }

    #[test]
    fn random_values_are_those_of_their_seed() {
        let ports = [port(DataType::F32, &[2, 3]), port(DataType::I64, &[4])];
        let of = |seed| tensors(&Feed::Random { seed }, &ports).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(of(1)[1].shape(), [4]);
    }

    #[test]
    fn pictures_fill_the_only_input() {
        let values: Vec<f32> = (0..8).map(|v| v as f32).collect();
        let tensor = pictures([1, 2, 2], values.clone(), &[port(DataType::F32, &[2, 1, 2, 2])]).unwrap();
        assert_eq!(tensor.as_f32(), Some(values.as_slice()));
        let half = pictures([1, 2, 2], values, &[port(DataType::F16, &[2, 1, 2, 2])]).unwrap();
        assert_eq!(half.data_type(), DataType::F16);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let one = port(DataType::F32, &[1, 3, 4, 4]);
        let misfit = |ports: &[Port]| pictures([1, 2, 2], vec![0.0; 4], ports).unwrap_err().to_string();
        assert!(misfit(&[one.clone(), one.clone()]).starts_with("the model has 2 inputs"));
        assert!(
            misfit(&[one])
                .starts_with("input `x` of the model is [1, 3, 4, 4] and the pictures are [1, 1, 2, 2]")
        );
        assert!(misfit(&[port(DataType::U8, &[1, 1, 2, 2])]).contains("pictures are floats"));
    }
}
