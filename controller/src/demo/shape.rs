//! The ten classes: plane figures within the unit circle.

/// A class of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Arrow,
    Bars,
    Corner,
    Crescent,
    Cross,
    Disc,
    Ring,
    Square,
    Star,
    Triangle,
}

impl Shape {
    /// All classes, in the order of their labels.
    pub(super) const ALL: [Self; 10] = [
        Self::Arrow,
        Self::Bars,
        Self::Corner,
        Self::Crescent,
        Self::Cross,
        Self::Disc,
        Self::Ring,
        Self::Square,
        Self::Star,
        Self::Triangle,
    ];

    /// The class's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::Bars => "bars",
            Self::Corner => "corner",
            Self::Crescent => "crescent",
            Self::Cross => "cross",
            Self::Disc => "disc",
            Self::Ring => "ring",
            Self::Square => "square",
            Self::Star => "star",
            Self::Triangle => "triangle",
        }
    }

    /// Whether the figure covers the point.
    pub(super) fn covers(self, [x, y]: [f32; 2]) -> bool {
        let square = x * x + y * y;
        match self {
            Self::Arrow => (y.abs() < 0.25 && x > -0.95 && x < 0.2) || (x >= 0.1 && x + y.abs() < 0.95),
            Self::Bars => x.abs() < 0.8 && y.abs() > 0.18 && y.abs() < 0.6,
            Self::Corner => x > -0.7 && y > -0.7 && x < 0.7 && y < 0.7 && (x < -0.2 || y < -0.2),
            Self::Crescent => square < 0.8 && (x - 0.4) * (x - 0.4) + y * y > 0.45,
            Self::Cross => (x.abs() < 0.25 && y.abs() < 0.9) || (y.abs() < 0.25 && x.abs() < 0.9),
            Self::Disc => square < 0.64,
            Self::Ring => square < 0.8 && square > 0.25,
            Self::Square => x.abs() < 0.7 && y.abs() < 0.7,
            Self::Star => in_star(x.abs(), y),
            Self::Triangle => y > -0.5 && 1.732 * x.abs() + y < 1.0,
        }
    }
}

/// The five-pointed star is where at least four of the pentagram's five half-planes meet. `x` is not negative,
/// as the star is symmetric.
fn in_star(x: f32, y: f32) -> bool {
    // Outward normals at 90, 18, 162, -54 and 234 degrees; the lines lie 0.309 from the centre.
    const NORMALS: [[f32; 2]; 5] = [
        [0.0, -1.0],
        [0.951, -0.309],
        [-0.951, -0.309],
        [0.588, 0.809],
        [-0.588, 0.809],
    ];
    let inside = NORMALS.iter().filter(|[a, b]| a * x + b * y < 0.34).count();
    inside >= 4
}
