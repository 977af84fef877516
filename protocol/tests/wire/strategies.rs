//! Generators of arbitrary messages.
//!
//! Each is written field by field, so that a new field fails to compile here until it is generated too.

use edgefront_protocol::blob::{Chunk, Want};
use edgefront_protocol::seal::Seal;
use edgefront_protocol::{
    Absence, Ack, Artifact, Batch, BatchId, Beside, BlobRef, Board, Bytes, Cancel, ClassCount, Conditions,
    ControllerId, CoolDown, Cooling, Device, DeviceId, Digest, Failure, ForeignLoad, Format, Governor,
    Harness, Health, Incarnation, Job, JobId, JobState, Latency, LayerTime, Lead, Measurement, Memory,
    Meters, Microjoules, Microwatts, Nanos, Outcome, PackBounds, PackCounts, Plan, Ppm, Precision, Presence,
    Probe, Processors, Progress, PublicKey, Rail, RailEnergy, Round, RoundState, RuntimeState, RuntimeStatus,
    Scenario, Scope, Score, SetAside, SignedBatch, Stage, Startup, Step, Stopped, Sustained, Target,
    Throttle, Topic, Trust, UnixMillis, Window, Worst,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const ID: &str = "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}";
const TEXT: &str = "\\PC{0,24}";

/// Any name of a device.
pub(crate) fn device_id() -> impl Strategy<Value = DeviceId> {
    ID.prop_map(|id| id.parse().unwrap())
}

fn controller_id() -> impl Strategy<Value = ControllerId> {
    ID.prop_map(|id| id.parse().unwrap())
}

fn batch_id() -> impl Strategy<Value = BatchId> {
    ID.prop_map(|id| id.parse().unwrap())
}

fn job_id() -> impl Strategy<Value = JobId> {
    ID.prop_map(|id| id.parse().unwrap())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn nanos() -> impl Strategy<Value = Nanos> {
    any::<u64>().prop_map(Nanos)
}

fn unix_millis() -> impl Strategy<Value = UnixMillis> {
    any::<u64>().prop_map(UnixMillis)
}

fn blob_ref() -> impl Strategy<Value = BlobRef> {
    (digest(), any::<u64>()).prop_map(|(digest, bytes)| BlobRef {
        digest,
        bytes: Bytes(bytes),
    })
}

fn target() -> impl Strategy<Value = Target> {
    let precision = prop_oneof![
        Just(Precision::Fp32),
        Just(Precision::Fp16),
        Just(Precision::Int8)
    ];
    (TEXT, TEXT, precision, any::<u32>(), any::<u32>()).prop_map(
        |(runtime, provider, precision, threads, batch)| Target {
            runtime,
            provider,
            precision,
            threads,
            batch,
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        any::<u32>(),
        nanos(),
        any::<u32>(),
        nanos(),
        nanos(),
        any::<u32>(),
        any::<bool>(),
        any::<u32>(),
        any::<u32>(),
        option::of((any::<u32>(), nanos()).prop_map(|(to_c, limit)| CoolDown { to_c, limit })),
        option::of(proptest::sample::select(&Governor::ALL[..])),
        (
            scenario(),
            processors(),
            any::<bool>(),
            option::of(nanos()),
            option::of(any::<u32>().prop_map(Ppm)),
        ),
    )
        .prop_map(
            |(
                warmup_runs,
                warmup_time,
                min_runs,
                min_time,
                max_time,
                rounds,
                layers,
                processes,
                max_load,
                cool_down,
                governor,
                (scenario, processors, race, sustained, accuracy_margin),
            )| Plan {
                warmup_runs,
                warmup_time,
                min_runs,
                min_time,
                max_time,
                rounds,
                layers,
                processes,
                max_load,
                cool_down,
                governor,
                scenario,
                processors,
                race,
                sustained,
                accuracy_margin,
            },
        )
}

fn processors() -> impl Strategy<Value = Processors> {
    prop_oneof![
        Just(Processors::All),
        Just(Processors::Big),
        Just(Processors::Little),
        any::<(u32, u32)>().prop_map(|(first, last)| Processors::Range { first, last }),
    ]
}

fn scenario() -> impl Strategy<Value = Scenario> {
    prop_oneof![
        Just(Scenario::Single),
        any::<u32>().prop_map(|samples| Scenario::Multi { samples }),
        Just(Scenario::Offline),
        (nanos(), any::<u64>()).prop_map(|(p99_bound, seed)| Scenario::Server { p99_bound, seed }),
    ]
}

fn probe() -> impl Strategy<Value = Probe> {
    (0.0..1e9f64, any::<u64>(), nanos(), any::<bool>()).prop_map(|(rate_qps, queries, p99, kept)| Probe {
        rate_qps,
        queries,
        p99,
        kept,
    })
}

fn job() -> impl Strategy<Value = Job> {
    let artifact = blob_ref().prop_map(|blob| Artifact {
        blob,
        format: Format::Onnx,
    });
    let inputs = vec(vec(any::<u64>(), 0..5), 0..3);
    (
        job_id(),
        TEXT,
        artifact,
        target(),
        inputs,
        [option::of(blob_ref()), option::of(blob_ref())],
        plan(),
    )
        .prop_map(
            |(id, variant, artifact, target, inputs, [validation, reference], plan)| Job {
                id,
                variant,
                artifact,
                target,
                inputs,
                validation,
                reference,
                plan,
            },
        )
}

/// Any batch.
pub(crate) fn batch() -> impl Strategy<Value = Batch> {
    (batch_id(), controller_id(), any::<u64>(), vec(job(), 0..4)).prop_map(|(id, controller, seed, jobs)| {
        Batch {
            id,
            controller,
            seed,
            jobs,
        }
    })
}

/// Any acknowledgement.
pub(crate) fn ack() -> impl Strategy<Value = Ack> {
    job_id().prop_map(|job| Ack { job })
}

/// Any cancellation.
pub(crate) fn cancel() -> impl Strategy<Value = Cancel> {
    batch_id().prop_map(|batch| Cancel { batch })
}

/// Any request for chunks.
pub(crate) fn want() -> impl Strategy<Value = Want> {
    (digest(), any::<u32>(), vec(any::<(u32, u32)>(), 0..8)).prop_map(|(digest, chunk_bytes, chunks)| Want {
        digest,
        chunk_bytes,
        chunks,
    })
}

/// Any chunk; its checksum need not be right.
pub(crate) fn chunk() -> impl Strategy<Value = Chunk> {
    (digest(), any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..512)).prop_map(
        |(digest, index, crc32, data)| Chunk {
            digest,
            index,
            crc32,
            data,
        },
    )
}

fn runtime_status() -> impl Strategy<Value = RuntimeStatus> {
    let ready =
        (TEXT, vec(TEXT, 0..3)).prop_map(|(version, providers)| RuntimeState::Ready { version, providers });
    let absent = TEXT.prop_map(|reason| RuntimeState::Absent(Absence { reason }));
    (TEXT, prop_oneof![ready, absent]).prop_map(|(name, state)| RuntimeStatus { name, state })
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    (unix_millis(), any::<u64>()).prop_map(|(since, nonce)| Incarnation { since, nonce })
}

fn device() -> impl Strategy<Value = Device> {
    let machine = (TEXT, TEXT, TEXT, TEXT, any::<u32>(), any::<u64>());
    let abilities = (vec(TEXT, 0..4), vec(runtime_status(), 0..4), incarnation());
    (device_id(), machine, abilities).prop_map(
        |(id, (agent_version, arch, os, cpu, cores, memory), (cpu_features, runtimes, incarnation))| Device {
            id,
            agent_version,
            arch,
            os,
            cpu,
            cores,
            memory: Bytes(memory),
            cpu_features,
            runtimes,
            incarnation,
        },
    )
}

fn board() -> impl Strategy<Value = Board> {
    let texts = [option::of(TEXT), option::of(TEXT), option::of(TEXT)];
    (texts, option::of(any::<u32>()), vec(TEXT, 0..3)).prop_map(
        |([model, governor, jetpack], max_mhz, gpus)| Board {
            model,
            governor,
            max_mhz,
            jetpack,
            gpus,
        },
    )
}

fn meters() -> impl Strategy<Value = Meters> {
    (vec(rail(), 0..3), vec(TEXT, 0..2)).prop_map(|(rails, faults)| Meters { rails, faults })
}

fn rail() -> impl Strategy<Value = Rail> {
    let step = prop_oneof![
        any::<u64>().prop_map(|step| Step::Power(Microwatts(step))),
        any::<u64>().prop_map(|step| Step::Energy(Microjoules(step))),
    ];
    let scope = proptest::sample::select(&Scope::ALL[..]);
    (
        TEXT,
        option::of(TEXT),
        scope,
        any::<(bool, bool)>(),
        option::of(step),
    )
        .prop_map(|(meter, name, scope, (is_total, is_estimate), step)| Rail {
            meter,
            name,
            scope,
            is_total,
            is_estimate,
            step,
        })
}

fn rail_energy() -> impl Strategy<Value = RailEnergy> {
    let window = || {
        (nanos(), any::<(u64, u32)>()).prop_map(|(time, (energy, readings))| Window {
            time,
            energy: Microjoules(energy),
            readings,
        })
    };
    (
        rail(),
        vec(option::of(window()), 0..3),
        option::of(window()),
        option::of(window()),
    )
        .prop_map(|(rail, rounds, idle_before, idle_after)| RailEnergy {
            rail,
            rounds,
            idle_before,
            idle_after,
        })
}

fn public_key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey::from_bytes)
}

