//! One trace as a waterfall: tree and bars on a common axis, critical path, minimap, span details.

use super::Shared;
use super::selectors::Search;
use super::span_detail::SpanPanel;
use super::waterfall_group::{groups, heading};
use super::waterfall_keys::{Folds, use_waterfall_keys};
use super::what_if::{Bar, Tried};
use crate::base::quantity::{counted, format_ns, format_share};
use crate::engine::protocol::Request;
use crate::engine::protocol::traces::{FLAG_ASYNC, FLAG_ERROR, FLAG_ORPHAN, FLAG_OUTSIDE, FLAG_SHIFTED, FLAG_UNFINISHED, TraceData};
use crate::paint::siblings::Line;
use crate::web::hooks::{Answer, use_answer};
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;
use yew::prelude::*;

/// Height of a line in CSS pixels.
pub const ROW: f64 = 24.0;
/// Bars of the minimap; longer traces are thinned.
const MINIMAP: usize = 300;

/// Inputs of [`Waterfall`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
    /// Trace id.
    pub id: String,
}

/// The view of one trace.
#[component]
pub fn Waterfall(props: &Props) -> Html {
    let s = &props.shared;
    let request = Request::Trace { id: props.id.clone(), align: aligned(s) };
    let answer = use_answer(&s.client, s.generation, request, |slabs| TraceData::decode(slabs).ok());
    match (&answer, answer.value()) {
        (Answer::Failed(why), _) => html! { <div class="traces"><div class="toolbar">{ back(s) }</div><p class="empty">{ why }</p></div> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(data)) => html! { <Rows key={props.id.clone()} shared={s.clone()} data={Data(data.clone())} /> },
    }
}

/// Whether the address asks for aligned clocks.
fn aligned(s: &Shared) -> bool {
    s.place.clocks.as_deref() == Some("aligned")
}

/// The switch for clocks that differ, where some do.
fn clock_switch(s: &Shared, data: &TraceData) -> Html {
    let on = aligned(s);
    if data.head.movable == 0 && !on {
        return html! {};
    }
    let shared = s.clone();
    let flip = move |_| shared.change(false, |p| (p.clocks, p.zoom) = ((!on).then(|| "aligned".to_string()), None));
    html! {
        <label class="switch" title={format!("Moves {} spans of hosts whose clocks differ, by one offset per host. Tables and exports keep the times of the file.", data.head.movable)}>
            <input type="checkbox" id="align-clocks" checked={on} onchange={flip} />{ "Align clocks" }
        </label>
    }
}

/// Hosts whose clocks differ.
fn clock_list(data: &TraceData) -> Html {
    if data.head.clocks.is_empty() {
        return html! {};
    }
    html! {
        <>
            <h2>{ "Clocks" }</h2>
            <p class="dim">{ "Calls between hosts that lie outside their callers, as the file has them." }</p>
            <ul class="children clocks">
                { for data.head.clocks.iter().map(|c| {
                    let way = if c.median_ns < 0.0 { "ahead" } else { "behind" };
                    let sure = if c.constant { "" } else { ", not constant" };
                    html! { <li>{ format!("{} → {}: {} of {} outside; {} {way}{sure}", c.from, c.to, c.outside, c.calls, format_ns(c.median_ns.abs())) }</li> }
                }) }
            </ul>
        </>
    }
}

fn back(s: &Shared) -> Html {
    let shared = s.clone();
    html! { <button onclick={move |_| shared.change(false, |p| { (p.trace, p.span, p.search, p.zoom, p.clocks) = (None, None, None, None, None); p.changes.clear(); })}>{ "‹ All traces" }</button> }
}

/// Compares by identity: a trace is decoded once.
#[derive(Clone)]
struct Data(Rc<TraceData>);

impl PartialEq for Data {
    fn eq(&self, other: &Data) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Properties, PartialEq)]
struct RowsProps {
    shared: Shared,
    data: Data,
}

