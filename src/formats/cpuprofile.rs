//! V8's `.cpuprofile`: `nodes`, `samples`, `timeDeltas` (since 2016), or a nested `head` with `timestamps` (before).

use super::json::{Broken, Json, Scalar, Stop, outline};
use super::json_mend::record;
use super::span_sink::CUT;
use super::v8_cpu::{RawNode, V8Cpu};
use super::v8_tree;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::io::BufRead;

const NAME: &str = "V8 CPU profile";
const BAD_NODE: DiagnosticCode = DiagnosticCode {
    code: "cpuprofile/bad-node",
    level: Level::DataLoss,
    message: "Nodes that cannot be read were skipped; their samples are shown as <unknown>.",
};
const BAD_SAMPLE: DiagnosticCode = DiagnosticCode {
    code: "cpuprofile/bad-sample",
    level: Level::DataLoss,
    message: "Samples and times that are no numbers count as node 0 and no time.",
};

/// The format.
pub struct CpuProfile;

impl Format for CpuProfile {
    fn id(&self) -> &'static str {
        "cpuprofile"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["cpuprofile"]
    }
    fn hint(&self) -> &'static str {
        "Node with `node --cpu-prof PROGRAM`, Deno, VS Code and the DevTools of Chrome before 2023 write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes).filter(|o| o.first == b'{') else { return Sniff::No };
        let text = prefix.text();
        let nodes = o.has(&["nodes"]) && text.contains("\"callFrame\"");
        let samples = o.has(&["samples"]) && o.has(&["timeDeltas"]);
        let head = o.has(&["head"]) && text.contains("\"hitCount\"") && !text.contains("\"selfSize\"");
        if nodes || samples || head { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut reader = Reader::default();
        let mut json = Json::new(input);
        let end = reader.members(&mut json, import);
        let at = json.position();
        let result = match end {
            Ok(()) => Ok(()),
            Err(Stop::Import(e)) => Err(e),
            Err(Stop::Broken(Broken::Io(reason))) => Err(ImportError::Io(reason)),
            Err(Stop::Broken(broken)) if reader.profile.nodes() > 0 => {
                import.report(CUT, At::Byte(at), &broken.to_string());
                Ok(())
            }
            Err(Stop::Broken(broken)) => Err(broken.into_error(NAME)),
        };
        if result != Err(ImportError::Stopped) {
            if result.is_ok() && reader.profile.nodes() == 0 {
                return Err(ImportError::Malformed { format: NAME, reason: "it has no nodes, so no function can be named".into() });
            }
            reader.finish(import);
        }
        result
    }
}

#[derive(Default)]
struct Reader {
    profile: V8Cpu,
    raw: Vec<u8>,
    start: Option<f64>,
    end: Option<f64>,
    /// The form with `head`, whose start and end are seconds.
    old: bool,
}

impl Reader {
    fn members(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "an object").into());
        }
        let mut key = String::new();
        while json.next_key(&mut key)? {
            let array = json.peek()? == Some(b'[');
            match key.as_str() {
                "nodes" if json.eat(b'[')? => self.nodes(json, import)?,
                "head" if json.peek()? == Some(b'{') => {
                    self.old = true;
                    self.head(json, import)?;
                }
                "samples" | "timeDeltas" | "timestamps" if array => self.numbers(&key, json, import)?,
                "startTime" | "endTime" => {
                    json.raw(&mut self.raw)?;
                    let value = std::str::from_utf8(&self.raw).ok().and_then(|t| t.trim_matches('"').parse::<f64>().ok());
                    let value = value.filter(|v| v.is_finite());
                    if key == "startTime" { self.start = value } else { self.end = value }
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    fn nodes(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let mut spare = Vec::new();
        while json.next_item()? {
            let at = json.position();
            json.raw(&mut self.raw)?;
            match record::<RawNode<'_>>(&self.raw, &mut spare, at, import) {
                Ok(node) => self.profile.node(&node, import),
                Err(e) => import.report(BAD_NODE, At::Byte(at), &e.to_string()),
            }
            if self.profile.nodes().is_multiple_of(8192) {
                import.tick(self.profile.nodes() as u64)?;
            }
        }
        Ok(())
    }

    fn head(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        // Children are left before their callers, so rows of the profile come last to first; places in the tree tell both.
        let mut found: Vec<(u32, u32, v8_tree::TreeNode)> = Vec::new();
        let result = v8_tree::walk(json, import, &mut |row, parent, node, _| found.push((row, parent, node)));
        found.sort_unstable_by_key(|(row, _, _)| *row);
        for (_, parent, node) in found {
            self.profile.node_below(parent, node.id, &node.frame, node.hits, import);
        }
        Ok(result?)
    }

    fn numbers(&mut self, key: &str, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        json.eat(b'[')?;
        let mut read = 0_u64;
        while json.next_item()? {
            let at = json.position();
            json.raw(&mut self.raw)?;
            let value = serde_json::from_slice::<Scalar<'_>>(&self.raw).unwrap_or_default();
            // Ids are numbers, times microseconds.
            let number = if key == "samples" { value.int() } else { value.thousandths() };
            if number.is_none() {
                import.report(BAD_SAMPLE, At::Byte(at), &String::from_utf8_lossy(&self.raw));
            }
            let column = match key {
                "samples" => &mut self.profile.samples,
                "timeDeltas" => &mut self.profile.deltas,
                _ => &mut self.profile.times,
            };
            column.push(number.unwrap_or(0));
            read += 1;
            if read.is_multiple_of(65_536) {
                import.tick(read)?;
            }
        }
        Ok(())
    }

    fn finish(mut self, import: &mut Import<'_>) {
        let scale = if self.old { 1e9 } else { 1e3 };
        let ns = |value: Option<f64>| value.map(|v| (v * scale).round() as i64);
        (self.profile.start_ns, self.profile.end_ns) = (ns(self.start), ns(self.end));
        if self.old
            && let (Some(first), Some(last)) = (self.profile.times.first().copied(), self.profile.times.last().copied())
        {
            // The start and end of the old form are whole seconds; one more time than samples is the end.
            self.profile.start_ns = Some(first);
            self.profile.end_ns = (self.profile.times.len() > self.profile.samples.len()).then_some(last);
        }
        import.ledger.records_in += self.profile.records();
        import.ledger.records_kept += self.profile.records();
        self.profile.finish("cpuprofile", "", None, import);
    }
}
