//! Files: what each is, and its ledger.

use super::findings::ViewProps;
use super::{Shared, json};
use crate::base::quantity::{format_bytes, format_count, format_value};
use crate::base::view::ViewRef;
use serde_json::Value;
use yew::prelude::*;

/// The view.
#[component]
pub fn Files(props: &ViewProps) -> Html {
    let none = Vec::new();
    let sources = props.shared.summary.sources.as_array().unwrap_or(&none);
    html! { <div class="files">{ for sources.iter().enumerate().map(|(i, s)| source(&props.shared, s, props.shared.place.source == Some(i as u32))) }</div> }
}

fn source(shared: &Shared, s: &Value, current: bool) -> Html {
    let ledger = &s["ledger"];
    let records = &ledger["records"];
    let facts = [
        ("Format", json::text(s, "format").to_string()),
        ("Wrapping", json::items(s, "container").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")),
        ("Size", format_bytes(json::number(s, "bytes"))),
        ("Records in", format_count(json::number(records, "in"))),
        ("Kept", format_count(json::number(records, "kept"))),
        ("Dropped", format_count(json::number(records, "dropped"))),
    ];
    html! {
        <section class={classes!("source", current.then_some("current"))}>
            <h2>{ json::text(s, "file") }</h2>
            if let Some(error) = s["error"].as_str() {
                <p class="error" role="alert">{ format!("Not read: {error}") }</p>
            }
            <dl class="facts">
                { for facts.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| html! { <div><dt>{ *k }</dt><dd>{ v }</dd></div> }) }
            </dl>
            { profiles(s) }
            { trace_set(&s["trace_set"]) }
            { weights(ledger) }
            { entries(ledger) }
            { choices(shared, ledger) }
        </section>
    }
}

fn profiles(s: &Value) -> Html {
    let profiles = json::items(s, "profiles");
    if profiles.is_empty() {
        return html! {};
    }
    html! {
        <table>
            <caption>{ "Value types" }</caption>
            <thead><tr><th>{ "Profile" }</th><th>{ "Value" }</th><th class="n">{ "Total" }</th><th class="n">{ "Samples" }</th><th class="n">{ "Functions" }</th></tr></thead>
            <tbody>
                { for profiles.iter().flat_map(|p| json::items(p, "value_types").iter().map(move |v| html! {
                    <tr>
                        <td>{ json::text(p, "name") }</td>
                        <td>{ json::text(v, "name") }</td>
                        <td class="n" title={v["total"].to_string()}>{ format_value(json::number(v, "total"), json::text(v, "unit")) }</td>
                        <td class="n">{ format_count(json::number(p, "samples")) }</td>
                        <td class="n">{ format_count(json::number(p, "functions")) }</td>
                    </tr>
                })) }
            </tbody>
        </table>
    }
}

fn trace_set(t: &Value) -> Html {
    if t.is_null() {
        return html! {};
    }
    let counts = ["traces", "spans", "operations", "errors", "roots", "orphans", "links", "events"];
    html! {
        <dl class="facts">
            { for counts.iter().map(|k| html! { <div><dt>{ *k }</dt><dd>{ format_count(json::number(t, k)) }</dd></div> }) }
        </dl>
    }
}

fn weights(ledger: &Value) -> Html {
    let lines = json::items(ledger, "weight");
    if lines.is_empty() {
        return html! {};
    }
    html! {
        <table>
            <caption>{ "Weight" }</caption>
            <thead><tr><th>{ "Value" }</th><th class="n">{ "In" }</th><th class="n">{ "Kept" }</th><th class="n">{ "Dropped" }</th></tr></thead>
            <tbody>
                { for lines.iter().map(|l| {
                    let unit = json::text(l, "unit");
                    let cell = |key: &str| html! { <td class="n" title={l[key].to_string()}>{ format_value(json::number(l, key), unit) }</td> };
                    html! { <tr><td>{ json::text(l, "value") }</td>{ cell("in") }{ cell("kept") }{ cell("dropped") }</tr> }
                }) }
            </tbody>
        </table>
    }
}

fn entries(ledger: &Value) -> Html {
    let entries = json::items(ledger, "entries");
    if entries.is_empty() {
        return html! { <p class="clean">{ "Nothing was skipped or repaired." }</p> };
    }
    html! {
        <table>
            <caption>{ "Skipped, repaired, noticed" }</caption>
            <thead><tr><th>{ "Level" }</th><th class="n">{ "Count" }</th><th>{ "What" }</th><th>{ "Where" }</th></tr></thead>
            <tbody>
                { for entries.iter().map(|e| html! {
                    <tr>
                        <td class={classes!("level", json::text(e, "level").to_string())}>{ json::text(e, "level") }</td>
                        <td class="n">{ format_count(json::number(e, "count")) }</td>
                        <td>{ json::text(e, "message") }</td>
                        <td class="where">{ for json::items(e, "examples").iter().map(|x| html! { <div><span>{ json::text(x, "at") }</span>{ " " }<code>{ json::text(x, "text") }</code></div> }) }</td>
                    </tr>
                }) }
            </tbody>
        </table>
    }
}

fn choices(shared: &Shared, ledger: &Value) -> Html {
    let choices = json::items(ledger, "choices");
    if choices.is_empty() {
        return html! {};
    }
    html! {
        <table>
            <caption>{ "Choices that the reader made" }</caption>
            <tbody>
                { for choices.iter().map(|c| {
                    let switches = json::items(c, "switches").iter().map(|to| {
                        let (shared, href) = (shared.clone(), json::text(to, "view").to_string());
                        let place = ViewRef::parse(&href);
                        html! {
                            <a class="switch" {href} title={json::text(to, "argument").to_string()} onclick={move |e: MouseEvent| { e.prevent_default(); shared.go.emit((place.clone(), false)); }}>
                                { format!("switch to {}", json::text(to, "to")) }
                            </a>
                        }
                    });
                    html! { <tr><th scope="row">{ json::text(c, "what") }</th><td><strong>{ json::text(c, "chosen") }</strong></td><td class="switches">{ for switches }</td><td>{ json::text(c, "why") }</td></tr> }
                }) }
            </tbody>
        </table>
    }
}
