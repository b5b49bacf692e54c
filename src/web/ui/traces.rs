//! The list of traces; one of them opens as a waterfall.

use super::Shared;
use super::findings::ViewProps;
use super::selectors::Search;
use super::waterfall::Waterfall;
use crate::base::quantity::{format_count, format_ns};
use crate::engine::protocol::Request;
use crate::engine::protocol::traces::{TraceList, TraceQuery, TraceRow, TraceSort};
use crate::web::hooks::{Answer, use_answer};
use yew::prelude::*;

/// Rows of a page of the list.
const PAGE: u32 = 200;

/// The view.
#[component]
pub fn Traces(props: &ViewProps) -> Html {
    let s = props.shared.clone();
    match s.place.trace.clone() {
        Some(id) => html! { <Waterfall shared={s} {id} /> },
        None => html! { <List shared={s} /> },
    }
}

#[component]
fn List(props: &ViewProps) -> Html {
    let s = &props.shared;
    let page = use_state(|| 0_u32);
    let sort = s.place.sort.clone().unwrap_or_else(|| "-duration".to_string());
    let (descending, word) = sort.strip_prefix('-').map_or((false, sort.as_str()), |w| (true, w));
    let query = TraceQuery {
        sort: TraceSort::parse(word),
        descending,
        search: s.place.search.clone().unwrap_or_default(),
        offset: *page * PAGE,
        limit: PAGE,
    };
    let answer =
        use_answer(&s.client, s.generation, Request::TraceList { query }, |slabs| serde_json::from_str::<TraceList>(&slabs.head).ok());
    let header = |key: TraceSort, label: &'static str| {
        let shared = s.clone();
        let own = TraceSort::parse(word) == key;
        let next = if own && descending { key.word().to_string() } else { format!("-{}", key.word()) };
        let state = match (own, descending) {
            (true, true) => "descending",
            (true, false) => "ascending",
            _ => "none",
        };
        html! {
            <th class={classes!("n", (key == TraceSort::Start).then_some("narrow-off"))} aria-sort={state}><button class="plain" onclick={move |_| { let next = next.clone(); shared.change(true, move |p| p.sort = Some(next)); }}>
                { label }{ match state { "descending" => " ▾", "ascending" => " ▴", _ => "" } }
            </button></th>
        }
    };
    let body = match (&answer, answer.value()) {
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(list)) => {
            let longest = list.rows.iter().map(|r| r.duration_ns).fold(0.0, f64::max);
            let pages = list.matching.div_ceil(PAGE);
            html! {
                <div class="columns">
                    <table class="wide traces-list">
                        <thead><tr>
                            { header(TraceSort::Duration, "Duration") }
                            <th class="main">{ "Root" }</th>
                            { header(TraceSort::Spans, "Spans") }<th class="n narrow-off">{ "Services" }</th>{ header(TraceSort::Errors, "Errors") }<th class="n optional" title="Spans on the longest way from the root">{ "Depth" }</th>
                            { header(TraceSort::Start, "Start (UTC)") }
                        </tr></thead>
                        <tbody>{ for list.rows.iter().map(|r| row(s, r, longest)) }</tbody>
                    </table>
                    if list.rows.is_empty() { <p class="empty">{ "No trace matches the search. " }<button onclick={ let s = s.clone(); move |_| s.change(true, |p| p.search = None) }>{ "Show all" }</button></p> }
                    if pages > 1 {
                        <p class="actions">
                            <button disabled={*page == 0} onclick={ let page = page.clone(); move |_| page.set(page.saturating_sub(1)) }>{ "Previous" }</button>
                            <span>{ format!("page {} of {pages}", *page + 1) }</span>
                            <button disabled={*page + 1 >= pages} onclick={ let page = page.clone(); move |_| page.set(*page + 1) }>{ "Next" }</button>
                        </p>
                    }
                </div>
            }
        }
    };
    let count = answer.value().map_or(String::new(), |l| {
        if l.matching == l.all {
            format!("{} {}", format_count(f64::from(l.all)), if l.all == 1 { "trace" } else { "traces" })
        } else {
            format!("{} of {} traces", format_count(f64::from(l.matching)), format_count(f64::from(l.all)))
        }
    });
    html! {
        <div class="traces">
            <div class="toolbar"><Search shared={s.clone()} label="Search service, operation, trace id" /><span class="dim" role="status">{ count }</span></div>
            { body }
        </div>
    }
}

fn row(s: &Shared, r: &TraceRow, longest: f64) -> Html {
    let (shared, id) = (s.clone(), r.id.clone());
    let open = move |_: MouseEvent| {
        let id = id.clone();
        shared.change(false, move |p| {
            p.trace = Some(id);
            (p.search, p.zoom, p.span) = (None, None, None);
        });
    };
    let share = if longest > 0.0 { r.duration_ns / longest * 100.0 } else { 0.0 };
    html! {
        <tr onclick={open.clone()}>
            <td class="n bar-cell-td" style={format!("background-size:{share:.1}% 100%")}>{ format_ns(r.duration_ns) }</td>
            <td><button class="plain link" title={r.id.clone()}><b>{ &r.service }</b>{ " " }{ &r.operation }</button></td>
            <td class="n">{ format_count(f64::from(r.spans)) }</td>
            <td class="n narrow-off">{ r.services }</td>
            <td class={classes!("n", (r.errors > 0).then_some("bad"))}>{ r.errors }</td>
            <td class="n optional">{ r.depth }</td>
            <td class="n dim narrow-off">{ &r.start }</td>
        </tr>
    }
}
