//! Compare: a baseline beside the candidate, and what certainly changed between them.

use super::compare_flame::{self, DiffFlame};
use super::findings::ViewProps;
use super::{Shared, SideChange, json};
use crate::base::quantity::{counted, format_count, format_ns, format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::Request;
use crate::engine::protocol::compare::{CallDiff, Diff, EndpointDiff, FunctionDiff, OperationDiff, ProfileDiff};
use crate::web::hooks::{Answer, use_answer};
use wasm_bindgen::JsCast;
use web_sys::{DragEvent, HtmlInputElement};
use yew::prelude::*;

/// Rows of a table that are drawn; the rest is reached by the filter.
const SHOWN: usize = 300;

/// The view.
#[component]
pub fn Compare(props: &ViewProps) -> Html {
    let s = &props.shared;
    html! {
        <div class="compare columns">
            { slots(s) }
            if s.summary.baseline.is_empty() {
                <p class="empty">{ "Drop the recordings from before on \u{201c}Baseline\u{201d}, or use one of the open files as the baseline. Functions, operations and calls are then compared, and only what is certain is called a change." }</p>
            } else {
                <Tables shared={s.clone()} />
            }
        </div>
    }
}

fn slots(s: &Shared) -> Html {
    let chosen = {
        let s = s.clone();
        move |e: Event| {
            let Some(input) = e.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok()) else { return };
            let files = super::list(input.files());
            input.set_value("");
            if !files.is_empty() {
                s.sides.emit(SideChange::Add(files));
            }
        }
    };
    let dropped = {
        let s = s.clone();
        move |e: DragEvent| {
            e.prevent_default();
            // The window takes every drop that nobody else takes, as a candidate.
            e.stop_propagation();
            let files = e.data_transfer().map(|d| super::list(d.files())).unwrap_or_default();
            s.sides.emit(SideChange::Add(files));
        }
    };
    let open = s.summary.sources.as_array().cloned().unwrap_or_default();
    let names: Vec<String> = open
        .chunk_by(|a, b| a["file_index"] == b["file_index"])
        .map(|file| json::text(&file[0], "file").split('/').next().unwrap_or_default().to_string())
        .collect();
    let swappable = !s.summary.baseline.is_empty() && !names.is_empty();
    html! {
        <div class="sides">
            <section class="side" id="baseline-slot" aria-label="Baseline" ondrop={dropped} ondragover={|e: DragEvent| e.prevent_default()}>
                <h2>{ "Baseline" }<span class="dim">{ " before" }</span></h2>
                <ul>
                    { for s.summary.baseline.iter().enumerate().map(|(i, name)| {
                        let sides = s.sides.clone();
                        html! { <li><span>{ name }</span><button class="plain" aria-label={format!("Close {name}")} onclick={move |_| sides.emit(SideChange::Remove(i))}>{ "×" }</button></li> }
                    }) }
                </ul>
                <label class="button">{ "Choose…" }<input type="file" multiple=true onchange={chosen} aria-label="Choose baseline files" /></label>
            </section>
            <section class="side" aria-label="Candidate">
                <h2>{ "Candidate" }<span class="dim">{ " after" }</span></h2>
                <ul>
                    { for names.iter().enumerate().map(|(i, name)| {
                        let sides = s.sides.clone();
                        html! { <li><span>{ name }</span><button aria-label={format!("Use {name} as baseline")} onclick={move |_| sides.emit(SideChange::Move(i))}>{ "Use as baseline" }</button></li> }
                    }) }
                </ul>
                if swappable { <button onclick={ let sides = s.sides.clone(); move |_| sides.emit(SideChange::Swap) }>{ "Swap sides" }</button> }
            </section>
        </div>
    }
}

#[component]
fn Tables(props: &ViewProps) -> Html {
    let s = &props.shared;
    let answer = use_answer(&s.client, s.generation, Request::Compare, |slabs| serde_json::from_str::<Diff>(&slabs.head).ok());
    match (&answer, answer.value()) {
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(d)) if compare_flame::wanted(&s.place) && !d.profiles.is_empty() => html! {
            <>{ pictures(s, d) }<DiffFlame shared={s.clone()} diff={d.clone()} /></>
        },
        (_, Some(d)) => html! {
            <>
                { pictures(s, d) }
                { notes(&d.warnings) }
                { for d.profiles.iter().map(|p| profile(s, p)) }
                if let Some(t) = &d.traces {
                    { notes(&t.warnings) }
                    { endpoints(&t.endpoints) }
                    { operations(s, &t.operations) }
                    { calls(&t.calls) }
                }
            </>
        },
    }
}

