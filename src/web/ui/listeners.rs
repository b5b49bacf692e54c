//! What the window tells the application.

use super::{App, Msg, list};
use crate::web::dom;
use gloo::events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use web_sys::{ClipboardEvent, DragEvent, File, KeyboardEvent};
use yew::prelude::*;

/// Drop, paste, address and keys become messages of the application.
pub fn listen(ctx: &Context<App>) -> Vec<EventListener> {
    let window = dom::window();
    let active = EventListenerOptions::enable_prevent_default();
    let on =
        |name: &'static str, then: Box<dyn Fn(&web_sys::Event)>| EventListener::new_with_options(&window, name, active, move |e| then(e));
    let link = ctx.link().clone();
    let drop = move |e: &web_sys::Event| {
        e.prevent_default();
        link.send_message(Msg::Dragging(false));
        let files = e.dyn_ref::<DragEvent>().and_then(DragEvent::data_transfer).map(|d| list(d.files())).unwrap_or_default();
        if !files.is_empty() {
            link.send_message(Msg::Open(files));
        }
    };
    let link = ctx.link().clone();
    let over = move |e: &web_sys::Event| {
        e.prevent_default();
        link.send_message(Msg::Dragging(true));
    };
    let link = ctx.link().clone();
    let leave = move |e: &web_sys::Event| {
        // Only leaving the window counts, not crossing elements inside it.
        if e.dyn_ref::<DragEvent>().is_some_and(|e| e.related_target().is_none()) {
            link.send_message(Msg::Dragging(false));
        }
    };
    let link = ctx.link().clone();
    let paste = move |e: &web_sys::Event| {
        let Some(data) = e.dyn_ref::<ClipboardEvent>().and_then(ClipboardEvent::clipboard_data) else { return };
        if dom::takes_text(e.target()) {
            return;
        }
        let mut files = list(data.files());
        if let Some(text) = data.get_data("text").ok().filter(|t| !t.trim().is_empty() && files.is_empty()) {
            let parts = js_sys::Array::of1(&text.into());
            files.extend(File::new_with_str_sequence(&parts, "pasted text"));
        }
        if !files.is_empty() {
            e.prevent_default();
            link.send_message(Msg::Open(files));
        }
    };
    let link = ctx.link().clone();
    let hash = move |_: &web_sys::Event| link.send_message(Msg::Hash);
    let again = hash.clone();
    let link = ctx.link().clone();
    let key = move |e: &web_sys::Event| {
        if let Some(e) = e.dyn_ref::<KeyboardEvent>() {
            link.send_message(Msg::Key(e.clone()));
        }
    };
    let mut listeners = vec![
        on("drop", Box::new(drop)),
        on("dragover", Box::new(over)),
        on("dragleave", Box::new(leave)),
        on("paste", Box::new(paste)),
        on("hashchange", Box::new(hash)),
        on("popstate", Box::new(again)),
        on("keydown", Box::new(key)),
    ];
    // Canvases take their colours from the style sheet when they draw: they must draw again when the system turns dark.
    if let Ok(Some(query)) = window.match_media("(prefers-color-scheme: dark)") {
        let link = ctx.link().clone();
        listeners.push(EventListener::new(&query, "change", move |_| link.send_message(Msg::Recolour)));
    }
    listeners
}
