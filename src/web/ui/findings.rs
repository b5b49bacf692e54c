//! Findings: the ranked list, the chosen one with its proof, and what could not be checked.

use super::{Shared, json};
use crate::base::quantity::{format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::ExportKind;
use crate::web::dom;
use gloo::events::EventListener;
use serde_json::Value;
use wasm_bindgen::JsCast;
use yew::prelude::*;

/// Inputs of views.
#[derive(Properties, PartialEq)]
pub struct ViewProps {
    /// What every view gets.
    pub shared: Shared,
}

fn mark(severity: &str) -> (&'static str, &'static str) {
    match severity {
        "critical" => ("▲", "critical"),
        "warning" => ("◆", "warning"),
        _ => ("●", "info"),
    }
}

/// The view.
#[component]
pub fn Findings(props: &ViewProps) -> Html {
    let s = &props.shared;
    let none = Vec::new();
    let findings = s.summary.findings.as_array().unwrap_or(&none);
    let chosen = s.place.finding.as_deref().and_then(|id| findings.iter().position(|f| json::text(f, "id") == id)).unwrap_or(0);
    {
        let shared = s.clone();
        let count = findings.len();
        use_effect_with((chosen, count, s.place.clone()), move |_| {
            let listener = EventListener::new(&dom::window(), "keydown", move |e| {
                let Some(e) = e.dyn_ref::<web_sys::KeyboardEvent>() else { return };
                if dom::takes_text(e.target()) || e.ctrl_key() || e.meta_key() || count == 0 {
                    return;
                }
                let next = match e.key().as_str() {
                    "n" | "ArrowDown" => (chosen + 1).min(count - 1),
                    "p" | "ArrowUp" => chosen.saturating_sub(1),
                    _ => return,
                };
                let id = shared.summary.findings[next]["id"].as_str().map(str::to_string);
                shared.change(true, |place| place.finding = id);
            });
            move || drop(listener)
        });
    }
    html! {
        <div class="findings">
            <section class="list" aria-label="Findings">
                if findings.is_empty() {
                    <p class="empty">{ nothing(&s.summary.rules) }</p>
                }
                <ol>
                    { for findings.iter().enumerate().map(|(i, f)| row(s, f, i == chosen)) }
                </ol>
                { verdicts(&s.summary.rules, "clear", "Checked, clear") }
                { verdicts(&s.summary.rules, "not-checked", "Not checked") }
            </section>
            if let Some(finding) = findings.get(chosen) {
                { detail(s, finding) }
            }
        </div>
    }
}

/// "No findings" is only worth something with the amount of data behind it.
fn nothing(rules: &Value) -> String {
    let over: Vec<&str> = rules.as_array().into_iter().flatten().map(|r| json::text(r, "over")).filter(|o| !o.is_empty()).collect();
    if over.is_empty() {
        "No rule could check this data; the reasons are below.".to_string()
    } else {
        format!("No findings, over {}.", over.join("; "))
    }
}

fn row(s: &Shared, f: &Value, current: bool) -> Html {
    let (shape, word) = mark(json::text(f, "severity"));
    let id = json::text(f, "id").to_string();
    let shared = s.clone();
    let share = json::number(&f["share"], "p");
    let amount = json::number(&f["impact"], "amount");
    let high = json::number(&f["impact"], "recoverable_high");
    let part = if amount > 0.0 { (high / amount).clamp(0.0, 1.0) } else { 0.0 };
    let subject = json::text(&f["subject"], "service");
    html! {
        <li>
            <button
                class={classes!("finding", current.then_some("current"))}
                aria-current={current.then_some("true")}
                data-finding={id.clone()}
                onclick={move |_| { let id = id.clone(); shared.change(false, move |p| p.finding = Some(id)); }}
            >
                <span class={classes!("severity", word)} title={word}>{ shape }<span class="hidden">{ word }</span></span>
                <span class="claim">{ json::text(f, "title") }</span>
                if share > 0.0 {
                    <span class="meter" title={format!("{} of all; a fix saves up to {}", format_share(share), format_share(share * part))}>
                        <span style={format!("width:{:.1}%", share.min(1.0) * 100.0)}>
                            <span style={format!("width:{:.1}%", part * 100.0)}></span>
                        </span>
                    </span>
                }
                <span class="tags">
                    <span>{ json::text(f, "rule") }</span>
                    if !subject.is_empty() { <span>{ subject }</span> }
                    if high > 0.0 { <span>{ format!("saves up to {}", format_value(high, json::text(&f["impact"], "unit"))) }</span> }
                </span>
            </button>
        </li>
    }
}

fn verdicts(rules: &Value, status: &str, title: &str) -> Html {
    let of: Vec<&Value> = rules.as_array().into_iter().flatten().filter(|r| json::text(r, "status") == status).collect();
    if of.is_empty() {
        return html! {};
    }
    html! {
        <details class="verdicts">
            <summary>{ format!("{title} ({})", of.len()) }</summary>
            <dl>
                { for of.iter().map(|r| {
                    let why = if status == "clear" { format!("nothing found over {}", json::text(r, "over")) } else { json::text(r, "reason").to_string() };
                    html! { <><dt>{ json::text(r, "rule") }</dt><dd>{ why }</dd></> }
                }) }
            </dl>
        </details>
    }
}

fn detail(s: &Shared, f: &Value) -> Html {
    let impact = &f["impact"];
    let unit = json::text(impact, "unit");
    let (low, high) = (json::number(impact, "recoverable_low"), json::number(impact, "recoverable_high"));
    let share = &f["share"];
    let sure = {
        let tier = json::text(f, "tier");
        let tier = if tier.is_empty() { String::new() } else { format!(", tier {tier}") };
        let interval = if share.is_null() {
            String::new()
        } else {
            format!(
                ", {} (95 % interval {} to {}) of {}, n = {}",
                format_share(json::number(share, "p")),
                format_share(json::number(share, "low")),
                format_share(json::number(share, "high")),
                json::text(share, "of"),
                json::number(share, "n")
            )
        };
        format!("{}{tier}{interval}", json::text(f, "confidence"))
    };
    let id = json::text(f, "id").to_string();
    let export = s.export.clone();
    let texts = |key: &str, title: &str| {
        let items = json::items(f, key);
        if items.is_empty() {
            return html! {};
        }
        html! { <><h3>{ title.to_string() }</h3><ul>{ for items.iter().map(|t| html! { <li>{ t.as_str().unwrap_or("") }</li> }) }</ul></> }
    };
    let rule = json::text(f, "rule");
    let doc = s.summary.rule_docs.iter().find(|d| d.id == rule);
    html! {
        <article class="detail" aria-label="Finding">
            <h2>{ json::text(f, "title") }</h2>
            <p class="message">{ json::text(f, "message") }</p>
            <h3>{ "Proof" }</h3>
            <ul class="evidence">
                { for json::items(f, "evidence").iter().map(|e| {
                    let place = ViewRef::parse(json::text(e, "view"));
                    let shared = s.clone();
                    let where_to = match place.view { View::Flame => "flame graph", View::Functions => "functions", View::Traces => "waterfall", View::Services => "services", _ => "view" };
                    let href = json::text(e, "view").to_string();
                    html! {
                        <li>
                            { json::text(e, "text") }{ " " }
                            <a class="evidence-link" href={href} onclick={move |e: MouseEvent| { e.prevent_default(); shared.go.emit((place.clone(), false)); }}>
                                { format!("show in {where_to}") }
                            </a>
                        </li>
                    }
                }) }
            </ul>
            <h3>{ "A fix would save" }</h3>
            <p>
                if high > 0.0 {
                    <strong>{ format!("{} to {}", format_value(low, unit), format_value(high, unit)) }</strong>
                    { format!(" of {}. {}", format_value(json::number(impact, "amount"), unit), json::text(impact, "model")) }
                } else {
                    { format!("Not estimated. {}", json::text(impact, "model")) }
                }
            </p>
            <h3>{ "How sure" }</h3>
            <p>{ sure }</p>
            { texts("remedies", "What to do") }
            { texts("caveats", "But") }
            { related(f, "also", "Also seen as") }
            { related(f, "consequences", "What follows from it") }
            <p class="actions">
                <button onclick={move |_| export.emit((ExportKind::Markdown, Some(id.clone())))}>{ "Save as Markdown" }</button>
            </p>
            <details class="doc"><summary>{ "The numbers again, from a shell" }</summary><pre>{ json::text(f, "query") }</pre></details>
            if let Some(doc) = doc {
                <details class="doc"><summary>{ format!("The rule: {}", doc.name) }</summary><pre>{ &doc.doc }</pre></details>
            }
        </article>
    }
}

fn related(f: &Value, key: &str, title: &str) -> Html {
    let items = json::items(f, key);
    if items.is_empty() {
        return html! {};
    }
    html! {
        <>
            <h3>{ title.to_string() }</h3>
            <ul>{ for items.iter().map(|o| html! { <li title={json::text(o, "message").to_string()}>{ json::text(o, "title") }{ " " }<code>{ json::text(o, "rule") }</code></li> }) }</ul>
        </>
    }
}
