//! From an exact call graph to stacks.
//!
//! A graph says what each function cost itself and what each call cost in all; it does not say which path led to a call.
//! Where a function has several callers, what it did is shared out between them in proportion to what their calls cost, as
//! gprof does it. That choice keeps three things: the own cost of every line (exactly), the cost of every call, and thereby
//! the inclusive cost of every function that is not recursive (to a few units of rounding). Recursion becomes stacks in
//! which a function occurs several times; its inclusive cost counts each stack once.

use super::Import;
use super::stack_sink::{Sink, Spot};
use crate::base::ids::{FrameId, StackId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::collections::{BTreeMap, BinaryHeap};

const CUT: DiagnosticCode = DiagnosticCode {
    code: "call-graph/paths-cut",
    level: Level::Notice,
    message: "The call graph has more paths than are told apart; the own costs of functions on the rarest of them are shown without callers.",
};
/// Paths that are told apart.
const MAX_PATHS: usize = 200_000;
/// Paths times events.
const MAX_SHARES: usize = 1_000_000;
/// Lines times paths of one function; beyond it the function's cost is given without lines.
const MAX_SAMPLES_PER_FUNCTION: usize = 1_000_000;

/// A function of the graph.
#[derive(Debug, Default)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Source file or `""`.
    pub file: String,
    /// Binary or `""`.
    pub object: String,
    /// Own costs by place: file (of inlined code another one), line, address.
    own: BTreeMap<(u32, u32, u64), Vec<i64>>,
    /// Costs of calls by called function, with the line of the calls: 0 once they come from several.
    calls: BTreeMap<usize, (u32, Vec<i64>)>,
}

impl Function {
    /// A function without costs.
    pub fn new(name: &str, file: &str, object: &str) -> Function {
        Function { name: name.into(), file: file.into(), object: object.into(), ..Function::default() }
    }
}

/// The graph.
#[derive(Debug, Default)]
pub struct Graph {
    /// Functions.
    pub functions: Vec<Function>,
    /// How many events are counted.
    pub events: usize,
    files: Vec<String>,
    file_rows: BTreeMap<String, u32>,
}

fn add(sums: &mut Vec<i64>, costs: &[i64]) {
    if sums.len() < costs.len() {
        sums.resize(costs.len(), 0);
    }
    for (sum, cost) in sums.iter_mut().zip(costs) {
        *sum = sum.saturating_add(*cost);
    }
}

fn at(costs: &[i64], event: usize) -> f64 {
    costs.get(event).map_or(0.0, |c| *c as f64)
}

impl Graph {
    /// An empty graph whose costs are of this many events.
    pub fn of(events: usize) -> Graph {
        Graph { events, ..Graph::default() }
    }

    /// Adds own cost of a function.
    pub fn cost(&mut self, function: usize, file: &str, line: u32, address: Option<u64>, costs: &[i64]) {
        let row = match self.file_rows.get(file) {
            Some(row) => *row,
            None => {
                let row = self.files.len() as u32;
                self.files.push(file.to_string());
                self.file_rows.insert(file.to_string(), row);
                row
            }
        };
        add(self.functions[function].own.entry((row, line, address.unwrap_or(u64::MAX))).or_default(), costs);
    }

    /// Adds the cost of calls.
    pub fn call(&mut self, caller: usize, called: usize, line: u32, costs: &[i64]) {
        let (first, sums) = self.functions[caller].calls.entry(called).or_insert((line, Vec::new()));
        if *first != line {
            *first = 0;
        }
        add(sums, costs);
    }
}

/// Per function: sums over its lines and calls, and what remains for it as a root.
struct Flow {
    own: Vec<i64>,
    /// What calls to it cost, with what remains for it as a root.
    inflow: Vec<f64>,
    root: Vec<f64>,
}

/// A path: a function, and how much of the function it stands for, per event.
struct Path {
    function: usize,
    parent: u32,
    /// Line of the call that this path's parent makes.
    line: u32,
    share: Vec<f64>,
}

/// Puts the stacks of the graph into the profile.
pub fn unfold(graph: &Graph, sink: &mut Sink, import: &mut Import<'_>) {
    let flows = flows(graph);
    let (mut paths, cut) = paths(graph, &flows);
    let lost = detach(graph, &flows, cut, &mut paths);
    if cut || lost > 0.0 {
        let all: f64 = flows.iter().map(|f| at(&f.own, 0)).sum();
        let percent = if all > 0.0 { lost / all * 100.0 } else { 0.0 };
        if percent >= 0.01 {
            import.report(CUT, At::File, &format!("{percent:.2} % of the first event"));
        }
    }
    if graph.functions.iter().any(|f| !f.calls.is_empty()) {
        import.choose(
            "stacks",
            "calls shared out in proportion to their cost",
            &["own costs only"],
            "A call graph does not say which path led to a call: what a function did is shared out between its callers in proportion to what their calls cost.",
        );
    }
    emit(graph, &flows, &paths, sink, import);
}

