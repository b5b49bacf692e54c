//! AWS X-Ray: the answer of `BatchGetTraces` (segment documents as escaped texts), segments in an array or by lines, one
//! document. Follows "AWS X-Ray segment documents" of the developer guide; subsegments become spans of their own.

use super::json::{Broken, Json, Scalar, keys_under};
use super::json_mend::record;
use super::json_records::{Path, read_records};
use super::span_draft::{Draft, Resources};
use super::span_sink::{BAD_SPAN, BROKEN};
use super::xray_fields::{Fields, Level, field};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::At;
use std::io::BufRead;

/// The format.
pub struct Xray;

/// Where documents stand in the first object.
fn locate(head: &[u8]) -> Option<Path> {
    let has = |path: &[&str], names: &[&str]| {
        let keys = keys_under(head, path);
        names.iter().all(|name| keys.iter().any(|key| key == name))
    };
    if has(&["Traces", "Segments"], &["Document"]) {
        Some(&["Traces", "Segments", "Document"])
    } else if has(&["Segments"], &["Document"]) {
        Some(&["Segments", "Document"])
    } else if has(&["Segments"], &["id", "start_time"]) {
        Some(&["Segments"])
    } else if has(&[], &["Document", "Id"]) {
        Some(&["Document"])
    } else if has(&[], &["trace_id", "id", "start_time"]) {
        Some(&[])
    } else if has(&["Traces"], &["Segments"]) {
        Some(&["Traces", "Segments", "Document"])
    } else {
        None
    }
}

impl Format for Xray {
    fn id(&self) -> &'static str {
        "xray"
    }
    fn name(&self) -> &'static str {
        "AWS X-Ray segments"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json"]
    }
    fn hint(&self) -> &'static str {
        "`aws xray batch-get-traces --trace-ids ID` writes it; the daemon's segment documents are read too."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if locate(prefix.bytes).is_some() { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut known = Resources::default();
        read_records(input, import, locate, &mut |raw, at, import| {
            let mut bytes = raw;
            let before = import.ledger.records_in;
            let mut json = Json::new(&mut bytes);
            if let Err(broken) = document(&mut json, &mut known, at, import) {
                // The documents around it are read all the same.
                import.report(BROKEN, At::Byte(at), &broken.to_string());
            } else if import.ledger.records_in == before {
                import.ledger.records_in += 1;
                import.report(BAD_SPAN, At::Byte(at), "not a segment document");
            }
            Ok(())
        })
    }
}

/// A segment or subsegment whose end is still to come.
struct Open {
    level: Level,
    fields: Fields,
    /// Whether its `subsegments` array is being read.
    inside: bool,
    id: String,
}

/// Reads one document: subsegments are walked with a stack of what is open, since they nest as deep as they please.
fn document(json: &mut Json<'_>, known: &mut Resources, at: u64, import: &mut Import<'_>) -> Result<(), Broken> {
    if json.peek()? != Some(b'{') {
        return Ok(());
    }
    let mut open: Vec<Open> = Vec::new();
    let (mut key, mut raw, mut spare) = (String::new(), Vec::new(), Vec::new());
    // Spans of the document wait for the trace id and the service, which may stand behind the subsegments.
    let mut done: Vec<(Fields, Level, String)> = Vec::new();
    let enter = |json: &mut Json<'_>, level, open: &mut Vec<Open>| -> Result<(), Broken> {
        json.eat(b'{')?;
        open.push(Open { level, fields: Fields::default(), inside: false, id: String::new() });
        Ok(())
    };
    enter(json, Level::Segment, &mut open)?;
    let mut end = Ok(());
    while let Some(top) = open.last_mut() {
        let step = if top.inside {
            match json.next_item() {
                Ok(true) if json.peek()? == Some(b'{') => enter(json, Level::Sub, &mut open),
                Ok(true) => json.skip(),
                Ok(false) => {
                    top.inside = false;
                    Ok(())
                }
                Err(e) => Err(e),
            }
        } else {
            match json.next_key(&mut key) {
                Ok(true) if key == "subsegments" && json.peek()? == Some(b'[') => {
                    top.inside = true;
                    json.eat(b'[').map(|_| ())
                }
                Ok(true) => json.raw(&mut raw).map(|()| {
                    if key == "id" {
                        top.id = record::<Scalar<'_>>(&raw, &mut spare, at, import)
                            .ok()
                            .and_then(|id| id.text().map(str::to_string))
                            .unwrap_or_default();
                    }
                    field(&key, &raw, &mut spare, at, &mut top.fields, import);
                }),
                Ok(false) => {
                    if let Some(mut closed) = open.pop() {
                        // The parent's id may stand behind its subsegments; then it is found when the parent closes.
                        closed.fields.depth = open.len();
                        done.push((closed.fields, closed.level, closed.id));
                    }
                    Ok(())
                }
                Err(e) => Err(e),
            }
        };
        if let Err(e) = step {
            end = Err(e);
            break;
        }
    }
    // What was open when the document broke off is told as far as it came.
    while let Some(mut cut) = open.pop() {
        cut.fields.depth = open.len();
        done.push((cut.fields, cut.level, cut.id));
    }
    store(done, known, import);
    end
}

/// Children stand before their parents here, each with its depth: walked from behind, the last one seen of the depth above is
/// the parent.
fn store(done: Vec<(Fields, Level, String)>, known: &mut Resources, import: &mut Import<'_>) {
    let Some((root, _, _)) = done.last() else { return };
    let trace = root.trace.clone();
    // A subsegment sent on its own does not say whose it is.
    let (resource, service) = known.get(if root.independent { "" } else { &root.name }, &root.shared, import);
    let mut path: Vec<String> = Vec::new();
    let mut drafts: Vec<Draft<'static>> = Vec::with_capacity(done.len());
    for (fields, level, id) in done.into_iter().rev() {
        path.truncate(fields.depth);
        let above = path.last().cloned();
        path.push(id.clone());
        let level = if fields.independent { Level::Sub } else { level };
        let mut d = fields.into_draft(level, import);
        (d.resource, d.service, d.id) = (resource, service, id.into());
        if d.trace.is_empty() {
            d.trace = trace.clone().into();
        }
        if let Some(above) = above {
            d.parent = above.into();
        }
        drafts.push(d);
    }
    for d in drafts {
        import.ledger.records_in += 1;
        d.store(import);
    }
}
