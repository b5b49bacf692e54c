//! Everything about the selected span.

use super::Shared;
use super::what_if::Buttons;
use crate::base::labels::LabelFilter;
use crate::base::quantity::{format_count, format_ns, format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::Request;
use crate::engine::protocol::traces::{ENDPOINT_KEY, SPAN_KEY, SpanDetail, SpanSamples, Way};
use crate::web::dom;
use crate::web::hooks::{Answer, use_answer};
use yew::prelude::*;

/// Inputs of [`SpanPanel`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
    /// Trace id.
    pub trace: String,
    /// Span id.
    pub span: String,
}

fn pairs(title: &str, list: &[(String, String)]) -> Html {
    if list.is_empty() {
        return html! {};
    }
    html! {
        <>
            <h3>{ format!("{title} ({})", list.len()) }</h3>
            <dl class="pairs">{ for list.iter().map(|(k, v)| html! { <><dt>{ k }</dt><dd>{ v }</dd></> }) }</dl>
        </>
    }
}

/// The samples of one profile: weight, functions, and the ways to their flame graphs.
fn samples(s: &Shared, of: &SpanSamples) -> Html {
    let own = |key: &str, value: &str, view: View| ViewRef {
        profile: Some(of.profile),
        value: Some(of.value.clone()),
        labels: vec![LabelFilter::value(key, value)],
        ..ViewRef::of(view)
    };
    let flame = |key: &str, value: &str| {
        let place = own(key, value, View::Flame);
        let go = s.go.clone();
        move |_: MouseEvent| go.emit((place.clone(), false))
    };
    let share = of.of_span.map_or(String::new(), |share| format!(", {} of the span's time", format_share(share)));
    html! {
        <section data-span-samples={of.profile.to_string()}>
            <h3>{ format!("Samples ({}): {} {}{share}", format_count(of.samples as f64), of.value, format_value(of.weight, &of.unit)) }</h3>
            if of.way == Way::LocalRoots {
                <p class="dim">{ "Samples name the entry span of the process: those of spans below it are among them." }</p>
            }
            <ul class="children">
                { for of.functions.iter().map(|(name, weight)| {
                    let place = ViewRef { function: Some(name.clone()), ..own(SPAN_KEY, &of.span, View::Functions) };
                    let go = s.go.clone();
                    html! {
                        <li><button title="Callers and callees, in the samples of this span" onclick={move |_| go.emit((place.clone(), false))}>
                            <code>{ name }</code><span class="n">{ format_value(*weight, &of.unit) }</span>
                        </button></li>
                    }
                }) }
            </ul>
            <p class="actions">
                <button data-flame="span" onclick={flame(SPAN_KEY, &of.span)}>{ "Flame graph of this span" }</button>
                if !of.endpoint.is_empty() {
                    <button data-flame="endpoint" onclick={flame(ENDPOINT_KEY, &of.endpoint)}>{ format!("Flame graph of {}", of.endpoint) }</button>
                }
            </p>
        </section>
    }
}

/// The panel beside the waterfall.
#[component]
pub fn SpanPanel(props: &Props) -> Html {
    let s = &props.shared;
    let request =
        Request::Span { trace: props.trace.clone(), span: props.span.clone(), align: s.place.clocks.as_deref() == Some("aligned") };
    let answer = use_answer(&s.client, s.generation, request, |slabs| serde_json::from_str::<SpanDetail>(&slabs.head).ok());
    let Some(d) = answer.value() else {
        let text = if let Answer::Failed(why) = &answer { why.clone() } else { String::new() };
        return html! { <aside class="inspector"><p class="dim">{ text }</p></aside> };
    };
    let operation = ViewRef { service: Some(d.service.clone()), operation: Some(d.operation.clone()), ..ViewRef::of(View::Services) };
    let go = s.go.clone();
    let id = d.id.clone();
    let close = s.clone();
    html! {
        <aside class="inspector" aria-label="Selected span">
            <h2>{ &d.operation }<button class="plain" aria-label="Close" onclick={move |_| close.change(true, |p| p.span = None)}>{ "×" }</button></h2>
            <p class="dim">{ [d.service.as_str(), d.kind.as_str(), d.scope.as_str()].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" · ") }</p>
            <dl class="facts">
                <div><dt>{ "duration" }</dt><dd>{ format_ns(d.duration_ns) }</dd></div>
                <div><dt>{ "self" }</dt><dd>{ format_ns(d.self_ns) }</dd></div>
                if let Some(drag) = d.drag_ns { <div title="How much less the request would take if this took no time"><dt>{ "drag" }</dt><dd>{ format_ns(drag) }</dd></div> }
                if let Some(slack) = d.slack_ns { <div title="How much longer it could take before the request takes longer"><dt>{ "slack" }</dt><dd>{ format_ns(slack) }</dd></div> }
                <div><dt>{ "begins after" }</dt><dd>{ format_ns(d.offset_ns) }</dd></div>
                <div><dt>{ "at (UTC)" }</dt><dd>{ &d.start }</dd></div>
                <div><dt>{ "span id" }</dt><dd><code>{ &d.id }</code></dd></div>
                if !d.parent.is_empty() { <div><dt>{ "parent" }</dt><dd><code>{ &d.parent }</code></dd></div> }
            </dl>
            { for d.remarks.iter().map(|r| html! { <p class="remark">{ r }</p> }) }
            <p class="actions">
                <button onclick={move |_| go.emit((operation.clone(), false))}>{ "All calls of it" }</button>
                <button onclick={move |_| { dom::copy(&id); }}>{ "Copy id" }</button>
            </p>
            { for d.samples.iter().map(|of| samples(s, of)) }
            <Buttons shared={s.clone()} span={d.id.clone()} siblings={d.siblings as usize} all={d.alike as usize} />
            { pairs("Attributes", &d.attributes) }
            if !d.events.is_empty() {
                <h3>{ format!("Events ({})", d.events.len()) }</h3>
                { for d.events.iter().take(200).map(|e| html! { <details><summary>{ format!("+{} {}", format_ns(e.offset_ns), e.name) }</summary>{ pairs("Attributes", &e.attributes) }</details> }) }
            }
            if !d.links.is_empty() {
                <h3>{ format!("Links ({})", d.links.len()) }</h3>
                <ul class="children">
                    { for d.links.iter().take(100).map(|(trace, span, _)| {
                        let to = ViewRef { trace: Some(trace.clone()), span: Some(span.clone()), ..ViewRef::of(View::Traces) };
                        let go = s.go.clone();
                        html! { <li><button onclick={move |_| go.emit((to.clone(), false))}><code>{ format!("{trace} {span}") }</code></button></li> }
                    }) }
                </ul>
            }
            { pairs("Resource", &d.resource) }
        </aside>
    }
}