fn flows(graph: &Graph) -> Vec<Flow> {
    let events = graph.events;
    let mut flows: Vec<Flow> = graph
        .functions
        .iter()
        .map(|f| {
            let mut own = vec![0; events];
            f.own.values().for_each(|costs| add(&mut own, costs));
            Flow { own, inflow: vec![0.0; events], root: vec![0.0; events] }
        })
        .collect();
    for function in &graph.functions {
        for (called, (_, costs)) in &function.calls {
            for (event, sum) in flows[*called].inflow.iter_mut().enumerate() {
                *sum += at(costs, event);
            }
        }
    }
    for (function, flow) in graph.functions.iter().zip(&mut flows) {
        for event in 0..events {
            let out = flow.own[event] as f64 + function.calls.values().map(|(_, costs)| at(costs, event)).sum::<f64>();
            flow.root[event] = (out - flow.inflow[event]).max(0.0);
            flow.inflow[event] += flow.root[event];
        }
    }
    flows
}

/// Which path is followed first: the one with the largest cost, of equals the one found first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next(u64, std::cmp::Reverse<u32>);

/// Follows calls from the roots, dear paths first, until what is left is less than half a unit or the budget is used up.
fn paths(graph: &Graph, flows: &[Flow]) -> (Vec<Path>, bool) {
    let budget = MAX_PATHS.min(MAX_SHARES / graph.events.max(1));
    let totals: Vec<f64> = (0..graph.events).map(|e| flows.iter().map(|f| at(&f.own, e)).sum::<f64>().max(1.0)).collect();
    let mut paths: Vec<Path> = Vec::new();
    let mut heap = BinaryHeap::new();
    let add = |path: Path, paths: &mut Vec<Path>, heap: &mut BinaryHeap<Next>| {
        let inflow = &flows[path.function].inflow;
        let weight = path.share.iter().zip(inflow).zip(&totals).map(|((s, i), t)| s * i / t).fold(0.0, f64::max);
        heap.push(Next(weight.to_bits(), std::cmp::Reverse(paths.len() as u32)));
        paths.push(path);
    };
    for (function, flow) in flows.iter().enumerate() {
        let share: Vec<f64> = flow.root.iter().zip(&flow.inflow).map(|(r, i)| if *i > 0.0 { r / i } else { 0.0 }).collect();
        if share.iter().any(|s| *s > 0.0) {
            add(Path { function, parent: u32::MAX, line: 0, share }, &mut paths, &mut heap);
        }
    }
    while let Some(Next(_, std::cmp::Reverse(row))) = heap.pop() {
        let function = paths[row as usize].function;
        for (called, (line, costs)) in &graph.functions[function].calls {
            let inflow = &flows[*called].inflow;
            let mut matters = false;
            let share: Vec<f64> = paths[row as usize]
                .share
                .iter()
                .enumerate()
                .map(|(event, share)| {
                    let cost = share * at(costs, event);
                    matters |= cost >= 0.5;
                    if inflow[event] > 0.0 { cost / inflow[event] } else { 0.0 }
                })
                .collect();
            if matters {
                if paths.len() >= budget {
                    return (paths, true);
                }
                add(Path { function: *called, parent: row, line: *line, share }, &mut paths, &mut heap);
            }
        }
    }
    (paths, false)
}

/// Gives functions whose paths were not all followed a path without callers for the rest, and levels out what is less than
/// a unit. Returns the cost of the first event that lost its callers.
fn detach(graph: &Graph, flows: &[Flow], cut: bool, paths: &mut Vec<Path>) -> f64 {
    let mut sums = vec![0.0_f64; graph.functions.len() * graph.events];
    for path in paths.iter() {
        for (event, share) in path.share.iter().enumerate() {
            sums[path.function * graph.events + event] += share;
        }
    }
    let mut lost = 0.0;
    for (function, flow) in flows.iter().enumerate() {
        let sums = &mut sums[function * graph.events..(function + 1) * graph.events];
        let rest: Vec<f64> = sums
            .iter()
            .zip(&flow.own)
            .map(|(sum, own)| {
                let rest = (1.0 - sum).max(0.0);
                if *own > 0 && (*sum <= 0.0 || cut && rest * *own as f64 >= 1.0 && rest > 1e-6) { rest } else { 0.0 }
            })
            .collect();
        if rest.iter().any(|r| *r > 0.0) {
            lost += rest.first().map_or(0.0, |r| r * at(&flow.own, 0));
            sums.iter_mut().zip(&rest).for_each(|(sum, rest)| *sum += rest);
            paths.push(Path { function, parent: u32::MAX, line: 0, share: rest });
        }
    }
    for path in paths {
        for (event, share) in path.share.iter_mut().enumerate() {
            let sum = sums[path.function * graph.events + event];
            if sum > 0.0 {
                *share /= sum;
            }
        }
    }
    lost
}

