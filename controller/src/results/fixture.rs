//! Made-up results for tests: two devices, two runtimes, what a residual CNN might give. Nobody measured them.

use edgefront_protocol::results::{
    AccuracyRecord, ArtifactRecord, CertificationRecord, ConditionsRecord, CostRecord, DeviceRecord,
    EnergyRecord, FailedJob, LatencyRecord, LayerRecord, MemoryRecord, NodeRecord, PassRecord, RangesRecord,
    Record, Results, RoundRecord, SCHEMA, ScenarioRecord, SensitivityRecord, TrialRecord, VariantRecord,
};

use super::build::rounded;
use crate::frontier::{mark, objective};
use crate::stats::wilson;

/// Name, top-1 hits of 1,000, P50 on ort, P50 on tract, bytes.
const VARIANTS: [(&str, u64, f64, f64, u64); 7] = [
    ("fp32", 931, 2.41, 3.05, 612_000),
    ("fp16", 930, 2.66, 3.31, 309_000),
    ("ptq-int8", 921, 0.94, 4.62, 171_000),
    ("ptq-int8-pc", 926, 0.97, 6.88, 176_000),
    ("prune50", 894, 2.43, 3.02, 612_000),
    ("prune50-int8", 881, 0.95, 4.60, 171_000),
    ("prune30-int8", 915, 0.93, 4.55, 171_000),
];

pub(crate) fn results() -> Results {
    let mut records = Vec::new();
    for (device, slower, samples) in [("local", 1.0, 1_240), ("pi-kitchen", 6.3, 412)] {
        for (variant, hits, ort, tract, bytes) in VARIANTS {
            for (runtime, version, p50) in [("ort", "1.32.0", ort), ("tract", "0.23.9", tract)] {
                records.push(record(
                    device,
                    variant,
                    (runtime, version),
                    rounded(p50 * slower),
                    hits,
                    bytes,
                    samples,
                ));
            }
        }
    }
    let device = |id: &str, cpu: &str, cores, arch: &str| DeviceRecord {
        id: id.into(),
        cpu: cpu.into(),
        cores,
        arch: arch.into(),
        os: "Linux 6.1".into(),
        memory_bytes: 8_000_000_000,
    };
    let mut results = Results {
        schema: SCHEMA.into(),
        study: "made-up <fixture>".into(),
        objectives: Vec::new(),
        devices: vec![
            device("local", "Example CPU @ 2.6 GHz", 2, "x86_64"),
            device("pi-kitchen", "Cortex-A72", 4, "aarch64"),
        ],
        findings: Vec::new(),
        records,
        failed: vec![FailedJob {
            study: None,
            device: "pi-kitchen".into(),
            variant: "qat-int8".into(),
            runtime: "tract".into(),
            threads: None,
            batch: None,
            scenario: None,
            cpus: None,
            stage: "load".into(),
            error: "tract has no operator `QLinearAdd` (node `add<1>`); use the QDQ form".into(),
        }],
        unfinished: false,
        variants: variants(),
    };
    let objectives = ["latency_p50", "top1"].map(|name| objective::named(name).unwrap());
    mark(&mut results, &objectives);
    results
}

/// How one variant was made; the others are not known.
fn variants() -> Vec<VariantRecord> {
    let node = |node: &str, applied, why: &str| NodeRecord {
        node: node.into(),
        applied,
        why: why.into(),
    };
    let layer = |node: &str, sqnr_db, in_float| LayerRecord {
        node: node.into(),
        sqnr_db,
        in_float,
    };
    let trial = |method: &str, sqnr_db| TrialRecord {
        method: method.into(),
        sqnr_db,
    };
    let cost = |zeros| CostRecord {
        parameters: 152_000,
        weights: 150_000,
        zeros,
        macs: Some(9_400_000),
    };
    vec![VariantRecord {
        variant: "prune50-int8".into(),
        sha256: "ab".repeat(32),
        passes: vec![
            PassRecord {
                pass: "prune".into(),
                nodes: vec![node("conv<1>", true, "72 of 144 weights are zero")],
                cost: Some([cost(0), cost(75_000)]),
                sensitivity: None,
                ranges: None,
            },
            PassRecord {
                pass: "quantize".into(),
                nodes: vec![
                    node("conv<1>", true, "int8 weights per channel"),
                    node("softmax", false, "operator `Softmax` has no integer form"),
                ],
                cost: None,
                sensitivity: Some(SensitivityRecord {
                    measure: "top1".into(),
                    samples: 200,
                    max_drop: Some(0.01),
                    min_sqnr_db: Some(24.0),
                    drop_all_quantized: 0.035,
                    drop: 0.005,
                    sqnr_db_all_quantized: Some(20.7),
                    sqnr_db: Some(24.6),
                    layers: vec![layer("conv<1>", Some(17.3), true), layer("gemm", None, false)],
                }),
                ranges: Some(RangesRecord {
                    method: "mse".into(),
                    samples: 32,
                    trials: vec![trial("mse", Some(20.7)), trial("minmax", Some(20.3))],
                }),
            },
        ],
    }]
}