/// Tables or flame graph, where there are profiles on both sides.
fn pictures(s: &Shared, d: &Diff) -> Html {
    if d.profiles.is_empty() {
        return html! {};
    }
    let flame = compare_flame::wanted(&s.place);
    let button = |on: bool, label: &'static str| {
        let s = s.clone();
        let mode = (label != "Tables").then(|| "flame".to_string());
        let go = move |_| {
            let mode = mode.clone();
            s.change(false, |p| (p.mode, p.zoom, p.path) = (mode, None, Vec::new()));
        };
        html! { <button aria-pressed={on.to_string()} onclick={go}>{ label }</button> }
    };
    html! { <div class="segments" role="group" aria-label="Picture">{ button(!flame, "Tables") }{ button(flame, "Differential flame graph") }</div> }
}

fn notes(warnings: &[String]) -> Html {
    html! { <>{ for warnings.iter().map(|w| html! { <p class="remark">{ w }</p> }) }</> }
}

/// The word for a verdict, with its class.
fn verdict(change: &str) -> Html {
    let (word, class) = match change {
        "regressed" => ("▲ more", "bad"),
        "improved" => ("▼ less", "good"),
        "moved" => ("⇄ moved", ""),
        "share-only" => ("share only", "dim"),
        _ => ("·", "dim"),
    };
    html! { <td class={classes!("verdict", class)} title={ if change == "same" { "no certain change" } else { "" } }>{ word }</td> }
}

fn wanted(s: &Shared, texts: &[&str]) -> bool {
    let text = s.place.search.clone().unwrap_or_default().to_lowercase();
    text.is_empty() || texts.iter().any(|t| t.to_lowercase().contains(&text))
}

/// `+1.25 pp`; `0 pp` for what rounds to nothing.
pub fn points(shares: [f64; 2]) -> String {
    let points = format!("{:+.2} pp", (shares[1] - shares[0]) * 100.0);
    if matches!(points.as_str(), "+0.00 pp" | "-0.00 pp") { "0 pp".to_string() } else { points }
}

fn profile(s: &Shared, p: &ProfileDiff) -> Html {
    let certain = p.functions.iter().filter(|f| f.change != "same" || f.total_change != "same").count();
    let chosen = s.place.function.as_deref();
    let row = |f: &FunctionDiff| {
        let same = f.change == "same" && f.total_change == "same";
        let shared = s.clone();
        let to = ViewRef {
            profile: Some(p.profiles[1] as u32),
            value: Some(p.value.clone()),
            path: f.path.clone(),
            function: Some(f.name.clone()),
            ..ViewRef::of(View::Flame)
        };
        let href = to.to_hash();
        let moved = if f.partner.is_empty() { String::new() } else { format!("with {}", f.partner) };
        html! {
            <tr class={classes!(same.then_some("faded"), (chosen == Some(f.name.as_str())).then_some("current"))}>
                <td>
                    <a {href} onclick={move |e: MouseEvent| { e.prevent_default(); shared.go.emit((to.clone(), false)); }}><code>{ &f.name }</code></a>
                    if !moved.is_empty() { <span class="dim">{ format!(" {moved}") }</span> }
                    if f.path.len() > 1 { <div class="dim clip" title={f.path.join(" → ")}>{ f.path.join(" → ") }</div> }
                </td>
                { verdict(if f.change == "same" { &f.total_change } else { &f.change }) }
                <td class="n narrow-off">{ format_share(f.self_share[0]) }</td><td class="n narrow-off">{ format_share(f.self_share[1]) }</td><td class="n">{ points(f.self_share) }</td>
                <td class="n narrow-off">{ format_share(f.total_share[0]) }</td><td class="n narrow-off">{ format_share(f.total_share[1]) }</td><td class="n">{ points(f.total_share) }</td>
            </tr>
        }
    };
    let rows: Vec<&FunctionDiff> = p.functions.iter().filter(|f| wanted(s, &[&f.name])).collect();
    // Without counts of samples nothing is tested, and events would be bytes or objects.
    let (changes, amount) = if p.tested == 0 {
        let [before, now] = p.weight.map(|w| format_value(w as f64, &p.unit));
        (String::new(), format!("{before} before, {now} now."))
    } else {
        let [before, now] = p.events.map(|n| format_count(n as f64));
        let text = format!(
            "{before} events before, {now} now; shares of those that are not idle; at most 5 % of what is called a change is chance."
        );
        (format!(": {} of {} tested", counted(certain as u64, "certain change"), format_count(p.tested as f64)), text)
    };
    html! {
        <section>
            <h2>{ format!("Functions by {}{changes}", p.value) }</h2>
            <p class="dim">{ amount }</p>
            { notes(&p.warnings) }
            <table class="wide">
                <thead><tr><th class="main">{ "Function" }</th><th>{ "Verdict" }</th><th class="n narrow-off">{ "Self was" }</th><th class="n narrow-off">{ "now" }</th><th class="n">{ "self change" }</th><th class="n narrow-off">{ "Total was" }</th><th class="n narrow-off">{ "now" }</th><th class="n">{ "total change" }</th></tr></thead>
                <tbody>{ for rows.iter().take(SHOWN).map(|f| row(f)) }</tbody>
            </table>
            if p.more > 0 { <p class="dim">{ format!("{} more changed less than these.", counted(p.more as u64, "function")) }</p> }
        </section>
    }
}

