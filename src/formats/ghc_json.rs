//! The JSON form of GHC's profiles (`+RTS -pj`; `profiling.c` and `ProfilerReportJson.c` of GHC): cost centres, then a tree of
//! nodes, each with its children last.

use super::ghc_prof::{NAME, frame, sink};
use super::json::{Broken, Json, Stop};
use super::json_outline::outline;
use super::stack_sink::Sink;
use super::{Import, ImportError};
use crate::base::ids::{FrameId, StackId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::BufRead;

const BAD_CENTRE: DiagnosticCode =
    DiagnosticCode { code: "ghc-prof/bad-cost-centre", level: Level::DataLoss, message: "Cost centres that cannot be read were skipped." };
const NO_CENTRE: DiagnosticCode = DiagnosticCode {
    code: "ghc-prof/undefined-cost-centre",
    level: Level::Notice,
    message: "A node names a cost centre that is not listed; its number stands for it.",
};
const CUT: DiagnosticCode =
    DiagnosticCode { code: "ghc-prof/cut", level: Level::DataLoss, message: "The file ends early; the nodes before were read." };

/// Whether a file begins like one.
pub fn is_json(bytes: &[u8]) -> bool {
    outline(bytes).is_some_and(|o| o.has(&["program"]) && o.has(&["rts_arguments"]))
}

#[derive(Deserialize)]
struct Centre {
    id: i64,
    label: String,
    #[serde(default)]
    module: String,
    #[serde(default)]
    src_loc: String,
}

/// Reads one.
///
/// # Errors
/// As [`super::Format::read`].
pub fn read(input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
    let mut json = Json::new(input);
    let mut reader = Reader { tick_ns: 1_000_000, sink: sink(import, 1_000_000, 0), centres: BTreeMap::new() };
    match reader.scan(&mut json, import) {
        Ok(()) => {}
        Err(Stop::Broken(broken)) if reader.sink.profile.samples.is_empty() => return Err(broken.into_error(NAME)),
        Err(Stop::Broken(broken)) => import.report(CUT, At::Byte(json.position()), &broken.to_string()),
        Err(Stop::Import(e)) => return Err(e),
    }
    reader.sink.finish(import);
    Ok(())
}

struct Reader {
    tick_ns: i64,
    sink: Sink,
    centres: BTreeMap<i64, FrameId>,
}

/// A node whose keys are being read.
#[derive(Default)]
struct Node {
    below: StackId,
    stack: StackId,
    id: Option<i64>,
    entries: i64,
    alloc: i64,
    ticks: i64,
}

impl Reader {
    fn scan(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let (mut key, mut raw) = (String::new(), Vec::new());
        json.eat(b'{')?;
        while json.next_key(&mut key)? {
            match key.as_str() {
                "cost_centres" if json.eat(b'[')? => {
                    while json.next_item()? {
                        let at = json.position();
                        json.raw(&mut raw)?;
                        match serde_json::from_slice::<Centre>(&raw) {
                            Ok(c) => {
                                let frame = frame(&c.module, &c.label, &c.src_loc, import.session);
                                self.centres.insert(c.id, frame);
                            }
                            Err(e) => import.report(BAD_CENTRE, At::Byte(at), &e.to_string()),
                        }
                    }
                }
                "profile" => self.tree(json, import)?,
                _ => {
                    json.raw(&mut raw)?;
                    let number = || serde_json::from_slice::<f64>(&raw).unwrap_or(0.0);
                    match key.as_str() {
                        "tick_interval" => {
                            self.tick_ns = (number() as i64).saturating_mul(1000);
                            self.sink.profile.period = self.tick_ns;
                        }
                        "total_time" => self.sink.profile.duration_ns = (number() * 1e9).round() as i64,
                        "program" => self.sink.profile.name = serde_json::from_slice(&raw).unwrap_or_default(),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn tree(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let (mut key, mut raw) = (String::new(), Vec::new());
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "`{`").into());
        }
        import.ledger.records_in += 1;
        let mut open = vec![Node::default()];
        // Whether the innermost node is inside of its list of children.
        let mut listed = vec![false];
        while let (Some(node), Some(in_list)) = (open.last_mut(), listed.last_mut()) {
            if *in_list {
                if !json.next_item()? {
                    *in_list = false;
                } else if json.eat(b'{')? {
                    let below = node.stack;
                    open.push(Node { below, ..Node::default() });
                    listed.push(false);
                    import.ledger.records_in += 1;
                    if import.ledger.records_in.is_multiple_of(16_384) {
                        import.tick(import.ledger.records_in)?;
                    }
                } else {
                    json.skip()?;
                }
                continue;
            }
            if !json.next_key(&mut key)? {
                let node = open.pop().unwrap_or_default();
                listed.pop();
                self.add(node, json.position(), import);
                continue;
            }
            if key == "children" && json.peek()? == Some(b'[') {
                json.eat(b'[')?;
                *in_list = true;
                self.stack(node, json.position(), import);
                continue;
            }
            json.raw(&mut raw)?;
            let number = serde_json::from_slice::<i64>(&raw).unwrap_or(0);
            match key.as_str() {
                "id" => node.id = Some(number),
                "entries" => node.entries = number,
                "alloc" => node.alloc = number,
                "ticks" => node.ticks = number,
                _ => {}
            }
        }
        Ok(())
    }

    fn stack(&self, node: &mut Node, at: u64, import: &mut Import<'_>) {
        if !node.stack.is_none() {
            return;
        }
        let id = node.id.unwrap_or(-1);
        let frame = match self.centres.get(&id) {
            Some(frame) => *frame,
            None => {
                import.report(NO_CENTRE, At::Byte(at), &id.to_string());
                frame("", &format!("({id})"), "", import.session)
            }
        };
        node.stack = import.session.symbols.stacks.push(node.below, frame);
    }

    fn add(&mut self, mut node: Node, at: u64, import: &mut Import<'_>) {
        self.stack(&mut node, at, import);
        import.ledger.records_kept += 1;
        let time = node.ticks.saturating_mul(self.tick_ns);
        if time != 0 || node.alloc != 0 || node.entries != 0 {
            self.sink.sample(node.stack, &[time, node.alloc, node.entries]);
        }
    }
}
