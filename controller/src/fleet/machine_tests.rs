use std::collections::BTreeMap;

use edgefront_protocol::{Board, Failure, Health, JobState, Meters, Stage, Trust};
use proptest::prelude::*;

use super::*;
use crate::store::fixture::{batch, device, id, incarnation, outcome};

const PATIENCE: Duration = Duration::from_mins(10);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn online(name: &str) -> Event {
    Event::Presence(Presence::Online(
        device(name),
        1,
        Board::default(),
        Trust::default(),
        Meters::default(),
        Health::default(),
    ))
}

fn offline(name: &str) -> Event {
    Event::Presence(Presence::Offline(id(name), incarnation(), 1))
}

fn ended(name: &str, job: &str) -> Event {
    Event::Outcome(id(name), outcome(job, "no memory"))
}

/// Two jobs on `pi`, one on `orin`.
fn fleet() -> Fleet {
    let open = vec![
        (id("pi"), batch("b1", &["j1", "j2"])),
        (id("orin"), batch("b2", &["j3"])),
    ];
    Fleet::new(open, vec![(id("pi"), id("b0"))], PATIENCE)
}

fn sent(effects: &[Effect]) -> Vec<(&str, usize)> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send(_, batch) => Some((batch.id.as_str(), batch.jobs.len())),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_device_is_told_all_that_is_open_whenever_it_comes() {
    let mut fleet = fleet();
    assert_eq!(
        fleet.handle(at(0), Event::Connected),
        [Effect::Cancel(id("pi"), id("b0"))]
    );
    assert_eq!(sent(&fleet.handle(at(0), online("pi"))), [("b1", 2)]);
    fleet.handle(at(1), ended("pi", "j1"));
    assert_eq!(sent(&fleet.handle(at(2), online("pi"))), [("b1", 1)]);
    fleet.handle(at(3), ended("pi", "j2"));
    assert_eq!(sent(&fleet.handle(at(4), online("pi"))), []);
    assert_eq!(fleet.handle(at(4), online("stranger")), []);
}

#[test]
fn an_outcome_is_stored_before_it_is_acknowledged_and_only_once() {
    let mut fleet = fleet();
    let ack = Effect::Ack(id("pi"), id("j1"));
    let first = fleet.handle(at(0), ended("pi", "j1"));
    assert_eq!(
        first[..2],
        [Effect::Store(Box::new(outcome("j1", "no memory"))), ack.clone()]
    );
    assert_eq!(fleet.handle(at(1), ended("pi", "j1")), [ack]);
    assert_eq!(
        fleet.handle(at(1), ended("pi", "j0")),
        [Effect::Ack(id("pi"), id("j0"))]
    );
}

#[test]
fn the_study_is_done_when_every_job_has_ended_or_its_device_is_given_up() {
    let mut fleet = fleet();
    fleet.handle(at(0), online("pi"));
    fleet.handle(at(0), online("orin"));
    fleet.handle(at(1), ended("pi", "j1"));
    fleet.handle(at(1), ended("pi", "j2"));
    assert_eq!(fleet.handle(at(10), offline("orin")), [Effect::Away(id("orin"))]);
    assert_eq!(fleet.handle(at(20), offline("orin")), []);
    assert_eq!(fleet.handle(at(609), Event::Tick), []);
    assert!(!fleet.is_done());
    assert_eq!(
        fleet.handle(at(610), Event::Tick),
        [Effect::GaveUp(id("orin"), Lost::OutOfReach)]
    );
    assert_eq!(fleet.handle(at(611), Event::Tick), []);
    assert!(fleet.is_done());
    assert_eq!(Vec::from_iter(fleet.open_jobs()), [&id("j3")]);
}

#[test]
fn a_sign_of_life_restarts_the_clock_of_a_device_that_is_away() {
    let mut fleet = fleet();
    fleet.handle(at(0), online("orin"));
    fleet.handle(at(10), offline("orin"));
    let step = Progress {
        batch: id("b2"),
        job: id("j3"),
        state: JobState::Loading,
    };
    fleet.handle(at(500), Event::Progress(id("orin"), step));
    assert_eq!(
        fleet.handle(at(1_099), Event::Tick),
        [Effect::GaveUp(id("pi"), Lost::OutOfReach)]
    );
    assert_eq!(
        fleet.handle(at(1_100), Event::Tick),
        [Effect::GaveUp(id("orin"), Lost::OutOfReach)]
    );
}

#[test]
fn a_device_that_went_before_the_broker_did_is_the_one_to_start() {
    let mut fleet = fleet();
    fleet.handle(at(0), online("pi"));
    fleet.handle(at(0), online("orin"));
    fleet.handle(at(10), offline("orin"));
    fleet.handle(at(100), Event::Interrupted);
    fleet.handle(at(200), Event::Interrupted);
    let orin = Effect::GaveUp(id("orin"), Lost::OutOfReach);
    assert_eq!(fleet.handle(at(610), Event::Tick), [orin]);
    let pi = Effect::GaveUp(id("pi"), Lost::NoBroker);
    assert_eq!(fleet.handle(at(700), Event::Tick), [pi]);
}

