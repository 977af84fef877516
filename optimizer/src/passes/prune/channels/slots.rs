//! Channels as sets of slots that stay or leave together.

/// One position along one axis of a tensor.
pub(super) type Slot = usize;

/// Where in the constants a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tensor: usize,
    pub(super) axis: usize,
    pub(super) index: usize,
}

/// A union-find over slots. A set of it is a channel in all tensors that hold a part of it.
#[derive(Debug, Default)]
pub(super) struct Slots {
    parents: Vec<Slot>,
    places: Vec<Option<Place>>,
    /// Why the channel of a root must stay.
    reasons: Vec<Option<String>>,
}

impl Slots {
    /// A slot of its own; without a place it stands for an element of a value that is computed.
    pub(super) fn add(&mut self, place: Option<Place>) -> Slot {
        self.parents.push(self.parents.len());
        self.places.push(place);
        self.reasons.push(None);
        self.parents.len() - 1
    }

    /// The slot that stands for the channel.
    pub(super) fn root(&self, mut slot: Slot) -> Slot {
        while self.parents[slot] != slot {
            slot = self.parents[slot];
        }
        slot
    }

    /// Makes two channels one, which stays if either had to.
    pub(super) fn join(&mut self, a: Slot, b: Slot) {
        let (a, b) = (self.shorten(a), self.shorten(b));
        if a != b {
            let (root, child) = (a.min(b), a.max(b));
            self.parents[child] = root;
            let reason = self.reasons[child].take();
            self.reasons[root] = self.reasons[root].take().or(reason);
        }
    }

    /// Makes the channels stay; the first reason counts.
    pub(super) fn keep(&mut self, slots: &[Slot], reason: &str) {
        for &slot in slots {
            let root = self.shorten(slot);
            self.reasons[root].get_or_insert_with(|| reason.to_owned());
        }
    }

    /// Why the channel must stay, if it must.
    pub(super) fn reason(&self, slot: Slot) -> Option<&str> {
        self.reasons[self.root(slot)].as_deref()
    }

    /// All slots in constants.
    pub(super) fn placed(&self) -> impl Iterator<Item = (Slot, Place)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(slot, place)| place.map(|place| (slot, place)))
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.parents.len()
    }

    /// As [`Self::root`], and halves the paths on the way.
    fn shorten(&mut self, mut slot: Slot) -> Slot {
        while self.parents[slot] != slot {
            self.parents[slot] = self.parents[self.parents[slot]];
            slot = self.parents[slot];
        }
        slot
    }
}
