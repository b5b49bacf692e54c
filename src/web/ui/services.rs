//! Services: rate, errors, latencies per operation, and who calls whom.

use super::Shared;
use super::critical;
use super::findings::ViewProps;
use super::selectors::Search;
use crate::base::labels::LabelFilter;
use crate::base::quantity::{format_count, format_ns, format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::Request;
use crate::engine::protocol::services::{EdgeRow, RedRow, ServicesData};
use crate::engine::protocol::traces::ENDPOINT_KEY;
use crate::web::hooks::{Answer, use_answer};
use yew::prelude::*;

/// Rows of a table that are drawn; the rest is reached by the filter.
const SHOWN: usize = 500;

/// The view.
#[component]
pub fn Services(props: &ViewProps) -> Html {
    if props.shared.place.mode.as_deref() == Some(critical::MODE) {
        return html! { <critical::Critical shared={props.shared.clone()} /> };
    }
    html! { <Tables shared={props.shared.clone()} /> }
}

#[component]
fn Tables(props: &ViewProps) -> Html {
    let s = &props.shared;
    let answer = use_answer(&s.client, s.generation, Request::Services, |slabs| serde_json::from_str::<ServicesData>(&slabs.head).ok());
    let body = match (&answer, answer.value()) {
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(data)) => tables(s, data),
    };
    html! {
        <div class="services">
            <div class="toolbar">
                { critical::switch(s) }
                <Search shared={s.clone()} label="Filter services and operations" />
                if let Some(service) = s.place.service.as_ref().filter(|_| s.place.operation.is_none()) {
                    <button class="chip" aria-label={format!("Show all services, not only {service}")} onclick={ let s = s.clone(); move |_| s.change(false, |p| { p.service = None; p.operation = None; }) }>{ format!("{service} ×") }</button>
                }
            </div>
            { body }
        </div>
    }
}

fn tables(s: &Shared, data: &ServicesData) -> Html {
    let text = s.place.search.clone().unwrap_or_default().to_lowercase();
    // A chosen operation is marked among all others; a chosen service alone filters.
    let only = s.place.service.as_deref().filter(|_| s.place.operation.is_none());
    let wanted = |r: &&RedRow| {
        (text.is_empty() || r.service.to_lowercase().contains(&text) || r.operation.to_lowercase().contains(&text))
            && (only.is_none() || only == Some(r.service.as_str()) || r.operation.is_empty())
    };
    let (column, down) = s.place.sort.as_deref().map_or(("sum", true), |k| k.strip_prefix('-').map_or((k, false), |k| (k, true)));
    let mut operations: Vec<&RedRow> = data.operations.iter().filter(wanted).collect();
    let key = |r: &RedRow| match column {
        "calls" => r.calls as f64,
        "errors" => r.errors as f64,
        "p50" => r.p50_ns,
        "p95" => r.p95_ns,
        "p99" => r.p99_ns,
        "critical" => r.critical_ns,
        _ => r.sum_ns,
    };
    operations.sort_by(|a, b| {
        let order = if column == "name" { a.operation.cmp(&b.operation) } else { key(a).total_cmp(&key(b)) };
        if down { order.reverse() } else { order }
    });
    let edge = |e: &&EdgeRow| {
        (text.is_empty() || e.from.to_lowercase().contains(&text) || e.to.to_lowercase().contains(&text))
            && only.is_none_or(|n| n == e.from || n == e.to)
    };
    let edges: Vec<&EdgeRow> = data.edges.iter().filter(edge).collect();
    let selected = s.place.operation.as_ref().zip(s.place.service.as_ref());
    html! {
        <div class="with-inspector">
            <div class="columns">
                { critical::where_time(s, data) }
                <h2>{ format!("Services ({})", data.services.len()) }</h2>
                { red_table(s, data, &data.services.iter().filter(wanted).collect::<Vec<_>>(), false) }
                <h2>{ format!("Operations ({})", operations.len()) }</h2>
                { red_table(s, data, &operations, true) }
                { endpoint_table(s, data) }
                if edges.is_empty() {
                    <p class="dim">{ "No service calls another in these traces." }</p>
                } else {
                <h2>{ format!("Calls between services ({})", edges.len()) }</h2>
                <table class="wide">
                    <thead><tr><th>{ "Caller" }</th><th>{ "Callee" }</th><th class="n">{ "Calls" }</th><th class="n">{ "Errors" }</th><th class="n">{ "Sum" }</th><th class="n">{ "Longest" }</th></tr></thead>
                    <tbody>{ for edges.iter().take(SHOWN).map(|e| html! {
                        <tr>
                            <td>{ &e.from }</td>
                            <td>{ &e.to }if e.unseen { <span class="dim" title="It has no spans of its own; its callers' attributes name it">{ " (no spans)" }</span> }</td>
                            <td class="n">{ format_count(e.calls as f64) }</td>
                            <td class={classes!("n", (e.errors > 0).then_some("bad"))}>{ format_count(e.errors as f64) }</td>
                            <td class="n">{ format_ns(e.sum_ns) }</td>
                            <td class="n">{ trace_link(s, &e.worst, format_ns(e.max_ns)) }</td>
                        </tr>
                    }) }</tbody>
                </table>
                }
            </div>
            if let Some((operation, service)) = selected {
                <Histogram shared={s.clone()} service={service.clone()} operation={operation.clone()} row={data.operations.iter().find(|r| r.service == *service && r.operation == *operation).cloned()} />
            }
        </div>
    }
}

