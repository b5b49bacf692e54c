//! The rules: their answers where they found nothing, and their thresholds, which can be changed.

use super::{Shared, json};
use crate::engine::protocol::summary::{RuleDoc, ThresholdDoc};
use crate::web::dom;
use std::collections::BTreeMap;
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlInputElement};
use yew::prelude::*;

/// Inputs of [`SettingsBar`].
#[derive(Properties, PartialEq)]
pub struct BarProps {
    /// What every view gets.
    pub shared: Shared,
}

/// What is changed about the rules; nothing if nothing is.
#[component]
pub fn SettingsBar(props: &BarProps) -> Html {
    let s = &props.shared;
    let lines = &s.summary.settings.lines;
    if lines.is_empty() {
        return html! {};
    }
    let reset = {
        let s = s.clone();
        move |_| s.settings.emit(Vec::new())
    };
    html! {
        <details class="settings-bar">
            <summary>{ format!("The rules are changed in {} {}", lines.len(), if lines.len() == 1 { "point" } else { "points" }) }</summary>
            <SettingsList shared={s.clone()} />
            <p class="actions"><button id="reset-settings" onclick={reset}>{ "Reset all" }</button>{ save_button(s) }</p>
        </details>
    }
}

/// A button that saves the settings as `hotspan.toml`.
pub fn save_button(s: &Shared) -> Html {
    let toml = s.summary.settings.toml.clone();
    html! { <button onclick={move |_| dom::download("hotspan.toml", "application/toml", toml.as_bytes())}>{ "Save as hotspan.toml" }</button> }
}

/// Every change with a button that takes it back.
#[component]
pub fn SettingsList(props: &BarProps) -> Html {
    let s = &props.shared;
    html! {
        <ul class="settings">
            { for s.summary.settings.lines.iter().map(|line| {
                let (shared, own) = (s.clone(), line.clone());
                let take = move |_| shared.settings.emit(shared.summary.settings.lines.iter().filter(|l| **l != own).cloned().collect());
                html! { <li><code>{ said(line) }</code><button class="plain" aria-label={format!("Take back {line}")} onclick={take}>{ "×" }</button></li> }
            }) }
        </ul>
    }
}

/// A line for people: targets are JSON in the address.
fn said(line: &str) -> String {
    let Ok(target) = serde_json::from_str::<serde_json::Value>(line) else { return line.replace('=', " = ") };
    let name = |key: &str| Some(json::text(&target, key)).filter(|t| !t.is_empty()).unwrap_or("any").to_string();
    let mut out = format!("target of {} · {}:", name("service"), name("operation"));
    for (key, label) in [("p50_ns", "p50"), ("p95_ns", "p95"), ("p99_ns", "p99")] {
        if let Some(ns) = target[key].as_f64() {
            out.push_str(&format!(" {label} {}", crate::base::quantity::format_ns(ns)));
        }
    }
    if let Some(rate) = target["error_rate"].as_f64() {
        out.push_str(&format!(" errors {}", crate::base::quantity::format_share(rate)));
    }
    out
}

/// Inputs of [`Verdicts`].
#[derive(Properties, PartialEq)]
pub struct VerdictProps {
    /// What every view gets.
    pub shared: Shared,
    /// `clear` or `not-checked`.
    pub status: &'static str,
}

/// A folded list of rules. Those that could not look are grouped by the reason, those that found nothing by family.
#[component]
pub fn Verdicts(props: &VerdictProps) -> Html {
    let s = &props.shared;
    let none = Vec::new();
    let all = s.summary.rules.as_array().unwrap_or(&none);
    let of: Vec<_> = all.iter().filter(|r| json::text(r, "status") == props.status).collect();
    if of.is_empty() {
        return html! {};
    }
    let clear = props.status == "clear";
    let mut groups: Vec<(String, Vec<(&RuleDoc, &str)>)> = Vec::new();
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for verdict in &of {
        let Some(doc) = s.summary.rule_docs.iter().find(|d| d.id == json::text(verdict, "rule")) else { continue };
        let title = if clear { doc.family.clone() } else { sentence(json::text(verdict, "reason")) };
        let group = *at.entry(title.clone()).or_insert_with(|| {
            groups.push((title, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push((doc, if clear { json::text(verdict, "over") } else { "" }));
    }
    html! {
        <details class="verdicts" id={format!("rules-{}", props.status)}>
            <summary>{ format!("{} ({})", if clear { "Checked, nothing found" } else { "Not checked" }, of.len()) }</summary>
            { for groups.iter().map(|(title, rules)| html! {
                <section>
                    <h4>{ title }<span class="count">{ format!(" {}{}", rules.len(), common(rules).map(|over| format!(", over {over}")).unwrap_or_default()) }</span></h4>
                    <ul>{ for rules.iter().map(|(doc, over)| {
                        let over = if common(rules).is_some() { String::new() } else { over.to_string() };
                        html! { <RuleEntry key={doc.id.clone()} shared={s.clone()} rule={doc.id.clone()} {over} /> }
                    }) }</ul>
                </section>
            }) }
        </details>
    }
}

/// The amount of data that all rules of a group looked at, if it is the same: it is said once.
fn common<'a>(rules: &[(&RuleDoc, &'a str)]) -> Option<&'a str> {
    let (_, first) = rules.first()?;
    (!first.is_empty() && rules.iter().all(|(_, over)| over == first)).then_some(*first)
}

