//! Flame graph, inverted graph and flame chart: toolbar, breadcrumbs, canvas, inspector.

use super::findings::ViewProps;
use super::flame_parts::{Picture, canvas, children, use_picture, zoom_to};
use super::selectors::{ProfileSelectors, Search};
use crate::base::quantity::{format_count, format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::Request;
use crate::engine::protocol::flame::{FlameData, FlameMode};
use crate::web::dom;
use crate::web::hooks::{Answer, use_answer};
use gloo::events::EventListener;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use yew::prelude::*;

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
    let data = answer.value().cloned();
    let picture = use_picture(s, data.clone());
    let (chosen, key) = (picture.chosen, picture.key);
    {
        let (shared, select) = (s.clone(), picture.select.clone());
        let has_selection = chosen.is_some() && chosen != picture.root;
        let (matches, boxes) = (picture.matches.clone(), data.as_ref().map_or(0, |d| d.parent.len() as u32));
        let threads = info.map_or(0, |p| p.threads.len() as u32);
        use_effect_with((s.place.clone(), chosen, mode, key), move |_| {
            let listener = EventListener::new(&dom::window(), "keydown", move |e| {
                let Some(e) = e.dyn_ref::<web_sys::KeyboardEvent>() else { return };
                if e.key() == "Enter" && dom::takes_text(e.target()) {
                    // From the search field: the next match, or with Shift the one before.
                    let Some(matches) = &matches else { return };
                    let at = chosen.unwrap_or(u32::MAX);
                    let step = |n: u32| if e.shift_key() { n.wrapping_sub(1).min(boxes - 1) } else { n.wrapping_add(1) % boxes };
                    let next = std::iter::successors(Some(step(at)), |n| Some(step(*n))).take(boxes as usize).find(|n| matches.has(*n));
                    select.emit(next.or(chosen));
                } else if e.key() == "Escape" {
                    let p = &shared.place;
                    if p.search.is_some() {
                        shared.change(true, |p| p.search = None);
                    } else if has_selection {
                        select.emit(None);
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
                } else if dom::takes_text(e.target()) || e.ctrl_key() || e.meta_key() || e.alt_key() {
                } else if e.key() == "i" {
                    let next = if mode == FlameMode::Inverted { FlameMode::Merged } else { FlameMode::Inverted };
                    set_mode(&shared, next);
                } else if matches!(e.key().as_str(), "n" | "p") && threads > 1 {
                    // All threads, then one after the other, and round.
                    let at = shared.query().thread.map_or(0, |t| t + 1);
                    let step = if e.key() == "n" { 1 } else { threads };
                    let next = (at + step) % (threads + 1);
                    shared.change(false, |p| (p.thread, p.zoom) = (next.checked_sub(1), None));
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
            if let Some(m) = picture.matches.as_ref() {
                <span class="matched" role="status">{ format!("matched {} in {} boxes", format_share(m.share), format_count(f64::from(m.count))) }</span>
            }
        </div>
    };
    let body = match (&answer, data) {
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(data)) if data.parent.is_empty() => html! { <p class="empty">{ "No sample of this selection has frames." }</p> },
        (_, Some(data)) => view_of(s, &data, &picture),
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

fn view_of(s: &super::Shared, data: &Rc<FlameData>, picture: &Picture) -> Html {
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
                    { canvas(s, data, picture) }
                    if !note.is_empty() { <p class="note">{ note }</p> }
                </div>
                { inspector(s, data, picture) }
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

fn inspector(s: &super::Shared, data: &Rc<FlameData>, picture: &Picture) -> Html {
    let chosen = picture.chosen;
    let zoom_to = zoom_to(s, data);
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
            { children(data, picture, |c| html! { <span class="n">{ share(data.total[c as usize]) }</span> }) }
        </aside>
    }
}
