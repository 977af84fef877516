//! `pareto.png` and `pareto.svg`: one panel a device, drawn from a layout that is computed before.

mod beyond;
mod draw;
mod labels;
mod layout;
mod scale;

use std::io::Cursor;
use std::sync::Once;

use ab_glyph::{Font as _, FontRef};
use edgefront_protocol::results::Results;
use image::{ImageFormat, RgbImage, imageops};
use plotters::backend::{BitMapBackend, SVGBackend};
use plotters::drawing::IntoDrawingArea as _;
use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};

use self::layout::Picture;
use super::Rendered;

/// The font's name, which readers of the SVG look for; Verdana has the same widths.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
/// A subset (Latin, Greek, Cyrillic) of DejaVu Sans, so that no system font is needed.
static FONT_FILE: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans-subset.ttf");
/// Pixels of the files per unit of the layout.
const SCALE: u32 = 2;
/// What stands for a character that cannot be shown.
const LACKING: &str = "?";

pub(super) fn png(results: &Results) -> Rendered {
    // Twice the size and then halved, because plotters does not smooth edges.
    let picture = layout(results);
    let scale = SCALE * 2;
    let (width, height) = (picture.width as u32 * scale, picture.height as u32 * scale);
    let mut pixels = vec![255; (width * height * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw::draw(&area, &picture, f64::from(scale), in_glyphs)?;
    }
    let large =
        RgbImage::from_raw(width, height, pixels).expect("invariant: the buffer has the picture's size");
    let small = imageops::thumbnail(&large, width / 2, height / 2);
    let mut file = Cursor::new(Vec::new());
    small.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}

pub(super) fn svg(results: &Results) -> Rendered {
    let picture = layout(results);
    let mut text = String::new();
    {
        let size = (picture.width as u32 * SCALE, picture.height as u32 * SCALE);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw::draw(&area, &picture, f64::from(SCALE), in_xml)?;
    }
    Ok(text.into_bytes())
}

fn layout(results: &Results) -> Picture {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        let registered = register_font(FONT, FontStyle::Normal, FONT_FILE);
        assert!(registered.is_ok(), "invariant: the font in the binary is a font");
    });
    layout::picture(results, &text_width)
}

/// The text with a sign in place of each character that the font lacks: it would leave no trace. Readers of the
/// SVG have fonts of their own.
fn in_glyphs(text: &str) -> String {
    let font = FontRef::try_from_slice(FONT_FILE).expect("invariant: the font in the binary is a font");
    text.replace(|c| font.glyph_id(c).0 == 0, LACKING)
}

/// The text with a sign in place of each character that XML does not know, in which no such text could be read.
fn in_xml(text: &str) -> String {
    text.replace(
        |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'),
        LACKING,
    )
}

/// Width of a text of the given size in units of the layout.
fn text_width(text: &str, size: f64) -> f64 {
    let font = FontDesc::new(FontFamily::Name(FONT), size * 10.0, FontStyle::Normal);
    font.box_size(text)
        .map_or(size * 0.62 * text.chars().count() as f64, |(width, _)| {
            f64::from(width) / 10.0
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn what_the_font_lacks_leaves_a_trace() {
        assert_eq!(in_glyphs("é ≥ Ж 模型"), "é ≥ Ж ??");
        let font = FontRef::try_from_slice(FONT_FILE).unwrap();
        assert_ne!(font.glyph_id('?').0, 0);
    }

    #[test]
    fn what_xml_does_not_know_leaves_a_trace() {
        assert_eq!(in_xml("模型 é\u{1b}[31m\n\u{ffff}"), "模型 é?[31m??");
    }

    #[test]
    fn the_svg_is_well_formed_and_escapes_names() {
        let text = String::from_utf8(svg(&fixture::results()).unwrap()).unwrap();
        assert!(text.contains("made-up &lt;fixture&gt;") && !text.contains("<fixture>"));
        let mut open = Vec::new();
        for tag in text.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("every tag ends");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name.trim()));
            } else if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
                open.push(tag.split_whitespace().next().unwrap());
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
