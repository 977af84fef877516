//! Puts a layout on a drawing area.

use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontStyle, FontTransform, IntoFont as _, RGBAColor, RGBColor, ShapeStyle, TextStyle,
};

use super::FONT;
use super::labels::Rect;
use super::layout::{Bubble, LABEL_SIZE, Panel, Picture};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Colours that colour-blind readers tell apart (M. Okabe and K. Ito, Color Universal Design, 2008), for the
/// runtimes in order.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];
const INK: RGBColor = RGBColor(32, 36, 44);
const PALE: RGBColor = RGBColor(110, 117, 128);
const GRID: RGBColor = RGBColor(232, 234, 238);
const PAPER: RGBColor = RGBColor(255, 255, 255);
/// Radius of the hole in the bubble of a record with a remark, as a share of the bubble's.
const HOLE: f64 = 0.55;

/// Draws with `scale` pixels per unit of the layout, each text in the characters that `written` gives for it.
pub(super) fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    picture: &Picture,
    scale: f64,
    written: fn(&str) -> String,
) -> Result<(), Error>
where
    B::ErrorType: 'static,
{
    area.fill(&PAPER)?;
    let pen = Pen { area, scale, written };
    pen.text(&picture.title, (24.0, 26.0), 21.0, INK, HPos::Left)?;
    pen.text(&picture.subtitle, (24.0, 50.0), 13.0, PALE, HPos::Left)?;
    picture.panels.iter().try_for_each(|panel| pen.panel(panel))?;
    area.present()?;
    Ok(())
}

struct Pen<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    scale: f64,
    written: fn(&str) -> String,
}

