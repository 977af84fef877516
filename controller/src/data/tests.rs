use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use edgefront_optimizer::calibrate::Samples as _;
use edgefront_protocol::{Digest, Pack};
use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// Pictures, and torchvision's own tensors of them; see the script beside them.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/preprocess")
}

fn shape(channels: usize, height: usize, width: usize) -> PictureShape {
    PictureShape {
        channels,
        height,
        width,
    }
}

/// An `.npy` file's bytes.
fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), elements].concat()
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> tempfile::TempPath {
    let file = tempfile::Builder::new().suffix(".npz").tempfile().unwrap();
    let mut zip = ZipWriter::new(file);
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default())
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_temp_path()
}

fn labels(values: &[i64]) -> Vec<u8> {
    npy(
        "<i8",
        &format!("({},)", values.len()),
        &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>(),
    )
}

/// The data set with its labels.
fn load(path: &Path, preprocess: Option<&str>, model: PictureShape) -> Result<Pack, DataError> {
    let pictures = super::load(path, preprocess, model, Labels::Read, None)?;
    let pack = pictures.encode()?;
    assert_eq!(pictures.digest()?, Digest::of(&pack));
    Ok(Pack::decode(pack).unwrap())
}

/// The message, without the folder of temporary files.
fn message(path: &Path, preprocess: Option<&str>, model: PictureShape) -> String {
    let error = anyhow::Error::new(load(path, preprocess, model).unwrap_err());
    let folder = path.parent().unwrap().display().to_string();
    crate::ui::one_line(&error).replace(&format!("{folder}/"), "")
}

/// Checks that the photos under `preprocess` are torchvision's tensors in `reference`, and returns by how
/// much of a pixel's 255 steps they differ at most.
fn farthest(preprocess: &str, reference: &str, model: PictureShape) -> f32 {
    let ours = load(&fixtures().join("photos"), Some(preprocess), model).unwrap();
    let theirs = load(&fixtures().join(reference), None, model).unwrap();
    assert_eq!(ours.labels(), theirs.labels());
    assert_eq!(ours.classes(), ["colour", "other"]);
    let (ours, theirs) = (ours.input(0..ours.len()), theirs.input(0..theirs.len()));
    assert_eq!(ours.len(), theirs.len());
    // The smallest deviation is green's; it makes one step of a pixel largest.
    let step = 1.0 / 255.0 / 0.229;
    ours.iter()
        .zip(&theirs)
        .map(|(a, b)| (a - b).abs() / step)
        .fold(0.0, f32::max)
}

#[test]
fn photos_become_what_torchvision_makes_of_them() {
    assert!(farthest("imagenet", "imagenet.npz", shape(3, 32, 32)) < 1e-3);
}

#[test]
fn a_file_of_rules_does_what_torchvision_does() {
    let rules = fixtures().join("file.toml");
    assert!(farthest(rules.to_str().unwrap(), "file.npz", shape(3, 24, 40)) < 1e-3);
}

#[test]
fn the_first_pictures_of_a_folder_are_of_all_classes() {
    let pack = load(&fixtures().join("photos"), None, shape(3, 32, 32)).unwrap();
    assert_eq!(pack.labels().unwrap(), [0, 1, 0, 1, 0, 1, 0, 1, 1]);
}

#[test]
fn bytes_of_an_npz_are_resized_like_the_same_pictures_in_a_folder() {
    let photo = fixtures().join("photos/colour/1-wide.png");
    let pixels = image::open(photo).unwrap().to_rgb8();
    let path = npz(&[("images", npy("|u1", "(1, 61, 97, 3)", pixels.as_raw()))]);
    let model = shape(3, 32, 32);
    let array = load(&path, None, model).unwrap();
    let folder = load(&fixtures().join("photos"), None, model).unwrap();
    assert_eq!(array.input(0..1), folder.input(0..1));
    assert_eq!(array.labels(), None);
}

