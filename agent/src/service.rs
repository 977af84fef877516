//! The service manager that started the agent, if one did: it is told when the agent is ready, that it is alive and
//! that it leaves (`sd_notify(3)`). Without one nothing is told.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Tells that the agent is ready.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells that the agent leaves in order.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A manager that cannot be told has ended, or ends the agent soon.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot tell the service manager: {error}");
    }
}

/// A manager that ends an agent of which it hears nothing.
#[derive(Debug)]
pub(crate) struct Watchdog(Option<Period>);

#[derive(Debug)]
struct Period {
    length: Duration,
    end: Instant,
}

impl Watchdog {
    /// As the environment of this process says.
    pub(crate) fn of_environment(now: Instant) -> Self {
        Self::within(sd_notify::watchdog_enabled(), now)
    }

    /// Half the time after which the agent counts as hung, as the manual advises.
    fn within(limit: Option<Duration>, now: Instant) -> Self {
        Self(limit.map(|limit| Period {
            length: limit / 2,
            end: now + limit / 2,
        }))
    }

    /// When to call [`on_deadline`](Self::on_deadline).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|period| period.end)
    }

    /// Tells that the agent is alive, if it is time.
    pub(crate) fn on_deadline(&mut self, now: Instant) {
        if self.is_due(now) {
            tell(&[NotifyState::Watchdog]);
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            Some(period) if now >= period.end => {
                period.end = now + period.length;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_hears_of_the_agent_twice_in_its_time() {
        let now = Instant::now();
        let mut watchdog = Watchdog::within(Some(Duration::from_mins(1)), now);
        let first = watchdog.deadline().unwrap();
        assert_eq!(first, now + Duration::from_secs(30));
        assert!(!watchdog.is_due(now));
        assert!(watchdog.is_due(first));
        assert_eq!(watchdog.deadline(), Some(first + Duration::from_secs(30)));
    }

    #[test]
    fn without_a_watchdog_nothing_is_due() {
        let mut watchdog = Watchdog::within(None, Instant::now());
        assert_eq!(watchdog.deadline(), None);
        assert!(!watchdog.is_due(Instant::now()));
    }
}