/// What each endpoint costs, where samples are joined with spans; each row opens its flame graph.
fn endpoint_table(s: &Shared, data: &ServicesData) -> Html {
    if data.endpoint_costs.is_empty() {
        return html! {};
    }
    html! {
        <>
            <h2>{ format!("Samples per endpoint ({})", data.endpoint_costs.len()) }</h2>
            <table class="wide" data-endpoints="">
                <thead><tr><th>{ "Endpoint" }</th><th>{ "Value" }</th><th class="n">{ "Samples" }</th><th class="n">{ "Weight" }</th><th class="n">{ "Share" }</th></tr></thead>
                <tbody>{ for data.endpoint_costs.iter().take(SHOWN).map(|e| {
                    let place = ViewRef {
                        profile: Some(e.profile),
                        value: Some(e.value.clone()),
                        labels: vec![LabelFilter::value(ENDPOINT_KEY, &e.endpoint)],
                        ..ViewRef::of(View::Flame)
                    };
                    let go = s.go.clone();
                    html! {
                        <tr>
                            <td><button class="plain link" title="Flame graph of this endpoint" onclick={move |_| go.emit((place.clone(), false))}>{ &e.endpoint }</button></td>
                            <td>{ &e.value }</td>
                            <td class="n">{ format_count(e.samples as f64) }</td>
                            <td class="n">{ format_value(e.weight, &e.unit) }</td>
                            <td class="n">{ format_share(if e.whole == 0.0 { 0.0 } else { e.weight / e.whole }) }</td>
                        </tr>
                    }
                }) }</tbody>
            </table>
        </>
    }
}

fn trace_link(s: &Shared, place: &(String, String), text: String) -> Html {
    let to = ViewRef { trace: Some(place.0.clone()), span: Some(place.1.clone()), ..ViewRef::of(View::Traces) };
    let (href, go) = (to.to_hash(), s.go.clone());
    html! { <a {href} onclick={move |e: MouseEvent| { e.prevent_default(); go.emit((to.clone(), false)); }}>{ text }</a> }
}