#[test]
fn without_a_model_an_array_keeps_its_size_and_photos_get_imagenets() {
    let path = npz(&[("images", npy("|u1", "(1, 4, 6, 3)", &[7; 72]))]);
    assert_eq!(picture(&path, None).unwrap(), shape(3, 4, 6));
    let photos = fixtures().join("photos");
    assert_eq!(picture(&photos, None).unwrap(), shape(3, 224, 224));
}

#[test]
fn what_is_not_finite_is_refused() {
    let values: Vec<u8> = [1.0_f32, 2.0, f32::NAN]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let path = npz(&[("images", npy("<f4", "(3, 1, 1, 1)", &values))]);
    let said = message(&path, None, shape(1, 1, 1));
    assert!(said.contains("NaN in picture 2"), "{said}");
}

#[test]
fn unit_divides_and_none_leaves_alone() {
    let path = npz(&[("images", npy("|u1", "(1, 1, 2, 1)", &[0, 255]))]);
    let model = shape(1, 1, 2);
    assert_eq!(load(&path, Some("unit"), model).unwrap().input(0..1), [0.0, 1.0]);
    assert_eq!(
        load(&path, Some("none"), model).unwrap().input(0..1),
        [0.0, 255.0]
    );
}

#[test]
fn planes_are_interleaved_where_the_rules_say_so() {
    let planes = [1, 2, 3, 4, 5, 6];
    let path = npz(&[("images", npy("|u1", "(1, 3, 1, 2)", &planes))]);
    let rules = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(rules.path(), "layout = \"nchw\"").unwrap();
    let pack = load(&path, rules.path().to_str(), shape(3, 1, 2)).unwrap();
    let expected: Vec<_> = planes.map(|p| f32::from(p) / 255.0).to_vec();
    assert_eq!(pack.input(0..1), expected);
}

