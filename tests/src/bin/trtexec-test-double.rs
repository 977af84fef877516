//! A stand-in for NVIDIA's `trtexec` in the tests, which no machine of this project has. It is a test double and part of no
//! product: it takes the same flags, writes the same files in their public forms, and computes outputs on tract from the
//! inputs that it is given, so that a wrong binding shows. The times that it writes are made up and mean nothing.
//!
//! `TEST_DOUBLE_TENSORRT` is the number in its banner, `TEST_DOUBLE_GPU` the GPU's name, capability and multiprocessors,
//! `TEST_DOUBLE_LOG` a file to which it adds its command line, and `TEST_DOUBLE_LARGEST` the largest batch for which there
//! is memory.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use edgefront_optimizer::Model;
use edgefront_optimizer::proto::{DimensionValue, NodeProto, TypeValue, ValueInfoProto};
use edgefront_runtimes::{Data, DataType, Options, Port, Registry, Tensor};
use serde::{Deserialize, Serialize};

/// Flags with a value, and those without, that every version takes.
const VALUED: [&str; 15] = [
    "--onnx",
    "--saveEngine",
    "--loadEngine",
    "--minShapes",
    "--optShapes",
    "--maxShapes",
    "--shapes",
    "--loadInputs",
    "--exportOutput",
    "--exportProfile",
    "--exportTimes",
    "--iterations",
    "--duration",
    "--warmUp",
    "--useDLACore",
];
const BARE: [&str; 2] = ["--noTF32", "--exposeDMA"];

/// `TensorProto.INT8`.
const INT8: i32 = 3;

/// The latency of its inferences in milliseconds, which rises and falls by some microseconds.
const LATENCY: f64 = 0.52;

struct Double {
    version: u32,
    gpu: String,
    flags: BTreeMap<String, String>,
}

/// The first line of an engine; the model follows.
#[derive(Serialize, Deserialize, PartialEq)]
struct Head {
    version: u32,
    gpu: String,
    dla: Option<String>,
    shapes: Option<String>,
}

