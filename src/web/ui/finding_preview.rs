//! A miniature of a finding's proof: a few rows of the flame graph or the waterfall, from the answers those views get.

use super::Shared;
use super::flame_canvas::boxes;
use crate::base::quantity::{format_ns, format_share};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::Request;
use crate::engine::protocol::flame::{FlameData, FlameMode};
use crate::engine::protocol::traces::{FLAG_ERROR, TraceData};
use crate::paint::flame::{Rows, SELECTED, Viewport, draw};
use crate::web::hooks::use_answer;
use std::rc::Rc;
use yew::prelude::*;

/// Inputs of [`Preview`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
    /// The place that is shown.
    pub view: ViewRef,
}

const WIDTH: f64 = 600.0;
const ROW: f64 = 18.0;
/// Rows of a miniature.
const ROWS: usize = 6;

/// The miniature; a click leads to the whole.
#[component]
pub fn Preview(props: &Props) -> Html {
    let (s, view) = (&props.shared, &props.view);
    let (go, to) = (s.go.clone(), view.clone());
    let open = move |_: MouseEvent| go.emit((to.clone(), false));
    let (label, picture) = match view.view {
        View::Flame => ("The place in the flame graph", html! { <Flames shared={s.clone()} view={view.clone()} /> }),
        _ => ("The place in the waterfall", html! { <Bars shared={s.clone()} view={view.clone()} /> }),
    };
    html! { <button class="preview" onclick={open} aria-label={label} title={label}>{ picture }</button> }
}

#[component]
fn Flames(props: &Props) -> Html {
    let s = &props.shared;
    let place = Shared { place: Rc::new(props.view.clone()), ..s.clone() };
    let mode = FlameMode::parse(props.view.mode.as_deref().unwrap_or(""));
    let request = Request::Flame { query: place.query(), mode };
    let answer = use_answer(&s.client, s.generation, request, |slabs| FlameData::decode(slabs).ok());
    let data = answer.value().cloned();
    let key = data.as_ref().map_or(0, |d| Rc::as_ptr(d) as usize);
    let drawn = use_memo((key, props.view.path.clone()), move |(_, path)| {
        let data = data?;
        let node = data.find_path(path)?;
        Some(flames(&data, node))
    });
    drawn.as_ref().clone().unwrap_or_else(|| html! { <div class="skeleton" aria-hidden="true"></div> })
}

/// The rows around a box. A narrow one is shown within the nearest caller of which it is a visible part.
fn flames(data: &FlameData, node: u32) -> Html {
    let total = |n: u32| data.total[n as usize];
    let mut frame = node;
    while total(frame) < 4.0 * total(node) && data.parent[frame as usize] != u32::MAX {
        frame = data.parent[frame as usize];
    }
    let whole = data.parent[frame as usize] == u32::MAX;
    let from = if whole { 0.0 } else { data.start[frame as usize] };
    let to = if whole { data.head.extent } else { from + total(frame) };
    let rows = Rows::new(&data.depth);
    let first = (data.depth[node as usize] as usize).saturating_sub(ROWS - 3);
    let shown = ROWS.min(rows.len() - first);
    let viewport = Viewport {
        width: WIDTH,
        height: shown as f64 * ROW,
        row_height: ROW,
        scroll: first as f64 * ROW,
        window: (from, to),
        char_width: 6.0,
        upward: false,
        hovered: None,
        selected: Some(node),
        matches: None,
    };
    let picture = draw(&boxes(data), &rows, &viewport);
    let share = if data.head.extent > 0.0 { (to - from) / data.head.extent } else { 0.0 };
    html! {
        <>
            <svg viewBox={format!("0 0 {WIDTH} {}", shown as f64 * ROW)} aria-hidden="true">
                { for picture.rects.iter().map(|r| {
                    let colour = if r.category > 0 { format!("var(--kind-{})", r.category % 8) } else { format!("var(--flame-{})", r.shade % 8) };
                    let class = if r.flags & SELECTED != 0 { "selected" } else { "" };
                    html! { <rect x={r.x.to_string()} y={r.y.to_string()} width={r.w.to_string()} height={r.h.to_string()} fill={colour} {class} /> }
                }) }
                { for picture.labels.iter().map(|l| html! { <text x={l.x.to_string()} y={(l.y + 4.0).to_string()}>{ &l.text }</text> }) }
            </svg>
            <span class="dim">{ if whole { "of all".to_string() } else { format!("within {}, {} of all", data.name_of(frame), format_share(share)) } }</span>
        </>
    }
}

#[component]
fn Bars(props: &Props) -> Html {
    let s = &props.shared;
    let request = Request::Trace { id: props.view.trace.clone().unwrap_or_default(), align: false };
    let answer = use_answer(&s.client, s.generation, request, |slabs| TraceData::decode(slabs).ok());
    match answer.value() {
        Some(data) if !data.parent.is_empty() => bars(s, data, props.view.span.as_deref()),
        _ => html! { <div class="skeleton" aria-hidden="true"></div> },
    }
}

/// The span within the nearest caller of which it is a visible part, among the calls beside it.
fn bars(s: &Shared, data: &TraceData, span: Option<&str>) -> Html {
    let row = span.and_then(|id| (0..data.ids.len() as u32).find(|i| data.ids.get(*i) == id)).unwrap_or(0) as usize;
    // From the span up to the frame of the picture.
    let mut chain = vec![row];
    let mut top = row;
    while (data.parent[top] as usize) < data.parent.len() && (top == row || data.duration[top] < 4.0 * data.duration[row]) {
        top = data.parent[top] as usize;
        chain.push(top);
    }
    let mut children = Vec::new();
    let mut at = top + 1;
    while at < data.end_row[top] as usize {
        children.push(at);
        at = (data.end_row[at] as usize).max(at + 1);
    }
    let before = children.iter().position(|c| chain.contains(c)).unwrap_or(0).saturating_sub(1);
    let inner = chain.len().saturating_sub(2).min(2);
    let beside = &children[before..];
    let beside = &beside[..beside.len().min(ROWS - inner)];
    // Rows are in display order: callers before what they call.
    let mut rows: Vec<usize> = chain.iter().take(inner).copied().chain(beside.iter().copied()).chain([top]).collect();
    rows.sort_unstable();
    rows.dedup();
    let left = children.len() - beside.len();
    let (from, length) = (data.start[top], data.duration[top].max(1.0));
    html! {
        <>
            <span class="mini-bars" aria-hidden="true">
                { for rows.iter().map(|&i| {
                    let service = data.texts.get(data.service[i]);
                    let x = ((data.start[i] - from) / length * 100.0).clamp(0.0, 99.5);
                    let w = (data.duration[i] / length * 100.0).clamp(0.4, 100.0 - x);
                    let colour = s.service_colour(service);
                    let indent = data.depth[i].saturating_sub(data.depth[top]).min(6) * 10;
                    html! {
                        <span class={classes!((i == row).then_some("current"))}>
                            <span class="clip" style={format!("padding-left:{indent}px")}><b>{ service }</b>{ " " }{ data.texts.get(data.operation[i]) }if data.flags[i] & FLAG_ERROR != 0 { <span class="mark bad">{ " !" }</span> }</span>
                            <span class="track"><span style={format!("left:{x:.2}%;width:{w:.2}%;background:{colour}")}></span></span>
                            <span class="n">{ format_ns(data.duration[i]) }</span>
                        </span>
                    }
                }) }
            </span>
            if left > 0 { <span class="dim">{ format!("and {left} more calls beside these") }</span> }
        </>
    }
}