fn round(p50: f64, runs: u64, at: u32) -> RoundRecord {
    RoundRecord {
        p50,
        mean: rounded(p50 * 1.02),
        runs,
        position: 0,
        process: at,
        started: 1_764_000_000_000 + u64::from(at),
    }
}

fn record(
    device: &str,
    variant: &str,
    (runtime, version): (&str, &str),
    p50: f64,
    hits: u64,
    bytes: u64,
    samples: u64,
) -> Record {
    let share = |hits: u64| hits as f64 / 1_000.0;
    let unsteady = (variant == "fp16" && device == "local")
        .then(|| "unsteady: the medians of the rounds range from 2.500 ms to 3.300 ms".to_owned());
    Record {
        study: None,
        device: device.into(),
        variant: variant.into(),
        runtime: runtime.into(),
        provider: "cpu".into(),
        runtime_version: version.into(),
        threads: 1,
        batch: 1,
        artifact: ArtifactRecord {
            sha256: "ab".repeat(32),
            bytes,
            format: "onnx".into(),
        },
        latency_ms: LatencyRecord {
            p50,
            p90: Some(rounded(p50 * 1.05)),
            p95: Some(rounded(p50 * 1.08)),
            p99: Some(rounded(p50 * 1.25)),
            p999: None,
            mean: rounded(p50 * 1.02),
            min: rounded(p50 * 0.97),
            max: rounded(p50 * 1.9),
            samples,
            p50_ci95: Some([rounded(p50 * 0.996), rounded(p50 * 1.005)]),
            p99_certified: samples >= 662,
            p90_ci95: Some([rounded(p50 * 1.04), rounded(p50 * 1.06)]),
            p95_ci95: Some([rounded(p50 * 1.07), rounded(p50 * 1.1)]),
            p99_ci95: None,
            p999_ci95: None,
            mean_ci95: Some([rounded(p50 * 1.01), rounded(p50 * 1.03)]),
            bootstrap_seed: Some(0),
            round_spread: Some(0.004),
            round_spread_explained: Some(0.003),
            certification: vec![CertificationRecord {
                percentile: "p99".into(),
                certified: samples >= 662,
                missing: 662_u64.saturating_sub(samples),
            }],
            rounds: [0, 1].map(|at| round(p50, samples / 2, at)).to_vec(),
        },
        throughput_ips: rounded(1_000.0 / (p50 * 1.02)),
        accuracy: Some(AccuracyRecord {
            top1: share(hits),
            top5: share(hits + 60),
            samples: 1_000,
            top1_ci95: wilson::interval(hits, 1_000).unwrap().map(rounded),
            top5_ci95: wilson::interval(hits + 60, 1_000).unwrap().map(rounded),
            agreement_fp32: Some(share(hits + 40)),
            pack_samples: None,
            agreement_reference: None,
            reference: None,
            top1_drop: None,
            top1_drop_ci95: None,
            recall: Vec::new(),
            mean_recall: None,
            worst_recall: None,
            worst_output: None,
        }),
        energy: None,
        memory: MemoryRecord {
            peak_rss_mb: Some(48.5),
            net_peak_rss_mb: None,
            model_mb: None,
            pss_mb: None,
        },
        seed: Some(0),
        harness: None,
        load_ms: 21.5,
        cold_load_ms: None,
        first_inference_ms: None,
        conditions: ConditionsRecord {
            governor: Some("performance".into()),
            max_temp_c: Some(61.0),
            throttled: None,
            valid: unsteady.is_none(),
            emulated: false,
            notes: unsteady.into_iter().collect(),
            flagged_rounds: None,
            foreign_load: None,
            cpu_mhz: None,
            gpu_mhz: None,
            cpu_limit_mhz: None,
            power_mode: None,
            cool_down: None,
        },
        layers: Vec::new(),
        pareto: false,
        dominated_by: Vec::new(),
        not_ranked: None,
        explanation: None,
        scenario: None,
        cpus: Vec::new(),
        stopped: None,
        sustained: None,
    }
}

/// What a Jetson's own meter gave.
pub(crate) fn energy() -> EnergyRecord {
    EnergyRecord {
        mj_per_inference: 19.4,
        mean_w: 13.5,
        idle_w: Some(5.2),
        meter: "ina3221".into(),
        rail: Some("VDD_IN".into()),
        scope: "module".into(),
        estimated: false,
        mj_ci95: Some([19.1, 19.7]),
        net_mj_per_inference: Some(11.9),
        net_mj_ci95: Some([11.5, 12.3]),
    }
}

/// What a record tells of a scenario in which no rate was looked for.
pub(crate) fn scenario(name: &str, label: &str) -> ScenarioRecord {
    ScenarioRecord {
        name: name.into(),
        label: label.into(),
        samples_per_query: 1,
        seed: None,
        rate_qps: None,
        p99_bound_ms: None,
        probes: Vec::new(),
        best: false,
    }
}