#[test]
fn without_a_broker_every_device_is_away_and_one_that_comes_back_is_sent_its_jobs() {
    let mut fleet = fleet();
    fleet.handle(at(0), online("pi"));
    fleet.handle(at(0), online("orin"));
    fleet.handle(at(100), Event::Interrupted);
    fleet.handle(at(200), Event::Interrupted);
    let lost = ["orin", "pi"].map(|device| Effect::GaveUp(id(device), Lost::NoBroker));
    assert_eq!(fleet.handle(at(700), Event::Tick), lost);
    fleet.handle(at(800), Event::Connected);
    let back = fleet.handle(at(800), online("pi"));
    assert!(back.contains(&Effect::Back(id("pi"))), "{back:?}");
    assert_eq!(sent(&back), [("b1", 2)]);
    assert!(!fleet.is_done());
}

/// The plan of the fixture's jobs is 10 rounds within 60 s, and `pi` has two of them.
const PI_QUIET: u64 = 60 + 2 * 6;

#[test]
fn a_silent_device_is_asked_and_an_answer_restarts_its_clock() {
    let mut fleet = fleet();
    fleet.handle(at(0), online("pi"));
    fleet.handle(at(1), Event::Want(id("pi")));
    assert_eq!(sent(&fleet.handle(at(PI_QUIET), Event::Tick)), []);
    assert_eq!(sent(&fleet.handle(at(1 + PI_QUIET), Event::Tick)), [("b1", 2)]);
    assert_eq!(sent(&fleet.handle(at(2 + PI_QUIET), Event::Tick)), []);
    fleet.handle(at(500), Event::Want(id("pi")));
    assert_eq!(sent(&fleet.handle(at(500 + PI_QUIET), Event::Tick)), [("b1", 2)]);
}

#[test]
fn a_device_that_is_there_and_never_answers_is_given_up() {
    let mut fleet = fleet();
    fleet.handle(at(5), online("pi"));
    fleet.handle(at(5), ended("orin", "j3"));
    assert_eq!(fleet.handle(at(604), Event::Tick), []);
    let silent = Effect::GaveUp(id("pi"), Lost::Silent);
    assert_eq!(fleet.handle(at(605), Event::Tick), [silent]);
    assert!(fleet.is_done());
    assert_eq!(Vec::from_iter(fleet.lost()), [(id("pi"), Lost::Silent)]);
    // A late answer, while others are measured still.
    fleet.handle(at(700), Event::Want(id("pi")));
    assert!(!fleet.is_done());
}

/// Anything that a fleet may hear of two devices, known and unknown jobs and repeats among it.
fn any_event() -> impl Strategy<Value = Event> {
    let name = || prop::sample::select(vec!["pi", "orin", "stranger"]);
    let job = prop::sample::select(vec!["j0", "j1", "j2", "j3"]);
    prop_oneof![
        Just(Event::Connected),
        Just(Event::Interrupted),
        Just(Event::Tick),
        name().prop_map(online),
        name().prop_map(offline),
        name().prop_map(|name| Event::Want(id(name))),
        (name(), job, any::<bool>()).prop_map(|(name, job, fetched)| {
            let stage = if fetched { Stage::Run } else { Stage::Fetch };
            let result = Err(Failure {
                stage,
                error: String::new(),
            });
            let outcome = Outcome {
                device: id(name),
                result,
                ..outcome(job, "")
            };
            Event::Outcome(id(name), outcome)
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_each_job_ends_at_most_once_and_every_outcome_is_acknowledged(
        events in prop::collection::vec((0..400u64, any_event()), 0..80),
    ) {
        let mut fleet = fleet();
        let mut now = Duration::ZERO;
        let mut stored: BTreeMap<JobId, usize> = BTreeMap::new();
        for (seconds, event) in events {
            now += at(seconds);
            let acknowledges = match &event {
                Event::Outcome(device, outcome) => Some(Effect::Ack(device.clone(), outcome.job.clone())),
                _ => None,
            };
            let mut acks = Vec::new();
            for effect in fleet.handle(now, event) {
                match effect {
                    Effect::Store(outcome) => {
                        prop_assert!(acks.is_empty(), "stored after the acknowledgement");
                        *stored.entry(outcome.job).or_default() += 1;
                    }
                    ack @ Effect::Ack(..) => acks.push(ack),
                    Effect::Send(_, batch) => {
                        prop_assert!(!batch.jobs.is_empty());
                        prop_assert!(batch.jobs.iter().all(|job| !stored.contains_key(&job.id)));
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(acks, Vec::from_iter(acknowledges));
            prop_assert_eq!(fleet.open_jobs().len() + stored.len(), 3);
        }
        prop_assert!(stored.values().all(|&times| times == 1));
        prop_assert_eq!(fleet.open_jobs().is_empty() && !fleet.is_done(), false);
        // Whatever happened, silence ends the study: at once asked for, then for longer than the patience.
        fleet.handle(now + at(PI_QUIET), Event::Tick);
        fleet.handle(now + at(PI_QUIET) + PATIENCE, Event::Tick);
        prop_assert!(fleet.is_done());
    }
}
