//! Draws one picture: a figure, turned, scaled and partly hidden, among smaller ones on a restless background.
//!
//! Only additions, multiplications, divisions and comparisons of `f32` are used. IEEE 754 fixes their results,
//! so every machine draws the same bytes.

use super::draw::Draw;
use super::shape::Shape;

/// Rows and columns of a picture.
pub(super) const SIDE: usize = 32;

/// Samples a side of a pixel, for smooth edges.
const SAMPLES: usize = 3;

/// Distance of two colours, in the sum over the channels, from which they are told apart.
const CONTRAST: f32 = 60.0;

/// Brightness of backgrounds and of what hides a figure, and of figures; they overlap.
const DARK: [f32; 2] = [10.0, 150.0];
const BRIGHT: [f32; 2] = [100.0, 245.0];

type Colour = [f32; 3];

/// A figure in its place.
struct Figure {
    shape: Shape,
    centre: [f32; 2],
    radius: f32,
    direction: [f32; 2],
    colour: Colour,
}

/// A picture as `[H, W, C]` bytes.
pub(super) fn draw(shape: Shape, draw: &mut Draw) -> Vec<u8> {
    let mut canvas = background(draw);
    let base = canvas[SIDE * SIDE / 2 + SIDE / 2];
    for _ in 0..draw.below(4) {
        let other = Shape::ALL[draw.below(Shape::ALL.len())];
        let radius = draw.between(2.0, 4.0);
        let figure = place(other, radius, SIDE as f32 * 0.5, base, draw);
        paint(&mut canvas, &figure);
    }
    let radius = draw.between(7.0, 12.5);
    let figure = place(shape, radius, (SIDE as f32 * 0.5 - radius).max(0.0), base, draw);
    paint(&mut canvas, &figure);
    if !draw.once_in(3) {
        hide(&mut canvas, &figure, draw);
    }
    let noise = draw.between(6.0, 56.0);
    canvas
        .iter()
        .flatten()
        .map(|value| (value + grain(noise, draw)).clamp(0.0, 255.0) as u8)
        .collect()
}

/// Two colours that flow into one another, with waves of a third.
fn background(draw: &mut Draw) -> Vec<Colour> {
    let [from, to, wave] = [(); 3].map(|()| colour(DARK, draw));
    let [dx, dy] = draw.direction();
    let [wx, wy] = draw.direction();
    let period = draw.between(4.0, 20.0);
    let strength = draw.between(0.0, 0.35);
    let pixel = |index: usize| {
        let [x, y] = [(index % SIDE) as f32 - 15.5, (index / SIDE) as f32 - 15.5];
        let mix = (0.5 + (dx * x + dy * y) / 44.0).clamp(0.0, 1.0);
        let phase = (wx * x + wy * y) / period;
        let crest = 1.0 - (phase - phase.floor() - 0.5).abs() * 2.0;
        std::array::from_fn(|c| blend(blend(from[c], to[c], mix), wave[c], crest * strength))
    };
    (0..SIDE * SIDE).map(pixel).collect()
}

/// A figure somewhere within `reach` of the middle, in a colour that differs from `base`.
fn place(shape: Shape, radius: f32, reach: f32, base: Colour, draw: &mut Draw) -> Figure {
    let middle = SIDE as f32 * 0.5;
    let centre = [(); 2].map(|()| middle + draw.between(-reach, reach));
    let direction = draw.direction();
    let mut colour = colour(BRIGHT, draw);
    while distance(colour, base) < CONTRAST {
        colour = self::colour(BRIGHT, draw);
    }
    Figure {
        shape,
        centre,
        radius,
        direction,
        colour,
    }
}

fn paint(canvas: &mut [Colour], figure: &Figure) {
    let [cos, sin] = figure.direction;
    for (index, pixel) in canvas.iter_mut().enumerate() {
        let corner = [
            (index % SIDE) as f32 - figure.centre[0],
            (index / SIDE) as f32 - figure.centre[1],
        ];
        // Most pixels lie beyond the farthest point of any figure, the star's 1.1 radii; they stay as they are.
        let reach = figure.radius * 1.1 + 1.5;
        if corner[0] * corner[0] + corner[1] * corner[1] > reach * reach {
            continue;
        }
        let covered = (0..SAMPLES * SAMPLES).filter(|sample| {
            let step = |n: usize| (n as f32 + 0.5) / SAMPLES as f32;
            let x = (corner[0] + step(sample % SAMPLES)) / figure.radius;
            let y = (corner[1] + step(sample / SAMPLES)) / figure.radius;
            figure.shape.covers([cos * x + sin * y, cos * y - sin * x])
        });
        let coverage = covered.count() as f32 / (SAMPLES * SAMPLES) as f32;
        *pixel = std::array::from_fn(|c| blend(pixel[c], figure.colour[c], coverage));
    }
}

/// Lays a strip over a part of the figure.
fn hide(canvas: &mut [Colour], figure: &Figure, draw: &mut Draw) {
    let colour = colour(DARK, draw);
    let [a, b] = draw.direction();
    let width = figure.radius * draw.between(0.08, 0.3);
    let offset = figure.radius * draw.between(-0.7, 0.7);
    for (index, pixel) in canvas.iter_mut().enumerate() {
        let x = (index % SIDE) as f32 + 0.5 - figure.centre[0];
        let y = (index / SIDE) as f32 + 0.5 - figure.centre[1];
        let within = (0.5 + width - (a * x + b * y - offset).abs()).clamp(0.0, 1.0);
        *pixel = std::array::from_fn(|c| blend(pixel[c], colour[c], within));
    }
}

/// Noise of a triangular distribution.
fn grain(strength: f32, draw: &mut Draw) -> f32 {
    draw.between(-strength, strength) + draw.between(-strength, strength)
}

fn colour([darkest, brightest]: [f32; 2], draw: &mut Draw) -> Colour {
    [(); 3].map(|()| draw.between(darkest, brightest))
}

fn blend(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

fn distance(a: Colour, b: Colour) -> f32 {
    (0..3).map(|c| (a[c] - b[c]).abs()).sum()
}
