//! ONNX Runtime in a bare loop, on the settings that Edgefront gives a session: `bare_ort LIBRARY MODEL SECONDS SHAPE`, as
//! in `bare_ort libonnxruntime.so model.onnx 2 1x3x64x64`. Prints the median latency in milliseconds. What Edgefront
//! measures is held against it by `cargo xtask overhead`.
#![allow(clippy::print_stdout, reason = "its figure is its purpose")]

use std::error::Error;
use std::time::{Duration, Instant};

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, model, seconds, shape] = &arguments[..] else {
        return Err("usage: bare_ort LIBRARY MODEL SECONDS SHAPE".into());
    };
    let time = Duration::from_secs_f64(seconds.parse()?);
    let shape: Vec<usize> = shape.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let mut session = Session::builder(&environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .commit_from_file(model)?;
    let mut binding = session.create_binding()?;
    let name = session.inputs()[0].name().to_owned();
    let values = (0..shape.iter().product()).map(|at: usize| (at % 255) as f32 / 255.0);
    let input = Tensor::from_array((shape, values.collect::<Vec<f32>>()))?;
    binding.bind_input(&name, &input)?;
    let memory = MemoryInfo::new(
        AllocationDevice::CPU,
        0,
        AllocatorType::Device,
        MemoryType::CPUOutput,
    )?;
    let outputs: Vec<String> = session
        .outputs()
        .iter()
        .map(|output| output.name().to_owned())
        .collect();
    for output in outputs {
        binding.bind_output_to_device(&output, &memory)?;
    }
    let mut latencies = Vec::new();
    let mut timed_for = |time: Duration, kept: &mut Vec<Duration>| -> Result<(), ort::Error> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            let start = Instant::now();
            let outputs = session.run_binding(&binding)?;
            kept.push(start.elapsed());
            drop(outputs);
        }
        Ok(())
    };
    timed_for(Duration::from_millis(500), &mut Vec::new())?;
    timed_for(time, &mut latencies)?;
    latencies.sort_unstable();
    let median = latencies
        .get(latencies.len() / 2)
        .ok_or("the time is too short for one run")?;
    println!("{}", median.as_secs_f64() * 1e3);
    Ok(())
}
