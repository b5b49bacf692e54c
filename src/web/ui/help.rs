//! The table of keys.

use crate::web::dom;
use wasm_bindgen::JsCast;
use yew::prelude::*;

const KEYS: &[(&str, &str)] = &[
    ("1 … 7", "views: Findings, Flame, Functions, Traces, Services, Compare, Files"),
    ("/ or Ctrl+F", "search in this view; Enter and Shift+Enter go through the matches of the flame graph"),
    ("Ctrl+K", "go to anything by its name: a view, finding, function, operation, file"),
    ("Ctrl+O", "open files; pasting text or files opens them too"),
    ("Esc", "peel one layer: help, search, selection, zoom"),
    ("↑ ↓", "the row above and below; in the flame graph and the waterfall the caller and what it calls"),
    ("← →", "in the flame graph the box beside; in the waterfall fold and unfold"),
    ("Enter", "open, or zoom to what is selected"),
    ("W A S D", "zoom and pan the flame graph and the waterfall"),
    ("+ − 0", "zoom in, out, fit"),
    ("i", "invert the flame graph"),
    ("n p", "next and previous finding; in the flame graph the thread"),
    ("[ ]", "fold and unfold all spans and equal calls"),
    ("e", "export"),
    ("?", "this table"),
];

/// Inputs of [`Help`].
#[derive(Properties, PartialEq)]
pub struct HelpProps {
    /// Close it.
    pub close: Callback<()>,
}

/// A dialog with the keys.
#[component]
pub fn Help(props: &HelpProps) -> Html {
    // The keyboard goes to the dialog and back to where it was.
    use_effect_with((), |()| {
        let before = dom::document().active_element().and_then(|e| e.dyn_into::<web_sys::HtmlElement>().ok());
        dom::focus("#help button");
        move || {
            if let Some(before) = before {
                let _ = before.focus();
            }
        }
    });
    // Its only control keeps the keyboard: behind it is what the dialog covers.
    let keep = |e: KeyboardEvent| {
        if e.key() == "Tab" {
            e.prevent_default();
        }
    };
    html! {
        <div id="help" class="help" role="dialog" aria-modal="true" aria-label="Keys" onkeydown={keep} onclick={props.close.reform(|_| ())}>
            <div onclick={|e: MouseEvent| e.stop_propagation()}>
                <h2>{ "Keys" }</h2>
                <table>
                    { for KEYS.iter().map(|(key, what)| html! { <tr><th scope="row"><kbd>{ *key }</kbd></th><td>{ *what }</td></tr> }) }
                </table>
                <button onclick={props.close.reform(|_| ())}>{ "Close" }</button>
            </div>
        </div>
    }
}