fn trust() -> impl Strategy<Value = Trust> {
    prop_oneof![
        Just(Trust::NotTold),
        Just(Trust::Everybody),
        vec(public_key(), 0..3).prop_map(Trust::Controllers),
    ]
}

/// Any batch as it travels.
pub(crate) fn signed_batch() -> impl Strategy<Value = SignedBatch> {
    let seal = (public_key(), any::<[[u8; 32]; 2]>()).prop_map(|(key, signature)| Seal { key, signature });
    (batch(), option::of(seal)).prop_map(|(batch, seal)| SignedBatch { batch, seal })
}

/// Any presence.
pub(crate) fn presence() -> impl Strategy<Value = Presence> {
    prop_oneof![
        (device(), any::<u32>(), board(), trust(), meters(), health()).prop_map(
            |(device, count, board, trust, meters, health)| {
                Presence::Online(device, count, board, trust, meters, health)
            }
        ),
        (device_id(), incarnation(), any::<u32>()).prop_map(|(id, incarnation, count)| Presence::Offline(
            id,
            incarnation,
            count
        ))
    ]
}

/// Any progress.
pub(crate) fn progress() -> impl Strategy<Value = Progress> {
    let state = prop_oneof![
        Just(JobState::Queued),
        any::<(u64, u64)>().prop_map(|(have, total)| JobState::Fetching { have, total }),
        Just(JobState::Loading),
        any::<(u32, u32)>().prop_map(|(done, rounds)| JobState::Measuring { done, rounds }),
        Just(JobState::Scoring),
        Just(JobState::Ended),
    ];
    (batch_id(), job_id(), state).prop_map(|(batch, job, state)| Progress { batch, job, state })
}

