//! The function table, with callers and callees of the selected function.

use super::findings::ViewProps;
use super::selectors::{ProfileSelectors, Search};
use crate::base::quantity::{format_count, format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::Request;
use crate::engine::protocol::functions::{FunctionDetail, FunctionsData, Rows, TableForm};
use crate::web::dom;
use crate::web::hooks::{Answer, use_answer};
use gloo::events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlSelectElement, KeyboardEvent};
use yew::prelude::*;

const ROW: f64 = 24.0;

/// The view.
#[component]
pub fn Functions(props: &ViewProps) -> Html {
    let s = &props.shared;
    let form = TableForm::parse(s.place.rows.as_deref().unwrap_or(""));
    let answer =
        use_answer(&s.client, s.generation, Request::Functions { query: s.query(), form }, |slabs| FunctionsData::decode(slabs).ok());
    let scroll = use_state(|| (0.0_f64, 600.0_f64));
    let data = answer.value().cloned();
    let key = data.as_ref().map_or(0, |d| std::rc::Rc::as_ptr(d) as usize);
    let sort = s.place.sort.clone().unwrap_or_else(|| "-self".to_string());
    let order = {
        let data = data.clone();
        use_memo((key, sort.clone(), s.place.search.clone()), move |(_, sort, text)| {
            data.map(|d| arrange(&d, sort, text.as_deref().unwrap_or(""))).unwrap_or_default()
        })
    };
    let table = use_node_ref();
    {
        // Arrows go from row to row, and the row stays in sight; Enter shows the chosen function in the flame graph.
        let (s, order, data, table) = (s.clone(), order.clone(), data.clone(), table.clone());
        let deps = (s.clone(), std::rc::Rc::as_ptr(&order) as usize, key);
        use_effect_with(deps, move |_| {
            let listener =
                EventListener::new_with_options(&dom::window(), "keydown", EventListenerOptions::enable_prevent_default(), move |e| {
                    let (Some(e), Some(d)) = (e.dyn_ref::<KeyboardEvent>(), &data) else { return };
                    if dom::takes_text(e.target()) || e.ctrl_key() || e.meta_key() || e.alt_key() {
                        return;
                    }
                    let is_own = |r: &u32| !d.function_of(*r).is_empty();
                    let chosen = s.place.function.as_deref();
                    let at = chosen.and_then(|name| order.iter().position(|r| d.function_of(*r) == name));
                    let other = |r: &u32| is_own(r) && Some(d.function_of(*r)) != chosen;
                    let next = match (e.key().as_str(), at) {
                        ("ArrowDown", Some(at)) => (at + 1..order.len()).find(|i| other(&order[*i])),
                        ("ArrowUp", Some(at)) => (0..at).rev().find(|i| other(&order[*i])),
                        ("ArrowDown" | "ArrowUp", None) => order.iter().position(is_own),
                        ("Enter", Some(_)) if !dom::is_control(e.target()) => {
                            dom::click("#show-in-flame");
                            return;
                        }
                        ("Escape", _) => {
                            s.change(true, |p| if p.search.is_some() { p.search = None } else { p.function = None });
                            return;
                        }
                        _ => return,
                    };
                    e.prevent_default();
                    let Some(next) = next else { return };
                    let name = d.function_of(order[next]).to_string();
                    s.change(true, |p| p.function = Some(name));
                    if let Some(table) = table.cast::<HtmlElement>() {
                        let (y, top, height) = ((next as f64 * ROW) as i32, table.scroll_top(), table.client_height());
                        if y < top || y + 3 * ROW as i32 > top + height {
                            table.set_scroll_top((y - height / 3).max(0));
                        }
                    }
                });
            move || drop(listener)
        });
    }
    let on_scroll = {
        let scroll = scroll.clone();
        Callback::from(move |e: Event| {
            if let Some(e) = e.target().and_then(|t| t.dyn_into::<HtmlElement>().ok()) {
                scroll.set((f64::from(e.scroll_top()), f64::from(e.client_height())));
            }
        })
    };
    let body = match (&answer, data) {
        (Answer::Failed(why), _) => html! { <p class="empty">{ why }</p> },
        (_, None) => html! { <div class="skeleton" aria-busy="true"></div> },
        (_, Some(data)) => {
            let first = ((scroll.0 / ROW) as usize).saturating_sub(10);
            let shown = order.iter().copied().enumerate().skip(first).take((scroll.1 / ROW) as usize + 40);
            let header = |name: &'static str, label: &'static str, numeric: bool| {
                let shared = s.clone();
                let (down, up) = (format!("-{name}"), name.to_string());
                let state = if sort == down {
                    "descending"
                } else if sort == up {
                    "ascending"
                } else {
                    "none"
                };
                let next = if sort == down || (sort != up && !numeric) { up } else { down };
                html! {
                    <span role="columnheader" aria-sort={state} class={classes!(numeric.then_some("n amount"), (name == "module").then_some("module"))}>
                        <button class="plain" onclick={move |_| { let next = next.clone(); shared.change(true, move |p| p.sort = Some(next)); }}>
                            { label }{ match state { "descending" => " ▾", "ascending" => " ▴", _ => "" } }
                        </button>
                    </span>
                }
            };
            html! {
                <div class="with-inspector">
                    <div class="grid-table" role="table" aria-label="Functions" aria-rowcount={order.len().to_string()} onscroll={on_scroll} ref={table}>
                        <div class="grid-row head" role="row">
                            { header("self", "Self", true) }<span role="columnheader" class="n">{ "Self %" }</span>
                            { header("total", "Total", true) }<span role="columnheader" class="n">{ "Total %" }</span>
                            { header("name", if form.rows == Rows::Files { "File" } else { "Function" }, false) }{ header("module", "Module", false) }
                        </div>
                        <div role="rowgroup" style={format!("height:{}px;position:relative", order.len() as f64 * ROW)}>
                            { for shown.map(|(at, row)| table_row(s, &data, form, at, row)) }
                        </div>
                    </div>
                    if let Some(name) = &s.place.function {
                        <Detail shared={s.clone()} name={name.clone()} />
                    } else {
                        <aside class="inspector" aria-label="Selected function"><p class="dim">{ "Choose a function to see who calls it and what it calls." }</p></aside>
                    }
                </div>
            }
        }
    };
    html! {
        <div class="functions">
            <div class="toolbar">
                <ProfileSelectors shared={s.clone()} />
                <Search shared={s.clone()} label="Filter functions" />
                <Form shared={s.clone()} form={form} />
                <span class="dim">{ match order.len() { 1 => "1 row".to_string(), n => format!("{} rows", format_count(n as f64)) } }</span>
            </div>
            <super::kinds::Kinds shared={s.clone()} />
            { body }
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct FormProps {
    shared: super::Shared,
    form: TableForm,
}

/// What rows stand for, whether inlined functions are rows of their own, and which names functions have.
#[component]
fn Form(props: &FormProps) -> Html {
    let form = props.form;
    let set = |shared: &super::Shared, form: TableForm| {
        shared.change(false, move |p| p.rows = form.text());
    };
    let rows = {
        let shared = props.shared.clone();
        Callback::from(move |e: Event| {
            let word = e.target().and_then(|t| t.dyn_into::<HtmlSelectElement>().ok()).map(|s| s.value()).unwrap_or_default();
            set(&shared, TableForm { rows: TableForm::parse(&word).rows, ..form });
        })
    };
    let switch = |label: &'static str, title: &'static str, pressed: bool, next: TableForm| {
        let shared = props.shared.clone();
        html! { <button aria-pressed={pressed.to_string()} {title} onclick={move |_| set(&shared, next)}>{ label }</button> }
    };
    html! {
        <>
            <select aria-label="Rows" onchange={rows}>
                { for Rows::ALL.iter().map(|(rows, word, label)| html! { <option value={*word} selected={*rows == form.rows}>{ *label }</option> }) }
            </select>
            { switch("Inlined functions", "Off: an inlined function counts for the function it was compiled into", !form.no_inlines, TableForm { no_inlines: !form.no_inlines, ..form }) }
            { switch("Full names", "On: with parameters and template arguments. Off: as go tool pprof writes names", form.full_names, TableForm { full_names: !form.full_names, ..form }) }
        </>
    }
}

/// Where a row lies, as far as its name does not say it.
fn place_of(d: &FunctionsData, form: TableForm, row: u32) -> String {
    let (file, line) = (d.file_of(row), d.line.get(row as usize).copied().unwrap_or(0));
    match form.rows {
        Rows::Functions | Rows::Files => String::new(),
        Rows::Addresses => d.addresses.get(row).to_string(),
        _ if line > 0 => format!("{file}:{line}"),
        _ => file.to_string(),
    }
}

/// Rows that pass the filter, in order.
fn arrange(d: &FunctionsData, sort: &str, text: &str) -> Vec<u32> {
    let text = text.trim().to_lowercase();
    let mut rows: Vec<u32> = (0..d.head.rows)
        .filter(|r| text.is_empty() || d.names.get(*r).to_lowercase().contains(&text) || d.module_of(*r).to_lowercase().contains(&text))
        .collect();
    let (down, key) = sort.strip_prefix('-').map_or((false, sort), |k| (true, k));
    rows.sort_by(|a, b| {
        let (i, j) = (*a as usize, *b as usize);
        let order = match key {
            "total" => d.total[i].total_cmp(&d.total[j]),
            "name" => d.names.get(*a).cmp(d.names.get(*b)),
            "module" => d.module_of(*a).cmp(d.module_of(*b)),
            _ => d.self_weight[i].total_cmp(&d.self_weight[j]),
        };
        if down { order.reverse().then(a.cmp(b)) } else { order.then(a.cmp(b)) }
    });
    rows
}

fn table_row(s: &super::Shared, d: &FunctionsData, form: TableForm, at: usize, row: u32) -> Html {
    let i = row as usize;
    let name = d.names.get(row).to_string();
    let function = d.function_of(row).to_string();
    let current = !function.is_empty() && s.place.function.as_deref() == Some(&function);
    let share = |w: f64| if d.head.whole > 0.0 { w / d.head.whole } else { 0.0 };
    let shared = s.clone();
    let own = (!function.is_empty()).then_some(function);
    let place = place_of(d, form, row);
    let bar = |w: f64| format!("background-size:{:.1}% 100%", share(w).clamp(0.0, 1.0) * 100.0);
    html! {
        <div key={row} class={classes!("grid-row", current.then_some("current"))} role="row" aria-rowindex={(at + 1).to_string()} style={format!("top:{}px", at as f64 * ROW)}
            onclick={move |_| { let own = own.clone(); shared.change(false, move |p| p.function = own); }}>
            <span role="cell" class="n amount" title={d.self_weight[i].to_string()}>{ format_value(d.self_weight[i], &d.head.unit) }</span>
            <span role="cell" class="n bar" style={bar(d.self_weight[i])}>{ format_share(share(d.self_weight[i])) }</span>
            <span role="cell" class="n amount" title={d.total[i].to_string()}>{ format_value(d.total[i], &d.head.unit) }</span>
            <span role="cell" class="n bar" style={bar(d.total[i])}>{ format_share(share(d.total[i])) }</span>
            <span role="cell" class="name"><button class="plain" title={name.clone()}><code>{ name }</code></button>if !place.is_empty() { <span class="dim" title={place.clone()}>{ format!(" {place}") }</span> }</span>
            <span role="cell" class="dim module" title={d.module_of(row).to_string()}>{ d.module_of(row) }</span>
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct DetailProps {
    shared: super::Shared,
    name: String,
}

#[component]
fn Detail(props: &DetailProps) -> Html {
    let s = &props.shared;
    let request = Request::FunctionDetail { query: s.query(), function: props.name.clone() };
    let answer = use_answer(&s.client, s.generation, request, |slabs| serde_json::from_str::<FunctionDetail>(&slabs.head).ok());
    let Some(d) = answer.value() else {
        let text = if let Answer::Failed(why) = &answer { why.clone() } else { String::new() };
        return html! { <aside class="inspector"><p class="dim">{ text }</p></aside> };
    };
    let share = |w: f64| format_share(if d.whole > 0.0 { w / d.whole } else { 0.0 });
    let neighbours = |title: &'static str, list: &[crate::engine::protocol::functions::Neighbour]| {
        html! {
            <>
                <h3>{ format!("{title} ({})", list.len()) }</h3>
                <ul class="children">
                    { for list.iter().take(100).map(|n| {
                        let shared = s.clone();
                        let name = n.name.clone();
                        html! {
                            <li><button onclick={move |_| { let name = name.clone(); shared.change(false, move |p| p.function = Some(name)); }}>
                                <code>{ &n.name }</code><span class="n"><span>{ format_value(n.weight, &d.unit) }</span><span>{ share(n.weight) }</span></span>
                            </button></li>
                        }
                    }) }
                </ul>
            </>
        }
    };
    let path = ViewRef { path: d.path.clone(), ..s.place.same_samples(View::Flame) };
    let go = s.go.clone();
    html! {
        <aside class="inspector" aria-label="Selected function">
            <h2><code>{ &d.name }</code></h2>
            <p class="dim">{ [d.module.as_str(), d.file.as_str(), d.category.as_str()].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" · ") }</p>
            <dl class="facts">
                <div><dt>{ "self" }</dt><dd>{ format!("{}  {}", format_value(d.self_weight, &d.unit), share(d.self_weight)) }</dd></div>
                <div><dt>{ "total" }</dt><dd>{ format!("{}  {}", format_value(d.total, &d.unit), share(d.total)) }</dd></div>
            </dl>
            <p class="actions"><button id="show-in-flame" onclick={move |_| go.emit((path.clone(), false))}>{ "Show in flame graph" }</button></p>
            { neighbours("Callers", &d.callers) }
            { neighbours("Callees", &d.callees) }
            if !d.lines.is_empty() {
                <h3>{ "Lines" }</h3>
                <ul class="children">
                    { for d.lines.iter().take(30).map(|l| html! { <li><code>{ format!("{}:{}", l.file.rsplit('/').next().unwrap_or(""), l.line) }</code><span class="n">{ share(l.self_weight) }</span></li> }) }
                </ul>
            }
        </aside>
    }
}