/// `+3.20 ms`, `−201 ms`.
fn signed_ns(ns: i64) -> String {
    format!("{}{}", if ns < 0 { '−' } else { '+' }, format_ns(ns.unsigned_abs() as f64))
}

fn endpoints(rows: &[EndpointDiff]) -> Html {
    html! {
        <section>
            <h2>{ format!("Endpoints ({})", rows.len()) }</h2>
            <table class="wide">
                <thead><tr><th>{ "Endpoint" }</th><th class="n">{ "Requests" }</th><th class="n">{ "Mean was" }</th><th class="n">{ "now" }</th><th>{ "The change lies on" }</th></tr></thead>
                <tbody>{ for rows.iter().take(SHOWN).map(|e| html! {
                    <tr>
                        <td>{ format!("{} {}", e.service, e.operation) }</td>
                        <td class="n">{ format!("{} → {}", e.requests[0], e.requests[1]) }</td>
                        <td class="n">{ format_ns(e.mean_ns[0] as f64) }</td><td class="n">{ format_ns(e.mean_ns[1] as f64) }</td>
                        <td>
                            if !e.explained_by.is_empty() { { format!("{} by {}", signed_ns(e.explained_ns), e.explained_by.join(" → ")) } }
                            { for e.one_sided.iter().map(|(side, path, n)| html! { <div class="dim">{ format!("only in the {side}, {n} times: {}", path.join(" → ")) }</div> }) }
                        </td>
                    </tr>
                }) }</tbody>
            </table>
        </section>
    }
}

fn operations(s: &Shared, rows: &[OperationDiff]) -> Html {
    let certain = rows.iter().filter(|r| r.change != "same" || r.error_change != "same").count();
    let rows: Vec<&OperationDiff> = rows.iter().filter(|r| wanted(s, &[&r.service, &r.operation])).collect();
    html! {
        <section>
            <h2>{ format!("Operations ({}, {certain} certainly changed)", rows.len()) }</h2>
            <table class="wide">
                <thead><tr><th>{ "Service" }</th><th>{ "Operation" }</th><th class="n">{ "Calls" }</th><th class="n">{ "p50 was" }</th><th class="n">{ "now" }</th><th class="n">{ "p95 was" }</th><th class="n">{ "now" }</th><th>{ "Time" }</th><th class="n">{ "Errors" }</th><th>{ "Verdict" }</th></tr></thead>
                <tbody>{ for rows.iter().take(SHOWN).map(|r| {
                    let to = ViewRef { service: Some(r.service.clone()), operation: Some(r.operation.clone()), ..ViewRef::of(View::Services) };
                    let (href, go) = (to.to_hash(), s.go.clone());
                    html! {
                        <tr class={classes!((r.change == "same" && r.error_change == "same").then_some("faded"))}>
                            <td>{ &r.service }</td>
                            <td><a {href} onclick={move |e: MouseEvent| { e.prevent_default(); go.emit((to.clone(), false)); }}>{ &r.operation }</a></td>
                            <td class="n">{ format!("{} → {}", r.count[0], r.count[1]) }</td>
                            <td class="n">{ format_ns(r.p50_ns[0] as f64) }</td><td class="n">{ format_ns(r.p50_ns[1] as f64) }</td>
                            <td class="n">{ format_ns(r.p95_ns[0] as f64) }</td><td class="n">{ format_ns(r.p95_ns[1] as f64) }</td>
                            { verdict(&r.change) }
                            <td class="n">{ format!("{} → {}", r.errors[0], r.errors[1]) }</td>
                            { verdict(&r.error_change) }
                        </tr>
                    }
                }) }</tbody>
            </table>
        </section>
    }
}

fn calls(rows: &[CallDiff]) -> Html {
    let changed: Vec<&CallDiff> = rows.iter().filter(|r| r.change != "same").collect();
    html! {
        <section>
            <h2>{ format!("Calls per execution ({} changed of {})", changed.len(), rows.len()) }</h2>
            if !changed.is_empty() {
                <table class="wide">
                    <thead><tr><th>{ "Caller" }</th><th>{ "Calls" }</th><th class="n">{ "was" }</th><th class="n">{ "now" }</th><th>{ "Verdict" }</th></tr></thead>
                    <tbody>{ for changed.iter().take(SHOWN).map(|r| html! {
                        <tr>
                            <td>{ format!("{} {}", r.service, r.operation) }</td><td>{ &r.target }</td>
                            <td class="n">{ format!("{:.2}", r.per_execution[0]) }</td><td class="n">{ format!("{:.2}", r.per_execution[1]) }</td>
                            { verdict(&r.change) }
                        </tr>
                    }) }</tbody>
                </table>
            }
        </section>
    }
}
