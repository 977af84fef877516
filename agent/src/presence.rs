//! What the presence of this agent's own name tells it.
//!
//! A broker gives a client's name to who connects last, so two agents of one id throw each other out for ever and
//! neither works. Each counts its announcements in its presence, the last will included, and hears the presence
//! of its name. That another run is heard proves nothing: a broker that was restored from its disk repeats
//! presences of long ago. Only a run that lives announces itself once more after this one did.
//!
//! An agent that never hears itself is one whose presence nobody hears.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use edgefront_protocol::{Announcement, Incarnation};

/// How long a broker may take to hand an announcement back.
const ECHO: Duration = Duration::from_secs(5);

/// Watches the presence of one name.
#[derive(Debug)]
pub(crate) struct Watch {
    own: Incarnation,
    /// When this run must have heard its announcement; `None` where it has.
    echo: Option<Instant>,
    others: BTreeMap<Incarnation, Other>,
}

/// Another run of this name.
#[derive(Debug)]
struct Other {
    /// Its latest announcement.
    count: Announcement,
    /// This run was heard after that.
    answered: bool,
    is_rival: bool,
}

/// What is to be done about a rival. Both agents come to the same conclusion, so one of them goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is none, or that was said already.
    None,
    /// It started later and ends.
    Stay,
    /// It was here first.
    Leave,
}

impl Watch {
    pub(crate) fn new(own: Incarnation) -> Self {
        Self {
            own,
            echo: None,
            others: BTreeMap::new(),
        }
    }

    /// This run announced itself.
    pub(crate) fn on_announced(&mut self, now: Instant) {
        self.echo = Some(now + ECHO);
    }

    /// The connection broke.
    pub(crate) fn on_interrupted(&mut self) {
        self.echo = None;
    }

    /// When to call [`on_deadline`](Self::on_deadline).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.echo
    }

    /// Whether this run does not hear itself; said once for each announcement.
    pub(crate) fn on_deadline(&mut self, now: Instant) -> bool {
        self.echo.take_if(|echo| now >= *echo).is_some()
    }

    /// The broker told of a run of this name.
    pub(crate) fn on_presence(&mut self, of: Incarnation, count: Announcement) -> Verdict {
        if of == self.own {
            self.echo = None;
            for other in self.others.values_mut() {
                other.answered = true;
            }
            return Verdict::None;
        }
        let new = Other {
            count,
            answered: false,
            is_rival: false,
        };
        let other = self.others.entry(of).or_insert(new);
        if count <= other.count {
            return Verdict::None;
        }
        other.count = count;
        let lives = std::mem::take(&mut other.answered);
        if !lives || std::mem::replace(&mut other.is_rival, true) {
            return Verdict::None;
        }
        if of < self.own {
            Verdict::Leave
        } else {
            Verdict::Stay
        }
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::UnixMillis;

    use super::*;

    const FIRST: Incarnation = Incarnation {
        since: UnixMillis(1),
        nonce: 9,
    };
    const SECOND: Incarnation = Incarnation {
        since: UnixMillis(2),
        nonce: 1,
    };

    #[test]
    fn of_two_that_throw_each_other_out_the_later_one_leaves() {
        let (mut first, mut second) = (Watch::new(FIRST), Watch::new(SECOND));
        let mut verdicts = Vec::new();
        for count in 1..5 {
            first.on_presence(FIRST, count);
            verdicts.push((2, second.on_presence(FIRST, count)));
            second.on_presence(SECOND, count);
            verdicts.push((1, first.on_presence(SECOND, count)));
        }
        verdicts.retain(|(_, verdict)| *verdict != Verdict::None);
        assert_eq!(verdicts, [(2, Verdict::Leave), (1, Verdict::Stay)]);
    }

    #[test]
    fn a_rival_is_known_among_others() {
        const THIRD: Incarnation = Incarnation {
            since: UnixMillis(3),
            nonce: 0,
        };
        let mut watch = Watch::new(SECOND);
        watch.on_presence(THIRD, 4);
        watch.on_presence(SECOND, 1);
        watch.on_presence(FIRST, 7);
        watch.on_presence(SECOND, 2);
        assert_eq!(watch.on_presence(THIRD, 5), Verdict::Stay);
        watch.on_presence(SECOND, 3);
        assert_eq!(watch.on_presence(FIRST, 8), Verdict::Leave);
    }

    /// The run before this one announced itself twice while the broker kept messages for it.
    #[test]
    fn what_a_restored_broker_repeats_is_no_rival() {
        let mut watch = Watch::new(SECOND);
        for own in 1..5 {
            for count in [4, 5, 3, 5] {
                assert_eq!(watch.on_presence(FIRST, count), Verdict::None);
            }
            watch.on_presence(SECOND, own);
            watch.on_interrupted();
        }
    }

    /// Agents of an earlier version do not count.
    #[test]
    fn who_does_not_count_is_no_rival() {
        let mut watch = Watch::new(SECOND);
        for own in 1..5 {
            assert_eq!(watch.on_presence(FIRST, 0), Verdict::None);
            watch.on_presence(SECOND, own);
        }
    }

    #[test]
    fn who_does_not_hear_itself_is_told_so_once_for_each_announcement() {
        let (mut watch, now) = (Watch::new(SECOND), Instant::now());
        assert_eq!(watch.deadline(), None);
        watch.on_announced(now);
        watch.on_presence(FIRST, 1);
        let deadline = watch.deadline().unwrap_or(now);
        assert!(!watch.on_deadline(now) && watch.on_deadline(deadline) && !watch.on_deadline(deadline));
        watch.on_announced(now);
        watch.on_presence(SECOND, 1);
        assert!(!watch.on_deadline(deadline));
    }
}
