//! V8's `.heapprofile` (sampling heap profiler): a nested tree whose nodes carry bytes, and the sampled objects.

use super::json::{Broken, Json, Scalar, Stop, outline};
use super::json_mend::record;
use super::span_sink::CUT;
use super::v8_cpu::function;
use super::v8_tree::{self, TreeNode};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StackId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, ValueKind, ValueType};
use crate::model::symbols::FrameKey;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::BufRead;

const NAME: &str = "V8 heap profile";
const BAD_SAMPLE: DiagnosticCode = DiagnosticCode {
    code: "heapprofile/bad-sample",
    level: Level::DataLoss,
    message: "Sampled objects that cannot be read, or whose node does not exist, are not counted.",
};
const SIZES: DiagnosticCode = DiagnosticCode {
    code: "heapprofile/sizes-differ",
    level: Level::Notice,
    message: "The bytes of the sampled objects differ from those of the nodes; the nodes are shown.",
};

/// The format.
pub struct HeapProfile;

impl Format for HeapProfile {
    fn id(&self) -> &'static str {
        "heapprofile"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["heapprofile"]
    }
    fn hint(&self) -> &'static str {
        "Node with `node --heap-prof PROGRAM`, and DevTools' Memory panel (\u{201c}Allocation sampling\u{201d}) write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes).filter(|o| o.first == b'{') else { return Sniff::No };
        let text = prefix.text();
        if o.has(&["head"]) && text.contains("\"selfSize\"") && text.contains("\"callFrame\"") { Sniff::Certain } else { Sniff::No }
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
            Err(Stop::Broken(broken)) if !reader.nodes.is_empty() => {
                import.report(CUT, At::Byte(at), &broken.to_string());
                Ok(())
            }
            Err(Stop::Broken(broken)) => Err(broken.into_error(NAME)),
        };
        if result != Err(ImportError::Stopped) {
            if result.is_ok() && reader.nodes.is_empty() {
                return Err(ImportError::Malformed { format: NAME, reason: "it has no tree of allocations (`head`)".into() });
            }
            reader.finish(import);
        }
        result
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Sample<'a> {
    #[serde(borrow)]
    size: Scalar<'a>,
    #[serde(borrow)]
    node_id: Scalar<'a>,
}

#[derive(Default)]
struct Reader {
    /// Row, row of the caller, node.
    nodes: Vec<(u32, u32, TreeNode)>,
    /// Node id and bytes.
    samples: Vec<(i64, i64)>,
}

impl Reader {
    fn members(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "an object").into());
        }
        let (mut key, mut raw, mut spare) = (String::new(), Vec::new(), Vec::new());
        while json.next_key(&mut key)? {
            match key.as_str() {
                "head" if json.peek()? == Some(b'{') && self.nodes.is_empty() => {
                    let nodes = &mut self.nodes;
                    let result = v8_tree::walk(json, import, &mut |row, parent, node, _| nodes.push((row, parent, node)));
                    nodes.sort_unstable_by_key(|(row, _, _)| *row);
                    result?;
                    import.tick(self.nodes.len() as u64)?;
                }
                "samples" if json.eat(b'[')? => {
                    while json.next_item()? {
                        let at = json.position();
                        json.raw(&mut raw)?;
                        let sample = record::<Sample<'_>>(&raw, &mut spare, at, import);
                        match sample.ok().and_then(|s| s.node_id.int().zip(s.size.int())) {
                            Some(sample) => self.samples.push(sample),
                            None => import.report(BAD_SAMPLE, At::Byte(at), &String::from_utf8_lossy(&raw)),
                        }
                        if self.samples.len().is_multiple_of(65_536) {
                            import.tick(self.samples.len() as u64)?;
                        }
                    }
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    fn finish(self, import: &mut Import<'_>) {
        let mut types = vec![ValueType { name: "selfSize".into(), unit: "bytes".into(), kind: ValueKind::InUseBytes }];
        if !self.samples.is_empty() {
            types.push(ValueType { name: "samples".into(), unit: "count".into(), kind: ValueKind::Other });
        }
        let mut p = Profile::new(import.source, "heapprofile", types);
        let mut objects: HashMap<i64, i64> = HashMap::new();
        for (node, _) in &self.samples {
            *objects.entry(*node).or_default() += 1;
        }
        let mut stacks: Vec<StackId> = Vec::with_capacity(self.nodes.len());
        for (_, parent, node) in &self.nodes {
            import.ledger.records_in += 1;
            import.ledger.records_kept += 1;
            let above = stacks.get(*parent as usize).copied().unwrap_or(StackId::NONE);
            let root = *parent == u32::MAX && node.frame.function_name.0 == "(root)";
            let sampled = objects.remove(&node.id).unwrap_or(0);
            // The root is no frame, unless bytes are its own.
            let stack = if root && node.self_size == 0 && sampled == 0 {
                above
            } else {
                let func = function(&node.frame, import);
                let symbols = &mut import.session.symbols;
                let frame = symbols.frames.intern(FrameKey::of(func));
                symbols.stacks.push(above, frame)
            };
            stacks.push(if root { above } else { stack });
            if node.self_size != 0 || sampled > 0 {
                p.samples.stack.push(stack);
                p.samples.values[0].push(node.self_size);
                if let Some(column) = p.samples.values.get_mut(1) {
                    column.push(sampled);
                }
            }
        }
        import.ledger.weigh("selfSize", "bytes", p.total(0), true);
        if !self.samples.is_empty() {
            let lost: i64 = objects.values().sum();
            if lost > 0 {
                import.ledger.diagnostics.report_many(BAD_SAMPLE, lost as u64, At::File, "no such node");
            }
            import.ledger.weigh("samples", "count", p.total(1), true);
            import.ledger.weigh("samples", "count", lost, false);
            let bytes = self.samples.iter().fold(0_i64, |sum, (_, size)| sum.saturating_add(*size));
            if bytes != p.total(0) {
                import.report(SIZES, At::File, &format!("{bytes} bytes in samples, {} in nodes", p.total(0)));
            }
        }
        import.session.profiles.push(p);
    }
}
