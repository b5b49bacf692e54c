//! The differential flame graph of a pair of profiles: legend, canvas, and the chosen path in numbers.

use super::Shared;
use super::compare::points;
use super::flame_parts::{Picture, canvas, children, use_picture, zoom_to};
use super::selectors::Search;
use crate::base::quantity::{format_count, format_share};
use crate::base::view::ViewRef;
use crate::engine::protocol::compare::Diff;
use crate::engine::protocol::flame::FlameData;
use crate::engine::protocol::{ExportKind, Request};
use crate::web::hooks::{Answer, use_answer};
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::HtmlSelectElement;
use yew::prelude::*;

/// Inputs of [`DiffFlame`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
    /// The comparison, for the pairs that there are.
    pub diff: Rc<Diff>,
}

/// What the colours mean, in their order.
const LEGEND: [(u8, &str); 9] = [
    (4, "less: 10 points and over"),
    (3, "3 to 10"),
    (2, "1 to 3"),
    (1, "below 1"),
    (0, "no certain change"),
    (5, "below 1"),
    (6, "1 to 3"),
    (7, "3 to 10"),
    (8, "more: 10 points and over"),
];

/// Words of the mode in the address: `flame`, `flame-baseline`, `flame-uncertain`, or both.
fn has(place: &ViewRef, word: &str) -> bool {
    place.mode.as_deref().unwrap_or("").split('-').any(|w| w == word)
}

/// Whether the address asks for the graph.
pub fn wanted(place: &ViewRef) -> bool {
    has(place, "flame")
}

fn toggle(s: &Shared, word: &'static str) {
    s.change(false, |p| {
        let on = |w: &str| has(p, w) != (w == word);
        let words: Vec<&str> = ["flame", "baseline", "uncertain"].into_iter().filter(|w| on(w)).collect();
        p.mode = (!words.is_empty()).then(|| words.join("-"));
        p.zoom = None;
    });
}

/// The graph with its toolbar.
#[component]
pub fn DiffFlame(props: &Props) -> Html {
    let s = &props.shared;
    let known = |profile: u32| props.diff.profiles.iter().any(|p| p.profiles[1] == profile as usize);
    let first = props.diff.profiles.first().map_or(0, |p| p.profiles[1] as u32);
    let profile = s.place.profile.filter(|p| known(*p)).unwrap_or(first);
    let (baseline, uncertain) = (has(&s.place, "baseline"), has(&s.place, "uncertain"));
    let request = Request::CompareFlame { profile, baseline, uncertain };
    let answer = use_answer(&s.client, s.generation, request, |slabs| FlameData::decode(slabs).ok());
    let data = answer.value().cloned();
    let picture = use_picture(s, data.clone());
    let pick = {
        let s = s.clone();
        move |e: Event| {
            let chosen = e.target().and_then(|t| t.dyn_into::<HtmlSelectElement>().ok()).and_then(|t| t.value().parse().ok());
            s.change(false, |p| (p.profile, p.zoom, p.path) = (chosen, None, Vec::new()));
        }
    };
    let switch = |word: &'static str, on: bool, label: &'static str| {
        let s = s.clone();
        html! { <label class="switch"><input type="checkbox" checked={on} onchange={move |_: Event| toggle(&s, word)} />{ label }</label> }
    };
    let save = {
        let export = s.export.clone();
        move |_| export.emit((ExportKind::DiffSvg, None))
    };
    let body = match (&answer, data) {
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(data)) if data.parent.is_empty() => html! { <p class="empty">{ "This side has no sample with frames." }</p> },
        (_, Some(data)) => {
            html! {
                <>
                if !data.certain.contains(&1) {
                    <p class="remark">{ "No path changed with certainty, so all is grey. Ticking \u{201c}Colour what is not certain\u{201d} shows what was measured nevertheless." }</p>
                }
                <div class="with-inspector">
                    <div class="canvas-column">
                        { canvas(s, &data, &picture) }
                    </div>
                    { inspector(&data, &picture, &zoom_to(s, &data)) }
                </div>
                </>
            }
        }
    };
    html! {
        <div class="flame diff-flame">
            <div class="toolbar">
                if props.diff.profiles.len() > 1 {
                    <select aria-label="Pair of profiles" onchange={pick}>
                        { for props.diff.profiles.iter().map(|p| {
                            let name = s.summary.profiles.get(p.profiles[1]).map_or("", |i| i.name.as_str());
                            html! { <option value={p.profiles[1].to_string()} selected={p.profiles[1] as u32 == profile}>{ format!("{name} {}", p.value) }</option> }
                        }) }
                    </select>
                }
                { switch("baseline", baseline, "Widths of the baseline") }
                { switch("uncertain", uncertain, "Colour what is not certain") }
                <Search shared={s.clone()} label="Search functions" />
                <button onclick={save}>{ "Save as SVG" }</button>
            </div>
            <ul class="legend" aria-label="Colours: change of the share of all events, in percentage points">
                { for LEGEND.iter().map(|(tint, text)| html! { <li><span style={format!("background:var(--diff-{tint})")}></span>{ *text }</li> }) }
            </ul>
            { body }
        </div>
    }
}

/// Shares of both sides and the change between them.
fn change(data: &FlameData, node: u32) -> String {
    data.sides_of(node).map_or(String::new(), |[b, c]| points([b.1, c.1]))
}

fn inspector(data: &FlameData, picture: &Picture, zoom_to: &Callback<Option<u32>>) -> Html {
    let chosen = picture.chosen;
    let (zoom, all) = (zoom_to.clone(), zoom_to.clone());
    html! {
        <aside class="inspector" aria-label="Selected path">
            <h2><code>{ chosen.map_or("Everything", |n| data.name_of(n)) }</code></h2>
            if let Some(n) = chosen {
                <dl class="facts">
                    if let Some([b, c]) = data.sides_of(n) {
                        <div><dt>{ "before" }</dt><dd>{ format!("{}  {}", format_count(b.0), format_share(b.1)) }</dd></div>
                        <div><dt>{ "now" }</dt><dd>{ format!("{}  {}", format_count(c.0), format_share(c.1)) }</dd></div>
                    }
                    <div><dt>{ "change" }</dt><dd>{ change(data, n) }</dd></div>
                    <div><dt>{ "certain" }</dt><dd>{ if data.certain[n as usize] == 1 { "yes" } else { "no" } }</dd></div>
                </dl>
                <p class="actions"><button onclick={move |_| zoom.emit(Some(n))}>{ "Zoom" }</button><button onclick={move |_| all.emit(None)}>{ "Show all" }</button></p>
            }
            { children(data, picture, |c| html! { <span class={classes!("n", (data.certain[c as usize] == 1).then_some("strong"))}>{ change(data, c) }</span> }) }
        </aside>
    }
}