/// Shares each line's cost out between the paths of its function. Sums of lines stay exact because running totals are
/// rounded, not the parts; what rounding took from a path or gave to it is carried to the function's next line. Paths come
/// in depth-first order so that the error of a whole subtree is that of one rounding.
fn emit(graph: &Graph, flows: &[Flow], paths: &[Path], sink: &mut Sink, import: &mut Import<'_>) {
    let session = &mut *import.session;
    let mut frame = |function: usize, file: &str, line: u32, address: Option<u64>| -> FrameId {
        let f = &graph.functions[function];
        let unknown = |text| if matches!(text, "???" | "") { "" } else { text };
        let name = if f.name.is_empty() { "<unknown>" } else { &f.name };
        Spot { name, file: unknown(file), module: unknown(&f.object), line, address, ..Spot::default() }.intern(session)
    };
    let order = depth_first(paths);
    let mut of_function: Vec<Vec<u32>> = vec![Vec::new(); graph.functions.len()];
    for row in &order {
        of_function[paths[*row as usize].function].push(*row);
    }
    // The frame of a path as a caller differs by the line of its call, so stacks are kept up to the caller only.
    let mut below = vec![StackId::NONE; paths.len()];
    let mut stacks: Vec<(u32, FrameId)> = Vec::with_capacity(paths.len());
    for row in &order {
        let path = &paths[*row as usize];
        if path.parent != u32::MAX {
            let caller = &paths[path.parent as usize];
            stacks.push((*row, frame(caller.function, &graph.functions[caller.function].file, path.line, None)));
        }
    }
    let mut leaves: Vec<Vec<(FrameId, &[i64])>> = Vec::with_capacity(graph.functions.len());
    for (function, f) in graph.functions.iter().enumerate() {
        if f.own.len().saturating_mul(of_function[function].len()) > MAX_SAMPLES_PER_FUNCTION {
            leaves.push(vec![(frame(function, &f.file, 0, None), &flows[function].own)]);
            continue;
        }
        let mut own = Vec::with_capacity(f.own.len());
        for ((file, line, address), costs) in &f.own {
            let address = Some(*address).filter(|a| *a != u64::MAX);
            own.push((frame(function, &graph.files[*file as usize], *line, address), costs.as_slice()));
        }
        leaves.push(own);
    }
    for (row, caller) in stacks {
        let parent = paths[row as usize].parent as usize;
        below[row as usize] = session.symbols.stacks.push(below[parent], caller);
    }
    let mut values = vec![0; graph.events];
    for (function, rows) in of_function.iter().enumerate() {
        let mut carry = vec![0.0_f64; rows.len() * graph.events];
        for (frame, costs) in &leaves[function] {
            let mut wanted = vec![0.0_f64; graph.events];
            let mut given = vec![0_i64; graph.events];
            for (i, row) in rows.iter().enumerate() {
                for (event, value) in values.iter_mut().enumerate() {
                    let cost = costs.get(event).copied().unwrap_or(0);
                    let carry = &mut carry[i * graph.events + event];
                    let share = paths[*row as usize].share[event] * cost as f64 + *carry;
                    wanted[event] += share;
                    let upto = if i + 1 == rows.len() { cost } else { (wanted[event].round() as i64).clamp(given[event], cost) };
                    *value = upto - given[event];
                    given[event] = upto;
                    *carry = share - *value as f64;
                }
                if values.iter().any(|v| *v != 0) {
                    let stack = session.symbols.stacks.push(below[*row as usize], *frame);
                    sink.sample(stack, &values);
                }
            }
        }
    }
}

/// Rows of all paths, callers before what they call, each subtree in one piece.
fn depth_first(paths: &[Path]) -> Vec<u32> {
    let mut first = vec![u32::MAX; paths.len()];
    let mut next = vec![u32::MAX; paths.len()];
    let mut stack = Vec::new();
    for row in (0..paths.len()).rev() {
        let parent = paths[row].parent;
        if parent == u32::MAX {
            stack.push(row as u32);
        } else {
            next[row] = first[parent as usize];
            first[parent as usize] = row as u32;
        }
    }
    let mut order = Vec::with_capacity(paths.len());
    while let Some(row) = stack.pop() {
        order.push(row);
        if next[row as usize] != u32::MAX {
            stack.push(next[row as usize]);
        }
        if first[row as usize] != u32::MAX {
            stack.push(first[row as usize]);
        }
    }
    order
}