#[test]
fn floats_enter_as_they_are() {
    let values: Vec<u8> = [0.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let path = npz(&[
        ("images", npy("<f4", "(2, 1, 1, 1)", &values)),
        ("labels", labels(&[3, 0])),
    ]);
    let pack = load(&path, None, shape(1, 1, 1)).unwrap();
    assert_eq!(pack.input(0..2), [0.5, -2.0]);
    assert_eq!(pack.labels(), Some(&[3, 0][..]));
}

#[test]
fn a_pack_comes_back_as_it_was_packed() {
    let model = shape(3, 32, 32);
    let pack = load_to_pack(&fixtures().join("photos"), None, Some([32, 32]), &|_, _| {}).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("val.safetensors");
    let bytes = pack.encode().unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(load(&path, None, model).unwrap().encode(), bytes);
    insta::assert_snapshot!(message(&path, None, shape(3, 64, 64)), @"val.safetensors: pictures are 3x32x32 and 3x64x64 are wanted; pack the pictures again with `edgefront pack --size`");
    insta::assert_snapshot!(message(&path, Some("unit"), model), @"val.safetensors: a pack has its preprocessing already; leave out `--preprocess unit`");
}

#[test]
fn pictures_of_an_array_have_its_channels_where_no_model_says_otherwise() {
    let floats = npz(&[("images", npy("<f4", "(2, 1, 3, 4)", &[0; 96]))]);
    assert_eq!(picture(&floats, None).unwrap(), shape(1, 3, 4));
    let bytes = npz(&[("images", npy("|u1", "(2, 3, 4, 1)", &[0; 24]))]);
    assert_eq!(picture(&bytes, Some("unit")).unwrap(), shape(1, 3, 4));
    let packed = load_to_pack(&bytes, Some("unit"), None, &|_, _| {}).unwrap();
    assert_eq!(packed.head().picture(), shape(1, 3, 4));
    assert!(message(&bytes, None, shape(1, 3, 4)).ends_with(
        "`imagenet` normalizes 3 channels and pictures of 1 are wanted; use `--preprocess unit`, or a file with a `mean` \
         and a `std` of each"
    ));
}

#[test]
fn an_npz_that_does_not_fit_says_what_to_do() {
    let two = npy("|u1", "(2, 1, 1, 3)", &[0; 6]);
    let model = shape(3, 1, 1);
    let say = |arrays: &[(&str, Vec<u8>)]| {
        let path = npz(arrays);
        let named = tempfile::tempdir().unwrap();
        let file = named.path().join("val.npz");
        fs::copy(&path, &file).unwrap();
        message(&file, None, model)
    };
    let messages = [
        say(&[("x", two.clone()), ("y", labels(&[0]))]),
        say(&[("images", two.clone()), ("labels", labels(&[0, 1, 1]))]),
        say(&[("images", two.clone()), ("labels", labels(&[0, -1]))]),
        say(&[("images", two.clone()), ("labels", npy("<f8", "(1,)", &[0; 8]))]),
        say(&[("images", npy("<f8", "(1, 1, 1, 1)", &[0; 8]))]),
        say(&[("images", npy("|u1", "(6,)", &[0; 6]))]),
        say(&[("images", npy("|u1", "(0, 1, 1, 3)", &[]))]),
        say(&[("images", npy("|u1", "(1, 2, 2, 1)", &[0; 4]))]),
        say(&[("images", npy("<f4", "(1, 3, 2, 2)", &[0; 48]))]),
        say(&[("images", npy("|u1", "(9, 1, 1, 3)", &[0; 6]))]),
        say(&[("images", npy("|u1", "(1, 1, 1, 3)", &[0; 6]))]),
        say(&[("images", b"not an array".to_vec())]),
        say(&[(
            "images",
            npy("|u1", "(9999999999, 9999999999, 9999999999, 3)", &[]),
        )]),
        say(&[("images", npy("|u1", "(999999999999, 1, 1, 3)", &[]))]),
        say(&[("images", npy("|u1", "(1, 3, 2, 4)", &[0; 24]))]),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn labels_that_do_not_matter_may_be_anything() {
    let images = || npy("|u1", "(2, 1, 1, 3)", &[1; 6]);
    for labels in [labels(&[7]), labels(&[-1, 0]), npy("<f4", "(2,)", &[0; 8])] {
        let path = npz(&[("images", images()), ("labels", labels)]);
        let pack = super::load(&path, None, shape(3, 1, 1), Labels::Ignore, None).unwrap();
        assert_eq!((pack.head().len(), pack.head().labels()), (2, None));
        assert!(picture(&path, None).is_ok());
    }
}

#[test]
fn other_files_and_rules_are_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
    };
    write("empty/.keep", b"");
    write("loose/a.png", b"");
    write("hollow/cats/.keep", b"");
    write("broken/cats/a.png", b"no picture");
    write("data.csv", b"1,2");
    write("broken.npz", b"no archive");
    write("extra.toml", b"resize = 40\nbrightness = 2");
    write("half.toml", b"mean = [0.5]");
    write("zero.toml", b"resize = 0");
    let path = |name: &str| folder.path().join(name);
    let photos = fixtures().join("photos");
    let model = shape(3, 32, 32);
    let mut messages: Vec<_> = [
        "absent.npz",
        "empty",
        "loose",
        "hollow",
        "broken",
        "data.csv",
        "broken.npz",
    ]
    .map(|name| message(&path(name), None, model))
    .to_vec();
    for rules in ["extra.toml", "half.toml", "zero.toml", "absent.toml"] {
        messages.push(message(&photos, path(rules).to_str(), model));
    }
    messages.push(message(&photos, Some("image-net"), model));
    messages.push(message(&photos, Some("unit"), model));
    let place = folder.path().display().to_string();
    let text = messages.join("\n").replace(&format!("{place}/"), "");
    insta::assert_snapshot!(text);
}

#[test]
fn a_jpeg_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let class = folder.path().join("only");
    fs::create_dir(&class).unwrap();
    let grey = image::RgbImage::from_pixel(16, 16, image::Rgb([90, 90, 90]));
    grey.save(class.join("plain.jpeg")).unwrap();
    let pack = load(folder.path(), Some("none"), shape(3, 16, 16)).unwrap();
    assert!(pack.input(0..1).iter().all(|value| (value - 90.0).abs() <= 1.0));
}

