//! The table of keys.

use crate::web::dom;
use yew::prelude::*;

const KEYS: &[(&str, &str)] = &[
    ("1 … 7", "views: Findings, Flame, Functions, Traces, Services, Compare, Files"),
    ("/ or Ctrl+F", "search in this view; Enter and Shift+Enter go through the matches of the flame graph"),
    ("Ctrl+O", "open files; pasting text or files opens them too"),
    ("Esc", "peel one layer: help, search, selection, zoom"),
    ("↑ ↓ ← →", "move the selection; pan"),
    ("Enter", "open or zoom to what is selected"),
    ("W A S D", "zoom and pan the flame graph and the waterfall"),
    ("+ − 0", "zoom in, out, fit"),
    ("i", "invert the flame graph"),
    ("n p", "next and previous finding"),
    ("[ ]", "collapse and expand all spans"),
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
    use_effect_with((), |()| dom::focus("#help button"));
    html! {
        <div id="help" class="help" role="dialog" aria-modal="true" aria-label="Keys">
            <div>
                <h2>{ "Keys" }</h2>
                <table>
                    { for KEYS.iter().map(|(key, what)| html! { <tr><th scope="row"><kbd>{ *key }</kbd></th><td>{ *what }</td></tr> }) }
                </table>
                <button onclick={props.close.reform(|_| ())}>{ "Close" }</button>
            </div>
        </div>
    }
}