#[component]
fn Rows(props: &RowsProps) -> Html {
    let s = &props.shared;
    let data = props.data.0.clone();
    let key = Rc::as_ptr(&data) as usize;
    let collapsed = use_state(|| vec![false; data.parent.len()]);
    let scroll = use_state(|| (0.0_f64, 700.0_f64));
    let list = use_node_ref();
    let tried = use_state(|| None::<Tried>);
    let opened = use_state(Vec::<bool>::new);
    {
        let (collapsed, opened, n) = (collapsed.clone(), opened.clone(), data.parent.len());
        use_effect_with(key, move |_| {
            collapsed.set(vec![false; n]);
            opened.set(Vec::new());
        });
    }
    let groups = {
        let data = data.clone();
        use_memo(key, move |_| groups(&data))
    };
    let lines = {
        let (data, groups) = (data.clone(), groups.clone());
        use_memo((key, (*collapsed).clone(), (*opened).clone()), move |(_, collapsed, opened)| {
            groups.lines(&data.end_row, collapsed, |g| opened.get(g as usize).copied().unwrap_or(false))
        })
    };
    // Sections of the critical path by row.
    let critical = {
        let data = data.clone();
        use_memo(key, move |_| {
            let mut order: Vec<u32> = (0..data.critical_row.len() as u32).collect();
            order.sort_by_key(|i| data.critical_row[*i as usize]);
            order
        })
    };
    let matches = {
        let data = data.clone();
        use_memo((key, s.place.search.clone()), move |(_, text)| {
            let text = text.as_deref().unwrap_or("").trim().to_lowercase();
            if text.is_empty() {
                return None;
            }
            let holds: Vec<bool> = (0..data.texts.len() as u32).map(|t| data.texts.get(t).to_lowercase().contains(&text)).collect();
            let hit =
                |i: usize| holds[data.service[i] as usize] || holds[data.operation[i] as usize] || data.ids.get(i as u32).contains(&text);
            Some((0..data.parent.len()).map(hit).collect::<Vec<bool>>())
        })
    };
    let total = data.head.row.duration_ns.max(1.0);
    let window = s.place.zoom.as_ref().and_then(|z| {
        let (a, b) = z.split_once("..")?;
        let (a, b) = (a.parse::<f64>().ok()?, b.parse::<f64>().ok()?);
        (a >= 0.0 && b > a && b <= total * 1.000_001).then_some((a, b))
    });
    let window = window.unwrap_or((0.0, total));
    let selected = s.place.span.as_ref().and_then(|id| (0..data.ids.len() as u32).find(|r| data.ids.get(*r) == id));
    {
        // A link to a span opens its ancestors and the groups around it; what a search or a change is about may lie in any.
        let (collapsed, opened, data, groups) = (collapsed.clone(), opened.clone(), data.clone(), groups.clone());
        let all = s.place.search.is_some() || !s.place.changes.is_empty();
        use_effect_with((key, selected, all), move |(_, selected, all)| {
            let (mut down, mut unfold) = ((*collapsed).clone(), (*opened).clone());
            unfold.resize(groups.list.len(), false);
            if *all {
                unfold.fill(true);
            }
            let mut at = selected.unwrap_or(u32::MAX);
            while at != u32::MAX {
                if let Some(g) = groups.of(at) {
                    unfold[g as usize] = true;
                }
                at = data.parent[at as usize];
                if let Some(closed) = down.get_mut(at as usize) {
                    *closed = false;
                }
            }
            if down != *collapsed {
                collapsed.set(down);
            }
            if unfold.contains(&true) && unfold != *opened {
                opened.set(unfold);
            }
        });
    }
    {
        // Once it has a line, it is brought on screen; what happens elsewhere moves nothing.
        let at = selected.and_then(|row| lines.iter().position(|l| *l == Line::Span(row)));
        let (list, seen) = (list.clone(), use_mut_ref(|| (0_usize, None::<u32>)));
        use_effect_with((key, selected, at), move |(key, selected, at)| {
            let (Some(at), Some(list)) = (at, list.cast::<HtmlElement>()) else { return };
            if seen.replace((*key, *selected)) == (*key, *selected) {
                return;
            }
            let (y, top) = (*at as f64 * ROW, f64::from(list.scroll_top()));
            if y < top || y + 2.0 * ROW > top + f64::from(list.client_height()) {
                list.set_scroll_top((y - f64::from(list.client_height()) / 3.0).max(0.0) as i32);
            }
        });
    }
    use_waterfall_keys(
        s,
        &Folds { data: data.clone(), lines: lines.clone(), groups: groups.clone(), collapsed: collapsed.clone(), opened: opened.clone() },
        selected,
        window,
        total,
    );
    let on_scroll = {
        let scroll = scroll.clone();
        Callback::from(move |e: Event| {
            if let Some(e) = e.target().and_then(|t| t.dyn_into::<HtmlElement>().ok()) {
                scroll.set((f64::from(e.scroll_top()), f64::from(e.client_height())));
            }
        })
    };
    let first = ((scroll.0 / ROW) as usize).saturating_sub(10);
    let shown = lines.iter().copied().enumerate().skip(first).take((scroll.1 / ROW) as usize + 40);
    let r = &data.head.row;
    let found = (*matches).as_ref().map(|m| m.iter().filter(|m| **m).count());
    html! {
        <div class="traces">
            <div class="toolbar">
                { back(s) }
                <b>{ format!("{} {}", r.service, r.operation) }</b>
                <span class="dim">{ format!("{} · {} · {} · {} · {}", format_ns(r.duration_ns), counted(u64::from(r.spans), "span"), counted(u64::from(r.services), "service"), counted(u64::from(r.errors), "error"), r.start) }</span>
                <span class="space"></span>
                { clock_switch(s, &data) }
                <Search shared={s.clone()} label="Search spans" />
                if let Some(found) = found { <span class="matched" role="status">{ format!("{} match{}", counted(found as u64, "span"), if found == 1 { "es" } else { "" }) }</span> }
            </div>
            if !s.place.changes.is_empty() {
                <Bar shared={s.clone()} trace={r.id.clone()} align={aligned(s)} tried={ let tried = tried.clone(); Callback::from(move |t| tried.set(t)) } />
            }
            { minimap(s, &data, window, total) }
            <div class="with-inspector">
                <div class="waterfall" role="treegrid" aria-label="Spans" aria-rowcount={lines.len().to_string()} ref={list} onscroll={on_scroll} tabindex="0">
                    <div class="axis" aria-hidden="true"><span></span><span class="ticks">
                        { for (0..=4).map(|i| {
                            let at = window.0 + (window.1 - window.0) * f64::from(i) / 4.0;
                            html! { <span style={format!("left:{}%", i * 25)} class={classes!((i == 4).then_some("last"))}>{ format_ns(at) }</span> }
                        }) }
                    </span></div>
                    <div style={format!("height:{}px;position:relative", lines.len() as f64 * ROW)}>
                        { for shown.map(|(at, line)| match line {
                            Line::Span(row) => span_row(s, &data, &critical, at, row, window, selected == Some(row), (*matches).as_ref().map(|m| m[row as usize]), &collapsed, (*tried).as_ref()),
                            Line::Group(g) => {
                                let (opened, groups) = (opened.clone(), groups.clone());
                                let open = opened.get(g as usize).copied().unwrap_or(false);
                                let toggle = {
                                    let groups = groups.clone();
                                    Callback::from(move |()| {
                                        let mut next = (*opened).clone();
                                        next.resize(groups.list.len(), false);
                                        next[g as usize] = !next[g as usize];
                                        opened.set(next);
                                    })
                                };
                                heading(s, &data, &groups.list[g as usize], at, window, open, toggle)
                            }
                        }) }
                    </div>
                </div>
                if let Some(row) = selected {
                    <SpanPanel shared={s.clone()} trace={r.id.clone()} span={data.ids.get(row).to_string()} />
                } else {
                    <aside class="inspector">
                        <h2>{ "Critical path" }</h2>
                        <p class="dim">{ "What the request waited for, longest first; the parts add up to its duration." }</p>
                        { critical_list(s, &data) }
                        { clock_list(&data) }
                    </aside>
                }
            </div>
        </div>
    }
}

