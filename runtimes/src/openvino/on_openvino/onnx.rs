//! ONNX files of a few operators, written field by field. Numbers are those of `onnx.proto`.

/// `TensorProto.DataType`.
pub(super) const FLOAT: u64 = 1;
pub(super) const UINT8: u64 = 2;
pub(super) const INT8: u64 = 3;
pub(super) const INT64: u64 = 7;
pub(super) const FLOAT16: u64 = 10;
pub(super) const DOUBLE: u64 = 11;

/// An axis that the file leaves open.
pub(super) const OPEN: u64 = u64::MAX;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn message(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [
        varint(field << 3 | 2),
        varint(content.len() as u64),
        content.to_vec(),
    ]
    .concat()
}

/// `NodeProto`; an operator of another domain is written `domain.Operator`.
pub(super) fn node(operator: &str, inputs: &[&str], outputs: &[&str], integers: &[(&str, u64)]) -> Vec<u8> {
    let (domain, name) = operator.rsplit_once('.').unwrap_or(("", operator));
    let attribute = |&(name, value): &(&str, u64)| {
        let attribute = [message(1, name), number(3, value), number(20, 2)].concat();
        message(5, attribute)
    };
    let fields = [
        inputs.iter().flat_map(|name| message(1, name)).collect(),
        outputs.iter().flat_map(|name| message(2, name)).collect(),
        message(4, name),
        integers.iter().flat_map(attribute).collect(),
        message(7, domain),
    ];
    message(1, fields.concat())
}

/// An initializer with these bytes.
pub(super) fn constant(name: &str, element: u64, shape: &[u64], raw: &[u8]) -> Vec<u8> {
    message(5, [tensor(name, element, shape), message(9, raw)].concat())
}

/// An initializer whose bytes lie in another file.
pub(super) fn external(name: &str, element: u64, shape: &[u64], file: &str) -> Vec<u8> {
    let location = message(13, [message(1, "location"), message(2, file)].concat());
    message(
        5,
        [tensor(name, element, shape), location, number(14, 1)].concat(),
    )
}

fn tensor(name: &str, element: u64, shape: &[u64]) -> Vec<u8> {
    let extents: Vec<u8> = shape.iter().flat_map(|&extent| number(1, extent)).collect();
    [extents, number(2, element), message(8, name)].concat()
}

pub(super) fn input(name: &str, element: u64, shape: &[u64]) -> Vec<u8> {
    message(11, value(name, element, shape))
}

pub(super) fn output(name: &str, element: u64, shape: &[u64]) -> Vec<u8> {
    message(12, value(name, element, shape))
}

fn value(name: &str, element: u64, shape: &[u64]) -> Vec<u8> {
    let dimension = |&extent: &u64| {
        let extent = if extent == OPEN {
            message(2, "n")
        } else {
            number(1, extent)
        };
        message(1, extent)
    };
    let axes: Vec<u8> = shape.iter().flat_map(dimension).collect();
    let tensor = [number(1, element), message(2, axes)].concat();
    [message(1, name), message(2, message(1, tensor))].concat()
}

/// `ModelProto` of a graph with these fields.
pub(super) fn model(fields: &[Vec<u8>]) -> Vec<u8> {
    let opset = |domain: &str, version| message(8, [message(1, domain), number(2, version)].concat());
    // In the order in which every writer has them, for by it OpenVINO knows a file.
    [
        number(1, 9),
        message(7, [message(2, "g"), fields.concat()].concat()),
        opset("", 17),
        opset("my.own", 1),
    ]
    .concat()
}