#[test]
fn deep_colours_keep_their_high_byte() {
    let folder = tempfile::tempdir().unwrap();
    let class = folder.path().join("only");
    fs::create_dir(&class).unwrap();
    let deep = image::ImageBuffer::from_pixel(2, 2, image::Rgb([0x01ffu16, 0x8000, 0xffff]));
    deep.save(class.join("deep.png")).unwrap();
    let pack = load(folder.path(), Some("none"), shape(3, 2, 2)).unwrap();
    assert_eq!(pack.input(0..1), [[1.0; 4], [128.0; 4], [255.0; 4]].concat());
}

#[test]
fn the_first_pictures_are_those_of_the_whole_set() {
    let folder = tempfile::tempdir().unwrap();
    let model = shape(1, 2, 2);
    let values: Vec<u8> = (0..5 * 4).flat_map(|v| (v as f32).to_le_bytes()).collect();
    let floats = npz(&[
        ("images", npy("<f4", "(5, 1, 2, 2)", &values)),
        ("labels", labels(&[4, 3, 2, 1, 0])),
    ]);
    let pixels: Vec<u8> = (0..5 * 36).collect();
    let resized = npz(&[("images", npy("|u1", "(5, 3, 4, 3)", &pixels))]);
    let pack = folder.path().join("all.safetensors");
    fs::write(&pack, load(&floats, None, model).unwrap().encode()).unwrap();
    let (floats, resized): (&Path, &Path) = (&floats, &resized);
    for (path, rule, model) in [
        (floats, None, model),
        (&pack, None, model),
        (resized, Some("imagenet"), shape(3, 2, 2)),
        (&fixtures().join("photos"), None, shape(3, 32, 32)),
    ] {
        let whole = super::load(path, rule, model, Labels::Read, None).unwrap();
        let first = super::load(path, rule, model, Labels::Read, Some(2)).unwrap();
        assert_eq!(first.head().len(), 2);
        assert_eq!(first.class(1), whole.class(1));
        let read = |pictures: &Pictures| pictures.sample(1).unwrap()[0].as_f32().unwrap().to_vec();
        assert_eq!(read(&first), read(&whole));
    }
}

#[test]
fn pictures_without_pixels_are_none_however_many() {
    for (descr, shape) in [
        ("|u1", "(1000000000000000000, 0, 3, 3)"),
        ("<f4", "(1000000000000000000, 3, 0, 3)"),
    ] {
        let file = npz(&[("images", npy(descr, shape, &[]))]);
        let error = load(&file, None, self::shape(3, 1, 1)).unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A damaged archive is an error or a data set, never a panic.
    #[test]
    fn damaged_archives_are_refused(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = fs::read(npz(&[
            ("images", npy("|u1", "(2, 1, 1, 3)", &[1; 6])),
            ("labels", labels(&[0, 1])),
        ])).unwrap();
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("val.npz");
        fs::write(&path, bytes).unwrap();
        let _ = load(&path, None, shape(3, 1, 1));
    }

    /// Rules of any content are refused or applied, never a panic.
    #[test]
    fn any_preprocessing_is_refused_or_applied(
        junk in "\\PC{0,20}",
        resize in prop_oneof![0..20i64, any::<i64>()],
        crop in [0..20i64, 0..20i64],
        mean in prop::collection::vec(any::<f32>(), 0..4),
    ) {
        let images = npz(&[("images", npy("|u1", "(1, 4, 5, 3)", &[7; 60]))]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.toml");
        let rules = [
            junk,
            format!("resize = {resize}"),
            format!("resize = {crop:?}\nmean = {mean:?}\nstd = {mean:?}"),
            format!("resize = {resize}\ncrop = {crop:?}\nlayout = 'nhwc'"),
        ];
        for text in rules {
            fs::write(&path, text).unwrap();
            let _ = load(&images, path.to_str(), shape(3, 4, 4));
        }
    }
}
