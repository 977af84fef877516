//! Meters outside of the device: a bench meter, a smart plug.
//!
//! They are told of in the agent's settings. Each *line* of theirs is one reading: a line that a program prints, or a
//! message on an MQTT topic. It holds a number, or JSON with a number in it, and maybe the time on the meter's own clock.
//! Lines come when the meter likes, so that they are listened to and not asked for.

mod command;
mod line;
mod topic;

use std::time::Duration;

use edgefront_link::BrokerUrl;
use edgefront_protocol::{Rail, Scope};
use serde::Deserialize;

use super::{Channel, Quantity};
pub(crate) use line::{Format, Reading};

/// One meter of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    name: String,
    scope: Scope,
    source: Source,
    format: Format,
    /// How long a value is on its way, where its line has no time.
    delay: Duration,
}

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A program with its arguments, which prints them.
    Command(Vec<String>),
    /// A topic, at a broker or at the agent's own.
    Topic { broker: BrokerUrl, filter: String },
}

/// The same as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    name: String,
    command: Option<Vec<String>>,
    topic: Option<String>,
    broker: Option<String>,
    scope: Option<Scope>,
    #[serde(default)]
    unit: line::Unit,
    value: Option<String>,
    time: Option<String>,
    #[serde(default, with = "humantime_serde")]
    delay: Option<Duration>,
}

impl External {
    /// Checks what was written. Topics are those of `broker` where no other is named.
    pub(crate) fn new(written: Written, broker: &BrokerUrl) -> Result<Self, String> {
        let name = written.name;
        let wrong = |what: &str| format!("the meter `{name}` {what}");
        let source = match (written.command, written.topic) {
            (Some(words), None) if !words.is_empty() => Source::Command(words),
            (None, Some(filter)) if !filter.is_empty() => {
                let named = written.broker.map(|text| text.parse()).transpose();
                let named = named
                    .map_err(|error: edgefront_link::LinkError| wrong(&format!("has no broker: {error}")))?;
                Source::Topic {
                    broker: named.unwrap_or_else(|| broker.clone()),
                    filter,
                }
            }
            _ => {
                return Err(wrong(
                    "needs either a `command`, as a list of words, or a `topic`",
                ));
            }
        };
        let format = Format::new(written.unit, written.value, written.time).map_err(|why| wrong(&why))?;
        Ok(Self {
            scope: written.scope.unwrap_or(Scope::Wall),
            source,
            format,
            delay: written.delay.unwrap_or_default(),
            name,
        })
    }

    /// What it measures.
    pub(crate) fn channel(&self) -> Channel {
        Channel {
            rail: Rail {
                meter: self.name.clone(),
                name: None,
                scope: self.scope,
                is_total: true,
                is_estimate: false,
                step: None,
            },
            quantity: self.quantity(),
        }
    }

    pub(crate) fn quantity(&self) -> Quantity {
        self.format.quantity()
    }

    pub(crate) fn delay(&self) -> Duration {
        self.delay
    }

    /// Begins to listen: each line is given to `heard` as it arrives, and why there is none.
    pub(crate) fn listen(
        &self,
        mut heard: impl FnMut(Result<Reading, String>) + Send + 'static,
    ) -> Listening {
        let (name, format) = (self.name.clone(), self.format.clone());
        let read = move |line: Result<&[u8], String>| {
            let reading = line.and_then(|line| format.read(line));
            heard(reading.map_err(|why| format!("{name}: {why}")));
        };
        match &self.source {
            Source::Command(words) => Listening::Command(command::Listening::start(words, read)),
            Source::Topic { broker, filter } => {
                Listening::Topic(topic::Listening::start(broker.clone(), filter.clone(), read))
            }
        }
    }
}

/// A meter that is listened to. Dropped, it is no more.
#[expect(dead_code, reason = "held for what their drop does")]
pub(crate) enum Listening {
    Command(command::Listening),
    Topic(topic::Listening),
}

/// Reads `line` in every form.
pub(super) fn fuzz(line: &[u8]) {
    let pointers = |value: Option<&str>, time: Option<&str>| {
        Format::new(
            line::Unit::KiloWh,
            value.map(str::to_owned),
            time.map(str::to_owned),
        )
    };
    for format in [pointers(None, None), pointers(Some("/a"), Some("/b/0"))] {
        drop(format.and_then(|format| format.read(line)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn external(toml: &str) -> Result<External, String> {
        let written: Written = toml::from_str(toml).unwrap();
        External::new(written, &BrokerUrl::new("localhost", 1883))
    }

    #[test]
    fn a_plug_measures_at_the_wall_and_at_the_agents_broker() {
        let plug = external("name = 'plug'\ntopic = 'tele/plug/SENSOR'\nvalue = '/ENERGY/Power'").unwrap();
        let channel = plug.channel();
        assert_eq!(
            (channel.rail.scope, channel.quantity),
            (Scope::Wall, Quantity::Power)
        );
        assert_eq!(channel.to_string(), "plug");
        let Source::Topic { broker, .. } = plug.source else {
            panic!("a topic")
        };
        assert_eq!(broker, BrokerUrl::new("localhost", 1883));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_meters_name() {
        for (toml, said) in [
            ("", "needs either a `command`, as a list of words, or a `topic`"),
            ("command = []", "needs either a `command`"),
            ("command = ['a']\ntopic = 'b'", "needs either a `command`"),
            (
                "topic = 'a'\nbroker = 'here'",
                "has no broker: `here` is not a broker address",
            ),
            (
                "topic = 'a'\nvalue = 'Power'",
                "has `value` = `Power`, which does not begin with `/`",
            ),
            ("topic = 'a'\ntime = '/t'", "has `time` and no `value`"),
        ] {
            let error = external(&format!("name = 'plug'\n{toml}")).unwrap_err();
            assert!(error.starts_with(&format!("the meter `plug` {said}")), "{error}");
        }
    }
}