fn colour(s: &Shared, data: &TraceData, row: usize) -> String {
    s.service_colour(data.texts.get(data.service[row]))
}

/// Critical time by service and operation.
fn critical_list(s: &Shared, data: &TraceData) -> Html {
    let mut sums: std::collections::BTreeMap<(u32, u32), (f64, u32)> = std::collections::BTreeMap::new();
    for (i, row) in data.critical_row.iter().enumerate() {
        let length = data.critical_time[2 * i + 1] - data.critical_time[2 * i];
        let key = (data.service[*row as usize], data.operation[*row as usize]);
        let entry = sums.entry(key).or_insert((0.0, *row));
        entry.0 += length;
    }
    let mut list: Vec<_> = sums.into_iter().collect();
    list.sort_by(|a, b| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(&b.0)));
    html! {
        <ul class="children">
            { for list.iter().take(40).map(|((service, operation), (sum, row))| {
                let (shared, id) = (s.clone(), data.ids.get(*row).to_string());
                html! {
                    <li><button onclick={move |_| { let id = id.clone(); shared.change(false, move |p| p.span = Some(id)); }}>
                        <span class="clip">{ format!("{} {}", data.texts.get(*service), data.texts.get(*operation)) }</span>
                        <span class="n"><span>{ format_ns(*sum) }</span><span>{ format_share(if data.head.critical_ns > 0.0 { sum / data.head.critical_ns } else { 0.0 }) }</span></span>
                    </button></li>
                }
            }) }
        </ul>
    }
}

