//! The chosen finding: claim, proof, saving, certainty, what to do, and the rule behind it.

use super::finding_preview::Preview;
use super::findings::mark;
use super::loop_table::loop_table;
use super::rules::{Thresholds, sentence};
use super::{Shared, json};
use crate::base::quantity::{format_count, format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::{ExportKind, Request};
use crate::web::dom;
use serde_json::Value;
use yew::prelude::*;

/// Inputs of [`Detail`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
    /// Position of the finding.
    pub position: usize,
}

/// The panel beside the list.
#[component]
pub fn Detail(props: &Props) -> Html {
    let s = &props.shared;
    let f = &s.summary.findings[props.position];
    let (shape, word) = mark(json::text(f, "severity"));
    let doc = s.summary.rule_docs.iter().find(|d| d.id == json::text(f, "rule"));
    let evidence = json::items(f, "evidence");
    // The picture of the first proof that has one.
    let pictured = evidence
        .iter()
        .map(|e| ViewRef::parse(json::text(e, "view")))
        .find(|v| (v.view == View::Flame && !v.path.is_empty()) || (v.view == View::Traces && v.trace.is_some()));
    let texts = |key: &str, title: &str| {
        let items = json::items(f, key);
        if items.is_empty() {
            return html! {};
        }
        html! { <><h3>{ title.to_string() }</h3><ul>{ for items.iter().map(|t| html! { <li>{ t.as_str().unwrap_or("") }</li> }) }</ul></> }
    };
    html! {
        <article class="detail" aria-label="Finding">
            <p class="kicker">
                <span class={classes!("severity", word)} aria-hidden="true">{ shape }</span>{ format!(" {word} · {} · score {}", json::text(f, "rule"), json::number(f, "score")) }
            </p>
            <h2>{ json::text(f, "title") }</h2>
            <p class="message">{ json::text(f, "message") }</p>
            if let Some(view) = pictured { <Preview shared={s.clone()} {view} /> }
            <h3>{ "Proof" }</h3>
            <ul class="evidence">
                { for evidence.iter().map(|e| html! { <li>{ json::text(e, "text") }{ " " }{ link(s, &ViewRef::parse(json::text(e, "view")), None) }</li> }) }
            </ul>
            { loop_table(f) }
            { occurrences(s, &f["occurrences"]) }
            <h3>{ "A fix would save" }</h3>
            { saving(&f["impact"]) }
            <h3>{ "How sure" }</h3>
            <p>{ sure(f) }</p>
            { texts("remedies", "What to do") }
            { texts("caveats", "But") }
            { related(f, "consequences", "What follows from it") }
            { related(f, "also", "Also seen as") }
            { related(f, "places", "The same in other places") }
            { actions(s, f) }
            <h3>{ "The numbers again, from a shell" }</h3>
            <div class="query"><code>{ json::text(f, "query") }</code>{ copy_button(s, json::text(f, "query").to_string(), "the command") }</div>
            if let Some(doc) = doc {
                <h3>{ format!("The rule: {}", doc.name) }</h3>
                <p>{ &doc.summary }</p>
                <Thresholds shared={s.clone()} rule={doc.id.clone()} />
                <details class="doc"><summary>{ "Its documentation" }</summary><pre>{ &doc.doc }</pre></details>
            }
        </article>
    }
}

/// A link to a place, by the name of its view or another text.
fn link(s: &Shared, place: &ViewRef, text: Option<String>) -> Html {
    let name = match place.view {
        View::Flame => "flame graph",
        View::Functions => "functions",
        View::Traces => "waterfall",
        View::Services => "services",
        View::Compare => "comparison",
        View::Files => "files",
        View::Findings => "findings",
    };
    let class = if text.is_some() { "exemplar" } else { "evidence-link" };
    let text = text.unwrap_or_else(|| format!("show in {name}"));
    let (go, to) = (s.go.clone(), place.clone());
    html! { <a {class} href={place.to_hash()} onclick={move |e: MouseEvent| { e.prevent_default(); go.emit((to.clone(), false)); }}>{ text }</a> }
}