fn red_table(s: &Shared, data: &ServicesData, rows: &[&RedRow], operations: bool) -> Html {
    let seconds = data.window_ns / 1e9;
    let critical = |r: &RedRow| if data.whole_ns > 0.0 { r.critical_ns / data.whole_ns } else { 0.0 };
    let header = |key: &'static str, label: &'static str| {
        let shared = s.clone();
        let next = if s.place.sort.as_deref().unwrap_or("-sum") == format!("-{key}") { key.to_string() } else { format!("-{key}") };
        if operations {
            let own = s.place.sort.as_deref().unwrap_or("-sum");
            let (state, arrow) = match own.strip_prefix('-') {
                Some(k) if k == key => ("descending", " ▾"),
                _ if own == key => ("ascending", " ▴"),
                _ => ("none", ""),
            };
            html! { <th class={classes!("n", (key == "sum").then_some("optional"))} aria-sort={state}><button class="plain" onclick={move |_| { let next = next.clone(); shared.change(true, move |p| p.sort = Some(next)); }}>{ label }{ arrow }</button></th> }
        } else {
            html! { <th class={classes!("n", (key == "sum").then_some("optional"))}>{ label }</th> }
        }
    };
    html! {
        <table class="wide">
            <thead><tr>
                <th>{ "Service" }</th>if operations { <th>{ "Operation" }</th> }
                { header("calls", "Calls") }<th class="n optional">{ "Rate" }</th>{ header("errors", "Errors") }
                { header("p50", "p50") }{ header("p95", "p95") }{ header("p99", "p99") }{ header("sum", "Sum") }{ header("critical", "Critical path") }
            </tr></thead>
            <tbody>{ for rows.iter().take(SHOWN).map(|r| {
                let (shared, service, operation) = (s.clone(), r.service.clone(), r.operation.clone());
                let current = operations && s.place.service.as_deref() == Some(&r.service) && s.place.operation.as_deref() == Some(&r.operation);
                let choose = move |_: MouseEvent| {
                    let (service, operation) = (service.clone(), operation.clone());
                    shared.change(false, move |p| {
                        p.service = Some(service);
                        p.operation = (!operation.is_empty()).then_some(operation);
                    });
                };
                let rate = if seconds > 0.0 { format!("{}/s", format_count(r.calls as f64 / seconds)) } else { String::new() };
                html! {
                    <tr class={classes!(current.then_some("current"))}>
                        <td>if operations { { &r.service } } else { <button class="plain link" onclick={choose.clone()}>{ if r.service.is_empty() { "(unknown)" } else { r.service.as_str() } }</button> }</td>
                        if operations { <td><button class="plain link" onclick={choose}>{ &r.operation }</button></td> }
                        <td class="n">{ format_count(r.calls as f64) }</td>
                        <td class="n optional">{ rate }</td>
                        <td class={classes!("n", (r.errors > 0).then_some("bad"))}>{ if r.errors > 0 { format!("{} ({})", r.errors, format_share(r.errors as f64 / r.calls as f64)) } else { "0".to_string() } }</td>
                        <td class="n">{ trace_link(s, &r.median, format_ns(r.p50_ns)) }</td>
                        <td class="n">{ format_ns(r.p95_ns) }</td>
                        <td class="n">{ trace_link(s, &r.worst, format_ns(r.p99_ns)) }</td>
                        <td class="n optional">{ format_ns(r.sum_ns) }</td>
                        <td class="n bar-cell-td" style={format!("background-size:{:.1}% 100%", critical(r) * 100.0)} title="Of the time that requests take, on their critical paths">{ format_share(critical(r)) }</td>
                    </tr>
                }
            }) }</tbody>
            if rows.len() > SHOWN { <tfoot><tr><td colspan="10" class="dim">{ format!("and {} more: use the filter", rows.len() - SHOWN) }</td></tr></tfoot> }
        </table>
    }
}

#[derive(Properties, PartialEq)]
struct HistogramProps {
    shared: Shared,
    service: String,
    operation: String,
    row: Option<RedRow>,
}

#[component]
fn Histogram(props: &HistogramProps) -> Html {
    let s = &props.shared;
    let request = Request::Histogram { service: props.service.clone(), operation: props.operation.clone() };
    let answer = use_answer(&s.client, s.generation, request, |slabs| String::from_utf8(slabs.reader().u8()).ok());
    let picture = match (&answer, answer.value()) {
        // The SVG is drawn by our own engine from numbers alone: no text of a file is in it.
        (_, Some(svg)) => Html::from_html_unchecked(AttrValue::from(svg.to_string())),
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        _ => html! { <div class="skeleton" aria-busy="true"></div> },
    };
    html! {
        <aside class="inspector" aria-label="Selected operation">
            <h2>{ &props.operation }</h2>
            <p class="dim">{ &props.service }</p>
            <h3>{ "Latency: calls per duration; lines at p50, p95, p99" }</h3>
            <div class="histogram" role="img" aria-label="Latency histogram; the percentiles below say the same in words">{ picture }</div>
            if let Some(r) = &props.row {
                <dl class="facts">
                    { for [("p50", r.p50_ns), ("p95", r.p95_ns), ("p99", r.p99_ns), ("longest", r.max_ns)].into_iter().map(|(k, v)| html! { <div><dt>{ k }</dt><dd>{ format_ns(v) }</dd></div> }) }
                </dl>
                <p class="actions">{ trace_link(s, &r.median, "A median trace".to_string()) }{ " · " }{ trace_link(s, &r.worst, "The worst trace".to_string()) }</p>
            }
        </aside>
    }
}
