//! What the numbers of folded stacks are: the format names no unit, so samples are assumed until someone says otherwise.

use crate::model::Session;
use crate::model::ledger::{Choice, Ledger};
use crate::model::profile::{Profile, ValueKind};

/// The units that someone may choose. The first is assumed.
pub const UNITS: [&str; 5] = ["samples", "nanoseconds", "microseconds", "milliseconds", "bytes"];

/// What a unit measures. Time of unknown kind is elapsed time: that claims least.
fn kind(unit: &str) -> ValueKind {
    match unit {
        "samples" => ValueKind::Samples,
        "bytes" => ValueKind::AllocBytes,
        _ => ValueKind::WallTime,
    }
}

/// The unit in the tables: fractions stay exact integers of `1e-2 microseconds`.
fn in_tables(before: &str, unit: &str) -> String {
    match before.split_once(' ').filter(|(power, _)| power.starts_with("1e-")) {
        Some((power, _)) => format!("{power} {unit}"),
        None if unit == "samples" => "count".to_string(),
        None => unit.to_string(),
    }
}

/// The guess, or the choice that replaced it.
pub fn choice(unit: &str) -> Choice {
    let why = if unit == UNITS[0] {
        "Folded stacks name no unit, so the numbers are taken as counts of samples."
    } else {
        "Folded stacks name no unit; this one was chosen."
    };
    let others = UNITS.iter().filter(|u| **u != unit).map(|u| (*u).to_string()).collect();
    Choice { what: "unit".to_string(), chosen: unit.to_string(), others, why: why.to_string() }
}

/// Takes the numbers of all folded stacks of a session as `unit`, one of [`UNITS`]. Numbers do not change, so that every
/// choice can be taken back.
///
/// # Errors
/// A sentence when there is no such unit.
pub fn interpret(session: &mut Session, unit: &str) -> Result<(), String> {
    if !UNITS.contains(&unit) {
        return Err(format!("{unit} is no unit of folded stacks; there are {}", UNITS.join(", ")));
    }
    for profile in session.profiles.iter_mut().filter(|p| p.format == "folded") {
        let Some(source) = session.sources.get_mut(profile.source.index()) else { continue };
        of_profile(profile, &mut source.ledger, unit);
    }
    Ok(())
}

fn of_profile(profile: &mut Profile, ledger: &mut Ledger, unit: &str) {
    for value in &mut profile.value_types {
        let after = in_tables(&value.unit, unit);
        for line in ledger.weights.iter_mut().filter(|l| l.value == value.name && l.unit == value.unit) {
            line.unit = after.clone();
        }
        (value.unit, value.kind) = (after, kind(unit));
    }
    for old in ledger.choices.iter_mut().filter(|c| c.what == "unit") {
        *old = choice(unit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_can_be_chosen_and_taken_back() {
        for (text, plain) in [("a;b 3000\nc;d 2\n", "count"), ("a;b 3.25\nc;d 2\n", "1e-2 samples")] {
            let mut session = Session::default();
            let bytes = std::io::Cursor::new(text.as_bytes().to_vec());
            super::super::input::open(&mut session, "x", 0, Box::new(bytes), super::super::Limits::default(), &mut |_| true);
            let unit = |s: &Session| (s.profiles[0].value_types[0].unit.clone(), s.sources[0].ledger.weights[0].unit.clone());
            assert_eq!(unit(&session).0, plain);
            let total = session.profiles[0].total(0);
            interpret(&mut session, "microseconds").unwrap();
            let expected = if plain == "count" { "microseconds" } else { "1e-2 microseconds" };
            assert_eq!(unit(&session), (expected.to_string(), expected.to_string()));
            assert_eq!((session.profiles[0].value_types[0].kind, session.profiles[0].total(0)), (ValueKind::WallTime, total));
            assert_eq!(session.sources[0].ledger.choices[0].chosen, "microseconds");
            interpret(&mut session, "samples").unwrap();
            assert_eq!(unit(&session), (plain.to_string(), plain.to_string()));
            assert_eq!(session.sources[0].ledger.choices[0], choice("samples"));
            assert!(interpret(&mut session, "parsecs").is_err());
        }
    }
}
