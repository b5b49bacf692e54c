//! PostgreSQL's `EXPLAIN (ANALYZE)` as JSON or text (documentation, "Using EXPLAIN"): a tree of plan nodes with the time that
//! each took. [`super::explain_plan`] turns times per loop into own times.

use super::explain_plan::{Plan, Planned, text_node};
use super::json::{Broken, Json, Stop};
use super::json_outline::outline;
use super::json_value::Scalar;
use super::stack_sink::{Lines, decimal};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::io::BufRead;

const NAME: &str = "PostgreSQL EXPLAIN";
const CUT: DiagnosticCode =
    DiagnosticCode { code: "explain/cut", level: Level::DataLoss, message: "The plan ends early; the nodes before were read." };

/// The format.
pub struct Explain;

impl Format for Explain {
    fn id(&self) -> &'static str {
        "pg-explain"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "txt"]
    }
    fn hint(&self) -> &'static str {
        "`psql -XqAt -c 'EXPLAIN (ANALYZE, FORMAT JSON) SELECT …' > plan.json`; the text form is read too."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if let Some(o) = outline(prefix.bytes) {
            let plan = o.has(&["Plan"]) && prefix.text().contains("\"Node Type\"");
            return if plan { Sniff::Certain } else { Sniff::No };
        }
        let node = |line: &str| line.contains("(cost=") && line.contains(" rows=") && line.contains(" width=");
        if prefix.text().lines().filter(|l| !l.trim().is_empty()).take(6).any(node) { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut plans = Vec::new();
        if input.fill_buf()?.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| matches!(b, b'[' | b'{')) {
            let mut json = Json::new(input);
            match statements(&mut json, &mut plans, import) {
                Ok(()) => {}
                Err(Stop::Broken(broken)) if plans.iter().all(Planned::is_empty) => return Err(broken.into_error(NAME)),
                Err(Stop::Broken(broken)) => import.report(CUT, At::Byte(json.position()), &broken.to_string()),
                Err(Stop::Import(e)) => return Err(e),
            }
        } else {
            text(&mut Lines::new(input), &mut plans, import)?;
        }
        if !plans.iter().any(Planned::has_times) {
            return Err(ImportError::Unsupported(
                "it is a plan of PostgreSQL without measured times; run it as EXPLAIN (ANALYZE, FORMAT JSON) with timing on.".into(),
            ));
        }
        for plan in plans {
            plan.store(import);
        }
        Ok(())
    }
}