impl<B: DrawingBackend> Pen<'_, B>
where
    B::ErrorType: 'static,
{
    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        ((x * self.scale).round() as i32, (y * self.scale).round() as i32)
    }

    fn styled_text(&self, text: &str, at: (f64, f64), style: TextStyle<'_>) -> Result<(), Error> {
        self.area
            .draw(&Text::new((self.written)(text), self.at(at), style))?;
        Ok(())
    }

    fn text(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: RGBColor,
        align: HPos,
    ) -> Result<(), Error> {
        let style = TextStyle::from((FONT, size * self.scale, FontStyle::Normal).into_font());
        self.styled_text(text, at, style.color(&colour).pos(Pos::new(align, VPos::Center)))
    }

    fn line(&self, points: &[(f64, f64)], style: ShapeStyle) -> Result<(), Error> {
        let points: Vec<_> = points.iter().map(|point| self.at(*point)).collect();
        self.area.draw(&PathElement::new(points, style))?;
        Ok(())
    }

    fn stroke(&self, colour: RGBColor, opacity: f64, width: f64) -> ShapeStyle {
        ShapeStyle {
            color: colour.mix(opacity),
            filled: false,
            stroke_width: (width * self.scale).round() as u32,
        }
    }

    fn circle(&self, at: (f64, f64), radius: f64, style: ShapeStyle) -> Result<(), Error> {
        self.area.draw(&Circle::new(
            self.at(at),
            (radius * self.scale).round() as i32,
            style,
        ))?;
        Ok(())
    }

    fn panel(&self, panel: &Panel) -> Result<(), Error> {
        self.axes(panel)?;
        if !panel.line.is_empty() {
            self.line(&panel.line, self.stroke(INK, 0.75, 1.6))?;
        }
        // Small bubbles last, so that a large one does not hide them.
        let mut order: Vec<&Bubble> = panel.bubbles.iter().collect();
        order.sort_by(|a, b| b.radius.total_cmp(&a.radius));
        order.iter().try_for_each(|bubble| self.whiskers(bubble))?;
        order.iter().try_for_each(|bubble| self.bubble(bubble))?;
        panel.bubbles.iter().try_for_each(|bubble| self.label(bubble))?;
        self.legend(panel)
    }

    fn axes(&self, panel: &Panel) -> Result<(), Error> {
        let frame = &panel.frame;
        self.text(&panel.title, (frame.x, frame.y - 16.0), 15.0, INK, HPos::Left)?;
        for (x, text) in &panel.x_ticks {
            self.line(
                &[(*x, frame.y), (*x, frame.bottom())],
                self.stroke(GRID, 1.0, 1.0),
            )?;
            self.text(text, (*x, frame.bottom() + 14.0), 12.0, PALE, HPos::Center)?;
        }
        for (y, text) in &panel.y_ticks {
            self.line(&[(frame.x, *y), (frame.right(), *y)], self.stroke(GRID, 1.0, 1.0))?;
            self.text(text, (frame.x - 8.0, *y), 12.0, PALE, HPos::Right)?;
        }
        let corners = [(frame.x, frame.y), (frame.right(), frame.bottom())].map(|corner| self.at(corner));
        self.area
            .draw(&Rectangle::new(corners, self.stroke(PALE, 0.5, 1.0)))?;
        let middle = (frame.x + frame.width / 2.0, frame.bottom() + 36.0);
        self.text(&panel.x_title, middle, 13.0, INK, HPos::Center)?;
        self.upright(&panel.y_title, (frame.x - 50.0, frame.y + frame.height / 2.0))
    }

    fn upright(&self, text: &str, at: (f64, f64)) -> Result<(), Error> {
        let font = (FONT, 13.0 * self.scale, FontStyle::Normal)
            .into_font()
            .transform(FontTransform::Rotate270);
        let style = TextStyle::from(font)
            .color(&INK)
            .pos(Pos::new(HPos::Center, VPos::Center));
        self.styled_text(text, at, style)
    }

    fn whiskers(&self, bubble: &Bubble) -> Result<(), Error> {
        let opacity = if bubble.pareto { 0.55 } else { 0.2 };
        let style = self.stroke(colour(bubble.colour), opacity, 1.0);
        bubble.whiskers.iter().try_for_each(|ends| self.line(ends, style))
    }

    fn bubble(&self, bubble: &Bubble) -> Result<(), Error> {
        let colour = colour(bubble.colour);
        let opacity = if bubble.pareto { 0.85 } else { 0.28 };
        if bubble.beyond {
            self.triangle(bubble.at, colour)?;
            let hole = bubble.noted.then_some((bubble.at.0, bubble.at.1 - 2.0));
            return hole.map_or(Ok(()), |at| self.circle(at, 2.0, PAPER.filled()));
        }
        if bubble.noted {
            self.hollow(bubble.at, bubble.radius, colour.mix(opacity))?;
        } else {
            self.circle(bubble.at, bubble.radius, colour.mix(opacity).filled())?;
        }
        let ring = if bubble.pareto {
            self.stroke(INK, 1.0, 1.5)
        } else {
            self.stroke(colour, 0.6, 1.0)
        };
        self.circle(bubble.at, bubble.radius, ring)
    }

    /// Points at what lies below.
    fn triangle(&self, (x, y): (f64, f64), colour: RGBColor) -> Result<(), Error> {
        const HALF: f64 = 6.0;
        let corners = [(x - HALF, y - HALF), (x + HALF, y - HALF), (x, y + HALF)];
        let corners = corners.map(|corner| self.at(corner)).to_vec();
        self.area.draw(&Polygon::new(corners, colour.mix(0.6).filled()))?;
        Ok(())
    }

    /// A thick ring, through which one sees what lies below.
    fn hollow(&self, at: (f64, f64), radius: f64, colour: RGBAColor) -> Result<(), Error> {
        let thickness = radius * (1.0 - HOLE);
        let style = ShapeStyle {
            color: colour,
            filled: false,
            stroke_width: (thickness * self.scale).round() as u32,
        };
        self.circle(at, radius - thickness / 2.0, style)
    }

    fn label(&self, bubble: &Bubble) -> Result<(), Error> {
        let Some(place) = bubble.label else { return Ok(()) };
        if let Some(leader) = &bubble.leader {
            self.line(leader, self.stroke(PALE, 0.6, 0.75))?;
        }
        self.veil(&place)?;
        let ink = if bubble.pareto { INK } else { PALE };
        let left = (place.x + 2.0, place.y + place.height / 2.0);
        self.text(&bubble.text, left, LABEL_SIZE, ink, HPos::Left)
    }

    /// Dims lines under a label, so that it can be read.
    fn veil(&self, place: &Rect) -> Result<(), Error> {
        let corners = [(place.x, place.y + 1.0), (place.right(), place.bottom() - 1.0)];
        let corners = corners.map(|corner| self.at(corner));
        self.area
            .draw(&Rectangle::new(corners, PAPER.mix(0.7).filled()))?;
        Ok(())
    }

    fn legend(&self, panel: &Panel) -> Result<(), Error> {
        let (left, mut y) = (panel.frame.right() + 22.0, panel.frame.y + 8.0);
        let text_left = left + 30.0;
        self.text("runtime", (left - 8.0, y), 12.0, PALE, HPos::Left)?;
        for (index, name) in &panel.runtimes {
            y += 22.0;
            self.circle((left + 6.0, y), 6.5, colour(*index).mix(0.85).filled())?;
            self.text(name, (text_left, y), 13.0, INK, HPos::Left)?;
        }
        y += 36.0;
        self.text("artifact size (area)", (left - 8.0, y), 12.0, PALE, HPos::Left)?;
        y += 8.0;
        for (radius, size) in &panel.sizes {
            y += radius + 8.0;
            self.circle((left + 6.0, y), *radius, self.stroke(PALE, 1.0, 1.0))?;
            self.text(size, (text_left, y), 13.0, INK, HPos::Left)?;
            y += radius;
        }
        y += 32.0;
        self.circle((left + 6.0, y), 7.0, self.stroke(INK, 1.0, 1.5))?;
        self.text("on the frontier", (text_left, y), 13.0, INK, HPos::Left)?;
        if panel.bubbles.iter().any(|b| b.noted) {
            y += 24.0;
            self.hollow((left + 6.0, y), 7.0, PALE.mix(0.6))?;
            self.text("see the table's notes", (text_left, y), 13.0, INK, HPos::Left)?;
        }
        if panel.bubbles.iter().any(|b| b.beyond) {
            y += 24.0;
            self.triangle((left + 6.0, y), PALE)?;
            self.text("below the axis", (text_left, y), 13.0, INK, HPos::Left)?;
        }
        if panel.bubbles.iter().any(|b| !b.whiskers.is_empty()) {
            y += 24.0;
            self.line(
                &[(left + 6.0, y - 9.0), (left + 6.0, y + 9.0)],
                self.stroke(PALE, 1.0, 1.0),
            )?;
            self.text("95 % interval", (text_left, y), 13.0, INK, HPos::Left)?;
        }
        match &panel.note {
            Some(note) => {
                let below = (panel.frame.right(), panel.frame.bottom() + 36.0);
                self.text(note, below, 11.0, PALE, HPos::Right)
            }
            None => Ok(()),
        }
    }
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}