fn main() -> ExitCode {
    let variable = |name: &str, otherwise: &str| env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Ok(log) = env::var("TEST_DOUBLE_LOG") {
        let file = fs::File::options().append(true).create(true).open(log);
        writeln!(file.unwrap(), "{}", arguments.join(" ")).unwrap();
    }
    let flags = arguments.iter().map(|argument| match argument.split_once('=') {
        Some((flag, value)) => (flag.to_owned(), value.to_owned()),
        None => (argument.clone(), String::new()),
    });
    let double = Double {
        version: variable("TEST_DOUBLE_TENSORRT", "100300").parse().unwrap(),
        gpu: variable("TEST_DOUBLE_GPU", "Orin/8.7/16"),
        flags: flags.collect(),
    };
    let number = double.version;
    println!(
        "&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] # trtexec {}",
        arguments.join(" ")
    );
    let done = double.check_flags().and_then(|()| double.follow());
    let verdict = if done.is_ok() { "PASSED" } else { "FAILED" };
    if let Err(error) = &done {
        eprintln!("[11/28/2026-10:00:00] [E] {error}");
    }
    println!("&&&& {verdict} TensorRT.trtexec [TensorRT v{number}] # trtexec");
    if done.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Double {
    fn flag(&self, name: &str) -> Option<&str> {
        self.flags.get(name).map(String::as_str)
    }

    fn has(&self, name: &str) -> bool {
        self.flags.contains_key(name)
    }

    fn check_flags(&self) -> Result<(), String> {
        let own: &[&str] = match self.version {
            0..8600 => &["--buildOnly", "--fp16", "--int8", "--useSpinWait"],
            8600..100_000 => &["--skipInference", "--fp16", "--int8", "--useSpinWait"],
            100_000..110_000 => &[
                "--skipInference",
                "--fp16",
                "--int8",
                "--useSpinWait",
                "--stronglyTyped",
            ],
            _ => &[
                "--skipInference",
                "--stronglyTyped",
                "--includeDataTransfers",
                "--noCudaGraph",
                "--noSpinWait",
            ],
        };
        let is_known = |flag: &&String| [&VALUED[..], &BARE, own].concat().contains(&flag.as_str());
        match self.flags.keys().find(|flag| !is_known(flag)) {
            Some(unknown) => Err(format!("Unknown option: {unknown}")),
            None => Ok(()),
        }
    }

    fn follow(&self) -> Result<(), String> {
        let mut gpu = self.gpu.split('/');
        for key in ["Selected Device", "Compute Capability", "SMs"] {
            println!("[11/28/2026-10:00:00] [I] {key}: {}", gpu.next().unwrap());
        }
        match self.flag("--onnx") {
            Some(model) => self.build(Path::new(model)),
            None => self.infer(),
        }
    }

    fn head(&self, shapes: Option<&str>) -> Head {
        Head {
            version: self.version,
            gpu: self.gpu.clone(),
            dla: self.flag("--useDLACore").map(str::to_owned),
            shapes: shapes.map(str::to_owned),
        }
    }

    fn build(&self, path: &Path) -> Result<(), String> {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let model =
            Model::read(path).map_err(|error| format!("[TRT] ModelImporter.cpp:777: ERROR: {error}"))?;
        let is_quantized = model
            .graph()
            .node
            .iter()
            .any(|node| node.op_type() == "QuantizeLinear");
        if is_quantized && self.version < 100_000 && !self.has("--int8") {
            return Err("Q/DQ layers need the flag kINT8".to_owned());
        }
        check_integers(&model)?;
        let shapes = self.flag("--minShapes");
        if [self.flag("--optShapes"), self.flag("--maxShapes")] != [shapes; 2] {
            return Err("the profile has more than one shape".to_owned());
        }
        let ports = Self::ports(&model, shapes)?;
        let largest = env::var("TEST_DOUBLE_LARGEST").map_or(usize::MAX, |text| text.parse().unwrap());
        if ports.iter().any(|port| port.shape.first() > Some(&largest)) {
            return Err("[TRT] Error Code 2: OutOfMemory (no further information)".to_owned());
        }
        let head = serde_json::to_string(&self.head(shapes)).unwrap();
        let engine = [head.as_bytes(), b"\n", &bytes].concat();
        fs::write(self.flag("--saveEngine").ok_or("no engine is saved")?, engine)
            .map_err(|error| error.to_string())
    }

    fn infer(&self) -> Result<(), String> {
        let path = self
            .flag("--loadEngine")
            .ok_or("Model missing or format not recognized")?;
        let engine = fs::read(path).map_err(|_| format!("Error opening engine file: {path}"))?;
        let end = engine
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or("Engine deserialization failed")?;
        let head: Head =
            serde_json::from_slice(&engine[..end]).map_err(|_| "Engine deserialization failed")?;
        if head != self.head(self.flag("--shapes")) {
            return Err("The engine plan file is generated for another device, version or shape".to_owned());
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        fs::write(&file, &engine[end + 1..]).unwrap();
        let model = Model::read(&file).map_err(|error| error.to_string())?;
        let ports = Self::ports(&model, head.shapes.as_deref())?;
        if let Some(output) = self.flag("--exportOutput") {
            fs::write(output, self.outputs(&file, &ports)?).map_err(|error| error.to_string())?;
        }
        if let Some(times) = self.flag("--exportTimes") {
            fs::write(times, self.times()).map_err(|error| error.to_string())?;
        }
        if let Some(profile) = self.flag("--exportProfile") {
            fs::write(profile, Self::layers(&model)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// A hundredth of a millisecond for each node.
    fn layers(model: &Model) -> String {
        let layer = |node: &NodeProto| {
            format!(
                r#"{{ "name" : "{}", "timeMs" : 1, "averageMs" : 0.01 }}"#,
                node.name()
            )
        };
        let count = r#"{ "count" : 100 }"#.to_owned();
        let entries: Vec<_> = std::iter::once(count)
            .chain(model.graph().node.iter().map(layer))
            .collect();
        format!("[\n  {}\n]\n", entries.join("\n, "))
    }

    /// The inputs, open axes bound by the flag.
    fn ports(model: &Model, shapes: Option<&str>) -> Result<Vec<Port>, String> {
        let shapes: BTreeMap<&str, &str> = shapes
            .iter()
            .flat_map(|shapes| shapes.split(','))
            .filter_map(|entry| entry.rsplit_once(':'))
            .collect();
        let graph = model.graph();
        let has_value = |input: &&ValueInfoProto| {
            graph
                .initializer
                .iter()
                .any(|tensor| tensor.name() == input.name())
        };
        let port = |input: &ValueInfoProto| {
            let (data_type, axes) = declared(input).ok_or("an input is no tensor")?;
            let shape = match shapes.get(input.name()) {
                Some(text) => text.split('x').map(|extent| extent.parse().ok()).collect(),
                None => axes,
            };
            let shape: Option<Vec<usize>> = shape.into_iter().collect();
            Ok(Port {
                name: input.name().to_owned(),
                data_type,
                shape: shape.ok_or_else(|| format!("dynamic input {} has no shape", input.name()))?,
            })
        };
        graph
            .input
            .iter()
            .filter(|input| !has_value(input))
            .map(port)
            .collect()
    }

    /// What tract computes; zeros where nothing is copied back.
    fn outputs(&self, model: &Path, ports: &[Port]) -> Result<String, String> {
        let options = Options {
            provider: "cpu".to_owned(),
            threads: 1,
            inputs: ports.iter().map(|port| port.shape.clone()).collect(),
            batch: 1,
            spin: true,
            profile: false,
        };
        let registry = Registry::built_in();
        let words = |error: edgefront_runtimes::Error| error.to_string();
        let model = registry
            .get("tract")
            .and_then(|tract| tract.load(model, &options))
            .map_err(words)?;
        let inputs: Result<Vec<_>, _> = ports.iter().map(|port| self.input(port)).collect();
        let mut session = model.session().map_err(words)?;
        session.bind(&inputs?).map_err(words)?;
        session.run().map_err(words)?;
        let copies = self.version < 110_000 || self.has("--includeDataTransfers");
        let outputs = session.fetch().map_err(words)?;
        // In no order that the model knows.
        let named: Vec<_> = model.outputs().iter().zip(&outputs).rev().collect();
        let mut text = "[\n".to_owned();
        for (index, (name, output)) in named.into_iter().enumerate() {
            let extents = output
                .shape()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            let values = words_of(output, copies).join(", ");
            let begin = if index == 0 { "  " } else { ", " };
            writeln!(
                text,
                "{begin}{{ \"name\" : \"{name}\"\n  , \"dimensions\" : \"({extents})\""
            )
            .unwrap();
            writeln!(text, "  , \"values\" : [ {values} ]\n  }}").unwrap();
        }
        Ok(text + "]\n")
    }

    /// What `--loadInputs` names, of exactly as many bytes as the input has.
    fn input(&self, port: &Port) -> Result<Tensor, String> {
        let elements: usize = port.shape.iter().product();
        let files = self.flag("--loadInputs").unwrap_or_default().split(',');
        let mut files = files.filter_map(|entry| entry.rsplit_once(':'));
        let Some((_, file)) = files.find(|(name, _)| *name == port.name) else {
            return Ok(Tensor::zeros(port.data_type, port.shape.clone()).unwrap());
        };
        let bytes = fs::read(file).map_err(|_| format!("Cannot open file {file}!"))?;
        let is_narrow = port.data_type == DataType::I64 && self.version < 100_000;
        let width = if is_narrow { 4 } else { port.data_type.width() };
        if bytes.len() != elements * width {
            return Err(format!("Unexpected file size for input file: {file}"));
        }
        let data = match port.data_type {
            DataType::F32 => Data::F32(each(&bytes, f32::from_ne_bytes)),
            DataType::I64 if is_narrow => Data::I64(each(&bytes, |four| i32::from_ne_bytes(four).into())),
            DataType::I64 => Data::I64(each(&bytes, i64::from_ne_bytes)),
            DataType::I32 => Data::I32(each(&bytes, i32::from_ne_bytes)),
            DataType::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
            other => return Err(format!("the double has no inputs of {other}")),
        };
        Ok(Tensor::new(port.shape.clone(), data).unwrap())
    }

    /// As many as both flags want; far too short where one inference may begin before the last has ended.
    fn times(&self) -> String {
        let number = |flag: &str| {
            self.flag(flag)
                .and_then(|value| value.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        let base = if self.has("--exposeDMA") { LATENCY } else { 0.1 };
        let runs = number("--iterations")
            .max(number("--duration") * 1e3 / base)
            .ceil() as usize;
        let trace = |run: usize| {
            let latency = base + (run % 5) as f64 * 0.001;
            format!(
                "{{ \"startEnqMs\" : {}, \"latencyMs\" : {} }}",
                six(run as f64),
                six(latency)
            )
        };
        let traces: Vec<_> = (0..runs.max(1)).map(trace).collect();
        format!("[\n  {}\n]\n", traces.join("\n, "))
    }
}

/// Stored integers are signed bytes with zero in the middle.
fn check_integers(model: &Model) -> Result<(), String> {
    let graph = model.graph();
    let nodes = graph
        .node
        .iter()
        .filter(|node| node.op_type().ends_with("quantizeLinear") || node.op_type() == "QuantizeLinear");
    for node in nodes {
        let stored = |index: usize| {
            let name = node.input.get(index)?;
            graph.initializer.iter().find(|tensor| tensor.name() == name)
        };
        let values = stored(0).filter(|_| node.op_type() == "DequantizeLinear");
        if values.is_some_and(|tensor| tensor.data_type() != INT8) {
            return Err(format!(
                "{}: input has type Int32 but must have type Int8",
                node.input[0]
            ));
        }
        let zeros = stored(2).map(|tensor| (tensor.data_type(), tensor.integers().unwrap()));
        if zeros.is_some_and(|(kind, zeros)| kind != INT8 || zeros.iter().any(|&zero| zero != 0)) {
            return Err(format!(
                "{}: only symmetric quantization is supported",
                node.name()
            ));
        }
    }
    Ok(())
}

fn each<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .chunks_exact(N)
        .map(|chunk| value(chunk.try_into().unwrap()))
        .collect()
}

fn declared(value: &ValueInfoProto) -> Option<(DataType, Vec<Option<usize>>)> {
    let Some(TypeValue::TensorType(tensor)) = value.r#type.as_ref()?.value.as_ref() else {
        return None;
    };
    let data_type = match tensor.elem_type? {
        1 => DataType::F32,
        6 => DataType::I32,
        7 => DataType::I64,
        9 => DataType::Bool,
        _ => return None,
    };
    let axes = tensor
        .shape
        .as_ref()?
        .dim
        .iter()
        .map(|dimension| match dimension.value {
            Some(DimensionValue::DimValue(extent)) => usize::try_from(extent).ok(),
            _ => None,
        });
    Some((data_type, axes.collect()))
}

fn words_of(tensor: &Tensor, copies: bool) -> Vec<String> {
    let floats = |values: Vec<f64>| {
        values
            .into_iter()
            .map(|value| six(if copies { value } else { 0.0 }))
            .collect()
    };
    match tensor.data() {
        Data::F32(values) => floats(values.iter().map(|&value| value.into()).collect()),
        Data::F16(values) => floats(values.iter().map(|&value| value.to_f64()).collect()),
        Data::I64(values) => values.iter().map(ToString::to_string).collect(),
        Data::I32(values) => values.iter().map(ToString::to_string).collect(),
        Data::Bool(values) => values.iter().map(|&value| u8::from(value).to_string()).collect(),
        other => panic!("the double has no outputs of {:?}", other.data_type()),
    }
}

/// A number as a C++ stream writes it: six digits, without zeros at the end.
fn six(value: f64) -> String {
    if !value.is_finite() {
        return format!("{value}").to_lowercase();
    }
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if (-4..6).contains(&exponent) {
        trim(&format!("{value:.*}", (5 - exponent) as usize))
    } else {
        format!("{}e{exponent:+03}", trim(digits))
    }
}