/// `[{"Plan": …}, …]`; several statements of one file stand one after the other.
fn statements(json: &mut Json<'_>, plans: &mut Vec<Planned>, import: &mut Import<'_>) -> Result<(), Stop> {
    let (mut key, mut raw) = (String::new(), Vec::new());
    while let Some(next) = json.peek()? {
        if next != b'{' {
            if !json.eat(b'[')? && !json.eat(b']')? && !json.eat(b',')? {
                return Err(Broken::Unexpected(json.position(), "a plan").into());
            }
            continue;
        }
        json.eat(b'{')?;
        plans.push(Planned::default());
        let Some(planned) = plans.last_mut() else { return Ok(()) };
        while json.next_key(&mut key)? {
            match key.as_str() {
                "Plan" => nodes(json, planned, import)?,
                "Triggers" if json.eat(b'[')? => {
                    while json.next_item()? {
                        json.raw(&mut raw)?;
                        let trigger: serde_json::Value = serde_json::from_slice(&raw).unwrap_or_default();
                        let time = trigger["Time"].as_f64().map_or(0, |ms| (ms * 1e6).round() as i64);
                        planned.triggers.push((trigger["Trigger Name"].as_str().unwrap_or("?").to_string(), time));
                    }
                }
                _ => {
                    json.raw(&mut raw)?;
                    let time = decimal(&String::from_utf8_lossy(&raw), 6);
                    match key.as_str() {
                        "Planning Time" => planned.planning_ns = time.unwrap_or(0),
                        "Execution Time" | "Total Runtime" => planned.execution_ns = time,
                        "Query Text" => planned.query = serde_json::from_slice(&raw).unwrap_or_default(),
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(())
}

/// A node and its descendants; the path of open nodes is kept instead of recursion.
fn nodes(json: &mut Json<'_>, planned: &mut Planned, import: &mut Import<'_>) -> Result<(), Stop> {
    let (mut key, mut raw) = (String::new(), Vec::new());
    if !json.eat(b'{')? {
        return Err(Broken::Unexpected(json.position(), "`{`").into());
    }
    // Rows of open nodes, and whether the innermost is inside of its list of plans.
    let mut open: Vec<(usize, bool)> = vec![(planned.push(None, At::Byte(json.position())), false)];
    import.ledger.records_in += 1;
    while let Some((row, listed)) = open.last_mut() {
        if *listed {
            if !json.next_item()? {
                *listed = false;
            } else if json.eat(b'{')? {
                let child = planned.push(Some(*row), At::Byte(json.position()));
                import.ledger.records_in += 1;
                open.push((child, false));
            } else {
                json.skip()?;
            }
            continue;
        }
        if !json.next_key(&mut key)? {
            import.ledger.records_kept += 1;
            open.pop();
            continue;
        }
        if key == "Plans" && json.eat(b'[')? {
            *listed = true;
            continue;
        }
        json.raw(&mut raw)?;
        let Ok(value) = serde_json::from_slice::<Scalar<'_>>(&raw) else { continue };
        field(&mut planned.nodes[*row], &key, &value, &raw);
    }
    Ok(())
}

fn field(node: &mut Plan, key: &str, value: &Scalar<'_>, raw: &[u8]) {
    let text = || value.text().unwrap_or_default().to_string();
    // Rows may be fractions since PostgreSQL 18.
    let number = |digits| decimal(&String::from_utf8_lossy(raw), digits);
    match key {
        "Node Type" => node.kind = text(),
        "Relation Name" | "Function Name" => node.on = text(),
        "CTE Name" => node.cte = text(),
        "Alias" => node.alias = text(),
        "Index Name" => node.index = text(),
        "Join Type" => node.join = text(),
        "Strategy" => node.strategy = text(),
        "Partial Mode" => node.partial = text(),
        "Operation" => node.operation = text(),
        "Parallel Aware" => node.parallel = value.truthy(),
        "Subplan Name" => node.subplan = text(),
        "Actual Total Time" => node.time_ns = number(6),
        "Actual Rows" => node.rows = number(0).unwrap_or(0),
        "Actual Loops" => node.loops = number(0).unwrap_or(0),
        "Workers Launched" => node.launched = number(0).unwrap_or(0),
        _ if key.ends_with("Filter") || key.ends_with("Cond") => {
            node.conditions.push_str(value.text().unwrap_or_default());
            node.conditions.push(' ');
        }
        _ => {}
    }
}

/// The text form, as `psql` prints it with or without its header.
fn text(lines: &mut Lines<'_>, plans: &mut Vec<Planned>, import: &mut Import<'_>) -> Result<(), ImportError> {
    // Column and row of open nodes.
    let mut open: Vec<(usize, usize)> = Vec::new();
    // `CTE x`, `SubPlan 1`, `InitPlan 1 (returns $0)`: what the next node is, and the column it stands at.
    let mut title: Option<(usize, String)> = None;
    while lines.next(import)? {
        let line = lines.text.trim_end().trim_end_matches('+').trim_end();
        let column = line.len() - line.trim_start().len();
        let words = line.trim();
        if let Some((arrow, mut node)) = text_node(line) {
            import.ledger.records_in += 1;
            import.ledger.records_kept += 1;
            while open.last().is_some_and(|(at, _)| *at >= arrow) {
                open.pop();
            }
            if open.is_empty() {
                plans.push(Planned::default());
            }
            let Some(planned) = plans.last_mut() else { continue };
            let row = planned.push(open.last().map(|(_, row)| *row), At::Line(lines.number));
            if let Some((_, name)) = title.take() {
                node.subplan = name;
            }
            node.parent = planned.nodes[row].parent;
            node.at = At::Line(lines.number);
            planned.nodes[row] = node;
            open.push((arrow, row));
            continue;
        }
        let Some(planned) = plans.last_mut() else { continue };
        let ms = |rest: &str| decimal(rest.trim().trim_end_matches(" ms"), 6);
        if words.starts_with("CTE ") || words.starts_with("SubPlan ") || words.starts_with("InitPlan ") {
            title = Some((column, words.to_string()));
        } else if let Some(rest) = words.strip_prefix("Planning Time: ").or_else(|| words.strip_prefix("Planning time: ")) {
            planned.planning_ns = ms(rest).unwrap_or(0);
        } else if let Some(rest) = ["Execution Time: ", "Execution time: ", "Total runtime: "].iter().find_map(|s| words.strip_prefix(s)) {
            planned.execution_ns = ms(rest);
            open.clear();
        } else if let Some(rest) = words.strip_prefix("Trigger ") {
            let (name, rest) = rest.split_once(": time=").unwrap_or((rest, ""));
            planned.triggers.push((name.to_string(), decimal(rest.split(' ').next().unwrap_or_default(), 6).unwrap_or(0)));
        } else if let Some(node) = open.last().and_then(|(_, row)| planned.nodes.get_mut(*row)) {
            let (key, value) = words.split_once(": ").unwrap_or((words, ""));
            if key == "Workers Launched" {
                node.launched = value.parse().unwrap_or(0);
            } else if key.ends_with("Filter") || key.ends_with("Cond") {
                node.conditions.push_str(value);
                node.conditions.push(' ');
            }
        }
    }
    Ok(())
}
