//! Small pieces of the browser: marks, downloads, the address, the colour scheme.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, BlobPropertyBag, Document, Element, HtmlAnchorElement, HtmlElement, Url, Window};

/// The window. The page runs in one; a worker never calls this.
pub fn window() -> Window {
    gloo::utils::window()
}

/// The document.
pub fn document() -> Document {
    gloo::utils::document()
}

/// A User Timing mark, so that anyone can measure the page.
pub fn mark(name: &str) {
    if let Some(performance) = window().performance() {
        let _ = performance.mark(name);
    }
}

/// Milliseconds since the page began.
pub fn now() -> f64 {
    window().performance().map_or(0.0, |p| p.now())
}

/// Sets `data-NAME` of the root element; `None` removes it.
pub fn set_root(name: &str, value: Option<&str>) {
    if let Some(root) = document().document_element() {
        let _ = match value {
            Some(value) => root.set_attribute(&format!("data-{name}"), value),
            None => root.remove_attribute(&format!("data-{name}")),
        };
    }
}

/// Calls `then` after the next picture was drawn: two frames from now.
pub fn after_paint(then: impl FnOnce() + 'static) {
    let second = Closure::once_into_js(then);
    let first = Closure::once_into_js(move || {
        let _ = window().request_animation_frame(second.unchecked_ref());
    });
    let _ = window().request_animation_frame(first.unchecked_ref());
}

/// Calls `then` when the next picture is due.
pub fn next_frame(then: impl FnOnce() + 'static) {
    let then = Closure::once_into_js(then);
    let _ = window().request_animation_frame(then.unchecked_ref());
}

/// Offers bytes as a download.
pub fn download(name: &str, mime: &str, bytes: &[u8]) {
    let parts = Array::of1(&Uint8Array::from(bytes));
    let options = BlobPropertyBag::new();
    options.set_type(mime);
    let Ok(blob) = Blob::new_with_u8_array_sequence_and_options(&parts, &options) else { return };
    let Ok(url) = Url::create_object_url_with_blob(&blob) else { return };
    if let Ok(link) = document().create_element("a").map(JsCast::unchecked_into::<HtmlAnchorElement>) {
        link.set_href(&url);
        link.set_download(name);
        link.click();
    }
    let _ = Url::revoke_object_url(&url);
}

/// Puts a text on the clipboard. `false` where the browser has none for pages: only secure ones get it.
pub fn copy(text: &str) -> bool {
    let navigator = window().navigator();
    let has = js_sys::Reflect::get(&navigator, &JsValue::from_str("clipboard")).is_ok_and(|c| c.is_object());
    if has {
        // A refusal, as to a page in the background, is no error of the page.
        let refused = Closure::once(|_: JsValue| {});
        let _ = navigator.clipboard().write_text(text).catch(&refused);
        refused.forget();
    }
    has
}

/// Scrolls the first element that matches into view, no further than needed.
pub fn into_view(selector: &str) {
    if let Ok(Some(element)) = document().query_selector(selector) {
        let options = web_sys::ScrollIntoViewOptions::new();
        options.set_block(web_sys::ScrollLogicalPosition::Nearest);
        element.scroll_into_view_with_scroll_into_view_options(&options);
    }
}

/// Scrolls the first element that matches to the top of what is seen.
pub fn into_view_top(selector: &str) {
    if let Ok(Some(element)) = document().query_selector(selector) {
        element.scroll_into_view();
    }
}

/// The hash of the address.
pub fn hash() -> String {
    window().location().hash().unwrap_or_default()
}

/// Goes to a hash: a step that the back button undoes, or a replacement of the current one.
pub fn go(hash: &str, replace: bool) {
    let Ok(history) = window().history() else { return };
    let _ = if replace {
        history.replace_state_with_url(&JsValue::NULL, "", Some(hash))
    } else {
        history.push_state_with_url(&JsValue::NULL, "", Some(hash))
    };
}

/// A remembered setting; none where the browser keeps nothing.
pub fn setting(key: &str) -> Option<String> {
    window().local_storage().ok()??.get_item(key).ok()?
}

/// Remembers a setting where the browser allows it.
pub fn remember(key: &str, value: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        let _ = storage.set_item(key, value);
    }
}

/// Whether an element takes text, so that keys belong to it.
pub fn takes_text(target: Option<web_sys::EventTarget>) -> bool {
    let Some(element) = target.and_then(|t| t.dyn_into::<Element>().ok()) else { return false };
    matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT")
}

/// Whether an element acts on Enter by itself.
pub fn is_control(target: Option<web_sys::EventTarget>) -> bool {
    let Some(element) = target.and_then(|t| t.dyn_into::<Element>().ok()) else { return false };
    matches!(element.tag_name().as_str(), "BUTTON" | "A" | "SUMMARY" | "INPUT" | "SELECT")
}

/// Clicks the first element that matches.
pub fn click(selector: &str) {
    if let Ok(Some(element)) = document().query_selector(selector) {
        element.unchecked_into::<HtmlElement>().click();
    }
}

/// Moves the focus to the first control of the next or previous row of the view's tables; to the first row if none has it.
pub fn step_rows(forward: bool) {
    let Ok(rows) = document().query_selector_all("#main tbody tr") else { return };
    let controls: Vec<HtmlElement> = (0..rows.length())
        .filter_map(|i| rows.item(i)?.dyn_into::<Element>().ok()?.query_selector("button, a").ok().flatten())
        .filter_map(|e| e.dyn_into().ok())
        .collect();
    let row = |e: &Element| e.closest("tr").ok().flatten();
    let active = document().active_element().and_then(|e| row(&e));
    let at = active.and_then(|tr| controls.iter().position(|c| row(c).as_ref() == Some(&tr)));
    let next = match (at, forward) {
        (None, _) => Some(0),
        (Some(at), true) => Some(at + 1),
        (Some(at), false) => at.checked_sub(1),
    };
    if let Some(control) = next.and_then(|i| controls.get(i)) {
        let _ = control.focus();
    }
}

/// Focuses and selects the first element that matches.
pub fn focus(selector: &str) {
    if let Ok(Some(element)) = document().query_selector(selector) {
        let _ = element.unchecked_into::<HtmlElement>().focus();
    }
}

/// A colour token of the style sheet, as text for a canvas.
pub fn token(name: &str) -> String {
    let style = document().document_element().and_then(|root| window().get_computed_style(&root).ok().flatten());
    style.and_then(|s| s.get_property_value(name).ok()).map(|v| v.trim().to_string()).unwrap_or_default()
}
