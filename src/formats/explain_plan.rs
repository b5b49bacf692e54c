//! Plan nodes of PostgreSQL, and how their times become own times.
//!
//! A node's time is per loop and contains its children's. In a node that is run by several processes, loops of all of them
//! are counted and times are averages, so that elapsed time is time × loops ÷ processes. A common table expression runs
//! inside of the scan that reads it first, and an initial plan inside of the node whose condition uses its result: they are
//! placed there, not under the node that lists them.

use super::Import;
use super::stack_sink::{InclusiveTree, Sink, Spot, decimal};
use crate::model::diagnostics::At;
use crate::model::profile::ValueKind;

/// Subplans times nodes up to which it is searched where subplans ran; no planner makes such plans.
const MAX_SEARCHES: usize = 1_000_000;

/// A node.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Row of the node above.
    pub parent: Option<usize>,
    /// Place in the file.
    pub at: At,
    /// `Seq Scan`.
    pub kind: String,
    /// Table or function.
    pub on: String,
    /// Common table expression that it scans.
    pub cte: String,
    /// Alias of the table.
    pub alias: String,
    /// Index.
    pub index: String,
    /// `Left`, `Semi`.
    pub join: String,
    /// `Hashed`, `Sorted`.
    pub strategy: String,
    /// `Partial`, `Finalize`.
    pub partial: String,
    /// `Insert`.
    pub operation: String,
    /// Whether processes share its work.
    pub parallel: bool,
    /// `CTE x`, `InitPlan 1 (returns $0)`, `SubPlan 2`.
    pub subplan: String,
    /// Conditions, which name the results of initial plans.
    pub conditions: String,
    /// Nanoseconds per loop; `None` if not measured.
    pub time_ns: Option<i64>,
    /// Rows per loop.
    pub rows: i64,
    /// Loops of all processes.
    pub loops: i64,
    /// Workers that a gathering node started.
    pub launched: i64,
    /// A name from the text form, used as it is.
    pub title: String,
}

/// A statement's plan.
#[derive(Default)]
pub struct Planned {
    /// Nodes, parents first.
    pub nodes: Vec<Plan>,
    /// Time to plan.
    pub planning_ns: i64,
    /// Time to run, with triggers.
    pub execution_ns: Option<i64>,
    /// Triggers and their time.
    pub triggers: Vec<(String, i64)>,
    /// The statement, where `auto_explain` gives it.
    pub query: String,
}

impl Planned {
    /// Adds an empty node.
    pub fn push(&mut self, parent: Option<usize>, at: At) -> usize {
        self.nodes.push(Plan { parent, at, ..Plan::empty() });
        self.nodes.len() - 1
    }
    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
    /// Whether times were measured.
    pub fn has_times(&self) -> bool {
        self.nodes.iter().any(|n| n.time_ns.is_some())
    }

    /// Stores the plan as a profile.
    pub fn store(mut self, import: &mut Import<'_>) {
        if !self.has_times() {
            return;
        }
        let processes = self.processes();
        let elapsed: Vec<i64> =
            self.nodes.iter().zip(&processes).map(|(n, processes)| n.time_ns.unwrap_or(0).saturating_mul(n.loops) / processes).collect();
        if processes.iter().any(|p| *p > 1) {
            import.choose(
                "time of parallel nodes",
                "elapsed",
                &["sum of all processes"],
                "Loops of all workers are counted and their times averaged; time × loops ÷ processes is what passed meanwhile.",
            );
        }
        self.move_subplans(&elapsed);
        let columns =
            [("time", "nanoseconds", ValueKind::WallTime), ("rows", "count", ValueKind::Other), ("loops", "count", ValueKind::Other)];
        let mut sink = Sink::new(import, "pg-explain", &columns);
        sink.profile.name = std::mem::take(&mut self.query);
        let mut tree = InclusiveTree::default();
        let place = At::File;
        if self.planning_ns > 0 {
            let frame = Spot::named("Planning").intern(import.session);
            tree.enter(0, frame, &[self.planning_ns], place, "Planning", &mut sink, import);
        }
        let triggers = self.triggers.iter().fold(0_i64, |sum, (_, ns)| sum.saturating_add(*ns));
        let roots =
            self.nodes.iter().zip(&elapsed).filter(|(n, _)| n.parent.is_none()).fold(triggers, |sum, (_, e)| sum.saturating_add(*e));
        let frame = Spot::named("Execution").intern(import.session);
        tree.enter(0, frame, &[self.execution_ns.unwrap_or(roots)], place, "Execution", &mut sink, import);
        for (row, depth) in self.depth_first() {
            let node = &self.nodes[row];
            let name = node.name();
            let frame = Spot::named(&name).intern(import.session);
            tree.enter(depth + 1, frame, &[elapsed[row]], node.at, &name, &mut sink, import);
            let stack = tree.innermost();
            let (rows, loops) = (node.rows.saturating_mul(node.loops), node.loops);
            if rows != 0 || loops != 0 {
                sink.sample(stack, &[0, rows, loops]);
            }
        }
        for (name, ns) in &self.triggers {
            let frame = Spot::named(&format!("Trigger {name}")).intern(import.session);
            tree.enter(1, frame, &[*ns], place, name, &mut sink, import);
        }
        tree.finish(&mut sink, import);
        sink.finish(import);
    }

