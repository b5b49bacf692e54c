//! `hotspan.inspect/1`: what each file holds and its ledger.

use crate::model::Session;
use serde_json::{Value, json};

/// The `sources` array of `hotspan inspect --json`.
pub fn sources(session: &Session) -> Value {
    Value::Array(session.sources.iter().map(|s| json!({"file": s.file, "format": s.format, "error": s.error})).collect())
}
