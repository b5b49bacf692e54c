//! A latency histogram as SVG, drawn with plotters on a logarithmic axis: latencies spread over orders of magnitude.

use crate::base::quantity::format_ns;
use crate::base::stats::nearest_rank;
use plotters::prelude::*;

const SIZE: (u32, u32) = (320, 170);
const BINS: usize = 28;
/// Readable on light and on dark ground.
const BAR: RGBColor = RGBColor(196, 110, 55);
const LINE: RGBColor = RGBColor(128, 128, 128);

/// Draws sorted durations in nanoseconds, with marks at the median and the 95th and 99th percentile.
///
/// # Errors
/// A sentence when plotters refuses to draw.
pub fn latency(sorted: &[i64]) -> Result<String, String> {
    let mut svg = String::new();
    draw(sorted, &mut svg).map_err(|e| format!("the histogram could not be drawn: {e}"))?;
    // The picture follows the width of its place, not its own.
    let fixed = format!("width=\"{}\" height=\"{}\" viewBox", SIZE.0, SIZE.1);
    Ok(svg.replace(&fixed, "viewBox"))
}

fn draw(sorted: &[i64], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let log = |ns: i64| (ns.max(1) as f64).log10();
    let (low, high) = (sorted.first().copied().unwrap_or(1), sorted.last().copied().unwrap_or(1));
    // A single value still needs a width.
    let (from, to) = if log(high) - log(low) < 0.05 { (log(low) - 0.1, log(high) + 0.1) } else { (log(low), log(high)) };
    let width = (to - from) / BINS as f64;
    let mut counts = [0_u64; BINS];
    for &ns in sorted {
        let bin = ((log(ns) - from) / width) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .x_label_area_size(26)
        .y_label_area_size(32)
        .build_cartesian_2d(from..to, 0.0..most as f64 * 1.05)?;
    let label = ("sans-serif", 11).into_font().color(&LINE);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(LINE.mix(0.25))
        .axis_style(LINE)
        .label_style(label)
        .x_labels(4)
        .y_labels(4)
        .x_label_formatter(&|x| format_ns(10_f64.powf(*x)))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let bars = counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| {
        let left = from + width * i as f64;
        Rectangle::new([(left + width * 0.06, 0.0), (left + width * 0.94, *n as f64)], BAR.filled())
    });
    chart.draw_series(bars)?;
    for q in [0.5, 0.95, 0.99] {
        let x = log(nearest_rank(sorted, q));
        chart.draw_series(std::iter::once(PathElement::new([(x, 0.0), (x, most as f64 * 1.05)], LINE.stroke_width(1))))?;
    }
    drop(chart);
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_hold_every_duration_and_one_value_is_drawn() {
        let svg = latency(&[1_000_000, 2_000_000, 2_000_000, 400_000_000]).unwrap();
        // Three bars: 1 ms, 2 ms (twice), 400 ms.
        assert_eq!(svg.matches("fill=\"#C46E37\"").count(), 3, "{svg}");
        assert!(svg.contains("viewBox") && !svg.contains("width=\"320\" height=\"170\" viewBox"));
        assert!(latency(&[5]).unwrap().contains("#C46E37"));
    }
}
