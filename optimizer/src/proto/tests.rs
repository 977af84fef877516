use proptest::prelude::*;
use prost::Message as _;

use super::ModelProto;
use crate::model::Model;

/// Messages and the fields through which the test reaches further messages.
const CHILDREN: &[(&str, &[(u32, &str)])] = &[
    (
        "Model",
        &[
            (7, "Graph"),
            (8, "Opset"),
            (14, "Entry"),
            (20, "Training"),
            (25, "Function"),
            (26, "Device"),
        ],
    ),
    (
        "Graph",
        &[
            (1, "Node"),
            (5, "Tensor"),
            (11, "ValueInfo"),
            (14, "Annotation"),
            (15, "Sparse"),
        ],
    ),
    ("Node", &[(5, "Attribute"), (9, "Entry"), (10, "NodeDevice")]),
    ("NodeDevice", &[(2, "Sharding")]),
    ("Sharding", &[(3, "IntList"), (4, "ShardedDim")]),
    ("ShardedDim", &[(2, "SimpleShardedDim")]),
    ("Attribute", &[(5, "Tensor"), (14, "Type"), (22, "Sparse")]),
    ("Sparse", &[(1, "Tensor"), (2, "Tensor")]),
    ("Tensor", &[(3, "Segment"), (13, "Entry")]),
    ("ValueInfo", &[(2, "Type")]),
    ("Type", &[(4, "Sequence")]),
    ("Sequence", &[(1, "TensorTypeHolder")]),
    ("TensorTypeHolder", &[(1, "TensorType")]),
    ("TensorType", &[(2, "Shape")]),
    ("Shape", &[(1, "Dimension")]),
    ("Annotation", &[(2, "Entry")]),
    ("Training", &[(3, "Entry")]),
    ("Function", &[(9, "Opset")]),
];

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn key(tag: u32, wire_type: u64, into: &mut Vec<u8>) {
    varint(u64::from(tag) << 3 | wire_type, into);
}

/// A message of this name with all its children, each message ending in `unknown`.
fn message(name: &str, unknown: &[u8]) -> Vec<u8> {
    let children = CHILDREN.iter().find(|(parent, _)| *parent == name);
    let mut bytes = Vec::new();
    for &(tag, child) in children.map_or(&[][..], |(_, children)| children) {
        let inner = message(child, unknown);
        key(tag, 2, &mut bytes);
        varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
    }
    bytes.extend_from_slice(unknown);
    bytes
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack
        .windows(needle.len())
        .filter(|window| *window == needle)
        .count()
}

/// A field of a number that no message knows, of any wire type, groups within groups included.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let tag = 1000_u32..(1 << 29);
    let leaf = prop_oneof![
        (tag.clone(), any::<u64>()).prop_map(|(tag, value)| {
            let mut bytes = Vec::new();
            key(tag, 0, &mut bytes);
            varint(value, &mut bytes);
            bytes
        }),
        (tag.clone(), any::<[u8; 8]>()).prop_map(|(tag, value)| {
            let mut bytes = Vec::new();
            key(tag, 1, &mut bytes);
            bytes.extend(value);
            bytes
        }),
        (tag.clone(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(tag, value)| {
            let mut bytes = Vec::new();
            key(tag, 2, &mut bytes);
            varint(value.len() as u64, &mut bytes);
            bytes.extend(value);
            bytes
        }),
        (tag.clone(), any::<[u8; 4]>()).prop_map(|(tag, value)| {
            let mut bytes = Vec::new();
            key(tag, 5, &mut bytes);
            bytes.extend(value);
            bytes
        }),
    ];
    leaf.prop_recursive(3, 8, 3, move |inner| {
        (tag.clone(), proptest::collection::vec(inner, 0..3)).prop_map(|(tag, fields)| {
            let mut bytes = Vec::new();
            key(tag, 3, &mut bytes);
            bytes.extend(fields.concat());
            key(tag, 4, &mut bytes);
            bytes
        })
    })
}

proptest! {
    #[test]
    fn what_a_newer_schema_adds_anywhere_survives(fields in proptest::collection::vec(field(), 1..4)) {
        let bytes = message("Model", &fields.concat());
        let decoded = ModelProto::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!(decoded.encoded_len(), bytes.len());
        prop_assert_eq!(decoded.encode_to_vec(), bytes);
    }

    #[test]
    fn it_also_survives_a_change(payload in proptest::collection::vec(any::<u8>(), 12)) {
        let mut unknown = Vec::new();
        key(5000, 2, &mut unknown);
        varint(12, &mut unknown);
        unknown.extend(&payload);
        let mut decoded = ModelProto::decode(message("Model", &unknown).as_slice()).unwrap();
        let before = count(&decoded.encode_to_vec(), &unknown);
        prop_assert!(before > 20);
        decoded.graph.as_mut().unwrap().node[0].name = Some("renamed".to_owned());
        decoded.graph.as_mut().unwrap().name = Some("graph".to_owned());
        prop_assert_eq!(count(&decoded.encode_to_vec(), &unknown), before);
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Model::decode(&bytes, None);
    }
}

#[test]
fn an_unknown_group_that_does_not_end_is_refused() {
    let mut bytes = Vec::new();
    key(1000, 3, &mut bytes);
    assert!(ModelProto::decode(bytes.as_slice()).is_err());
}

#[test]
fn an_unknown_length_beyond_the_file_is_refused() {
    let mut bytes = Vec::new();
    key(1000, 2, &mut bytes);
    varint(u64::MAX / 2, &mut bytes);
    assert!(ModelProto::decode(bytes.as_slice()).is_err());
}
