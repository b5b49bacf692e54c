//! Findings: the ranked list by family, and beneath it what was checked and what could not be.

use super::finding_detail::Detail;
use super::rules::{SettingsBar, Verdicts};
use super::selectors::Search;
use super::{Shared, json};
use crate::base::quantity::{format_count, format_share, format_value};
use crate::web::dom;
use gloo::events::EventListener;
use serde_json::Value;
use std::collections::BTreeMap;
use wasm_bindgen::JsCast;
use yew::prelude::*;

/// Up to this width, in CSS pixels, the style sheet stacks list and detail.
const NARROW: f64 = 900.0;

/// Inputs of views.
#[derive(Properties, PartialEq)]
pub struct ViewProps {
    /// What every view gets.
    pub shared: Shared,
}

/// Shape and word of a severity; they differ in more than colour.
pub fn mark(severity: &str) -> (&'static str, &'static str) {
    match severity {
        "critical" => ("▲", "critical"),
        "warning" => ("◆", "warning"),
        _ => ("●", "info"),
    }
}

/// Family of a rule.
fn family<'s>(s: &'s Shared, rule: &str) -> &'s str {
    s.summary.rule_docs.iter().find(|d| d.id == rule).map_or("", |d| d.family.as_str())
}

/// Whether a finding speaks of a text.
fn speaks_of(s: &Shared, f: &Value, text: &str) -> bool {
    let subject = &f["subject"];
    let own = [json::text(f, "title"), json::text(f, "message"), json::text(f, "rule"), family(s, json::text(f, "rule"))];
    let of_subject = [json::text(subject, "service"), json::text(subject, "name"), json::text(subject, "file")];
    own.iter().chain(&of_subject).any(|t| t.to_lowercase().contains(text))
}

/// Positions of the findings that pass the filter, by family. The family of the worst finding is first.
fn groups<'s>(s: &'s Shared, findings: &[Value], text: &str) -> Vec<(&'s str, Vec<usize>)> {
    let mut out: Vec<(&str, Vec<usize>)> = Vec::new();
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, f) in findings.iter().enumerate().filter(|(_, f)| text.is_empty() || speaks_of(s, f, text)) {
        let family = family(s, json::text(f, "rule"));
        let group = *at.entry(family).or_insert_with(|| {
            out.push((family, Vec::new()));
            out.len() - 1
        });
        out[group].1.push(i);
    }
    out
}

/// The view.
#[component]
pub fn Findings(props: &ViewProps) -> Html {
    let s = &props.shared;
    let none = Vec::new();
    let findings = s.summary.findings.as_array().unwrap_or(&none);
    let text = s.place.search.clone().unwrap_or_default().trim().to_lowercase();
    let groups = groups(s, findings, &text);
    let shown: Vec<usize> = groups.iter().flat_map(|(_, list)| list.iter().copied()).collect();
    let named = s.place.finding.as_deref().and_then(|id| findings.iter().position(|f| json::text(f, "id") == id));
    let chosen = named.filter(|i| shown.contains(i)).or(shown.first().copied());
    {
        let (shared, shown) = (s.clone(), shown.clone());
        use_effect_with((chosen, shown, s.place.clone()), move |(chosen, shown, _)| {
            let (chosen, shown) = (*chosen, shown.clone());
            let listener = EventListener::new(&dom::window(), "keydown", move |e| {
                let Some(e) = e.dyn_ref::<web_sys::KeyboardEvent>() else { return };
                if dom::takes_text(e.target()) || e.ctrl_key() || e.meta_key() || e.alt_key() || shown.is_empty() {
                    return;
                }
                let at = chosen.and_then(|c| shown.iter().position(|i| *i == c)).unwrap_or(0);
                let next = match e.key().as_str() {
                    "n" | "ArrowDown" => (at + 1).min(shown.len() - 1),
                    "p" | "ArrowUp" => at.saturating_sub(1),
                    "Escape" if shared.place.search.is_some() => return shared.change(true, |place| place.search = None),
                    _ => return,
                };
                let id = shared.summary.findings[shown[next]]["id"].as_str().map(str::to_string);
                shared.change(true, |place| place.finding = id);
            });
            move || drop(listener)
        });
    }
    // What n and p choose must be in sight.
    use_effect_with(chosen, |_| dom::into_view(".finding.current"));
    let number = |n: usize| format_count(n as f64);
    let count = if shown.len() == findings.len() {
        number(findings.len())
    } else {
        format!("{} of {}", number(shown.len()), number(findings.len()))
    };
    html! {
        <div class="findings">
            <section class="list" aria-label="Findings">
                <div class="toolbar">
                    <Search shared={s.clone()} label="Filter findings" />
                    <span class="dim" role="status">{ format!("{count} {}", if findings.len() == 1 { "finding" } else { "findings" }) }</span>
                </div>
                <SettingsBar shared={s.clone()} />
                if findings.is_empty() {
                    <p class="empty">{ format!("No findings, over {}.", s.summary.usable) }</p>
                } else if shown.is_empty() {
                    <p class="empty">{ "No finding speaks of this. " }<button onclick={ let s = s.clone(); move |_| s.change(true, |p| p.search = None) }>{ "Show all" }</button></p>
                }
                { for groups.iter().map(|(family, list)| html! {
                    <section class="family" aria-label={family.to_string()}>
                        <h3>{ *family }<span class="count">{ format!(" {}", list.len()) }</span></h3>
                        <ol>{ for list.iter().map(|i| row(s, &findings[*i], Some(*i) == chosen)) }</ol>
                    </section>
                }) }
                <Verdicts shared={s.clone()} status="clear" />
                <Verdicts shared={s.clone()} status="not-checked" />
            </section>
            if let Some(i) = chosen {
                <Detail key={json::text(&findings[i], "fingerprint").to_string()} shared={s.clone()} position={i} />
            }
        </div>
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
    let under = json::items(f, "also").len() + json::items(f, "consequences").len() + json::items(f, "places").len();
    html! {
        <li>
            <button
                class={classes!("finding", current.then_some("current"))}
                aria-current={current.then_some("true")}
                data-finding={id.clone()}
                onclick={move |_| {
                    let id = id.clone();
                    shared.change(false, move |p| p.finding = Some(id));
                    // On a narrow page the chosen finding stands below the list.
                    if dom::window().inner_width().ok().and_then(|w| w.as_f64()).is_some_and(|w| w <= NARROW) {
                        dom::after_paint(|| dom::into_view_top(".detail"));
                    }
                }}
            >
                <span class={classes!("severity", word)} title={word}>{ shape }<span class="hidden">{ word }</span></span>
                <span class="claim">{ json::text(f, "title") }</span>
                if share > 0.0 {
                    <span class="meter" title={format!("{} of {}; a fix saves up to {}", format_share(share), json::text(&f["share"], "of"), format_share(share * part))}>
                        <span style={format!("width:{:.1}%", share.min(1.0) * 100.0)}>
                            <span style={format!("width:{:.1}%", part * 100.0)}></span>
                        </span>
                    </span>
                }
                <span class="tags">
                    <span>{ json::text(f, "rule") }</span>
                    if !subject.is_empty() { <span class="clip">{ subject }</span> }
                    if high > 0.0 { <span>{ format!("saves up to {}", format_value(high, json::text(&f["impact"], "unit"))) }</span> }
                    if under > 0 { <span>{ format!("+{under} under it") }</span> }
                </span>
            </button>
        </li>
    }
}
