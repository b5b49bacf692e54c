//! Numbers as the field writes them: `1.20 s`, `38.4 MiB`, `12.3 %`; three significant digits.

/// A weight with its unit, for people. Knows nanoseconds and its multiples, bytes and its multiples, and counts.
pub fn format_value(value: f64, unit: &str) -> String {
    match unit {
        "nanoseconds" | "ns" => format_ns(value),
        "microseconds" | "us" | "µs" => format_ns(value * 1e3),
        "milliseconds" | "ms" => format_ns(value * 1e6),
        "seconds" | "s" => format_ns(value * 1e9),
        "bytes" | "byte" | "B" => format_bytes(value),
        "kilobytes" | "KB" | "kB" | "KiB" => format_bytes(value * 1024.0),
        "count" | "samples" | "objects" | "events" | "" | "none" => format_count(value),
        // Fractions are kept as integers of a power of ten: `1e-2 microseconds`.
        scaled if scaled.starts_with("1e-") => match scaled[3..].split_once(' ').and_then(|(n, unit)| Some((n.parse::<i32>().ok()?, unit)))
        {
            Some((digits, unit)) => format_value(value / 10_f64.powi(digits), unit),
            None => format!("{} {scaled}", format_count(value)),
        },
        other => format!("{} {other}", format_count(value)),
    }
}

/// A duration given in nanoseconds.
pub fn format_ns(ns: f64) -> String {
    scaled(ns, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")])
}

/// `250 ms`, `1.5s`, `80us` as nanoseconds; `None` for what is no duration.
pub fn parse_duration(text: &str) -> Option<i64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ')?;
    let number: f64 = text[..at].trim().parse().ok()?;
    let factor = match text[at..].trim() {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        _ => return None,
    };
    (number >= 0.0 && number.is_finite()).then(|| (number * factor).round() as i64)
}

/// A size given in bytes, in binary units.
pub fn format_bytes(bytes: f64) -> String {
    scaled(bytes, &[(1024.0 * 1024.0 * 1024.0, "GiB"), (1024.0 * 1024.0, "MiB"), (1024.0, "KiB"), (1.0, "B")])
}

/// `1 trace`, `2,000 traces`: a number with what it counts, in the singular or plural.
pub fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", format_count(n as f64), if n == 1 { "" } else { "s" })
}

/// A count with thousands separated by commas; fractions only below 1,000.
pub fn format_count(count: f64) -> String {
    if count.abs() < 1000.0 && count.fract() != 0.0 {
        return three_digits(count);
    }
    let digits = format!("{:.0}", count.abs());
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if count < 0.0 {
        out.push('-');
    }
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A share (0 to 1) as a percentage.
pub fn format_share(share: f64) -> String {
    let percent = share * 100.0;
    if percent != 0.0 && percent.abs() < 0.01 {
        return if percent > 0.0 { "<0.01 %".to_string() } else { ">-0.01 %".to_string() };
    }
    format!("{} %", three_digits(percent))
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    if value == 0.0 {
        let (_, unit) = units[units.len() - 1];
        return format!("0 {unit}");
    }
    // A value that would round up to 1000 of a unit is shown as 1.00 of the next.
    for &(factor, unit) in units {
        if value.abs() >= factor * 0.9995 {
            return format!("{} {unit}", three_digits(value / factor));
        }
    }
    let (factor, unit) = units[units.len() - 1];
    format!("{} {unit}", three_digits(value / factor))
}

fn three_digits(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_string()
    } else if magnitude >= 99.95 {
        format_count(value.round())
    } else if magnitude >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_field_writes() {
        for (value, unit, text) in [
            (1_154_000_000.0, "nanoseconds", "1.15 s"),
            (430_768_000.0, "nanoseconds", "431 ms"),
            (0.0, "nanoseconds", "0 ns"),
            (999_960.0, "nanoseconds", "1.00 ms"),
            (40_265_318.0, "bytes", "38.4 MiB"),
            (1023.0, "bytes", "1,023 B"),
            (30412.0, "count", "30,412"),
            (-1500.0, "count", "-1,500"),
        ] {
            assert_eq!(format_value(value, unit), text);
        }
        assert_eq!(format_share(0.7271), "72.7 %");
        assert_eq!(format_share(0.00001), "<0.01 %");
        assert_eq!(format_share(1.0), "100 %");
    }
}
