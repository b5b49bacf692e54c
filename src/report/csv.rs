//! Findings as CSV (RFC 4180), for spreadsheets. The first column says what a row is: a finding, a rule's answer, a file, or
//! something that was lost, repaired or guessed when it was read, so that no number stands without its account.

use super::inspect::inspect;
use crate::findings::Report;
use crate::findings::finding::RuleStatus;
use crate::model::Session;

/// The columns.
const HEAD: [&str; 25] = [
    "row",
    "id",
    "rule",
    "severity",
    "score",
    "confidence",
    "tier",
    "title",
    "message",
    "kind",
    "name",
    "service",
    "file",
    "line",
    "share",
    "share_low",
    "share_high",
    "n",
    "of",
    "amount",
    "unit",
    "recoverable_low",
    "recoverable_high",
    "traces",
    "fingerprint",
];

/// The whole table.
pub fn csv(session: &Session, report: &Report) -> String {
    let mut out = String::new();
    line(&HEAD.map(str::to_string), &mut out);
    let empty = || HEAD.map(|_| String::new());
    for f in &report.findings {
        let mut row = empty();
        let number = |n: i64| if n == 0 { String::new() } else { n.to_string() };
        let share = f.share.as_ref();
        let values = [
            "finding".to_string(),
            f.id.clone(),
            f.rule.to_string(),
            f.severity.word().to_string(),
            f.score.to_string(),
            f.confidence.word().to_string(),
            f.tier.clone(),
            f.title.clone(),
            f.message.clone(),
            f.subject.kind.to_string(),
            f.subject.name.clone(),
            f.subject.service.clone(),
            f.subject.file.clone(),
            number(i64::from(f.subject.line)),
            share.map_or(String::new(), |s| s.p.to_string()),
            share.map_or(String::new(), |s| s.low.to_string()),
            share.map_or(String::new(), |s| s.high.to_string()),
            share.map_or(String::new(), |s| s.n.to_string()),
            share.map_or(String::new(), |s| s.of.clone()),
            number(f.impact.amount),
            f.impact.unit.clone(),
            number(f.impact.recoverable_low),
            number(f.impact.recoverable_high),
            if f.occurrences.of_traces > 0 { format!("{} of {}", f.occurrences.traces, f.occurrences.of_traces) } else { String::new() },
            f.fingerprint.clone(),
        ];
        row.clone_from_slice(&values);
        line(&row, &mut out);
    }
    let mut told = |kind: &str, id: &str, rule: &str, title: &str, message: &str, file: &str| {
        let mut row = empty();
        for (at, text) in [(0, kind), (1, id), (2, rule), (7, title), (8, message), (12, file)] {
            row[at] = text.to_string();
        }
        line(&row, &mut out);
    };
    for v in &report.verdicts {
        let (status, over) = match v.status {
            RuleStatus::Fired => ("fired", &v.over),
            RuleStatus::Clear => ("checked, clear", &v.over),
            RuleStatus::NotChecked => ("not checked", &v.reason),
        };
        told("rule", "", &v.rule, status, over, "");
    }
    told("usable", "", "", "over how much the rules looked", &report.usable, "");
    for source in inspect(session).sources {
        let file = &source.file;
        let r = &source.ledger.records;
        let records = format!("{} records in, {} kept, {} dropped", r.records_in, r.kept, r.dropped);
        told("file", "", "", &source.format, source.error.as_deref().unwrap_or(&records), file);
        for w in &source.ledger.weight {
            let text = format!("{} in, {} kept, {} dropped", w.weight_in, w.kept, w.dropped);
            told("weight", "", "", &format!("{} in {}", w.value, w.unit), &text, file);
        }
        for e in &source.ledger.entries {
            let at: Vec<&str> = e.examples.iter().map(|x| x.at.as_str()).collect();
            told("ledger", "", &e.code, &e.count.to_string(), &format!("{} At {}.", e.message, at.join(", ")), file);
        }
        for c in &source.ledger.choices {
            let otherwise: Vec<&str> = c.switches.iter().map(|s| s.argument.as_str()).collect();
            let text = if otherwise.is_empty() {
                c.choice.why.clone()
            } else {
                format!("{} Otherwise: {}.", c.choice.why, otherwise.join(" or "))
            };
            told("choice", "", &c.choice.what, &c.choice.chosen, &text, file);
        }
    }
    out
}

/// A record. A cell that a spreadsheet would take for a formula is marked as text: names come from files.
fn line(cells: &[String; 25], out: &mut String) {
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let formula = cell.starts_with(['=', '+', '@', '\t', '\r']) || cell.starts_with('-') && cell.parse::<f64>().is_err();
        let quoted = cell.contains([',', '"', '\n', '\r']) || formula;
        if quoted {
            out.push('"');
            if formula {
                out.push('\'');
            }
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        let mut cells = HEAD.map(|_| String::new());
        cells[0] = "a \"b\", c".into();
        cells[1] = "=1+1".into();
        cells[2] = "-4".into();
        let mut out = String::new();
        line(&cells, &mut out);
        assert!(out.starts_with("\"a \"\"b\"\", c\",\"'=1+1\",-4,,"), "{out}");
        assert!(out.ends_with(",\r\n"));
    }
}
