//! Where labels stand: beside their bubble, inside the frame, and never on one another.

/// More labels are not tried. Each looks at all bubbles, so without a limit the time grows with their square.
const MOST: usize = 150;

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

    /// Whether a straight line goes through: the share of it between both pairs of sides is not empty (Liang and
    /// Barsky, A New Concept and Method for Line Clipping, 1984).
    fn is_crossed(&self, [a, b]: [(f64, f64); 2]) -> bool {
        let (mut from, mut to) = (0.0_f64, 1.0_f64);
        for (start, way, low, high) in [
            (a.0, b.0 - a.0, self.x, self.right()),
            (a.1, b.1 - a.1, self.y, self.bottom()),
        ] {
            if way == 0.0 && (start <= low || high <= start) {
                return false;
            }
            if way != 0.0 {
                let (enters, leaves) = ((low - start) / way, (high - start) / way);
                from = from.max(enters.min(leaves));
                to = to.min(enters.max(leaves));
            }
        }
        from < to
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
    /// Whether it is labelled wherever there is room, or only where its label stands close by and clear.
    pub(super) important: bool,
}

impl Anchor {
    /// Whether a label there covers a part of the bubble.
    fn is_hidden_by(&self, label: &Rect) -> bool {
        let (x, y) = label.nearest((self.x, self.y));
        (x - self.x).hypot(y - self.y) < self.radius
    }

    /// Whether a leader goes through the bubble; its own leader begins at its ring.
    fn is_crossed(&self, [a, b]: [(f64, f64); 2]) -> bool {
        const RING: f64 = 1.0;
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let along = ((self.x - a.0) * dx + (self.y - a.1) * dy) / (dx * dx + dy * dy).max(RING);
        let share = along.clamp(0.0, 1.0);
        (a.0 + dx * share - self.x).hypot(a.1 + dy * share - self.y) < self.radius - RING
    }

    /// The label in one of the 16 directions: its nearest corner, or the middle of its nearest side, is `gap`
    /// away from the bubble.
    fn candidate(&self, direction: u32, gap: f64) -> Rect {
        // Right, left, above and below have no cosine or sine but for rounding.
        let side = |part: f64| if part.abs() < 1e-9 { 0.0 } else { part.signum() };
        let (sin, cos) = (f64::from(direction) * std::f64::consts::TAU / 16.0).sin_cos();
        let reach = self.radius + gap;
        let centre_x = self.x + cos * reach + side(cos) * self.width / 2.0;
        let centre_y = self.y + sin * reach + side(sin) * self.height / 2.0;
        Rect {
            x: centre_x - self.width / 2.0,
            y: centre_y - self.height / 2.0,
            width: self.width,
            height: self.height,
        }
    }

    /// The line from the bubble to its label, if they do not touch.
    pub(super) fn leader(&self, label: &Rect) -> Option<[(f64, f64); 2]> {
        const TOUCHING: f64 = 6.0;
        let end = label.nearest((self.x, self.y));
        let (dx, dy) = (end.0 - self.x, end.1 - self.y);
        let distance = dx.hypot(dy);
        let share = self.radius / distance;
        (distance >= self.radius + TOUCHING).then_some([(self.x + dx * share, self.y + dy * share), end])
    }
}

/// A place for each label in order of importance; `None` where the frame has no free place left for it, which
/// is one without a bubble or another label, and for all beyond those that a frame could hold.
///
/// Each label takes, of 16 directions and growing distances, the free place with the least [`cost`](Page::cost).
pub(super) fn place(anchors: &[Anchor], lines: &[Rect], frame: &Rect) -> Vec<Option<Rect>> {
    /// In the second, each label has another choice, beside those that were placed after it.
    const ROUNDS: usize = 2;
    const GAPS: [f64; 10] = [3.0, 9.0, 18.0, 30.0, 46.0, 66.0, 90.0, 130.0, 180.0, 240.0];
    /// How many of the gaps are close by.
    const CLOSE: usize = 2;
    // Right, left, above, below first; then what is between.
    const DIRECTIONS: [u32; 16] = [0, 8, 12, 4, 14, 2, 10, 6, 15, 1, 13, 11, 3, 5, 9, 7];
    let mut places = vec![None; anchors.len()];
    for _ in 0..ROUNDS {
        for (at, anchor) in anchors.iter().enumerate().take(MOST) {
            places[at] = None;
            let page = Page::new(anchors, lines, &places);
            let gaps = if anchor.important {
                &GAPS[..]
            } else {
                &GAPS[..CLOSE]
            };
            let candidates = gaps
                .iter()
                .flat_map(|gap| DIRECTIONS.map(|direction| anchor.candidate(direction, *gap)));
            places[at] = candidates
                .filter(|c| frame.contains(c) && page.is_free(c) && (anchor.important || page.is_clear(c)))
                .map(|c| (page.cost(anchor, &c), c))
                .min_by(|(a, _), (b, _)| a.total_cmp(b))
                .map(|(_, c)| c);
        }
    }
    places
}

/// What stands on a panel when a label is placed.
struct Page<'a> {
    bubbles: &'a [Anchor],
    lines: &'a [Rect],
    labels: Vec<Rect>,
    leaders: Vec<[(f64, f64); 2]>,
}

