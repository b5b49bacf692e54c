//! A differential flame graph as SVG: self-contained, without script; every box says its numbers when it is pointed at.
//!
//! Colours are those of the page's light scheme: blue for less and orange for more, in four steps of lightness that differ
//! for colour-blind eyes and in print; grey where the change is not certain.

use super::markup::escape;
use crate::base::quantity::{format_count, format_share};
use crate::findings::compare_flame::DiffBoxes;
use crate::findings::compare_profiles::{ProfileComparison, share};
use std::fmt::Write;

/// Colours by [`tint`].
const COLOURS: [&str; 9] = ["#dddbd5", "#d3e3f3", "#a9cbe9", "#7fb0dd", "#5b97cf", "#fde0c5", "#fbbd85", "#f2944d", "#de7420"];
/// Changes in parts of one from which the next step of colour begins.
const STEPS: [f64; 3] = [0.01, 0.03, 0.1];

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const TOP: f64 = 76.0;
const ROW: f64 = 17.0;
/// Boxes narrower than this are left out, and counted.
const NARROW: f64 = 0.3;

/// Colour of a change of share: 0 for none, 1 to 4 for less, 5 to 8 for more.
pub fn tint(change: f64) -> u8 {
    if change == 0.0 {
        return 0;
    }
    let step = 1 + STEPS.iter().filter(|s| change.abs() >= **s).count() as u8;
    if change < 0.0 { step } else { 4 + step }
}

/// The picture.
pub fn svg(c: &ProfileComparison, d: &DiffBoxes, title: &str) -> String {
    let rows = d.depth.iter().map(|r| r + 1).max().unwrap_or(0);
    let height = TOP + f64::from(rows) * ROW + 30.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"14\" font-weight=\"600\">{}</text>\n\
         <text x=\"{MARGIN}\" y=\"38\">{}</text>\n",
        escape(title),
        escape(&format!(
            "{} · {} events before, {} now · widths of the candidate · {} paths tested",
            c.value_name,
            format_count(c.events[0] as f64),
            format_count(c.events[1] as f64),
            format_count(d.tested as f64)
        ))
    );
    legend(&mut out);
    let scale = if d.extent > 0.0 { (WIDTH - 2.0 * MARGIN) / d.extent } else { 0.0 };
    let mut left_out = d.pruned;
    for i in 0..d.row.len() {
        let w = d.width[i] * scale;
        if w < NARROW {
            left_out += 1;
            continue;
        }
        let (x, y) = (MARGIN + d.start[i] * scale, TOP + f64::from(d.depth[i]) * ROW);
        let name = c.tree.names.get(c.tree.name[d.row[i] as usize]);
        let colour = COLOURS[usize::from(if d.certain[i] { tint(d.change[i]) } else { 0 })];
        let [before, now] = [d.other[i], d.width[i]];
        let _ = writeln!(
            out,
            "<g><title>{}</title><rect x=\"{x:.2}\" y=\"{y:.0}\" width=\"{:.2}\" height=\"{}\" fill=\"{colour}\"/>{}</g>",
            escape(&format!(
                "{name}\nbefore {} ({} events), now {} ({} events): {:+.2} percentage points, {}",
                format_share(share(before as i64, c.events[0])),
                format_count(before),
                format_share(share(now as i64, c.events[1])),
                format_count(now),
                d.change[i] * 100.0,
                if d.certain[i] { "certain" } else { "not certain" }
            )),
            (w - 0.5).max(NARROW),
            ROW - 1.0,
            label(name, x, y, w)
        );
    }
    if left_out > 0 {
        let _ = writeln!(
            out,
            "<text x=\"{MARGIN}\" y=\"{}\" fill=\"#63605a\">{} boxes are too narrow to draw.</text>",
            height - 10.0,
            format_count(left_out as f64)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String) {
    let texts = ["not certain", "less, <1 pp", "1", "3", "10 and more", "more, <1 pp", "1", "3", "10 and more"];
    let mut x = MARGIN;
    for (colour, text) in COLOURS.iter().zip(texts) {
        let _ = writeln!(
            out,
            "<rect x=\"{x:.0}\" y=\"48\" width=\"14\" height=\"14\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"59\">{}</text>",
            x + 18.0,
            escape(text)
        );
        x += 30.0 + 6.8 * text.chars().count() as f64;
    }
}

fn label(name: &str, x: f64, y: f64, width: f64) -> String {
    let room = ((width - 6.0) / 6.7).floor();
    if room < 3.0 {
        return String::new();
    }
    let room = room as usize;
    let text: String = if name.chars().count() <= room { name.to_string() } else { name.chars().take(room - 1).chain(['…']).collect() };
    format!("<text x=\"{:.2}\" y=\"{:.0}\">{}</text>", x + 3.0, y + 12.0, escape(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn_stacks::drawn;
    use crate::findings::compare_flame::boxes;
    use crate::findings::compare_profiles::{Limits, compare};

    #[test]
    fn steps_of_colour_follow_the_change() {
        assert_eq!([0.0, -0.005, -0.01, -0.05, -0.5, 0.005, 0.02, 0.03, 0.1].map(tint), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_picture_is_xml_with_the_numbers_of_both_sides() {
        let (b, c) = (drawn("main;a<b>& 900\nmain;c 100"), drawn("main;a<b>& 500\nmain;c 500"));
        let c = compare([&b, &c], [0, 0], Limits::default());
        let text = svg(&c, &boxes(&c, 1, Limits::default()), "x & y");
        assert_eq!((text.matches("<g>").count(), text.matches("</g>").count()), (3, 3));
        // Every ampersand begins an entity, and every angle bracket one of our own elements.
        assert!(text.split('&').skip(1).all(|t| ["amp;", "lt;", "gt;", "quot;"].iter().any(|e| t.starts_with(e))));
        assert!(
            text.split('<')
                .skip(1)
                .all(|t| ["svg", "/svg", "rect", "text", "/text", "g>", "/g>", "title", "/title"].iter().any(|e| t.starts_with(e)))
        );
        assert!(text.contains("a&lt;b&gt;&amp;\nbefore 90.0 % (900 events), now 50.0 % (500 events): -40.00 percentage points, certain"));
        assert!(text.contains(COLOURS[4]) && text.contains(COLOURS[8]) && text.contains(COLOURS[0]));
    }
}