    /// How many processes ran each node: those below a gathering node are run by its workers and, as far as can be told, by
    /// the leader.
    fn processes(&self) -> Vec<i64> {
        let mut out: Vec<i64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let above = node.parent.map_or(1, |parent| {
                let gather = self.nodes[parent].kind.starts_with("Gather");
                if gather { self.nodes[parent].launched.max(0).saturating_add(1) } else { out[parent] }
            });
            // Initial plans are run by the leader alone.
            out.push(if node.subplan.starts_with("InitPlan") || node.subplan.starts_with("CTE ") { 1 } else { above.max(1) });
        }
        out
    }

    /// Puts common table expressions and initial plans where they ran.
    fn move_subplans(&mut self, elapsed: &[i64]) {
        let subplans = self.nodes.iter().filter(|node| !node.subplan.is_empty()).count();
        if subplans.saturating_mul(self.nodes.len()) > MAX_SEARCHES {
            return;
        }
        for row in 0..self.nodes.len() {
            let Some(lister) = self.nodes[row].parent else { continue };
            let subplan = self.nodes[row].subplan.clone();
            let cte = subplan.strip_prefix("CTE ");
            let result = subplan.strip_prefix("InitPlan ").map(|rest| match rest.split_once("(returns ") {
                Some((_, name)) => name.trim_end_matches(')').split(',').next().unwrap_or_default().to_string(),
                None => format!("(InitPlan {}", rest.split(' ').next().unwrap_or(rest)),
            });
            let uses = |node: &Plan| match (cte, &result) {
                (Some(cte), _) => node.cte == cte,
                (_, Some(result)) if !result.is_empty() => mentions(&node.conditions, result),
                _ => false,
            };
            // Of several the longest ran it; a node that ran for a shorter time cannot have.
            let longest = (0..self.nodes.len())
                .filter(|other| *other != row && elapsed[*other] >= elapsed[row] && uses(&self.nodes[*other]))
                .max_by_key(|other| (elapsed[*other], std::cmp::Reverse(*other)));
            if let Some(target) = longest.filter(|target| *target != lister && self.ancestors(*target).all(|above| above != row)) {
                self.nodes[row].parent = Some(target);
            }
        }
    }

    fn ancestors(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let mut at = Some(node);
        std::iter::from_fn(move || {
            let here = at?;
            at = self.nodes[here].parent;
            Some(here)
        })
    }

    /// Rows with their depth, each before its children.
    fn depth_first(&self) -> Vec<(usize, usize)> {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        let mut todo = Vec::new();
        for (row, node) in self.nodes.iter().enumerate().rev() {
            match node.parent {
                Some(parent) => children[parent].push(row),
                None => todo.push((row, 0)),
            }
        }
        let mut out = Vec::with_capacity(self.nodes.len());
        while let Some((row, depth)) = todo.pop() {
            out.push((row, depth));
            todo.extend(children[row].iter().map(|child| (*child, depth + 1)));
        }
        out
    }
}

