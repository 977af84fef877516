//! What stands around gates, whose integers are written in one way and read in another.

use super::*;

#[test]
fn what_reads_a_gate_reads_its_result() {
    for reader in [
        "MaxPool",
        "Transpose",
        "Flatten",
        "Relu",
        "Exp",
        "Softmax",
        "Sub",
        "Conv",
        "Mul",
        "HardSigmoid",
    ] {
        for shared in [false, true] {
            let (mut n, x) = Network::new(17);
            let stem = n.conv(&x, [8, 3, 3], 1);
            let before = n.conv(&stem, [4, 8, 1], 1);
            let slope = AttributeProto::from_float("alpha", 0.3);
            let gate = n.b.op("HardSigmoid", &[&before], &[slope]);
            let one = n.b.floats(&[], &[1.0]);
            let read = match reader {
                "MaxPool" => n.b.op(
                    reader,
                    &[&gate],
                    &[AttributeProto::from_ints("kernel_shape", &[1, 1])],
                ),
                "Transpose" => n.b.op(
                    reader,
                    &[&gate],
                    &[AttributeProto::from_ints("perm", &[0, 1, 3, 2])],
                ),
                "Sub" => n.b.op(reader, &[&one, &gate], &[]),
                "Conv" => n.conv(&gate, [4, 4, 3], 1),
                "Mul" => n.b.op(reader, &[&before, &gate], &[]),
                "Flatten" => {
                    let flat = n.b.op(reader, &[&gate], &[]);
                    let shape = n.b.ints(&[-1, 4, 8, 8]);
                    n.b.op("Reshape", &[&flat, &shape], &[])
                }
                _ => n.b.op(reader, &[&gate], &[]),
            };
            // A value that is stored in its own range too leaves a node between the two ways.
            let read = if shared {
                n.b.op("Add", &[&read, &before], &[])
            } else {
                read
            };
            let last = n.conv(&read, [4, 4, 3], 1);
            let model = n.b.finish(&[&last]);
            for activations in [Activations::U8, Activations::S8] {
                let (int8, _) = quantized(&model, &options(true, activations), &PICTURES(12)).unwrap();
                check(&int8).unwrap();
                let decibels = fidelity(&model, &int8, &PICTURES(0));
                assert!(
                    decibels > 28.0,
                    "{reader}, {shared}, {activations:?}: {decibels} dB"
                );
            }
        }
    }
}

#[test]
fn a_gate_that_is_the_answer_is_the_answer() {
    for before in ["Relu", "MaxPool", "Add"] {
        let (mut n, x) = Network::new(17);
        let stem = n.conv(&x, [8, 3, 3], 1);
        let y = n.conv(&stem, [4, 8, 1], 1);
        let y = match before {
            "Add" => n.b.op(before, &[&y, &y], &[]),
            "MaxPool" => {
                let kernel = [AttributeProto::from_ints("kernel_shape", &[1, 1])];
                n.b.op(before, &[&y], &kernel)
            }
            _ => n.b.op(before, &[&y], &[]),
        };
        let gate = n.b.op("HardSigmoid", &[&y], &[]);
        let model = n.b.finish(&[&gate]);
        let (int8, _) = quantized(&model, &options(true, Activations::U8), &PICTURES(12)).unwrap();
        let decibels = fidelity(&model, &int8, &PICTURES(0));
        assert!(decibels > 28.0, "{before}: {decibels} dB");
    }
}
