//! Labels as a dimension: a menu of keys and values with their weight, and the conditions in force as chips.

use super::Shared;
use crate::base::labels::{LabelFilter, Wanted};
use crate::base::quantity::{format_count, format_share, format_value};
use crate::engine::protocol::labels::{LabelKey, LabelsData};
use crate::engine::protocol::{Request, SampleQuery};
use crate::web::hooks::{Answer, use_answer};
use wasm_bindgen::JsCast;
use web_sys::Element;
use yew::prelude::*;

/// Inputs of [`Labels`].
#[derive(Properties, PartialEq)]
pub struct LabelsProps {
    /// What every view gets.
    pub shared: Shared,
}

/// Adds a condition, or replaces the one on the same key.
fn add(s: &Shared, filter: LabelFilter) {
    s.change(false, |p| {
        p.labels.retain(|f| f.key != filter.key);
        p.labels.push(filter);
        p.zoom = None;
    });
}

fn group(s: &Shared, key: Option<String>) {
    s.change(false, |p| {
        p.group = key;
        p.zoom = None;
        p.path.clear();
    });
}

/// The menu and the chips; nothing for a profile without labels.
#[component]
pub fn Labels(props: &LabelsProps) -> Html {
    let s = &props.shared;
    let open = use_state(|| false);
    let Some(info) = s.summary.profiles.get(s.query().profile as usize) else { return html! {} };
    if info.labels.is_empty() && s.place.labels.is_empty() && s.place.group.is_none() {
        return html! {};
    }
    let toggled = {
        let open = open.clone();
        Callback::from(move |e: Event| {
            let is_open = e.target().and_then(|t| t.dyn_into::<Element>().ok()).is_some_and(|t| t.has_attribute("open"));
            open.set(is_open);
        })
    };
    let chip = |class: &'static str, text: String, remove: Callback<MouseEvent>| {
        html! { <button class={classes!("chip", class)} aria-label={format!("Remove {text}")} onclick={remove}>{ text }<span aria-hidden="true">{ " ×" }</span></button> }
    };
    html! {
        <>
            <details id="labels-menu" class="menu labels" open={*open} ontoggle={toggled}>
                <summary title="Filter and group by the labels of samples">{ format!("Labels ({})", info.labels.len()) }</summary>
                if *open { <Keys shared={s.clone()} /> }
            </details>
            // One element, whatever it holds: the open menu before it stays the same element.
            <span class="chips">
            if let Some(key) = &s.place.group {
                { chip("group", format!("by {key}"), { let s = s.clone(); Callback::from(move |_| group(&s, None)) }) }
            }
            { for s.place.labels.iter().cloned().map(|filter| {
                let text = match &filter.wanted {
                    Wanted::Value(value) => format!("{} = {value}", filter.key),
                    Wanted::Present => format!("with {}", filter.key),
                    Wanted::Absent => format!("without {}", filter.key),
                };
                let s = s.clone();
                chip("filter", text, Callback::from(move |_| s.change(false, |p| { p.labels.retain(|f| *f != filter); p.zoom = None; })))
            }) }
            </span>
        </>
    }
}

/// The open menu: its numbers are asked for only now.
#[component]
fn Keys(props: &LabelsProps) -> Html {
    let s = &props.shared;
    // Grouping changes no label, so that it does not ask again.
    let query = SampleQuery { group: None, ..s.query() };
    let answer =
        use_answer(&s.client, s.generation, Request::Labels { query }, |slabs| serde_json::from_str::<LabelsData>(&slabs.head).ok());
    let Some(data) = answer.value() else {
        let text = if let Answer::Failed(why) = &answer { why.clone() } else { "…".to_string() };
        return html! { <div class="sheet"><p class="dim">{ text }</p></div> };
    };
    html! {
        <div class="sheet">
            if data.keys.is_empty() { <p class="dim">{ "No sample of this selection has a label." }</p> }
            { for data.keys.iter().map(|key| key_entry(s, data, key)) }
        </div>
    }
}

fn key_entry(s: &Shared, data: &LabelsData, key: &LabelKey) -> Html {
    let share = |w: f64| format_share(if data.whole == 0.0 { 0.0 } else { w / data.whole });
    let button = |label: &'static str, pressed: bool, act: Callback<MouseEvent>| html! { <button class="plain" aria-pressed={pressed.to_string()} onclick={act}>{ label }</button> };
    let filter = |wanted: Wanted| {
        let (s, key) = (s.clone(), key.key.clone());
        Callback::from(move |_: MouseEvent| add(&s, LabelFilter { key: key.clone(), wanted: wanted.clone() }))
    };
    let has = |wanted: &Wanted| s.place.labels.iter().any(|f| f.key == key.key && f.wanted == *wanted);
    let grouped = s.place.group.as_ref() == Some(&key.key);
    let by = {
        let (s, key) = (s.clone(), key.key.clone());
        Callback::from(move |_| group(&s, (!grouped).then(|| key.clone())))
    };
    html! {
        <section data-label-key={key.key.clone()}>
            <h3>
                <code>{ &key.key }</code>
                <span class="n">{ format!("{} samples · {} · {}", format_count(key.samples as f64), format_value(key.weight, &data.unit), share(key.weight)) }</span>
            </h3>
            <p class="actions">
                { button("group by", grouped, by) }
                { button("with", has(&Wanted::Present), filter(Wanted::Present)) }
                { button("without", has(&Wanted::Absent), filter(Wanted::Absent)) }
            </p>
            <ul class="children">
                { for key.values.iter().map(|(value, weight)| html! {
                    <li><button data-label-value={value.clone()} title={format!("{} = {value}", key.key)} onclick={filter(Wanted::Value(value.clone()))}>
                        <code>{ if value.is_empty() { "(empty)" } else { value } }</code>
                        <span class="n"><span>{ format_value(*weight, &data.unit) }</span><span>{ share(*weight) }</span></span>
                    </button></li>
                }) }
            </ul>
            if key.distinct > key.values.len() as u64 {
                <p class="dim">{ format!("and {} lighter values", format_count((key.distinct - key.values.len() as u64) as f64)) }</p>
            }
        </section>
    }
}
