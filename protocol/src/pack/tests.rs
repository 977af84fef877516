use std::collections::HashMap;

use proptest::prelude::*;
use safetensors::Dtype;

use super::file::{HEADER, Stored};
use super::*;

const RGB_2X3: PictureShape = PictureShape {
    channels: 3,
    height: 2,
    width: 3,
};

fn halves(channels: usize) -> Normalization {
    Normalization {
        mean: vec![0.5; channels],
        std: vec![0.25; channels],
    }
}

fn two_pictures() -> Pack {
    Pack::from_bytes(2, RGB_2X3, (0..36).collect(), Some(halves(3))).unwrap()
}

/// A file with any header, to stand in for foreign writers.
fn file_with(header: Option<&str>, tensors: Vec<(&str, Stored)>) -> Vec<u8> {
    let metadata = header.map(|header| HashMap::from([(HEADER.to_owned(), header.to_owned())]));
    safetensors::serialize(tensors, metadata).unwrap()
}

fn images(dtype: Dtype, shape: &[usize], bytes: usize) -> (&'static str, Stored) {
    (
        "images",
        Stored {
            dtype,
            shape: shape.to_vec(),
            length: bytes,
            data: vec![0; bytes],
        },
    )
}

#[test]
fn bytes_become_normalized_planes() {
    let input = two_pictures().input(1..2);
    assert_eq!(input.len(), 18);
    // Channel 1 of pixel (row 1, column 2) of picture 1 is byte 18 + 5 * 3 + 1.
    let expected = (34.0_f32 / 255.0 - 0.5) / 0.25;
    assert_eq!(input[6 + 5].to_bits(), expected.to_bits());
}

#[test]
fn bytes_without_normalization_stay_as_they_are() {
    let pack = Pack::from_bytes(
        1,
        PictureShape {
            channels: 1,
            height: 1,
            width: 3,
        },
        vec![0, 7, 255],
        None,
    );
    assert_eq!(pack.unwrap().input(0..1), [0.0, 7.0, 255.0]);
}

#[test]
fn a_range_beyond_the_end_is_cut() {
    let pack = two_pictures();
    assert_eq!(pack.input(1..9), pack.input(1..2));
    assert!(pack.input(5..9).is_empty());
}

#[test]
fn the_first_pictures_keep_their_labels() {
    let head = two_pictures().with_labels(vec![4, 2]).unwrap().head;
    let first = head.clone().first(1);
    assert_eq!((first.len(), first.labels()), (1, Some(&[4][..])));
    assert_eq!(head.clone().first(9), head);
    assert_eq!(head.first(0).len(), 1);
}

#[test]
fn labels_are_checked() {
    let check = |labels| two_pictures().with_labels(labels).unwrap_err().to_string();
    assert_eq!(
        check(vec![1]),
        "1 labels for 2 pictures; one label a picture is needed"
    );
    assert_eq!(
        check(vec![1, -1]),
        "label -1 of picture 1 is negative; classes are counted from 0"
    );

    let pack = two_pictures().with_labels(vec![1, 9]).unwrap();
    assert!(pack.labels_for(10).is_ok());
    assert!(matches!(
        pack.labels_for(9),
        Err(PackError::LabelRange {
            index: 1,
            label: 9,
            classes: 9
        })
    ));
    assert!(pack.with_classes(vec!["only".to_owned()]).is_err());
    assert!(matches!(two_pictures().labels_for(10), Err(PackError::NoLabels)));
}

#[test]
fn parts_that_disagree_are_refused() {
    assert!(matches!(
        Pack::from_bytes(0, RGB_2X3, vec![], None),
        Err(PackError::Empty(_))
    ));
    assert!(matches!(
        Pack::from_bytes(1, RGB_2X3, vec![0; 17], None),
        Err(PackError::PixelCount { found: 17, .. })
    ));
    let huge = PictureShape {
        channels: usize::MAX,
        height: 2,
        width: 2,
    };
    assert!(matches!(
        Pack::from_bytes(1, huge, vec![0], None),
        Err(PackError::TooLarge(_))
    ));
    for bad in [
        halves(1),
        Normalization {
            mean: vec![0.0; 3],
            std: vec![0.0; 3],
        },
    ] {
        let pack = Pack::from_bytes(1, RGB_2X3, vec![0; 18], Some(bad));
        assert!(matches!(pack, Err(PackError::Normalization { channels: 3 })));
    }
}