/// In how many traces, with links to the worst, the median and the newest.
fn occurrences(s: &Shared, o: &Value) -> Html {
    let place = |text: &str| {
        let (trace, span) = text.rsplit_once('/')?;
        Some(ViewRef { trace: Some(trace.to_string()), span: Some(span.to_string()), ..ViewRef::of(View::Traces) })
    };
    let worst = json::items(o, "exemplars").iter().filter_map(Value::as_str).enumerate();
    let mut links: Vec<(String, ViewRef)> =
        worst.filter_map(|(i, text)| Some((if i == 0 { "worst".to_string() } else { format!("worst {}", i + 1) }, place(text)?))).collect();
    links.extend(["median", "newest"].into_iter().filter_map(|name| Some((name.to_string(), place(json::text(o, name))?))));
    let of = json::number(o, "of_traces");
    if links.is_empty() && of == 0.0 {
        return html! {};
    }
    html! {
        <>
            <h3>{ "Where" }</h3>
            <p class="exemplars">
                if of > 0.0 { <span>{ format!("{} of {} traces, {} times", format_count(json::number(o, "traces")), format_count(of), format_count(json::number(o, "count"))) }</span> }
                { for links.iter().map(|(name, to)| link(s, to, Some(name.clone()))) }
            </p>
        </>
    }
}

fn saving(impact: &Value) -> Html {
    let unit = json::text(impact, "unit");
    let (low, high) = (json::number(impact, "recoverable_low"), json::number(impact, "recoverable_high"));
    let model = json::text(impact, "model");
    if high <= 0.0 {
        return html! { <p>{ format!("Not estimated. {}", sentence(model)) }</p> };
    }
    html! {
        <p>
            <strong>{ format!("{} to {}", format_value(low, unit), format_value(high, unit)) }</strong>
            { format!(" of {}. {}", format_value(json::number(impact, "amount"), unit), sentence(model)) }
        </p>
    }
}

fn sure(f: &Value) -> String {
    let share = &f["share"];
    let tier = json::text(f, "tier");
    let tier = if tier.is_empty() { String::new() } else { format!(", by {} ({tier})", tier_words(tier)) };
    let alone = json::number(share, "n") == 1.0 && json::number(share, "low") == json::number(share, "high");
    let interval = if share.is_null() {
        String::new()
    } else if alone {
        format!(": {} of {} (n = 1, no interval)", format_share(json::number(share, "p")), json::text(share, "of"))
    } else {
        format!(
            ": {} of {} (95 % interval {} to {}), n = {}",
            format_share(json::number(share, "p")),
            json::text(share, "of"),
            format_share(json::number(share, "low")),
            format_share(json::number(share, "high")),
            format_count(json::number(share, "n"))
        )
    };
    sentence(&format!("{}{tier}{interval}", json::text(f, "confidence")))
}

/// `T2+T3`: `addresses of instructions and the order of samples in time`.
fn tier_words(tier: &str) -> String {
    let word = |t: &str| match t {
        "T0" => "stacks",
        "T1" => "source lines",
        "T2" => "addresses of instructions",
        "T3" => "the order of samples in time",
        "T4" => "recorded branches",
        "T5" => "the program's own loops",
        _ => "other evidence",
    };
    tier.split('+').map(word).collect::<Vec<_>>().join(" and ")
}

fn actions(s: &Shared, f: &Value) -> Html {
    let id = json::text(f, "id").to_string();
    let save = {
        let (export, id) = (s.export.clone(), id.clone());
        move |_| export.emit((ExportKind::Markdown, Some(id.clone())))
    };
    let copy = {
        let s = s.clone();
        move |_| {
            let request = Request::Export { what: ExportKind::Markdown, query: s.query(), finding: Some(id.clone()) };
            let say = s.say.clone();
            s.client.request(&request, move |answer| {
                say.emit(match answer {
                    Ok(slabs) => copied(dom::copy(&String::from_utf8_lossy(&slabs.reader().u8())), "the finding as Markdown"),
                    Err(failure) => failure.message,
                });
            });
        }
    };
    html! {
        <p class="actions">
            <button id="copy-markdown" onclick={copy}>{ "Copy as Markdown" }</button>
            <button onclick={save}>{ "Save as Markdown" }</button>
        </p>
    }
}

/// A button that copies a text.
fn copy_button(s: &Shared, text: String, what: &'static str) -> Html {
    let say = s.say.clone();
    let copy = move |_| {
        say.emit(copied(dom::copy(&text), what));
    };
    html! { <button onclick={copy} aria-label={format!("Copy {what}")}>{ "Copy" }</button> }
}

fn copied(done: bool, what: &str) -> String {
    if done { format!("Copied {what}.") } else { "This browser keeps pages away from the clipboard.".to_string() }
}

fn related(f: &Value, key: &str, title: &str) -> Html {
    let items = json::items(f, key);
    if items.is_empty() {
        return html! {};
    }
    html! {
        <>
            <h3>{ format!("{title} ({})", items.len()) }</h3>
            <ul class="related">
                { for items.iter().map(|o| html! {
                    <li><strong>{ json::text(o, "title") }</strong>{ " " }<code class="dim">{ json::text(o, "rule") }</code><div>{ json::text(o, "message") }</div></li>
                }) }
            </ul>
        </>
    }
}