/// `because no file holds spans` as a heading: `No file holds spans`.
pub fn sentence(reason: &str) -> String {
    let text = reason.strip_prefix("because ").unwrap_or(reason);
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Inputs of [`RuleEntry`].
#[derive(Properties, PartialEq)]
pub struct EntryProps {
    /// What every view gets.
    pub shared: Shared,
    /// Rule id.
    pub rule: String,
    /// Over how much data it found nothing; may be empty.
    #[prop_or_default]
    pub over: String,
}

/// One rule of a list, with its thresholds once it is opened.
#[component]
fn RuleEntry(props: &EntryProps) -> Html {
    let s = &props.shared;
    let open = use_state(|| false);
    let Some(doc) = s.summary.rule_docs.iter().find(|d| d.id == props.rule) else { return html! {} };
    let toggled = {
        let open = open.clone();
        move |e: Event| open.set(e.target().and_then(|t| t.dyn_into::<Element>().ok()).is_some_and(|t| t.has_attribute("open")))
    };
    html! {
        <li>
            <details data-rule={doc.id.clone()} ontoggle={toggled}>
                <summary><span>{ &doc.name }</span>if !props.over.is_empty() { <span class="dim">{ format!("over {}", props.over) }</span> }</summary>
                if *open {
                    <p class="dim"><code>{ &doc.id }</code>{ " " }{ &doc.summary }</p>
                    <Thresholds shared={s.clone()} rule={doc.id.clone()} />
                    <details class="doc"><summary>{ "Its documentation" }</summary><pre>{ &doc.doc }</pre></details>
                }
            </details>
        </li>
    }
}

/// Inputs of [`Thresholds`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
    /// Rule id.
    pub rule: String,
}

/// The switch of a rule and the table of its thresholds. A change runs the rules again.
#[component]
pub fn Thresholds(props: &Props) -> Html {
    let s = &props.shared;
    let Some(doc) = s.summary.rule_docs.iter().find(|d| d.id == props.rule) else { return html! {} };
    let switch = {
        let (s, rule, on) = (s.clone(), doc.id.clone(), doc.on);
        move |_: Event| s.switch_rule(&rule, !on)
    };
    html! {
        <div class="thresholds" data-thresholds={doc.id.clone()}>
            <label class="switch"><input type="checkbox" checked={doc.on} onchange={switch} />{ "This rule runs" }</label>
            if !doc.thresholds.is_empty() {
                <table>
                    <thead><tr><th>{ "Threshold" }</th><th>{ "Value" }</th><th class="n">{ "Default" }</th><th>{ "Unit, meaning; source" }</th></tr></thead>
                    <tbody>{ for doc.thresholds.iter().map(|t| threshold(s, &doc.id, t)) }</tbody>
                </table>
            }
        </div>
    }
}

fn threshold(s: &Shared, rule: &str, t: &ThresholdDoc) -> Html {
    let changed = t.value.to_bits() != t.default.to_bits();
    let set = {
        let (s, rule, name, default) = (s.clone(), rule.to_string(), t.name.clone(), t.default);
        move |e: Event| {
            let Some(field) = e.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok()) else { return };
            match field.value().trim().parse::<f64>() {
                Ok(value) if value.is_finite() => s.set_threshold(&rule, &name, (value.to_bits() != default.to_bits()).then_some(value)),
                _ => s.set_threshold(&rule, &name, None),
            }
        }
    };
    let reset = {
        let (s, rule, name) = (s.clone(), rule.to_string(), t.name.clone());
        move |_| s.set_threshold(&rule, &name, None)
    };
    html! {
        <tr class={classes!(changed.then_some("changed"))}>
            <th scope="row"><code>{ &t.name }</code></th>
            <td class="value">
                <input type="number" step="any" aria-label={format!("{rule}.{}", t.name)} data-threshold={t.name.clone()} value={t.value.to_string()} onchange={set} />
                if changed { <button class="plain" aria-label={format!("Reset {} to {}", t.name, t.default)} onclick={reset}>{ "reset" }</button> }
            </td>
            <td class="n">{ t.default.to_string() }</td>
            <td>{ &t.doc }</td>
        </tr>
    }
}
