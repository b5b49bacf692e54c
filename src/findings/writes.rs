//! Writes of a trace, to tell whether a read had to be repeated.

use super::calls::{Call, CallTable, Category};
use crate::base::ids::TraceRow;
use crate::model::trace::TraceSet;
use std::collections::BTreeMap;

/// When something was written, by callee and by what of it: the table, the key of a cache, or all of a service.
pub struct Writes<'t>(BTreeMap<(&'t str, String), Vec<i64>>);

fn callee<'t>(table: &'t CallTable, call: &Call) -> &'t str {
    table.texts.get(call.target).split('\u{1f}').next().unwrap_or("")
}

/// Words of a normalised statement that may be names of tables.
fn names(statement: &str) -> impl Iterator<Item = &str> {
    statement.split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | ';')).filter(|w| w.len() > 1)
}

/// The table that a normalised statement writes to.
fn written(statement: &str) -> Option<&str> {
    let mut words = names(statement);
    words.by_ref().find(|w| matches!(*w, "INTO" | "UPDATE" | "FROM" | "TABLE"))?;
    words.find(|w| !matches!(*w, "INTO" | "ONLY" | "IGNORE"))
}

impl<'t> Writes<'t> {
    /// The writes of one trace.
    pub fn of(set: &TraceSet, table: &'t CallTable, trace: TraceRow) -> Writes<'t> {
        let mut out: BTreeMap<(&str, String), Vec<i64>> = BTreeMap::new();
        for call in table.of(trace).iter().filter(|c| c.writes) {
            let what = match call.category {
                Category::Db => written(table.texts.get(call.shown)).unwrap_or("").to_string(),
                Category::Cache => call.values.map_or(String::new(), |v| v.to_string()),
                _ => String::new(),
            };
            // In order of start, as the calls are.
            out.entry((callee(table, call), what)).or_default().push(set.spans.start_ns[call.span.index()]);
        }
        Writes(out)
    }

    /// When what a read asks for was written.
    pub fn to(&self, table: &'t CallTable, read: &Call) -> Vec<&[i64]> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let callee = callee(table, read);
        let find = |what: &str| self.0.get(&(callee, what.to_string())).map(Vec::as_slice);
        match read.category {
            Category::Db => names(table.texts.get(read.shown)).filter_map(find).collect(),
            Category::Cache => read.values.and_then(|v| find(&v.to_string())).into_iter().collect(),
            _ => find("").into_iter().collect(),
        }
    }
}

/// Whether one of the moments lies between two others.
pub fn between(times: &[&[i64]], from: i64, to: i64) -> bool {
    times.iter().any(|list| list.get(list.partition_point(|t| *t < from)).is_some_and(|t| *t <= to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_what_they_write() {
        assert_eq!(written("INSERT INTO T_A (A, B) VALUES (?)"), Some("T_A"));
        assert_eq!(written("UPDATE T_B SET A = ?"), Some("T_B"));
        assert_eq!(written("DELETE FROM T_C WHERE A = ?"), Some("T_C"));
        assert_eq!(written("COMMIT"), None);
        assert!(between(&[&[5, 9]], 6, 9) && !between(&[&[5, 9]], 6, 8) && !between(&[], 0, 9));
    }
}
