//! Files: what each is, and its ledger.

use super::findings::ViewProps;
use super::rules::{SettingsList, save_button};
use super::{Shared, json};
use crate::base::quantity::{format_bytes, format_count, format_value};
use crate::base::view::ViewRef;
use crate::web::dom;
use serde_json::Value;
use yew::prelude::*;

/// The view.
#[component]
pub fn Files(props: &ViewProps) -> Html {
    let none = Vec::new();
    // A link to a file brings it into sight.
    use_effect_with(props.shared.place.source, |source| {
        if source.is_some() {
            dom::into_view(".source.current");
        }
    });
    let sources = props.shared.summary.sources.as_array().unwrap_or(&none);
    let s = &props.shared;
    html! { <div class="files">{ contents(s, sources) }{ settings(s) }{ for sources.iter().enumerate().map(|(i, s)| source(&props.shared, s, props.shared.place.source == Some(i as u32))) }</div> }
}

/// One row per source, where there are too many to see at once.
fn contents(s: &Shared, sources: &[Value]) -> Html {
    if sources.len() < 2 {
        return html! {};
    }
    let row = |(i, source): (usize, &Value)| {
        let (shared, records) = (s.clone(), &source["ledger"]["records"]);
        let to = move |e: MouseEvent| {
            e.prevent_default();
            shared.change(true, |p| p.source = Some(i as u32));
        };
        let bad = source["error"].as_str();
        html! {
            <tr class={classes!((s.place.source == Some(i as u32)).then_some("current"))}>
                <td><a href={format!("#files?src={i}")} onclick={to}>{ json::text(source, "file") }</a></td>
                <td>{ json::text(source, "format") }</td>
                <td class="n narrow-off">{ format_bytes(json::number(source, "bytes")) }</td>
                <td class="n">{ format_count(json::number(records, "kept")) }</td>
                <td class={classes!("n", (json::number(records, "dropped") > 0.0).then_some("bad"))}>{ format_count(json::number(records, "dropped")) }</td>
                <td class={classes!(bad.map(|_| "error"))} title={bad.map(str::to_string)}>{ if !source["partial"].is_null() { "read in part" } else if bad.is_some() { "not read" } else { "read" } }</td>
            </tr>
        }
    };
    html! {
        <section class="contents" aria-label="Open files">
            <table class="wide">
                <thead><tr><th>{ "File" }</th><th>{ "Format" }</th><th class="n narrow-off">{ "Size" }</th><th class="n">{ "Records kept" }</th><th class="n">{ "Dropped" }</th><th>{ "State" }</th></tr></thead>
                <tbody>{ for sources.iter().enumerate().map(row) }</tbody>
            </table>
        </section>
    }
}

/// Files with settings, and what is changed about the rules.
fn settings(s: &Shared) -> Html {
    if s.settings_files.is_empty() && s.summary.settings.lines.is_empty() {
        return html! {};
    }
    html! {
        <section class="source settings-source">
            <h2>{ "Settings of the rules" }</h2>
            { for s.settings_files.iter().enumerate().map(|(i, file)| {
                let forget = s.forget.clone();
                html! {
                    <p>
                        <strong>{ &file.name }</strong>
                        if file.error.is_empty() { { format!(": {} applied", file.lines.len()) } }
                        <button class="plain" aria-label={format!("Close {}", file.name)} onclick={move |_| forget.emit(i)}>{ "×" }</button>
                        if !file.error.is_empty() { <span class="error" role="alert">{ format!("Not applied: {}", file.error) }</span> }
                    </p>
                }
            }) }
            <SettingsList shared={s.clone()} />
            if !s.summary.settings.lines.is_empty() { <p class="actions">{ save_button(s) }</p> }
        </section>
    }
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
            if let Some(error) = s["error"].as_str().filter(|_| s["partial"].is_null()) {
                { refusal(error) }
            }
            if let Some(partial) = partial(s) {
                <p class="level data-loss" role="alert">{ format!("Read in part: {partial}") }</p>
            }
            <dl class="facts">
                { for facts.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| html! { <div><dt>{ *k }</dt><dd>{ v }</dd></div> }) }
            </dl>
            { profiles(s) }
            { trace_set(&s["trace_set"]) }
            { weights(ledger) }
            if s["error"].is_null() || !json::items(ledger, "entries").is_empty() { { entries(ledger) } }
            { choices(shared, ledger) }
        </section>
    }
}

/// How much of a source was read, if not all of it.
fn partial(source: &Value) -> Option<String> {
    let p = source["partial"].as_object().map(|_| &source["partial"])?;
    Some(format!("{} of {}: {}", format_bytes(json::number(p, "read")), format_bytes(json::number(p, "of")), json::text(p, "why")))
}

/// Why a file was not read; the list of what would have been is there for who wants it.
fn refusal(error: &str) -> Html {
    let (why, accepted) = error.split_once(" Accepted: ").unwrap_or((error, ""));
    html! {
        <div role="alert">
            <p class="error">{ format!("Not read: {why}") }</p>
            if !accepted.is_empty() {
                <p class="dim">{ format!("What is read: {accepted}") }</p>
            }
        </div>
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
            <thead><tr><th>{ "Profile" }</th><th>{ "Value" }</th><th class="n">{ "Total" }</th><th class="n">{ "Samples" }</th><th class="n">{ "Rows" }</th><th class="n">{ "Functions" }</th></tr></thead>
            <tbody>
                { for profiles.iter().flat_map(|p| json::items(p, "value_types").iter().map(move |v| html! {
                    <tr>
                        <td>{ json::text(p, "name") }</td>
                        <td>{ json::text(v, "name") }</td>
                        <td class="n" title={v["total"].to_string()}>{ format_value(json::number(v, "total"), json::text(v, "unit")) }</td>
                        <td class="n">{ if p["events"].is_null() { "\u{2013}".to_string() } else { format_count(json::number(p, "events")) } }</td>
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
        <table class="choices">
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