/// Whether a condition names a parameter: `$1` is not in `$12`.
fn mentions(conditions: &str, parameter: &str) -> bool {
    conditions.match_indices(parameter).any(|(at, _)| !conditions[at + parameter.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

impl Plan {
    fn empty() -> Plan {
        Plan {
            parent: None,
            at: At::File,
            kind: String::new(),
            on: String::new(),
            cte: String::new(),
            alias: String::new(),
            index: String::new(),
            join: String::new(),
            strategy: String::new(),
            partial: String::new(),
            operation: String::new(),
            parallel: false,
            subplan: String::new(),
            conditions: String::new(),
            time_ns: None,
            rows: 0,
            loops: 0,
            launched: 0,
            title: String::new(),
        }
    }

    /// The node as the text form names it: `Parallel Seq Scan on orders o`, `Hash Left Join`, `Partial HashAggregate`.
    pub fn name(&self) -> String {
        let mut name = self.title.clone();
        if name.is_empty() {
            let kind = match (self.kind.as_str(), self.strategy.as_str()) {
                ("Aggregate", "Hashed") => "HashAggregate",
                ("Aggregate", "Sorted") => "GroupAggregate",
                ("Aggregate", "Mixed") => "MixedAggregate",
                ("ModifyTable", _) if !self.operation.is_empty() => &self.operation,
                (kind, _) => kind,
            };
            let kind = match (kind.strip_suffix(" Join").or(kind.strip_suffix(" Loop")), self.join.as_str()) {
                (_, "" | "Inner") | (None, _) => kind.to_string(),
                (Some("Nested"), join) => format!("Nested Loop {join} Join"),
                (Some(method), join) => format!("{method} {join} Join"),
            };
            let prefix = if self.partial.is_empty() || self.partial == "Simple" { String::new() } else { format!("{} ", self.partial) };
            name = format!("{prefix}{}{kind}", if self.parallel { "Parallel " } else { "" });
            if !self.index.is_empty() {
                let preposition = if self.kind.starts_with("Bitmap Index") { "on" } else { "using" };
                name = format!("{name} {preposition} {}", self.index);
            }
            let on = if self.on.is_empty() { &self.cte } else { &self.on };
            if !on.is_empty() {
                name = format!("{name} on {on}");
                if !self.alias.is_empty() && self.alias != *on {
                    name = format!("{name} {}", self.alias);
                }
            }
        }
        if self.subplan.is_empty() { name } else { format!("{name} ({})", self.subplan) }
    }
}

/// A node's line of the text form, and the column it stands at: `  ->  Seq Scan on t  (cost=… width=4) (actual time=0.01..0.02
/// rows=1 loops=1)`.
pub fn text_node(line: &str) -> Option<(usize, Plan)> {
    let (head, costs) =
        line.split_once("  (").filter(|(_, c)| c.starts_with("cost=") || c.starts_with("actual ") || c.starts_with("never "))?;
    let column = head.len() - head.trim_start().len();
    let name = head.trim().strip_prefix("->").unwrap_or(head.trim()).trim();
    let mut node = Plan { title: name.to_string(), kind: name.to_string(), ..Plan::empty() };
    if let Some((_, rest)) = name.split_once("CTE Scan on ") {
        node.cte = rest.split(' ').next().unwrap_or(rest).to_string();
    }
    let field = |key: &str| {
        costs.split_once("(actual ").map_or(costs, |(_, actual)| actual).split([' ', ')']).find_map(|word| word.strip_prefix(key))
    };
    if costs.contains("actual ") {
        node.rows = field("rows=").and_then(|v| decimal(v, 0)).unwrap_or(0);
        node.loops = field("loops=").and_then(|v| decimal(v, 0)).unwrap_or(0);
        node.time_ns = field("time=").and_then(|v| decimal(v.split_once("..")?.1, 6));
    } else if costs.contains("never executed") {
        node.time_ns = Some(0);
    }
    Some((column, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_text_form() {
        let (column, node) = text_node(
            "        ->  CTE Scan on big b  (cost=0.00..50.00 rows=667 width=12) (actual time=105.262..105.292 rows=130 loops=2)",
        )
        .unwrap();
        assert_eq!((column, node.title.as_str(), node.cte.as_str()), (8, "CTE Scan on big b", "big"));
        assert_eq!((node.time_ns, node.rows, node.loops), (Some(105_292_000), 130, 2));
        let (_, node) = text_node("Result  (cost=0.00..0.01 rows=1 width=4) (never executed)").unwrap();
        assert_eq!((node.time_ns, node.loops), (Some(0), 0));
        let (_, node) = text_node("Result  (cost=0.00..0.01 rows=1 width=4)").unwrap();
        assert_eq!(node.time_ns, None);
        assert!(text_node("  Filter: ((s)::numeric > $1)").is_none());
        assert!(mentions("(s > $1)", "$1") && !mentions("(s > $12)", "$1"));
    }
}