fn failure() -> impl Strategy<Value = Failure> {
    let stage = prop_oneof![
        Just(Stage::Optimize),
        Just(Stage::Fetch),
        Just(Stage::Load),
        Just(Stage::Run),
        Just(Stage::Score),
        Just(Stage::Cancelled),
    ];
    (stage, TEXT).prop_map(|(stage, error)| Failure { stage, error })
}

fn round() -> impl Strategy<Value = Round> {
    let figures = (any::<u32>(), any::<u64>(), nanos(), nanos(), unix_millis());
    (figures, any::<u32>(), any::<[u64; 5]>()).prop_map(
        |((position, runs, total, p50, started), process, below)| Round {
            position,
            runs,
            total,
            p50,
            started,
            process,
            below,
        },
    )
}

fn throttling() -> impl Strategy<Value = Option<Vec<Throttle>>> {
    const CAUSES: [Throttle; 5] = [
        Throttle::UnderVoltage,
        Throttle::FrequencyCapped,
        Throttle::Throttled,
        Throttle::SoftTemperatureLimit,
        Throttle::OverCurrent,
    ];
    option::of(vec(proptest::sample::select(&CAUSES[..]), 0..3))
}

fn health() -> impl Strategy<Value = Health> {
    (option::of(any::<i16>()), throttling()).prop_map(|(temp_c, throttling)| Health { temp_c, throttling })
}

