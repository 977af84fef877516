//! Where labels stand: beside their bubble, inside the frame, and never on one another.

/// A rectangle; `y` grows downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    /// What a line between two corners covers, with a pixel on each side.
    pub(super) fn around(a: (f64, f64), b: (f64, f64)) -> Self {
        Self {
            x: a.0.min(b.0) - 1.0,
            y: a.1.min(b.1) - 1.0,
            width: (a.0 - b.0).abs() + 2.0,
            height: (a.1 - b.1).abs() + 2.0,
        }
    }

    pub(super) fn right(&self) -> f64 {
        self.x + self.width
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.height
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        self.x <= other.x
            && self.y <= other.y
            && other.right() <= self.right()
            && other.bottom() <= self.bottom()
    }

    /// The place in the rectangle that is nearest to a point.
    pub(super) fn nearest(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (x.clamp(self.x, self.right()), y.clamp(self.y, self.bottom()))
    }
}

/// What wants a label: a bubble, and the size of its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) radius: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Anchor {
    fn bounds(&self) -> Rect {
        let side = self.radius * 2.0;
        Rect {
            x: self.x - self.radius,
            y: self.y - self.radius,
            width: side,
            height: side,
        }
    }

    /// The label in one of the 16 directions, `gap` away from the bubble.
    fn candidate(&self, direction: u32, gap: f64) -> Rect {
        let (sin, cos) = (f64::from(direction) * std::f64::consts::TAU / 16.0).sin_cos();
        let reach = self.radius + gap;
        let centre_x = self.x + cos * (reach + self.width / 2.0);
        let centre_y = self.y + sin * (reach + self.height / 2.0);
        Rect {
            x: centre_x - self.width / 2.0,
            y: centre_y - self.height / 2.0,
            width: self.width,
            height: self.height,
        }
    }
}

/// A place for each label in order of importance; `None` where the frame has no free place left for it.
///
/// Each label takes, of 16 directions and growing distances, the free place that covers the fewest bubbles
/// and `lines` and then is the nearest.
pub(super) fn place(anchors: &[Anchor], lines: &[Rect], frame: &Rect) -> Vec<Option<Rect>> {
    const GAPS: [f64; 8] = [3.0, 9.0, 18.0, 30.0, 46.0, 66.0, 90.0, 130.0];
    // Right, left, above, below first; then what is between.
    const DIRECTIONS: [u32; 16] = [0, 8, 12, 4, 14, 2, 10, 6, 15, 1, 13, 11, 3, 5, 9, 7];
    let covered: Vec<Rect> = anchors
        .iter()
        .map(Anchor::bounds)
        .chain(lines.iter().copied())
        .collect();
    let mut taken: Vec<Rect> = Vec::new();
    let mut places = Vec::with_capacity(anchors.len());
    for anchor in anchors {
        let candidates = GAPS
            .iter()
            .flat_map(|gap| DIRECTIONS.map(|direction| anchor.candidate(direction, *gap)));
        let free = candidates.filter(|c| frame.contains(c) && !taken.iter().any(|p| p.overlaps(c)));
        let best = free.min_by_key(|c| covered.iter().filter(|place| place.overlaps(c)).count());
        taken.extend(best);
        places.push(best);
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Rect = Rect {
        x: 0.0,
        y: 0.0,
        width: 600.0,
        height: 400.0,
    };

    fn anchor(x: f64, y: f64) -> Anchor {
        Anchor {
            x,
            y,
            radius: 8.0,
            width: 70.0,
            height: 14.0,
        }
    }

    #[test]
    fn a_lonely_label_stands_right_of_its_bubble() {
        let place = place(&[anchor(300.0, 200.0)], &[], &FRAME)[0].unwrap();
        assert!(
            (place.x - 311.0).abs() < 1e-9 && (place.y - 193.0).abs() < 1e-9,
            "{place:?}"
        );
    }

    #[test]
    fn a_label_keeps_off_a_line_through_its_bubble() {
        let line = Rect {
            x: 0.0,
            y: 199.0,
            width: 600.0,
            height: 2.0,
        };
        let place = place(&[anchor(300.0, 200.0)], &[line], &FRAME)[0].unwrap();
        assert!(!place.overlaps(&line), "{place:?}");
    }

    #[test]
    fn twelve_bubbles_in_a_heap_all_get_a_label() {
        let heap: Vec<Anchor> = (0..12)
            .map(|i| anchor(300.0 + f64::from(i % 4), 200.0 + f64::from(i / 4)))
            .collect();
        assert!(place(&heap, &[], &FRAME).iter().all(Option::is_some));
    }

    proptest! {
        #[test]
        fn labels_stay_inside_and_never_overlap(
            at in prop::collection::vec((0.0_f64..600.0, 0.0_f64..400.0), 0..60)
        ) {
            let anchors: Vec<Anchor> = at.into_iter().map(|(x, y)| anchor(x, y)).collect();
            let places: Vec<Rect> = place(&anchors, &[], &FRAME).into_iter().flatten().collect();
            for (i, a) in places.iter().enumerate() {
                prop_assert!(FRAME.contains(a));
                prop_assert!(places[..i].iter().all(|b| !a.overlaps(b)));
            }
        }
    }
}
