//! Flame graph, inverted graph and flame chart: toolbar, breadcrumbs, canvas, inspector.

use super::findings::ViewProps;
use super::flame_canvas::{FlameCanvas, boxes};
use super::selectors::{ProfileSelectors, Search};
use crate::base::quantity::{format_count, format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::Request;
use crate::engine::protocol::flame::{FlameData, FlameMode};
use crate::paint::flame::{Matches, search};
use crate::web::dom;
use crate::web::hooks::{Answer, use_answer};
use gloo::events::EventListener;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use yew::prelude::*;

/// The zoom window of an address, inside a picture.
pub fn parse_window(text: Option<&String>, extent: f64) -> Option<(f64, f64)> {
    let (from, to) = text?.split_once("..")?;
    let (from, to) = (from.parse::<f64>().ok()?, to.parse::<f64>().ok()?);
    (from >= 0.0 && to > from && to <= extent * 1.000_001).then_some((from, to))
}

/// The view.
#[component]
pub fn Flame(props: &ViewProps) -> Html {
    let s = &props.shared;
    let info = s.summary.profiles.get(s.query().profile as usize);
    let mode = match FlameMode::parse(s.place.mode.as_deref().unwrap_or("")) {
        FlameMode::Chart if !info.is_some_and(|p| p.has_times) => FlameMode::Merged,
        mode => mode,
    };
    let request = Request::Flame { query: s.query(), mode };
    let answer = use_answer(&s.client, s.generation, request, |slabs| FlameData::decode(slabs).ok());
    let selected = use_state(|| None::<u32>);
    let data = answer.value().cloned();
    let key = data.as_ref().map_or(0, |d| Rc::as_ptr(d) as usize);
    let matches = {
        let data = data.clone();
        use_memo((key, s.place.search.clone()), move |(_, text)| {
            let data = data?;
            search(&boxes(&data), text.as_deref().unwrap_or("")).map(Rc::new)
        })
    };
    let root = {
        let data = data.clone();
        use_memo((key, s.place.path.clone()), move |(_, path)| if path.is_empty() { None } else { data?.find_path(path) })
    };
    let ends = {
        let data = data.clone();
        use_memo(key, move |_| data.map_or_else(Vec::new, |d| d.subtree_ends()))
    };
    {
        // A link to a path selects the box at its end; another picture has other boxes.
        let (selected, root) = (selected.clone(), *root);
        use_effect_with((key, root), move |_| selected.set(root));
    }
    let chosen = (*selected).filter(|n| data.as_ref().is_some_and(|d| (*n as usize) < d.parent.len()));
    let children = {
        let (data, ends) = (data.clone(), ends.clone());
        use_memo((key, chosen), move |_| data.map_or_else(Vec::new, |d| d.children(&ends, chosen)))
    };
    {
        let shared = s.clone();
        let selected = selected.clone();
        let has_selection = chosen.is_some() && chosen != *root;
        let (matches, boxes) = ((*matches).clone(), data.as_ref().map_or(0, |d| d.parent.len() as u32));
        use_effect_with((s.place.clone(), chosen, mode, key), move |_| {
            let listener = EventListener::new(&dom::window(), "keydown", move |e| {
                let Some(e) = e.dyn_ref::<web_sys::KeyboardEvent>() else { return };
                if e.key() == "Enter" && dom::takes_text(e.target()) {
                    // From the search field: the next match, or with Shift the one before.
                    let Some(matches) = &matches else { return };
                    let at = chosen.unwrap_or(u32::MAX);
                    let step = |n: u32| if e.shift_key() { n.wrapping_sub(1).min(boxes - 1) } else { n.wrapping_add(1) % boxes };
                    let next = std::iter::successors(Some(step(at)), |n| Some(step(*n))).take(boxes as usize).find(|n| matches.has(*n));
                    selected.set(next.or(chosen));
                } else if e.key() == "Escape" {
                    let p = &shared.place;
                    if p.search.is_some() {
                        shared.change(true, |p| p.search = None);
                    } else if has_selection {
                        selected.set(None);
                    } else if p.zoom.is_some() {
                        shared.change(true, |p| p.zoom = None);
                    } else if !p.path.is_empty() {
                        shared.change(false, |p| {
                            p.path.pop();
                        });
                    } else if p.group.is_some() {
                        shared.change(false, |p| p.group = None);
                    } else if !p.labels.is_empty() {
                        shared.change(false, |p| {
                            p.labels.pop();
                        });
                    }
                } else if e.key() == "i" && !dom::takes_text(e.target()) && !e.ctrl_key() && !e.meta_key() {
                    let next = if mode == FlameMode::Inverted { FlameMode::Merged } else { FlameMode::Inverted };
                    set_mode(&shared, next);
                }
            });
            move || drop(listener)
        });
    }
    let toolbar = html! {
        <div class="toolbar">
            <ProfileSelectors shared={s.clone()} />
            <div class="segments" role="group" aria-label="Picture">
                { for [(FlameMode::Merged, "Flame graph"), (FlameMode::Inverted, "Inverted"), (FlameMode::Chart, "Flame chart")].into_iter().map(|(m, label)| {
                    let shared = s.clone();
                    let possible = m != FlameMode::Chart || info.is_some_and(|p| p.has_times);
                    html! {
                        <button aria-pressed={(mode == m).to_string()} disabled={!possible}
                            title={if possible { "" } else { "This profile has no times; Files says whether they were given up" }}
                            onclick={move |_| set_mode(&shared, m)}>{ label }</button>
                    }
                }) }
            </div>
            <Search shared={s.clone()} label="Search functions" />
            if let Some(m) = (*matches).as_ref() {
                <span class="matched" role="status">{ format!("matched {} in {} boxes", format_share(m.share), format_count(f64::from(m.count))) }</span>
            }
        </div>
    };
    let body = match (&answer, data) {
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(data)) if data.parent.is_empty() => html! { <p class="empty">{ "No sample of this selection has frames." }</p> },
        (_, Some(data)) => picture(s, &data, *root, chosen, &children, (*matches).clone(), &selected),
    };
    html! { <div class="flame">{ toolbar }{ body }</div> }
}

