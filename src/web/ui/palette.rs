//! Everything by its name: views, findings, files, operations, functions, and what the page can do.

use super::{Shared, frame, json};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::functions::{FunctionsData, TableForm};
use crate::engine::protocol::services::ServicesData;
use crate::engine::protocol::{ExportKind, Request};
use crate::web::dom;
use crate::web::hooks::use_answer;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlInputElement};
use yew::prelude::*;

/// So many hits are listed.
const SHOWN: usize = 40;

/// What choosing an entry does.
#[derive(Clone, PartialEq)]
pub enum Act {
    /// Goes to a place.
    Go(Box<ViewRef>),
    /// Lets files be chosen.
    Open,
    /// Other colours.
    Theme,
    /// The table of keys.
    Keys,
    /// Writes an export.
    Export(ExportKind),
}

/// Inputs of [`Palette`].
#[derive(Properties, PartialEq)]
pub struct Props {
    /// What every view gets.
    pub shared: Shared,
    /// An entry was chosen, or none: the palette goes away.
    pub close: Callback<Option<Act>>,
}

#[derive(Clone)]
struct Entry {
    kind: &'static str,
    name: String,
    act: Act,
}

fn go(kind: &'static str, name: &str, place: ViewRef) -> Entry {
    Entry { kind, name: name.to_string(), act: Act::Go(Box::new(place)) }
}

/// What is known without asking the engine.
fn fixed(s: &Shared) -> Vec<Entry> {
    let views = View::ALL.into_iter().filter(|v| frame::unavailable(*v, Some(&s.summary)).is_none());
    let mut out: Vec<Entry> = views.map(|v| go("view", frame::title(v), s.place.same_samples(v))).collect();
    let act = |name: &str, act: Act| Entry { kind: "action", name: name.to_string(), act };
    out.extend([act("Open files", Act::Open), act("Change colours", Act::Theme), act("Show the keys", Act::Keys)]);
    out.extend([
        act("Export findings as JSON", Act::Export(ExportKind::Json)),
        act("Export findings as Markdown", Act::Export(ExportKind::Markdown)),
    ]);
    if !s.summary.profiles.is_empty() {
        out.extend([
            act("Export the flame graph as SVG", Act::Export(ExportKind::Svg)),
            act("Export folded stacks", Act::Export(ExportKind::Folded)),
            act("Export the profile as pprof", Act::Export(ExportKind::Pprof)),
        ]);
    }
    if s.summary.traces > 0 {
        out.push(act("Export traces as OTLP JSON", Act::Export(ExportKind::OtlpJson)));
    }
    for f in s.summary.findings.as_array().into_iter().flatten() {
        out.push(go(
            "finding",
            json::text(f, "title"),
            ViewRef { finding: f["id"].as_str().map(str::to_string), ..ViewRef::of(View::Findings) },
        ));
    }
    for (i, source) in s.summary.sources.as_array().into_iter().flatten().enumerate() {
        out.push(go("file", json::text(source, "file"), ViewRef { source: Some(i as u32), ..ViewRef::of(View::Files) }));
    }
    out
}

/// Entries that hold every word of the text. A name that begins with it stands before others, a short one before a long one;
/// otherwise the order stays.
fn hits(entries: impl Iterator<Item = Entry>, text: &str) -> Vec<Entry> {
    let text = text.trim().to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut out: Vec<(bool, usize, Entry)> = entries
        .filter_map(|e| {
            let name = e.name.to_lowercase();
            let all = words.iter().all(|w| name.contains(w) || e.kind.starts_with(w));
            all.then(|| (!name.starts_with(&text), if text.is_empty() { 0 } else { name.len() }, e))
        })
        .collect();
    out.sort_by_key(|(starts, length, _)| (*starts, *length));
    out.into_iter().map(|(_, _, e)| e).take(SHOWN).collect()
}

/// The dialog.
#[component]
pub fn Palette(props: &Props) -> Html {
    let s = &props.shared;
    let text = use_state(String::new);
    let at = use_state(|| 0_usize);
    let functions = use_answer(&s.client, s.generation, Request::Functions { query: s.query(), form: TableForm::default() }, |slabs| {
        FunctionsData::decode(slabs).ok()
    });
    let services = use_answer(&s.client, s.generation, Request::Services, |slabs| serde_json::from_str::<ServicesData>(&slabs.head).ok());
    // The keyboard goes to the field and, if nothing was chosen, back to where it was.
    use_effect_with((), |()| {
        let before = dom::document().active_element().and_then(|e| e.dyn_into::<HtmlElement>().ok());
        dom::focus("#palette input");
        move || {
            if let Some(before) = before {
                let _ = before.focus();
            }
        }
    });
    use_effect_with(*at, |_| dom::into_view("#palette [aria-selected=true]"));
    let operations = services.value().filter(|_| s.summary.spans > 0).map(|d| d.operations.clone()).unwrap_or_default();
    let operations = operations.into_iter().map(|r| {
        let place = ViewRef { service: Some(r.service.clone()), operation: Some(r.operation.clone()), ..ViewRef::of(View::Services) };
        go("operation", &format!("{} {}", r.service, r.operation), place)
    });
    let table = functions.value().filter(|_| !s.summary.profiles.is_empty()).cloned();
    let names = table.iter().flat_map(|d| (0..d.head.rows).map(|r| d.names.get(r)));
    let names = names.map(|n| go("function", n, ViewRef { function: Some(n.to_string()), ..s.place.same_samples(View::Functions) }));
    let found = hits(fixed(s).into_iter().chain(operations).chain(names), &text);
    let chosen = (*at).min(found.len().saturating_sub(1));
    let key = {
        let (at, close, found) = (at.clone(), props.close.clone(), found.clone());
        move |e: KeyboardEvent| {
            match e.key().as_str() {
                "ArrowDown" => at.set((chosen + 1).min(found.len().saturating_sub(1))),
                "ArrowUp" => at.set(chosen.saturating_sub(1)),
                "Enter" => {
                    if let Some(entry) = found.get(chosen) {
                        close.emit(Some(entry.act.clone()));
                    }
                }
                "Escape" => close.emit(None),
                "Tab" => {}
                _ => return,
            }
            e.prevent_default();
            e.stop_propagation();
        }
    };
    let input = {
        let (text, at) = (text.clone(), at.clone());
        move |e: InputEvent| {
            if let Some(field) = e.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok()) {
                text.set(field.value());
                at.set(0);
            }
        }
    };
    html! {
        <div id="palette" class="help palette" role="dialog" aria-modal="true" aria-label="Go to" onclick={props.close.reform(|_| None)} onkeydown={key}>
            <div onclick={|e: MouseEvent| e.stop_propagation()}>
                <input type="search" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-label="Name of a view, finding, function, operation, file or action"
                    aria-activedescendant={format!("palette-{chosen}")} placeholder="View, finding, function, operation, file, action" value={(*text).clone()} oninput={input} />
                <ul id="palette-list" role="listbox" aria-label="Hits">
                    { for found.iter().enumerate().map(|(i, entry)| {
                        let (close, act) = (props.close.clone(), entry.act.clone());
                        html! {
                            <li id={format!("palette-{i}")} role="option" aria-selected={(i == chosen).to_string()} onclick={move |_| close.emit(Some(act.clone()))}>
                                <span class="clip">{ &entry.name }</span><span class="dim">{ entry.kind }</span>
                            </li>
                        }
                    }) }
                </ul>
                if found.is_empty() { <p class="empty" role="status">{ "Nothing has this name." }</p> }
            </div>
        </div>
    }
}