fn minimap(s: &Shared, data: &TraceData, window: (f64, f64), total: f64) -> Html {
    let n = data.parent.len();
    let step = n.div_ceil(MINIMAP).max(1);
    let height = 48.0;
    let line = height / n.div_ceil(step).max(1) as f64;
    let shared = s.clone();
    let jump = Callback::from(move |e: MouseEvent| {
        let Some(target) = e.current_target().and_then(|t| t.dyn_into::<web_sys::Element>().ok()) else { return };
        let rect = target.get_bounding_client_rect();
        let at = (f64::from(e.client_x()) - rect.left()) / rect.width().max(1.0) * total;
        // A click on the whole shows a tenth around the point; with a zoom it moves that.
        let span = if window.1 - window.0 >= total { total / 10.0 } else { window.1 - window.0 };
        let start = (at - span / 2.0).clamp(0.0, total - span);
        shared.change(true, |p| p.zoom = Some(format!("{start}..{}", start + span)));
    });
    html! {
        <div class="minimap" onclick={jump} aria-hidden="true">
            <svg viewBox={format!("0 0 1000 {height}")} preserveAspectRatio="none">
                { for (0..n).step_by(step).enumerate().map(|(at, row)| html! {
                    <rect x={format!("{:.2}", data.start[row] / total * 1000.0)} y={format!("{:.2}", at as f64 * line)}
                        width={format!("{:.2}", (data.duration[row] / total * 1000.0).max(0.7))} height={format!("{:.2}", (line * 0.8).clamp(0.3, 6.0))} fill={colour(s, data, row)} />
                }) }
                if window.1 - window.0 < total {
                    <rect class="outside" x="0" y="0" width={format!("{:.2}", window.0 / total * 1000.0)} height={height.to_string()} />
                    <rect class="outside" x={format!("{:.2}", window.1 / total * 1000.0)} y="0" width={format!("{:.2}", (1.0 - window.1 / total).max(0.0) * 1000.0)} height={height.to_string()} />
                }
            </svg>
        </div>
    }
}

/// From a time to a percentage of the window, a little beyond its ends.
pub fn scale(window: (f64, f64)) -> impl Fn(f64) -> f64 {
    let scale = 100.0 / (window.1 - window.0);
    move |ns| ((ns - window.0) * scale).clamp(-5.0, 105.0)
}

