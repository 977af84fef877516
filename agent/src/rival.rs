//! Whether another agent goes by this one's name.
//!
//! A broker gives a client's name to who connects last, so two agents of one id throw each other out for ever and
//! neither works. Each tells its run in its presence, the last will included, and hears the presence of its
//! name. One that was thrown out after it had announced itself, and then hears another run, has met a rival.

use edgefront_protocol::Incarnation;

/// Once may be what a broker remembered of the run before this one; twice is somebody who is there.
const SIGHTINGS: u32 = 2;

/// Watches the presence of one name.
#[derive(Debug)]
pub(crate) struct Watch {
    own: Incarnation,
    /// The broker took the announcement of this run.
    announced: bool,
    /// The connection broke since.
    thrown_out: bool,
    /// Another run, and how often it was heard.
    rival: Option<(Incarnation, u32)>,
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
            announced: false,
            thrown_out: false,
            rival: None,
        }
    }

    /// The connection broke.
    pub(crate) fn on_interrupted(&mut self) {
        self.thrown_out |= self.announced;
    }

    /// The broker told of a run of this name.
    pub(crate) fn on_presence(&mut self, of: Incarnation) -> Verdict {
        if of == self.own {
            self.announced = true;
            return Verdict::None;
        }
        if !self.thrown_out {
            return Verdict::None;
        }
        let sightings = match self.rival {
            Some((rival, sightings)) if rival == of => sightings.saturating_add(1),
            _ => 1,
        };
        self.rival = Some((of, sightings));
        match sightings {
            SIGHTINGS if of < self.own => Verdict::Leave,
            SIGHTINGS => Verdict::Stay,
            _ => Verdict::None,
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
        first.on_presence(FIRST);
        let mut verdicts = Vec::new();
        while !verdicts.contains(&(2, Verdict::Leave)) {
            first.on_interrupted();
            verdicts.push((2, second.on_presence(FIRST)));
            second.on_presence(SECOND);
            second.on_interrupted();
            verdicts.push((1, first.on_presence(SECOND)));
            first.on_presence(FIRST);
            assert!(verdicts.len() < 10);
        }
        verdicts.retain(|(_, verdict)| *verdict != Verdict::None);
        assert_eq!(verdicts, [(1, Verdict::Stay), (2, Verdict::Leave)]);
    }

    #[test]
    fn what_the_run_before_this_one_left_behind_is_no_rival() {
        let mut watch = Watch::new(SECOND);
        for _ in 0..5 {
            assert_eq!(watch.on_presence(FIRST), Verdict::None);
        }
        watch.on_presence(SECOND);
        // A broker that restarts may remember a presence of long ago.
        watch.on_interrupted();
        assert_eq!(watch.on_presence(FIRST), Verdict::None);
        watch.on_presence(SECOND);
    }

    #[test]
    fn an_outage_alone_is_no_rival() {
        let mut watch = Watch::new(FIRST);
        for _ in 0..5 {
            assert_eq!(watch.on_presence(FIRST), Verdict::None);
            watch.on_interrupted();
        }
    }
}
