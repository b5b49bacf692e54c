//! The loops of a finding's function: where they are, how much of the time lies in them, how often they iterate.

use super::json;
use crate::base::quantity::{format_count, format_share};
use serde_json::Value;
use yew::prelude::*;

/// A table, or nothing where no loops are known.
pub fn loop_table(finding: &Value) -> Html {
    let rows = json::items(finding, "loops");
    if rows.is_empty() {
        return html! {};
    }
    let any = |key: &str| rows.iter().any(|r| !r[key].is_null());
    let (trips, code) = (any("trips"), any("instructions"));
    html! {
        <>
            <h3>{ "Its loops" }</h3>
            <div class="scroll">
                <table class="loops">
                    <thead><tr>
                        <th>{ "loop" }</th><th>{ "own" }</th><th>{ "with calls" }</th>
                        if trips { <th>{ "iterations per entry" }</th><th>{ "cycles each" }</th> }
                        if code { <th>{ "instructions" }</th><th>{ "on vectors" }</th> }
                    </tr></thead>
                    <tbody>{ for rows.iter().map(|r| row(r, trips, code)) }</tbody>
                </table>
            </div>
        </>
    }
}

fn row(r: &Value, trips: bool, code: bool) -> Html {
    let hottest = r["hottest"].as_bool().unwrap_or(false);
    let indent = format!("padding-left:{}em", 0.5 + 1.2 * (json::number(r, "depth") - 1.0).clamp(0.0, 8.0));
    let t = &r["trips"];
    let count = |v: &Value, key: &str| if v[key].is_null() { "–".to_string() } else { format_count(json::number(v, key)) };
    let packed = match (json::number(r, "packed"), json::number(r, "vector_bits")) {
        (0.0, _) => "no".to_string(),
        (n, 0.0) => format_count(n),
        (n, bits) => format!("{n}, {bits} bit"),
    };
    html! {
        <tr class={classes!(hottest.then_some("hottest"))}>
            <td style={indent} title={json::text(r, "place").to_string()}>{ name(r) }</td>
            <td>{ format_share(json::number(r, "share")) }</td>
            <td>{ format_share(json::number(r, "with_calls")) }</td>
            if trips { <td>{ iterations(t) }</td><td>{ count(t, "cycles") }</td> }
            if code { <td>{ count(r, "instructions") }</td><td>{ packed }</td> }
        </tr>
    }
}

/// Its lines, or its place in the machine code.
fn name(r: &Value) -> String {
    let (first, last) = (json::number(r, "first_line"), json::number(r, "last_line"));
    if first == 0.0 {
        return json::text(r, "place").to_string();
    }
    let file = json::text(r, "file");
    let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let lines = if first == last { format!("{file}:{first}") } else { format!("{file}:{first}–{last}") };
    match json::text(r, "inlined") {
        "" => lines,
        inlined => format!("{lines} ({inlined})"),
    }
}

/// `6.0 (median 4, 95 % ≤ 10)`.
fn iterations(t: &Value) -> String {
    if t.is_null() {
        return "–".to_string();
    }
    if t["mean"].is_null() {
        return format!("≥ {}", json::number(t, "longest"));
    }
    let mean = json::number(t, "mean");
    let mean = if mean < 20.0 { format!("{mean:.1}") } else { format!("{mean:.0}") };
    match (t["median"].as_u64(), t["p95"].as_u64()) {
        (Some(median), Some(p95)) => format!("{mean} (median {median}, 95 % ≤ {p95})"),
        (Some(median), None) => format!("{mean} (median {median})"),
        _ => mean,
    }
}