#[expect(clippy::too_many_arguments, reason = "a row is drawn from everything that the view knows about it")]
fn span_row(
    s: &Shared,
    data: &TraceData,
    critical: &[u32],
    at: usize,
    row: u32,
    window: (f64, f64),
    current: bool,
    matched: Option<bool>,
    collapsed: &UseStateHandle<Vec<bool>>,
    tried: Option<&Tried>,
) -> Html {
    let i = row as usize;
    let x = scale(window);
    let bar = |from: f64, to: f64| format!("left:{:.3}%;width:{:.3}%", x(from), (x(to) - x(from)).max(0.0));
    let flags = data.flags[i];
    let closed = collapsed.get(i).copied().unwrap_or(false);
    let inside = data.end_row[i] - row - 1;
    let toggle = {
        let collapsed = collapsed.clone();
        Callback::from(move |e: MouseEvent| {
            e.stop_propagation();
            let mut next = (*collapsed).clone();
            next[i] = !next[i];
            collapsed.set(next);
        })
    };
    let (shared, id) = (s.clone(), data.ids.get(row).to_string());
    let choose = move |_: MouseEvent| {
        let id = id.clone();
        shared.change(false, move |p| p.span = if p.span.as_ref() == Some(&id) { None } else { Some(id) });
    };
    let marks = [
        (FLAG_ERROR, "✕", "failed"),
        (FLAG_ORPHAN, "?", "its parent is not in the files"),
        (FLAG_UNFINISHED, "…", "it has no end"),
        (FLAG_ASYNC, "↷", "its parent does not wait for it"),
        (FLAG_OUTSIDE, "⇥", "it does not lie inside its parent"),
        (FLAG_SHIFTED, "⏱", "moved, because the clock of its host differs"),
    ];
    let from = critical.partition_point(|c| data.critical_row[*c as usize] < row);
    let own = critical[from..].iter().take_while(|c| data.critical_row[**c as usize] == row);
    let colour = colour(s, data, i);
    // With changes the bar of the replay lies over that of the file.
    let new = tried.and_then(|t| Some((*t.0.start.get(i)?, t.0.start.get(i)? + t.0.duration.get(i)?)));
    let changed = tried.is_some_and(|t| t.0.rows.binary_search(&row).is_ok());
    let (service, operation) = (data.texts.get(data.service[i]), data.texts.get(data.operation[i]));
    let end = data.start[i] + data.duration[i];
    // Beside the bars where there is room, else inside their end.
    let last = new.map_or(end, |(_, to)| end.max(to));
    let first = new.map_or(data.start[i], |(from, _)| data.start[i].min(from));
    let (label, inside_bar) = if x(last) < 80.0 {
        (format!("left:calc({:.3}% + 4px)", x(last).max(0.0)), false)
    } else if x(first) > 20.0 {
        (format!("right:calc({:.3}% + 4px)", 100.0 - x(first).min(100.0)), false)
    } else {
        ("right:6px".to_string(), true)
    };
    html! {
        <div key={row} role="row" aria-rowindex={(at + 1).to_string()} aria-level={(data.depth[i] + 1).to_string()} aria-selected={current.to_string()} aria-expanded={(inside > 0).then(|| (!closed).to_string())}
            class={classes!("span-row", current.then_some("current"), (matched == Some(false)).then_some("faded"), (matched == Some(true)).then_some("hit"), changed.then_some("changed"))}
            style={format!("top:{}px", at as f64 * ROW)} onclick={choose}>
            <span role="gridcell" class="span-name" style={format!("padding-left:{}px", 4 + data.depth[i].min(40) * 12)} title={format!("{service} {operation}")}>
                if inside > 0 {
                    <button class="plain toggle" aria-label={if closed { "Expand" } else { "Collapse" }} onclick={toggle}>{ if closed { format!("▸{inside}") } else { "▾".to_string() } }</button>
                }
                if inside == 0 { <span class="no-toggle"></span> }
                <span class="edge" style={format!("background:{colour}")}></span>
                <b>{ service }</b>{ " " }{ operation }
                { for marks.iter().filter(|(f, _, _)| flags & f != 0).map(|(f, shape, why)| html! { <span class={classes!("mark", (*f == FLAG_ERROR).then_some("bad"))} title={*why}>{ *shape }</span> }) }
            </span>
            <span role="gridcell" class="span-bars">
                <span class={classes!("span-bar", new.is_some().then_some("old"))} style={format!("{};background:{colour}", bar(data.start[i], end))}></span>
                if let Some((from, to)) = new { <span class="span-bar new" style={format!("{};background:{colour}", bar(from, to))}></span> }
                { for own.map(|c| html! { <span class="on-path" style={bar(data.critical_time[2 * *c as usize], data.critical_time[2 * *c as usize + 1])}></span> }) }
                <span class={classes!("span-label", inside_bar.then_some("inside"))} style={label}>{ format_ns(data.duration[i]) }{ for new.map(|(a, b)| b - a).filter(|d| *d != data.duration[i]).map(|d| html! { <b>{ format!(" → {}", format_ns(d)) }</b> }) }</span>
            </span>
        </div>
    }
}