fn round_state() -> impl Strategy<Value = RoundState> {
    let celsius = || option::of(-100.0f32..200.0);
    let clocks = || option::of(any::<[u32; 2]>());
    let load = (
        0.0f32..64.0,
        0.0f32..64.0,
        option::of(0.0f32..64.0),
        any::<bool>(),
    )
        .prop_map(|(cores, stolen, waiting, is_excessive)| ForeignLoad {
            cores,
            stolen,
            waiting,
            is_excessive,
        });
    let cooling = (nanos(), any::<bool>()).prop_map(|(time, is_reached)| Cooling { time, is_reached });
    (
        [celsius(), celsius()],
        clocks(),
        clocks(),
        throttling(),
        option::of(load),
        option::of(cooling),
    )
        .prop_map(
            |(temp_c, cpu_mhz, gpu_mhz, throttling, load, cooling)| RoundState {
                temp_c,
                cpu_mhz,
                gpu_mhz,
                throttling,
                load,
                cooling,
            },
        )
}

fn latency() -> impl Strategy<Value = Latency> {
    (
        vec(any::<u8>(), 0..64),
        vec(round(), 0..4),
        any::<u32>(),
        any::<bool>(),
    )
        .prop_map(|(histogram, rounds, warmup_runs, ended_early)| Latency {
            histogram,
            rounds,
            warmup_runs,
            ended_early,
        })
}

fn measurement() -> impl Strategy<Value = Measurement> {
    let conditions = (
        option::of(TEXT),
        option::of(-100.0f32..200.0),
        vec(TEXT, 0..3),
        option::of(TEXT),
        option::of(any::<[u32; 2]>()),
        vec(round_state(), 0..3),
        vec(aside(), 0..2),
    )
        .prop_map(
            |(governor, max_temp_c, notes, power_mode, cpu_limit_mhz, rounds, set_aside)| Conditions {
                governor,
                max_temp_c,
                notes,
                power_mode,
                cpu_limit_mhz,
                rounds,
                set_aside,
            },
        );
    let peak_rss = option::of(any::<u64>().prop_map(Bytes));
    (
        TEXT,
        TEXT,
        latency(),
        nanos(),
        peak_rss,
        option::of(score()),
        conditions,
        vec(rail_energy(), 0..3),
        harness(),
        memory_and_startup(),
        vec(layer_time(), 0..3),
        (
            scenario(),
            vec(probe(), 0..3),
            vec(any::<u32>(), 0..3),
            option::of(stopped()),
            option::of(sustained()),
        ),
    )
        .prop_map(
            |(
                runtime_version,
                provider,
                latency,
                load,
                peak_rss,
                score,
                conditions,
                energy,
                harness,
                (memory, startup),
                layers,
                (scenario, probes, processors, stopped, sustained),
            )| {
                Measurement {
                    runtime_version,
                    provider,
                    latency,
                    load,
                    peak_rss,
                    memory,
                    startup,
                    score,
                    conditions,
                    energy,
                    harness,
                    layers,
                    scenario,
                    probes,
                    processors,
                    stopped,
                    sustained,
                }
            },
        )
}

fn aside() -> impl Strategy<Value = SetAside> {
    (round(), round_state()).prop_map(|(round, state)| SetAside { round, state })
}

fn score() -> impl Strategy<Value = Score> {
    let class = (any::<u32>(), any::<u32>()).prop_map(|(pictures, hits)| ClassCount { pictures, hits });
    (
        any::<[u64; 2]>(),
        vec(any::<u32>(), 0..16),
        vec(any::<u32>(), 0..16),
        vec(class, 0..4),
        option::of(beside()),
    )
        .prop_map(
            |([top1_hits, top5_hits], predictions, pictures, classes, beside)| Score {
                top1_hits,
                top5_hits,
                predictions,
                pictures,
                classes,
                beside,
            },
        )
}

