//! Selectors that profile views share: profile, value type, thread, search.

use super::labels::Labels;
use super::{Shared, json};
use crate::base::quantity::format_value;
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

/// Inputs of [`ProfileSelectors`].
#[derive(Properties, PartialEq)]
pub struct SelectorProps {
    /// What every view gets.
    pub shared: Shared,
}

fn chosen(e: &web_sys::Event) -> Option<u32> {
    e.target()?.dyn_into::<HtmlSelectElement>().ok()?.value().parse().ok()
}

/// Profile, value type and thread.
#[component]
pub fn ProfileSelectors(props: &SelectorProps) -> Html {
    let s = &props.shared;
    let query = s.query();
    let Some(info) = s.summary.profiles.get(query.profile as usize) else { return html! {} };
    let change = |apply: fn(&Shared, Option<u32>)| {
        let shared = s.clone();
        Callback::from(move |e: web_sys::Event| apply(&shared, chosen(&e)))
    };
    let profile = change(|s, p| {
        s.change(false, |place| {
            place.profile = p;
            (place.value, place.thread, place.zoom, place.group) = (None, None, None, None);
            place.path.clear();
            place.labels.clear();
        });
    });
    let value = change(|s, v| {
        let name = v.and_then(|v| s.summary.profiles.get(s.query().profile as usize)?.values.get(v as usize)).map(|v| v.name.clone());
        s.change(false, |place| {
            place.value = name;
            place.zoom = None;
        });
    });
    let thread = change(|s, t| {
        s.change(false, |place| {
            place.thread = t;
            place.zoom = None;
        });
    });
    let none = serde_json::Value::Null;
    let ledger = s.summary.sources.get(info.source as usize).map_or(&none, |source| &source["ledger"]);
    let guess = |what: &str| json::items(ledger, "choices").iter().find(|c| json::text(c, "what") == what);
    let why = |what: &str| guess(what).map_or(String::new(), |c| json::text(c, "why").to_string());
    let unit = {
        let shared = s.clone();
        Callback::from(move |e: web_sys::Event| {
            let chosen = e.target().and_then(|t| t.dyn_into::<HtmlSelectElement>().ok()).map(|t| t.value());
            shared.change(false, |place| place.unit = chosen);
        })
    };
    html! {
        <>
            if s.summary.profiles.len() > 1 {
                <select aria-label="Profile" title={why("event")} onchange={profile}>
                    { for s.summary.profiles.iter().enumerate().map(|(i, p)| html! {
                        <option value={i.to_string()} selected={i as u32 == query.profile}>{ if p.name.is_empty() { p.file.clone() } else { format!("{} {}", p.file, p.name) } }</option>
                    }) }
                </select>
            }
            <select aria-label="Value type" title={why("weight")} onchange={value}>
                { for info.values.iter().enumerate().map(|(i, v)| html! {
                    <option value={i.to_string()} selected={i as u32 == query.value}>{ format!("{} · {}", v.name, format_value(v.total, &v.unit)) }</option>
                }) }
            </select>
            if let Some(c) = guess("unit") {
                <select class="guess" aria-label="Unit of the numbers, a guess" title={why("unit")} onchange={unit}>
                    <option value={json::text(c, "chosen").to_string()} selected=true>{ format!("unit: {}", json::text(c, "chosen")) }</option>
                    { for json::items(c, "others").iter().filter_map(|o| o.as_str()).map(|o| html! { <option value={o.to_string()}>{ format!("unit: {o}") }</option> }) }
                </select>
            }
            if info.threads.len() > 1 {
                <select aria-label="Thread" onchange={thread}>
                    <option value="" selected={query.thread.is_none()}>{ format!("all {} threads", info.threads.len()) }</option>
                    { for info.threads.iter().enumerate().map(|(i, t)| html! {
                        <option value={i.to_string()} selected={Some(i as u32) == query.thread}>{ if t.is_empty() { "(unnamed)".to_string() } else { t.clone() } }</option>
                    }) }
                </select>
            }
            <Labels shared={s.clone()} />
        </>
    }
}

/// Inputs of [`Search`].
#[derive(Properties, PartialEq)]
pub struct SearchProps {
    /// What every view gets.
    pub shared: Shared,
    /// What is searched.
    pub label: &'static str,
}

/// The search field of a view; the text is part of the address.
#[component]
pub fn Search(props: &SearchProps) -> Html {
    let shared = props.shared.clone();
    let input = Callback::from(move |e: InputEvent| {
        let Some(field) = e.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok()) else { return };
        let text = field.value();
        shared.change(true, |p| p.search = (!text.is_empty()).then_some(text));
    });
    html! {
        <input type="search" data-search="" placeholder={props.label} aria-label={props.label}
            value={props.shared.place.search.clone().unwrap_or_default()} oninput={input} />
    }
}
