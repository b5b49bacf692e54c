//! What-if beside the waterfall: changes to spans, what the root would take, and buttons that make changes.

use super::Shared;
use crate::base::quantity::{format_ns, format_share};
use crate::engine::protocol::Request;
use crate::engine::protocol::what_if::WhatIfData;
use crate::web::hooks::{Answer, use_answer};
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::prelude::*;

/// Adds a change to the address; of two for the same spans the later one replaces the earlier.
fn add(s: &Shared, change: String) {
    s.change(false, |p| {
        let key = |text: &str| text.split(':').nth(1).unwrap_or("").to_string();
        let same = |old: &String| if change.starts_with("rtt:") { old.starts_with("rtt:") } else { key(old) == key(&change) };
        p.changes.retain(|old| !same(old));
        p.changes.push(change.clone());
    });
}

/// A replayed trace; compared by identity, because it is decoded once.
#[derive(Clone)]
pub struct Tried(pub Rc<WhatIfData>);

impl PartialEq for Tried {
    fn eq(&self, other: &Tried) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// Inputs of [`Bar`].
#[derive(Properties, PartialEq)]
pub struct BarProps {
    /// What every view gets.
    pub shared: Shared,
    /// Trace id.
    pub trace: String,
    /// Whether clocks are aligned.
    pub align: bool,
    /// Gets the replayed trace, and nothing when the strip goes away.
    pub tried: Callback<Option<Tried>>,
}

/// The strip under the toolbar: the changes, and the root's new duration.
#[component]
pub fn Bar(props: &BarProps) -> Html {
    let s = &props.shared;
    let request = Request::WhatIf { trace: props.trace.clone(), align: props.align, changes: s.place.changes.clone() };
    let answer = use_answer(&s.client, s.generation, request, |slabs| WhatIfData::decode(slabs).ok());
    {
        let tried = props.tried.clone();
        // What no longer holds is not drawn.
        let value = if let Answer::Failed(_) = answer { None } else { answer.value().map(|v| Tried(v.clone())) };
        use_effect_with(value, move |value| tried.emit(value.clone()));
    }
    {
        let tried = props.tried.clone();
        use_effect_with((), move |_| move || tried.emit(None));
    }
    let heads = answer.value().map(|d| &d.head);
    let remove = |text: &str| {
        let (shared, text) = (s.clone(), text.to_string());
        move |_: MouseEvent| shared.change(false, |p| p.changes.retain(|c| *c != text))
    };
    let label = |text: &str| {
        let known = heads.and_then(|h| h.changes.iter().find(|c| c.text == *text));
        known.map_or_else(|| text.to_string(), |c| c.label.clone())
    };
    let clear = s.clone();
    html! {
        <div class="what-if" role="group" aria-label="What if">
            <b>{ "What if" }</b>
            { for s.place.changes.iter().map(|text| html! {
                <button class="chip" title={format!("{text}: click to take it back")} onclick={remove(text)}>{ label(text) }{ " ×" }</button>
            }) }
            <span class="result" role="status" aria-live="polite">
                { match (&answer, heads) {
                    (Answer::Failed(why), _) => html! { <span class="error">{ why }</span> },
                    (_, Some(h)) => result(h.before_ns, h.best_ns, h.worst_ns),
                    (_, None) => html! {},
                } }
            </span>
            <span class="space"></span>
            <button onclick={move |_| clear.change(false, |p| p.changes.clear())}>{ "Take all back" }</button>
        </div>
    }
}

/// `431 ms → 255 to 398 ms, 33.0 to 176 ms less (7.7 % to 40.8 %)`.
fn result(before: f64, best: f64, worst: f64) -> Html {
    let (least, most) = (before - worst, before - best);
    let share = |ns: f64| format_share(if before > 0.0 { (ns / before).abs() } else { 0.0 });
    let after = if best == worst { format_ns(best) } else { format!("{} to {}", format_ns(best), format_ns(worst)) };
    let change = if least == 0.0 && most == 0.0 {
        "no difference: the request does not wait for it".to_string()
    } else if best == worst {
        let word = if least > 0.0 { "less" } else { "more" };
        format!("{} {word} ({})", format_ns(least.abs()), share(least))
    } else {
        format!("{} to {} less ({} to {})", format_ns(least), format_ns(most), share(least), share(most))
    };
    html! { <><span class="dim">{ format!("{} → ", format_ns(before)) }</span><b>{ after }</b>{ format!(", {change}") }</> }
}

/// What is typed into a field of numbers, else what it began with.
fn typed(field: &(&'static str, NodeRef)) -> String {
    let text = field.1.cast::<HtmlInputElement>().map(|f| f.value());
    text.filter(|v| v.parse::<f64>().is_ok_and(|n| n >= 0.0)).unwrap_or_else(|| field.0.to_string())
}

/// Inputs of [`Buttons`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
    /// The selected span.
    pub span: String,
    /// Spans like it under its parent, itself included.
    pub siblings: usize,
    /// Spans like it in the trace.
    pub all: usize,
}

/// What can be tried with the selected span.
#[component]
pub fn Buttons(props: &Props) -> Html {
    let s = &props.shared;
    let reach = use_state(|| None::<&'static str>);
    let (workers, factor, rtt) = (("4", use_node_ref()), ("0.5", use_node_ref()), ("2", use_node_ref()));
    // By default what repeats is changed as one.
    let (siblings, all) = (props.siblings, props.all);
    let chosen = (*reach).unwrap_or(if siblings > 1 { "+siblings" } else { "" });
    let spans = format!("{}{chosen}", props.span);
    let count = match chosen {
        "+siblings" => siblings,
        "+all" => all,
        _ => 1,
    };
    let choices =
        [("", "this span".to_string()), ("+siblings", format!("all {siblings} like it here")), ("+all", format!("all {all} in the trace"))];
    let possible = |key: &str| match key {
        "+siblings" => siblings > 1,
        "+all" => all > siblings,
        _ => true,
    };
    let pick = {
        let reach = reach.clone();
        Callback::from(move |e: Event| {
            let chosen = e.target().and_then(|t| t.dyn_into::<web_sys::HtmlSelectElement>().ok()).map(|f| f.value());
            reach.set(Some(match chosen.as_deref() {
                Some("+siblings") => "+siblings",
                Some("+all") => "+all",
                _ => "",
            }));
        })
    };
    // By the button or by Enter in its field.
    let act = |make: Box<dyn Fn() -> String>| {
        let s = s.clone();
        Callback::from(move |e: SubmitEvent| {
            e.prevent_default();
            add(&s, make());
        })
    };
    let own = |word: &'static str| {
        let spans = spans.clone();
        act(Box::new(move || format!("{word}:{spans}")))
    };
    let with = |word: &'static str, field: &(&'static str, NodeRef)| {
        let (spans, field) = (spans.clone(), field.clone());
        act(Box::new(move || format!("{word}:{spans}:{}", typed(&field))))
    };
    let slower = {
        let field = rtt.clone();
        act(Box::new(move || format!("rtt:{}ms", typed(&field))))
    };
    html! {
        <section class="try" aria-label="What if">
            <h3>{ "What if" }</h3>
            if siblings > 1 || all > 1 {
                <select aria-label="Which spans change" onchange={pick}>
                    { for choices.iter().filter(|(key, _)| possible(key)).map(|(key, label)| html! { <option value={*key} selected={*key == chosen}>{ label }</option> }) }
                </select>
            }
            <div class="actions">
                <form onsubmit={own("zero")}><button data-try="zero" title="They take no time: removed, or answered by a cache">{ if count > 1 { "they are gone" } else { "it is gone" } }</button></form>
                if count > 1 {
                    <form onsubmit={own("batch")}><button data-try="batch" title="One call does the work of all">{ "one call for all" }</button></form>
                }
            </div>
            <form class="actions" onsubmit={with("scale", &factor)}>
                <button data-try="scale">{ if count > 1 { "each takes" } else { "it takes" } }</button>
                <input type="number" min="0" step="0.1" value={factor.0} ref={factor.1.clone()} aria-label="Factor" /><span>{ "times as long" }</span>
            </form>
            if count > 1 {
                <form class="actions" onsubmit={with("parallel", &workers)}>
                    <button data-try="parallel">{ "side by side" }</button>
                    <input type="number" min="1" step="1" value={workers.0} ref={workers.1.clone()} aria-label="At once" /><span>{ "at once" }</span>
                </form>
            }
            <form class="actions" onsubmit={slower}>
                <button data-try="rtt" title="Every call to another service takes longer: a slower network">{ "every remote call" }</button>
                <input type="number" min="0" step="1" value={rtt.0} ref={rtt.1.clone()} aria-label="Milliseconds more" /><span>{ "ms longer" }</span>
            </form>
            <p class="dim">{ "The trace is replayed with the change; the line above the waterfall says what the request then takes." }</p>
        </section>
    }
}