fn beside() -> impl Strategy<Value = Beside> {
    let worst = (any::<[u32; 3]>(), [-1e9f32..1e9, -1e9f32..1e9, 0.0f32..1e9]);
    let worst = worst.prop_map(
        |([pictures, picture, class], [output, reference, magnitude])| Worst {
            pictures,
            picture,
            class,
            output,
            reference,
            magnitude,
        },
    );
    let interval = || [-1.0..1.0f64, -1.0..1.0f64];
    let bounds = (interval(), interval()).prop_map(|(top1, top5)| PackBounds { top1, top5 });
    let pack = any::<[u64; 3]>().prop_map(|[pictures, top1_hits, top5_hits]| PackCounts {
        pictures,
        top1_hits,
        top5_hits,
    });
    (
        any::<[u64; 7]>(),
        pack,
        option::of(bounds),
        option::of(worst),
        any::<String>(),
    )
        .prop_map(
            |([top1_hits, top5_hits, lost, won, top5_lost, top5_won, agreeing], pack, bounds, worst, by)| {
                Beside {
                    top1_hits,
                    top5_hits,
                    lost,
                    won,
                    top5_lost,
                    top5_won,
                    agreeing,
                    pack,
                    bounds,
                    worst,
                    by,
                }
            },
        )
}

fn stopped() -> impl Strategy<Value = Stopped> {
    let lead = || (0.0..1e3f64, 0.0..1e3f64).prop_map(|(ratio, at_least)| Lead { ratio, at_least });
    (
        job_id(),
        any::<[u32; 2]>(),
        0.0..1.0f64,
        lead(),
        lead(),
        option::of(lead()),
    )
        .prop_map(|(by, [rounds, of], chance, median, mean, energy)| Stopped {
            by,
            rounds,
            of,
            chance,
            median,
            mean,
            energy,
        })
}

fn sustained() -> impl Strategy<Value = Sustained> {
    (nanos(), vec(aside(), 0..2)).prop_map(|(time, warming)| Sustained { time, warming })
}

fn layer_time() -> impl Strategy<Value = LayerTime> {
    (TEXT, TEXT, nanos()).prop_map(|(name, operator, time)| LayerTime { name, operator, time })
}

fn memory_and_startup() -> impl Strategy<Value = (Memory, Startup)> {
    let bytes = || option::of(any::<u64>().prop_map(Bytes));
    let memory = (bytes(), bytes(), bytes()).prop_map(|(harness, model, pss)| Memory { harness, model, pss });
    let startup = (option::of(nanos()), option::of(nanos()));
    let startup = startup.prop_map(|(cold_load, first_run)| Startup { cold_load, first_run });
    (memory, startup)
}

fn harness() -> impl Strategy<Value = Harness> {
    let rss = option::of(any::<u64>().prop_map(Bytes));
    (nanos(), nanos(), rss).prop_map(|(time, cpu, rss)| Harness { time, cpu, rss })
}

/// Any outcome.
pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    let result = prop_oneof![measurement().prop_map(Ok), failure().prop_map(Err)];
    (job_id(), batch_id(), device_id(), result).prop_map(|(job, batch, device, result)| Outcome {
        job,
        batch,
        device,
        result,
    })
}

/// Any topic.
pub(crate) fn topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        device_id().prop_map(Topic::Presence),
        device_id().prop_map(Topic::Batch),
        device_id().prop_map(Topic::Cancel),
        device_id().prop_map(Topic::Ack),
        device_id().prop_map(Topic::Chunk),
        (controller_id(), device_id()).prop_map(|(c, d)| Topic::Progress(c, d)),
        (controller_id(), device_id()).prop_map(|(c, d)| Topic::Outcome(c, d)),
        (controller_id(), device_id()).prop_map(|(c, d)| Topic::Want(c, d)),
    ]
}