fn set_mode(s: &super::Shared, mode: FlameMode) {
    s.change(false, |p| {
        p.mode = (mode != FlameMode::Merged).then(|| mode.word().to_string());
        p.path.clear();
        p.zoom = None;
    });
}

fn picture(
    s: &super::Shared,
    data: &Rc<FlameData>,
    root: Option<u32>,
    chosen: Option<u32>,
    children: &[u32],
    matches: Option<Rc<Matches>>,
    selected: &UseStateHandle<Option<u32>>,
) -> Html {
    let extent = data.head.extent;
    let of_root = root.map(|n| (data.start[n as usize], data.start[n as usize] + data.total[n as usize]));
    let window = parse_window(s.place.zoom.as_ref(), extent).or(of_root).unwrap_or((0.0, extent));
    let zoom_to = {
        let (shared, data) = (s.clone(), data.clone());
        Callback::from(move |node: Option<u32>| {
            shared.change(false, |p| {
                p.zoom = None;
                p.path = node.map(|n| data.path_of(n)).unwrap_or_default();
                // In time order a path occurs many times: the box itself is meant.
                if let (FlameMode::Chart, Some(n)) = (data.head.mode, node) {
                    let n = n as usize;
                    p.path.clear();
                    p.zoom = Some(format!("{}..{}", data.start[n], data.start[n] + data.total[n]));
                }
            });
        })
    };
    let zoom = {
        let shared = s.clone();
        Callback::from(move |(from, to): (f64, f64)| {
            let all = from <= 0.0 && to >= extent;
            shared.change(true, |p| {
                p.zoom = (!all).then(|| format!("{from}..{to}"));
                if all {
                    p.path.clear();
                }
            });
        })
    };
    let select = {
        let selected = selected.clone();
        Callback::from(move |node| selected.set(node))
    };
    let reveal = root.map_or(0, |n| data.depth[n as usize]);
    let note = if data.head.pruned > 0 {
        format!(
            "{} boxes below {} of the whole are not drawn; their weight stays in their callers.",
            format_count(data.head.pruned as f64),
            format_share(data.head.min_share)
        )
    } else if data.head.without_stack != 0.0 {
        format!("Samples without frames, {}, are not in the picture.", format_value(data.head.without_stack, &data.head.unit))
    } else {
        String::new()
    };
    html! {
        <>
            { crumbs(s, data) }
            <div class="with-inspector">
                <div class="canvas-column">
                    <FlameCanvas data={data.clone()} {matches} selected={chosen} {window} {reveal} {select} zoom_to={zoom_to.clone()} {zoom} generation={s.generation} />
                    if !note.is_empty() { <p class="note">{ note }</p> }
                </div>
                { inspector(s, data, chosen, children, zoom_to, selected) }
            </div>
        </>
    }
}