impl<'a> Page<'a> {
    fn new(bubbles: &'a [Anchor], lines: &'a [Rect], places: &[Option<Rect>]) -> Self {
        let labelled = bubbles.iter().zip(places);
        let leaders = labelled.filter_map(|(bubble, place)| bubble.leader(place.as_ref()?));
        Self {
            bubbles,
            lines,
            labels: places.iter().flatten().copied().collect(),
            leaders: leaders.collect(),
        }
    }

    /// What a label at a free place spoils: leaders that it hides, labels and bubbles that its leader crosses,
    /// lines under its text, and the way to its bubble.
    fn cost(&self, anchor: &Anchor, place: &Rect) -> f64 {
        const LEADER: f64 = 6.0;
        const LINE: f64 = 1.0;
        const WAY: f64 = 0.04;
        let hidden = self.leaders.iter().filter(|leader| place.is_crossed(**leader));
        let crossed = anchor.leader(place).map_or(0, |leader| {
            let labels = self.labels.iter().filter(|label| label.is_crossed(leader));
            let bubbles = self.bubbles.iter().filter(|bubble| bubble.is_crossed(leader));
            labels.count() + bubbles.count()
        });
        let lines = self.lines.iter().filter(|line| line.overlaps(place));
        let end = place.nearest((anchor.x, anchor.y));
        // In whole units, for equal ways must not differ by rounding: then the direction's order decides.
        let way = ((end.0 - anchor.x).hypot(end.1 - anchor.y) - anchor.radius).round();
        LEADER * (crossed + hidden.count()) as f64 + LINE * lines.count() as f64 + WAY * way
    }

    /// Whether no bubble and no label stands there.
    fn is_free(&self, place: &Rect) -> bool {
        !self.bubbles.iter().any(|bubble| bubble.is_hidden_by(place))
            && !self.labels.iter().any(|label| label.overlaps(place))
    }

    /// Whether no line goes through there.
    fn is_clear(&self, place: &Rect) -> bool {
        !self.lines.iter().any(|one| one.overlaps(place))
            && !self.leaders.iter().any(|leader| place.is_crossed(*leader))
    }
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
            important: true,
        }
    }

    #[test]
    fn a_lonely_label_stands_right_of_its_bubble() {
        for radius in [4.0, 8.0, 9.7, 19.0] {
            let lonely = Anchor {
                radius,
                ..anchor(300.0, 200.0)
            };
            let place = place(&[lonely], &[], &FRAME)[0].unwrap();
            let (dx, dy) = (place.x - 303.0 - radius, place.y - 193.0);
            assert!(dx.abs() < 1e-9 && dy.abs() < 1e-9, "{radius}: {place:?}");
        }
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

    #[test]
    fn what_is_not_important_is_labelled_only_where_it_is_clear() {
        let heap: Vec<Anchor> = (0..40)
            .map(|i| Anchor {
                important: i == 0,
                ..anchor(300.0 + f64::from(i % 8) * 4.0, 200.0 + f64::from(i / 8) * 4.0)
            })
            .collect();
        let places = place(&heap, &[], &FRAME);
        assert!(places[0].is_some());
        assert!(places.iter().filter(|place| place.is_none()).count() > 20);
    }

    /// Without a limit this takes minutes.
    #[test]
    fn thousands_of_bubbles_have_few_labels() {
        let many: Vec<Anchor> = (0..10_000)
            .map(|i| anchor(f64::from(i % 100) * 6.0, f64::from(i / 100) * 4.0))
            .collect();
        let places = place(&many, &[], &FRAME);
        assert_eq!(places.len(), many.len());
        assert!(places[MOST..].iter().all(Option::is_none));
    }

    #[test]
    fn a_leader_crosses_other_bubbles_and_not_its_own() {
        let bubble = anchor(100.0, 100.0);
        let label = bubble.candidate(1, 60.0);
        assert!(!bubble.is_crossed(bubble.leader(&label).unwrap()));
        assert!(bubble.is_crossed([(50.0, 95.0), (150.0, 105.0)]));
        assert!(!bubble.is_crossed([(50.0, 110.0), (150.0, 110.0)]));
        assert!(!bubble.is_crossed([(120.0, 100.0), (150.0, 100.0)]));
    }

    #[test]
    fn a_label_keeps_off_the_leader_of_another() {
        let label = Rect {
            x: 0.0,
            y: 0.0,
            width: 50.0,
            height: 10.0,
        };
        assert!(label.is_crossed([(-20.0, -20.0), (60.0, 40.0)]));
        assert!(!label.is_crossed([(-20.0, 0.0), (40.0, 60.0)]));
        assert!(label.is_crossed([(25.0, -20.0), (25.0, 5.0)]));
        assert!(!label.is_crossed([(25.0, -20.0), (25.0, -5.0)]));
        assert!(!label.is_crossed([(60.0, -20.0), (60.0, 20.0)]));
    }

    proptest! {
        #[test]
        fn labels_stay_inside_and_cover_no_bubble_and_no_label(
            at in prop::collection::vec((0.0_f64..600.0, 0.0_f64..400.0), 0..60)
        ) {
            let anchors: Vec<Anchor> = at.into_iter().map(|(x, y)| anchor(x, y)).collect();
            let places: Vec<Rect> = place(&anchors, &[], &FRAME).into_iter().flatten().collect();
            for (i, a) in places.iter().enumerate() {
                prop_assert!(FRAME.contains(a));
                prop_assert!(places[..i].iter().all(|b| !a.overlaps(b)));
                prop_assert!(!anchors.iter().any(|bubble| bubble.is_hidden_by(a)));
            }
        }
    }
}
