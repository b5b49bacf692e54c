//! The critical paths of many requests as one flame graph: what they waited for, by call path.

use super::Shared;
use super::flame_parts::{Picture, canvas, children, use_picture, zoom_to};
use super::selectors::Search;
use crate::base::quantity::{format_count, format_ns, format_share};
use crate::engine::protocol::Request;
use crate::engine::protocol::flame::FlameData;
use crate::engine::protocol::services::ServicesData;
use crate::web::hooks::{Answer, use_answer};
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::HtmlSelectElement;
use yew::prelude::*;

/// The word in the address bar (`m=`).
pub const MODE: &str = "critical";

/// The switch between the tables and the flame graph.
pub fn switch(s: &Shared) -> Html {
    let critical = s.place.mode.as_deref() == Some(MODE);
    let go = |to: bool| {
        let shared = s.clone();
        move |_: MouseEvent| {
            shared.change(false, |p| {
                p.mode = to.then(|| MODE.to_string());
                (p.service, p.operation, p.search, p.zoom) = (None, None, None, None);
                p.path.clear();
            });
        }
    };
    html! {
        <div class="segments" role="group" aria-label="Picture">
            <button aria-pressed={(!critical).to_string()} onclick={go(false)}>{ "Tables" }</button>
            <button aria-pressed={critical.to_string()} data-critical="" title="What requests waited for, by call path, over all traces" onclick={go(true)}>{ "Critical paths" }</button>
        </div>
    }
}

/// Inputs of [`Critical`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
}

/// The flame graph with its choice of endpoint.
#[component]
pub fn Critical(props: &Props) -> Html {
    let s = &props.shared;
    let (service, operation) = (s.place.service.clone().unwrap_or_default(), s.place.operation.clone().unwrap_or_default());
    let endpoints = use_answer(&s.client, s.generation, Request::Services, |slabs| serde_json::from_str::<ServicesData>(&slabs.head).ok());
    let request = Request::CriticalFlame { service: service.clone(), operation: operation.clone() };
    let answer = use_answer(&s.client, s.generation, request, |slabs| FlameData::decode(slabs).ok());
    let data = answer.value().cloned();
    let state = use_picture(s, data.clone());
    let list = endpoints.value().map_or(&[][..], |d| d.endpoints.as_slice());
    let current = list.iter().position(|e| e.0 == service && e.1 == operation);
    let pick = {
        let (shared, list) = (s.clone(), list.to_vec());
        Callback::from(move |e: Event| {
            let value = e.target().and_then(|t| t.dyn_into::<HtmlSelectElement>().ok()).map(|f| f.value()).unwrap_or_default();
            let endpoint = value.parse::<usize>().ok().and_then(|i| list.get(i)).cloned();
            shared.change(false, move |p| {
                (p.service, p.operation) = endpoint.map_or((None, None), |e| (Some(e.0), Some(e.1)));
                p.zoom = None;
                p.path.clear();
            });
        })
    };
    let requests: u64 = current.map_or_else(|| list.iter().map(|e| e.2).sum(), |i| list[i].2);
    let body = match (&answer, data) {
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(data)) if data.parent.is_empty() => html! { <p class="empty">{ "These requests take no time." }</p> },
        (_, Some(data)) => view_of(s, &data, &state, requests),
    };
    html! {
        <div class="services">
            <div class="toolbar">
                { switch(s) }
                <select aria-label="Endpoint" onchange={pick}>
                    <option value="" selected={current.is_none()}>{ if list.len() == 1 { "the only endpoint".to_string() } else { format!("all {} endpoints", list.len()) } }</option>
                    { for list.iter().take(500).enumerate().map(|(i, e)| html! { <option value={i.to_string()} selected={current == Some(i)}>{ format!("{} {} ({})", e.0, e.1, e.2) }</option> }) }
                </select>
                <Search shared={s.clone()} label="Search paths" />
                if let Some(m) = state.matches.as_ref() { <span class="matched" role="status">{ format!("matched {} in {} boxes", format_share(m.share), format_count(f64::from(m.count))) }</span> }
            </div>
            { body }
        </div>
    }
}