fn crumbs(s: &super::Shared, data: &FlameData) -> Html {
    let go = |length: usize| {
        let shared = s.clone();
        Callback::from(move |_: MouseEvent| {
            shared.change(false, |p| {
                p.path.truncate(length);
                p.zoom = None;
            });
        })
    };
    html! {
        <nav class="crumbs" aria-label="Zoom">
            <button onclick={go(0)}>{ format!("all {} · {}", format_value(data.head.extent, &data.head.unit), data.head.value) }</button>
            { for s.place.path.iter().enumerate().map(|(i, name)| html! { <><span aria-hidden="true">{ "›" }</span><button title={name.clone()} onclick={go(i + 1)}>{ name }</button></> }) }
        </nav>
    }
}

fn inspector(
    s: &super::Shared,
    data: &Rc<FlameData>,
    chosen: Option<u32>,
    children: &[u32],
    zoom_to: Callback<Option<u32>>,
    selected: &UseStateHandle<Option<u32>>,
) -> Html {
    let unit = data.head.unit.clone();
    let share = |w: f64| format_share(if data.head.extent > 0.0 { w / data.head.extent } else { 0.0 });
    let title = chosen.map_or("Everything".to_string(), |n| data.name_of(n).to_string());
    let total = chosen.map_or(data.head.extent, |n| data.total[n as usize]);
    let own = chosen.map_or(0.0, |n| data.self_weight[n as usize]);
    let function = chosen.map(|n| {
        let place = ViewRef { function: Some(data.name_of(n).to_string()), ..s.place.same_samples(View::Functions) };
        let go = s.go.clone();
        html! { <button onclick={move |_| go.emit((place.clone(), false))}>{ "Callers and callees" }</button> }
    });
    html! {
        <aside class="inspector" aria-label="Selected frame">
            <h2><code>{ title.clone() }</code></h2>
            if let Some(n) = chosen {
                <p class="dim">{ [data.module_of(n), data.file_of(n)].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" · ") }</p>
            }
            <dl class="facts">
                <div><dt>{ "total" }</dt><dd>{ format!("{}  {}", format_value(total, &unit), share(total)) }</dd></div>
                if chosen.is_some() { <div><dt>{ "self" }</dt><dd>{ format!("{}  {}", format_value(own, &unit), share(own)) }</dd></div> }
            </dl>
            <p class="actions">
                if let Some(n) = chosen {
                    <button onclick={zoom_to.reform(move |_| Some(n))}>{ "Zoom" }</button>
                    { function }
                    <button onclick={move |_| { dom::copy(&title); }}>{ "Copy name" }</button>
                }
            </p>
            <h3>{ if chosen.is_some() { "Calls" } else { "Roots" } }</h3>
            <ul class="children">
                { for children.iter().take(60).map(|&c| {
                    let selected = selected.clone();
                    html! {
                        <li><button onclick={move |_| selected.set(Some(c))}>
                            <code>{ data.name_of(c) }</code><span class="n">{ share(data.total[c as usize]) }</span>
                        </button></li>
                    }
                }) }
            </ul>
            if children.len() > 60 { <p class="dim">{ format!("and {} more", children.len() - 60) }</p> }
        </aside>
    }
}
