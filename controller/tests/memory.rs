//! Memory does not grow with the number of pictures.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use edgefront_optimizer::graph::build::Builder;
use edgefront_protocol::pack::{Pack, PictureShape};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const SIDE: usize = 64;
/// Bytes of a picture of floats.
const PICTURE: u64 = 4 * 3 * (SIDE * SIDE) as u64;
/// More than the samples of any batch.
const FEW: usize = 40;
const MANY: usize = 10 * FEW;

fn values(count: usize) -> Vec<f32> {
    let values = 0..count * 3 * SIDE * SIDE;
    values.map(|i| (i * 31 % 101) as f32 / 50.0 - 1.0).collect()
}

fn pack(count: usize) -> Vec<u8> {
    let picture = PictureShape {
        channels: 3,
        height: SIDE,
        width: SIDE,
    };
    Pack::from_floats(count, picture, &values(count))
        .unwrap()
        .encode()
}

fn npz(count: usize) -> Vec<u8> {
    let shape = format!("({count}, 3, {SIDE}, {SIDE})");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    let elements: Vec<u8> = values(count).iter().flat_map(|v| v.to_le_bytes()).collect();
    let array = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &elements].concat();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("images.npy", SimpleFileOptions::default())
        .unwrap();
    zip.write_all(&array).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Peak resident set of the command, in bytes, as last seen before it ended.
fn peak(folder: &Path, args: &[&str]) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgefront"));
    command.args(args).current_dir(folder).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    let ended = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kibibytes) = line.and_then(|line| line.trim().strip_suffix(" kB")) {
            peak = peak.max(kibibytes.parse::<u64>().unwrap() * 1024);
        }
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::yield_now();
    };
    assert!(ended.success() && peak > 0);
    peak
}

#[test]
fn calibration_holds_no_more_of_ten_times_the_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "3", "64", "64"]);
    let weights = b.floats(&[4, 3, 64, 64], &vec![0.01; 4 * 3 * 64 * 64]);
    let y = b.op("Conv", &[&x, &weights], &[]);
    write("model.onnx", &b.finish(&[&y]).encode());
    for (count, name) in [(FEW, "few"), (MANY, "many")] {
        write(&format!("{name}.safetensors"), &pack(count));
        write(&format!("{name}.npz"), &npz(count));
    }
    for form in ["safetensors", "npz"] {
        let [few, many] = ["few", "many"].map(|name| {
            let data = format!("{name}.{form}");
            peak(
                folder.path(),
                &["quantize", "model.onnx", "-o", "int8.onnx", "--calib", &data],
            )
        });
        let more = many.saturating_sub(few);
        let held = (MANY - FEW) as u64 * PICTURE;
        assert!(
            more < held / 3,
            "{form}: {more} bytes more for {held} bytes more of pictures"
        );
    }
}