fn view_of(s: &Shared, data: &Rc<FlameData>, picture: &Picture, requests: u64) -> Html {
    let (extent, chosen) = (data.head.extent, picture.chosen);
    let zoom_to = zoom_to(s, data);
    let share = |ns: f64| format_share(if extent > 0.0 { ns / extent } else { 0.0 });
    let each = |ns: f64| format_ns(if requests > 0 { ns / requests as f64 } else { 0.0 });
    let fact = |name: &'static str, ns: f64| html! { <><div><dt>{ name }</dt><dd>{ format!("{}  {}", format_ns(ns), share(ns)) }</dd></div><div><dt>{ "per request" }</dt><dd>{ each(ns) }</dd></div></> };
    let whole = zoom_to.clone();
    html! {
        <div class="with-inspector">
            <div class="canvas-column">
                { canvas(s, data, picture) }
                <p class="note">{ "A box is as wide as the time that requests waited for it and what it calls, and for nothing else. The boxes of all requests add up to their durations." }</p>
            </div>
            <aside class="inspector" aria-label="Selected path">
                <h2>{ chosen.map_or("All requests".to_string(), |n| data.name_of(n).to_string()) }</h2>
                <dl class="facts">
                    { fact("with all below", chosen.map_or(extent, |n| data.total[n as usize])) }
                    if let Some(n) = chosen { { fact("itself", data.self_weight[n as usize]) } }
                    <div><dt>{ "requests" }</dt><dd>{ format_count(requests as f64) }</dd></div>
                </dl>
                if let Some(n) = chosen {
                    <ol class="path">{ for data.path_of(n).iter().map(|step| html! { <li>{ step }</li> }) }</ol>
                    <p class="actions"><button onclick={zoom_to.reform(move |_| Some(n))}>{ "Zoom" }</button></p>
                }
                if picture.root.is_some() || s.place.zoom.is_some() { <p class="actions"><button onclick={whole.reform(|_| None)}>{ "Whole picture" }</button></p> }
                { children(data, picture, |c| html! { <span class="n"><span>{ format_ns(data.total[c as usize]) }</span><span>{ share(data.total[c as usize]) }</span></span> }) }
            </aside>
        </div>
    }
}

/// Colours of the parts, by position.
fn colour(i: usize) -> String {
    format!("var(--kind-{})", i % 8)
}

/// Where the time of all requests goes: a bar by kind of work and one by service, each adding up to the whole.
pub fn where_time(s: &Shared, data: &ServicesData) -> Html {
    if data.whole_ns <= 0.0 {
        return html! {};
    }
    let mut services: Vec<(String, f64)> = data.services.iter().map(|r| (r.service.clone(), r.critical_ns)).filter(|s| s.1 > 0.0).collect();
    services.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let named: f64 = services.iter().take(7).map(|s| s.1).sum();
    let rest = data.whole_ns - named;
    services.truncate(7);
    if rest > data.whole_ns * 1e-9 {
        services.push(("others".to_string(), rest));
    }
    let mut kinds = data.kinds.clone();
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let bar = |title: &'static str, list: &[(String, f64)], colour: &dyn Fn(usize) -> String| {
        let share = |ns: f64| ns / data.whole_ns;
        html! {
            <div class="where">
                <h3>{ title }</h3>
                <div class="parts" aria-hidden="true">{ for list.iter().enumerate().map(|(i, (name, ns))| html! { <span title={format!("{name}: {} {}", format_ns(*ns), format_share(share(*ns)))} style={format!("width:{:.3}%;background:{}", share(*ns) * 100.0, colour(i))}></span> }) }</div>
                <ul class="legend">{ for list.iter().enumerate().map(|(i, (name, ns))| html! { <li><i style={format!("background:{}", colour(i))}></i>{ format!("{} {} ({})", if name.is_empty() { "(unknown)" } else { name }, format_share(share(*ns)), format_ns(*ns)) }</li> }) }</ul>
            </div>
        }
    };
    html! {
        <section aria-label="Where the time goes">
            <h2>{ "Where the time goes" }</h2>
            <p class="dim">{ format!("Critical paths of all requests, {} in sum; {:.2} spans at work at a time.", format_ns(data.whole_ns), data.worked_ns / data.whole_ns) }</p>
            { bar("By kind", &kinds, &colour) }
            { bar("By service", &services, &|i| if services[i].0 == "others" { colour(0) } else { s.service_colour(&services[i].0) }) }
        </section>
    }
}
