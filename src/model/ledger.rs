//! The import ledger: what went in, what was kept, what was dropped and why, and which guesses were made.

use super::diagnostics::Diagnostics;

/// The account of one file. Invariants (property-tested): kept + dropped = in, for records and for each weight.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    /// Records (samples, events, spans, lines) that the file holds, as far as they could be told apart.
    pub records_in: u64,
    /// Records that are in the tables.
    pub records_kept: u64,
    /// One line per weight (value type).
    pub weights: Vec<WeightLine>,
    /// What was skipped or repaired, with places.
    pub diagnostics: Diagnostics,
    /// Guesses with their alternatives.
    pub choices: Vec<Choice>,
}

/// The account of one weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WeightLine {
    /// Value type name: `cpu`.
    pub value: String,
    /// Unit of the numbers.
    pub unit: String,
    /// Sum in the file.
    #[serde(rename = "in")]
    pub weight_in: i64,
    /// Sum in the tables.
    pub kept: i64,
    /// Sum of what was dropped.
    pub dropped: i64,
}

/// A guess that the reader had to make.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Choice {
    /// What was chosen: `weight`.
    pub what: String,
    /// The choice: `period`.
    pub chosen: String,
    /// What else would be possible.
    pub others: Vec<String>,
    /// The reason, one sentence.
    pub why: String,
}

impl Ledger {
    /// Records that are not in the tables.
    pub fn records_dropped(&self) -> u64 {
        self.records_in.saturating_sub(self.records_kept)
    }

    /// Adds the account of another part of the same file; see [`Diagnostics::absorb`] for the offsets.
    pub fn absorb(&mut self, part: Ledger, records: u64, lines: u64) {
        self.records_in += part.records_in;
        self.records_kept += part.records_kept;
        for line in part.weights {
            self.weigh(&line.value, &line.unit, line.kept, true);
            self.weigh(&line.value, &line.unit, line.dropped, false);
        }
        self.diagnostics.absorb(part.diagnostics, records, lines);
        for choice in part.choices {
            if !self.choices.contains(&choice) {
                self.choices.push(choice);
            }
        }
    }

    /// Sets the line of a weight.
    pub fn set_line(&mut self, value: &str, unit: &str, kept: i64, dropped: i64) {
        self.weights.retain(|line| line.value != value || line.unit != unit);
        self.weigh(value, unit, kept, true);
        self.weigh(value, unit, dropped, false);
    }

    /// Adds to the line of a weight, opening it on first use. `kept` tells which side the weight goes to.
    pub fn weigh(&mut self, value: &str, unit: &str, weight: i64, kept: bool) {
        let at = match self.weights.iter().position(|line| line.value == value && line.unit == unit) {
            Some(at) => at,
            None => {
                self.weights.push(WeightLine { value: value.to_string(), unit: unit.to_string(), ..WeightLine::default() });
                self.weights.len() - 1
            }
        };
        let line = &mut self.weights[at];
        line.weight_in = line.weight_in.saturating_add(weight);
        let side = if kept { &mut line.kept } else { &mut line.dropped };
        *side = side.saturating_add(weight);
    }
}
