//! A file's tables as plain values, checked for what every reader relies on.

use crate::convert::tflite::reading::Reader;
use crate::convert::tflite::{Options, convert};
use crate::model::Model;

/// Numbers of element types in the schema, and their bytes.
const FLOAT32: u8 = 0;
const FLOAT16: u8 = 1;
const INT32: u8 = 2;
pub(super) const INT8: u8 = 9;

pub(super) struct Parsed {
    pub(super) tensors: Vec<Tensor>,
    pub(super) operators: Vec<Operator>,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
    pub(super) axes: String,
}

pub(super) struct Tensor {
    pub(super) kind: u8,
    pub(super) shape: Vec<i32>,
    pub(super) data: Vec<u8>,
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i64>,
    pub(super) axis: i32,
}

pub(super) struct Operator {
    pub(super) code: i32,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
}

/// Converts a model and reads the file.
pub(super) fn converted(model: &Model, half: bool) -> Parsed {
    let bytes = convert(
        model,
        &Options {
            half,
            ..Options::default()
        },
    )
    .unwrap()
    .bytes;
    let parsed = Parsed::of(&bytes);
    parsed.check();
    parsed
}

impl Parsed {
    fn of(bytes: &[u8]) -> Self {
        assert_eq!(&bytes[4..8], b"TFL3");
        let root = Reader::root(bytes);
        assert_eq!(root.int(0), 3, "version of the schema");
        let buffers = root.tables(4);
        assert!(buffers[0].bytes(0).is_empty(), "the first buffer is empty");
        let codes: Vec<i32> = root.tables(1).iter().map(|code| code.int(3)).collect();
        let graph = root.tables(2)[0];
        let tensor = |table: &Reader| {
            let quantization = table.child(4);
            Tensor {
                kind: table.byte(1),
                shape: table.ints(0),
                data: buffers[table.int(2) as usize].bytes(0).to_vec(),
                scales: quantization.map_or_else(Vec::new, |found| found.floats(2)),
                zero_points: quantization.map_or_else(Vec::new, |found| found.longs(3)),
                axis: quantization.map_or(0, |found| found.int(6)),
            }
        };
        let operator = |table: &Reader| Operator {
            code: codes[table.int(0) as usize],
            inputs: table.ints(1),
            outputs: table.ints(2),
        };
        let metadata = root.tables(6)[0];
        assert_eq!(metadata.text(0), "edgefront.axes");
        let axes = buffers[metadata.int(1) as usize].bytes(0);
        Self {
            tensors: graph.tables(0).iter().map(tensor).collect(),
            operators: graph.tables(3).iter().map(operator).collect(),
            inputs: graph.ints(1),
            outputs: graph.ints(2),
            axes: String::from_utf8(axes.to_vec()).unwrap(),
        }
    }

    /// Constants have as many bytes as their shape says, and each value is made once and before it is read.
    fn check(&self) {
        let mut known: Vec<bool> = self
            .tensors
            .iter()
            .map(|tensor| !tensor.data.is_empty())
            .collect();
        for tensor in self.tensors.iter().filter(|tensor| !tensor.data.is_empty()) {
            let size = match tensor.kind {
                FLOAT32 | INT32 => 4,
                FLOAT16 => 2,
                INT8 => 1,
                other => panic!("unexpected element type {other}"),
            };
            let count: i32 = tensor.shape.iter().product();
            assert_eq!(count as usize * size, tensor.data.len());
            assert_eq!(tensor.scales.len(), tensor.zero_points.len());
            if tensor.scales.len() > 1 {
                assert_eq!(tensor.shape[tensor.axis as usize] as usize, tensor.scales.len());
            }
        }
        for &input in &self.inputs {
            known[input as usize] = true;
        }
        for operator in &self.operators {
            for &input in &operator.inputs {
                assert!(known[input as usize], "an operator reads what is not made yet");
            }
            for &output in &operator.outputs {
                assert!(!known[output as usize], "a tensor is made twice");
                known[output as usize] = true;
            }
        }
        assert!(self.outputs.iter().all(|&output| known[output as usize]));
    }

    /// The numbers of the operators, in the order in which they run.
    pub(super) fn codes(&self) -> Vec<i32> {
        self.operators.iter().map(|operator| operator.code).collect()
    }

    pub(super) fn input_shape(&self) -> &[i32] {
        &self.tensors[self.inputs[0] as usize].shape
    }

    pub(super) fn output(&self) -> &Tensor {
        &self.tensors[self.outputs[0] as usize]
    }

    /// Input `index` of the only operator of that number.
    pub(super) fn input_of(&self, code: i32, index: usize) -> &Tensor {
        let mut found = self.operators.iter().filter(|operator| operator.code == code);
        let operator = found.next().unwrap();
        assert!(found.next().is_none());
        &self.tensors[operator.inputs[index] as usize]
    }

    /// The output of the only operator of that number.
    pub(super) fn output_of(&self, code: i32) -> &Tensor {
        let operator = self.operators.iter().find(|operator| operator.code == code);
        &self.tensors[operator.unwrap().outputs[0] as usize]
    }
}

impl Tensor {
    pub(super) fn floats(&self) -> Vec<f32> {
        assert_eq!(self.kind, FLOAT32);
        let words = self.data.chunks_exact(4);
        words
            .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    }

    pub(super) fn is_half(&self) -> bool {
        self.kind == FLOAT16
    }
}