#[test]
fn files_that_are_no_packs_are_refused() {
    let refusal = |file| Pack::decode(file).unwrap_err().to_string();
    let version_1 = Some(r#"{"major":1,"minor":0}"#);

    let again = "make the pack again with `edgefront pack`, from an image folder or an .npz";
    assert_eq!(
        refusal(vec![0; 7]),
        format!("not a safetensors file: too short; {again}")
    );
    let mut truncated = two_pictures().encode();
    truncated.pop();
    assert_eq!(
        refusal(truncated),
        format!("not a safetensors file: truncated, or bytes follow the last tensor; {again}")
    );
    assert!(refusal(file_with(None, vec![images(Dtype::U8, &[1, 1, 1, 1], 1)])).contains("edgefront pack"));
    assert_eq!(
        refusal(file_with(version_1, vec![])),
        format!("pack has no tensor `images`; {again}")
    );
    assert!(refusal(file_with(version_1, vec![images(Dtype::F64, &[1, 1, 1, 1], 8)])).contains("F64"));
    assert!(refusal(file_with(version_1, vec![images(Dtype::U8, &[1, 1], 1)])).contains("four axes"));
    assert!(refusal(file_with(version_1, vec![images(Dtype::F32, &[0, 1, 1, 1], 0)])).contains("empty"));
}

#[test]
fn a_newer_generation_is_refused_and_newer_fields_are_not() {
    let one = || vec![images(Dtype::U8, &[1, 1, 1, 1], 1)];
    let error = Pack::decode(file_with(Some(r#"{"major":2,"shape":"new"}"#), one())).unwrap_err();
    assert!(matches!(error, PackError::Version { found: 2 }));
    assert!(Pack::decode(file_with(Some(r#"{"major":1,"minor":7,"licence":"x"}"#), one())).is_ok());
}

#[test]
fn offsets_that_overflow_are_refused() {
    let max = u64::MAX;
    let header = format!(r#"{{"images":{{"dtype":"U8","shape":[{max}],"data_offsets":[0,{max}]}}}}"#);
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    assert!(matches!(Pack::decode(file), Err(PackError::Container(_))));
}

prop_compose! {
    fn any_pack()(count in 1_usize..4, channels in 1_usize..4, height in 1_usize..5, width in 1_usize..5)
        (
            picture in Just(PictureShape { channels, height, width }),
            count in Just(count),
            bytes in prop::collection::vec(any::<u8>(), count * channels * height * width),
            floats in any::<bool>(),
            normalized in any::<bool>(),
            labels in prop::option::of(prop::collection::vec(0_i64..5, count)),
            named in any::<bool>(),
        ) -> Pack
    {
        let pack = if floats {
            let values: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 3.0).collect();
            Pack::from_floats(count, picture, &values).unwrap()
        } else {
            Pack::from_bytes(count, picture, bytes, normalized.then(|| halves(picture.channels))).unwrap()
        };
        let pack = match labels {
            Some(labels) => pack.with_labels(labels).unwrap(),
            None => pack,
        };
        let names = (0..5).map(|class| format!("class {class}")).collect();
        if named { pack.with_classes(names).unwrap() } else { pack }
    }
}

proptest! {
    #[test]
    fn packs_survive_the_file(pack in any_pack()) {
        let file = pack.encode();
        prop_assert_eq!(&file, &pack.encode(), "the same pack must have the same digest");
        prop_assert_eq!(Pack::decode(file).unwrap(), pack);
    }

    #[test]
    fn arbitrary_bytes_never_panic(file in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = Pack::decode(file);
    }

    #[test]
    fn damaged_packs_never_panic(pack in any_pack(), position in any::<prop::sample::Index>(), byte: u8) {
        let mut file = pack.encode();
        let position = position.index(file.len());
        file[position] = byte;
        if let Ok(pack) = Pack::decode(file) {
            prop_assert_eq!(pack.input(0..pack.len()).len(), pack.len() * pack.picture().volume());
        }
    }
}
