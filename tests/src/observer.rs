//! Who listens to all that devices say, as the tests' clock: they act when something was said.

use std::collections::BTreeMap;

use edgefront_link::{BrokerUrl, Connection, Event, Settings};
use edgefront_protocol::{
    Board, Device, DeviceId, JobId, JobState, Outcome, Presence, Progress, Topic, wire,
};
use tokio::sync::mpsc;

use crate::PATIENCE;

/// What a device said.
#[derive(Debug)]
pub enum Said {
    /// It came.
    Online(Box<Device>, Board),
    /// It left.
    Offline(DeviceId),
    /// A job took a step.
    Progress(Progress),
    /// A job ended.
    Outcome(Box<Outcome>),
}

/// The observer.
#[derive(Debug)]
pub struct Observer {
    said: mpsc::UnboundedReceiver<Said>,
    /// The outcome of each job, as it was first said.
    outcomes: BTreeMap<JobId, Outcome>,
}

impl Observer {
    /// Listens from now on.
    ///
    /// # Panics
    /// If the broker is not there.
    pub async fn connect(url: BrokerUrl) -> Self {
        let controllers = "edgefront/1/controller/#".to_owned();
        let (_publisher, mut connection) = Connection::open(Settings {
            url,
            client_id: "observer".to_owned(),
            subscriptions: vec![controllers, Topic::all_presence()],
            will: None,
        })
        .await
        .expect("the broker is there");
        while !matches!(connection.next().await, Some(Event::Connected)) {}
        let (sender, said) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(event) = connection.next().await {
                if let Event::Message { topic, payload, .. } = event
                    && let Some(said) = read(&topic, &payload)
                    && sender.send(said).is_err()
                {
                    return;
                }
            }
        });
        Self {
            said,
            outcomes: BTreeMap::new(),
        }
    }

    /// Waits until a device said what `is_it` recognises.
    ///
    /// # Panics
    /// If nobody says that, or a job ended in two ways.
    pub async fn until(&mut self, what: &str, mut is_it: impl FnMut(&Said) -> bool) {
        loop {
            let said = tokio::time::timeout(PATIENCE, self.said.recv()).await;
            let said = said.unwrap_or_else(|_| panic!("no device said: {what}"));
            let said = said.expect("the observer's task runs");
            self.note(&said);
            if is_it(&said) {
                return;
            }
        }
    }

    /// Waits until a device is there, and gives what it says of itself.
    ///
    /// # Panics
    /// As [`until`](Self::until).
    pub async fn until_online(&mut self) -> (Device, Board) {
        let mut found = None;
        self.until("online", |said| {
            if let Said::Online(device, board) = said {
                found = Some(((**device).clone(), board.clone()));
            }
            found.is_some()
        })
        .await;
        found.expect("that was waited for")
    }

    /// Waits until a timed round of a job has begun.
    pub async fn until_measuring(&mut self) {
        self.until("measuring", is_measuring).await;
    }

    /// Waits until so many jobs have ended since the observer listens.
    ///
    /// # Panics
    /// As [`until`](Self::until).
    pub async fn until_ended(&mut self, jobs: usize) {
        while self.outcomes.len() < jobs {
            self.until("outcome", |said| matches!(said, Said::Outcome(_)))
                .await;
        }
    }

    /// All that was said and not yet waited for.
    ///
    /// # Panics
    /// If a job ended in two ways.
    pub fn rest(&mut self) -> Vec<Said> {
        let mut rest = Vec::new();
        while let Ok(said) = self.said.try_recv() {
            self.note(&said);
            rest.push(said);
        }
        rest
    }

    /// The outcome of each job that ended.
    pub fn outcomes(&self) -> &BTreeMap<JobId, Outcome> {
        &self.outcomes
    }

    /// A job ends once: what is said again of it is the same.
    fn note(&mut self, said: &Said) {
        if let Said::Outcome(outcome) = said {
            let first = self
                .outcomes
                .entry(outcome.job.clone())
                .or_insert_with(|| (**outcome).clone());
            assert_eq!(first, &**outcome, "a job ended twice");
        }
    }
}

/// Whether a timed round is under way.
pub fn is_measuring(said: &Said) -> bool {
    matches!(
        said,
        Said::Progress(Progress {
            state: JobState::Measuring { .. },
            ..
        })
    )
}

fn read(topic: &Topic, payload: &[u8]) -> Option<Said> {
    match topic {
        Topic::Presence(_) => match wire::decode(payload).expect("a presence arrives whole") {
            Presence::Online(device, _, board, ..) => Some(Said::Online(Box::new(device), board)),
            Presence::Offline(id, ..) => Some(Said::Offline(id)),
        },
        Topic::Progress(..) => {
            let progress = wire::decode(payload).expect("a progress arrives whole");
            Some(Said::Progress(progress))
        }
        Topic::Outcome(..) => {
            let outcome = wire::decode(payload).expect("an outcome arrives whole");
            Some(Said::Outcome(Box::new(outcome)))
        }
        _ => None,
    }
}
