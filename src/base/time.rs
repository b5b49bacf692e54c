//! Times of day as text, computed without a clock or a time zone.

/// Nanoseconds since 1970 as ISO 8601 in UTC with milliseconds: `2026-02-03T04:05:06.789Z`.
/// Days become a civil date by the era method of Howard Hinnant's `civil_from_days`.
pub fn iso_utc(ns: i64) -> String {
    let ms = ns.div_euclid(1_000_000);
    let days = ms.div_euclid(86_400_000);
    let of_day = ms.rem_euclid(86_400_000);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (s, ms) = (of_day / 1000, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
}

/// Days since 1970 of a civil date, by the inverse of the method above.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + day_of_era - 719_468
}

/// A time as RFC 3339 and ISO 8601 write it, in nanoseconds since 1970: `2023-06-02T11:55:21.379888-07:00`. A space may stand
/// for the `T`; without a zone it is UTC; digits beyond nanoseconds are cut. `None` for other texts and for times that do not
/// fit.
pub fn parse_iso(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time) = text.split_at_checked(10)?;
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten();
    let (year, month, day) = (number(date.get(..4)?)?, number(date.get(5..7)?)?, number(date.get(8..)?)?);
    let dashes = date.as_bytes()[4] == b'-' && date.as_bytes()[7] == b'-';
    if !dashes || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let time = time.strip_prefix(['T', 't', ' '])?;
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.trim_end().split_once(['.', ',']).unwrap_or((clock.trim_end(), ""));
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let second = parts.next().map_or(Some(0), number)?;
    if parts.next().is_some() || hour > 24 || minute > 59 || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse::<i64>().ok()?;
    let offset = match zone.as_bytes() {
        [] | [b'Z' | b'z'] => 0,
        [sign, ..] => {
            let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
            let value = number(&digits)?;
            let seconds = if digits.len() > 2 { value / 100 * 3600 + value % 100 * 60 } else { value * 3600 };
            if *sign == b'-' { -seconds } else { seconds }
        }
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// A length as Go and protobuf's JSON write it, in nanoseconds: `5000ns`, `0.005s`, `1h2m3.5s`. Digits below a nanosecond
/// are rounded. `None` for other texts.
pub fn parse_length(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let mut sum = 0_i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| *n > 0)?;
        let (number, unit) = rest.split_at(digits);
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let scale = match &unit[..end] {
            "ns" => 0,
            "us" | "µs" | "μs" => 3,
            "ms" => 6,
            "s" => 9,
            "m" | "h" => 9,
            _ => return None,
        };
        let times = match &unit[..end] {
            "m" => 60,
            "h" => 3600,
            _ => 1,
        };
        sum = sum.checked_add(parse_decimal(number, scale)?.checked_mul(times)?)?;
        rest = &unit[end..];
    }
    Some(if negative { -sum } else { sum })
}

/// A decimal number times ten to the power of `scale`, rounded to an integer without going through floating point:
/// `1478293361.271` and `1.478293361271E9` with scale 9 are the same nanoseconds. `None` when it is no number or does not fit.
pub fn parse_decimal(text: &str, scale: u32) -> Option<i64> {
    let text = text.trim();
    let (negative, text) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() < 400)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    // How many of the digits stand before the point of the result.
    let point = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let kept = usize::try_from(point.clamp(0, digits.len() as i64)).ok()?;
    let significant = digits[..kept].trim_start_matches('0');
    let zeros = usize::try_from((point - digits.len() as i64).max(0)).ok()?;
    if significant.len() + if significant.is_empty() { 0 } else { zeros } > 19 {
        return None;
    }
    let mut value: i64 = if significant.is_empty() { 0 } else { format!("{significant}{}", "0".repeat(zeros)).parse().ok()? };
    if point >= 0 && digits.as_bytes().get(kept).is_some_and(|d| *d >= b'5') {
        value = value.checked_add(1)?;
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_spelling() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2017-01-26T16:46:31.639875-05:00", Some(1_485_467_191_639_875_000)),
            ("2023-06-02T11:55:21.379895125-07:00", Some(1_685_732_121_379_895_125)),
            ("2023-06-02 18:55:21", Some(1_685_732_121_000_000_000)),
            ("2000-02-29T00:00:00.1234567891+0130", Some(951_777_000_123_456_789)),
            ("1969-12-31T23:59:59.999999999Z", Some(-1)),
            ("0001-01-01T00:00:00Z", None),
            ("2023-13-02T00:00:00Z", None),
            ("2023-06-02", None),
            ("yesterday", None),
            ("é023-06-02T00:00:00Z", None),
        ] {
            let got = parse_iso(text);
            assert_eq!(got, ns, "{text}");
            if let Some(ns) = got.filter(|ns| *ns > 0) {
                assert_eq!(parse_iso(&iso_utc(ns)), Some(ns - ns % 1_000_000));
            }
        }
    }

    #[test]
    fn lengths_and_decimals_are_exact() {
        for (text, ns) in [("5000ns", 5000), ("0.005s", 5_000_000), ("1h2m3.5s", 3_723_500_000_000), ("-1.5ms", -1_500_000), ("2µs", 2000)]
        {
            assert_eq!(parse_length(text), Some(ns), "{text}");
        }
        for text in ["", "s", "5", "5x", "1..2s"] {
            assert_eq!(parse_length(text), None, "{text}");
        }
        for (text, ns) in [
            ("1478293361.271", 1_478_293_361_271_000_000),
            ("1.478293361271E9", 1_478_293_361_271_000_000),
            ("1700000000.0050000001", 1_700_000_000_005_000_000),
            ("0.0000000015", 2),
            ("1e-30", 0),
            ("-2", -2_000_000_000),
        ] {
            assert_eq!(parse_decimal(text, 9), Some(ns), "{text}");
        }
        for text in ["", ".", "x", "1e99", "99999999999999999999", "1e", "--1"] {
            assert_eq!(parse_decimal(text, 9), None, "{text}");
        }
    }

    #[test]
    fn known_days() {
        assert_eq!(iso_utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_utc(951_782_400_000_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso_utc(1_704_067_199_999_999_999), "2023-12-31T23:59:59.999Z");
        assert_eq!(iso_utc(-1), "1969-12-31T23:59:59.999Z");
    }
}
