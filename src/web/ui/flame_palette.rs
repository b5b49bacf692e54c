//! The colours of flame graphs, and a picture in them.

use crate::paint::flame::{ABOVE_ZOOM, HOVERED, MATCH, ON_PATH, Picture, SELECTED};
use crate::web::dom;
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};

/// Colours of the style sheet.
pub struct Palette {
    own: Vec<String>,
    other: Vec<String>,
    text: String,
    matched: String,
    /// For names of tracks.
    pub strong: String,
    line: String,
    /// Width of a character of the labels in CSS pixels; which font that is, the system decides.
    pub char_width: f64,
}

/// The font of labels.
const FONT: &str = "12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

/// Measured on a canvas of its own; a usual width where the browser gives none.
fn char_width() -> f64 {
    let canvas = dom::document().create_element("canvas").ok().and_then(|c| c.dyn_into::<HtmlCanvasElement>().ok());
    let context = canvas.and_then(|c| c.get_context("2d").ok().flatten()).and_then(|c| c.dyn_into::<CanvasRenderingContext2d>().ok());
    context
        .and_then(|ctx| {
            ctx.set_font(FONT);
            ctx.measure_text("0000000000").ok()
        })
        .map(|m| m.width() / 10.0)
        .filter(|w| *w > 1.0)
        .unwrap_or(7.2)
}

impl Palette {
    /// Reads the colours as they are now.
    pub fn read(categories: usize) -> Palette {
        let list = |name: &str, n: usize| (0..n).map(|i| dom::token(&format!("--{name}-{i}"))).collect::<Vec<_>>();
        Palette {
            own: list("flame", 8),
            other: (0..categories.max(1)).map(|c| dom::token(&format!("--kind-{}", c % 8))).collect(),
            text: dom::token("--flame-text"),
            matched: dom::token("--match"),
            strong: dom::token("--text"),
            line: dom::token("--line"),
            char_width: char_width(),
        }
    }

    /// The colours of differential graphs: a box without a change of its own has the first.
    pub fn read_diff() -> Palette {
        let colours: Vec<String> = (0..9).map(|i| dom::token(&format!("--diff-{i}"))).collect();
        Palette { own: vec![colours[0].clone()], other: colours, ..Palette::read(1) }
    }

    /// Draws rectangles, marks and labels.
    pub fn fill(&self, ctx: &CanvasRenderingContext2d, picture: &Picture, searching: bool) {
        let p = self;
        // A change of colour costs more than a rectangle: those of one colour are filled together.
        let colours: Vec<&String> = p.own.iter().chain(&p.other).chain([&p.matched]).collect();
        let mut by_style: Vec<Vec<usize>> = vec![Vec::new(); colours.len() * 2];
        for (i, r) in picture.rects.iter().enumerate() {
            let colour = if r.flags & MATCH != 0 {
                colours.len() - 1
            } else if r.category > 0 {
                p.own.len() + r.category as usize % p.other.len()
            } else {
                r.shade as usize % p.own.len()
            };
            let faded = r.flags & ABOVE_ZOOM != 0 || searching && r.flags & MATCH == 0;
            by_style[colour * 2 + usize::from(faded)].push(i);
        }
        for (style, rects) in by_style.iter().enumerate().filter(|(_, rects)| !rects.is_empty()) {
            ctx.set_global_alpha(if style % 2 == 1 { 0.45 } else { 1.0 });
            ctx.set_fill_style_str(colours[style / 2]);
            for r in rects.iter().map(|i| &picture.rects[*i]) {
                ctx.fill_rect(r.x.into(), r.y.into(), r.w.into(), r.h.into());
            }
        }
        for r in &picture.rects {
            if r.flags & (SELECTED | HOVERED | ON_PATH) != 0 && r.w > 2.0 {
                ctx.set_global_alpha(1.0);
                ctx.set_stroke_style_str(if r.flags & ON_PATH != 0 { &p.line } else { &p.strong });
                ctx.set_line_width(if r.flags & SELECTED != 0 { 2.0 } else { 1.0 });
                ctx.stroke_rect(f64::from(r.x) + 0.5, f64::from(r.y) + 0.5, f64::from(r.w) - 1.0, f64::from(r.h) - 1.0);
            }
        }
        ctx.set_global_alpha(1.0);
        ctx.set_fill_style_str(&p.text);
        ctx.set_font(FONT);
        ctx.set_text_baseline("middle");
        for label in &picture.labels {
            let _ = ctx.fill_text(&label.text, label.x.into(), label.y.into());
        }
    }
}
