//! What is read so far, shown while the rest comes: a banner that says how much that is, above the ordinary views.

use super::home::{progress_text, stage_text};
use super::{Loading, Shared, frame};
use crate::base::quantity::format_bytes;
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::stage::Stage;
use crate::engine::protocol::summary::Summary;
use yew::prelude::*;

/// What is said of views that would mislead when half of the data is missing.
pub const HELD: &str = "it waits until everything is read";

/// Views that show parts for what they are: their numbers grow and mean the same.
pub fn is_shown(view: View) -> bool {
    matches!(view, View::Flame | View::Functions | View::Traces)
}

/// Where to look as long as the chosen view has to wait.
pub fn place(own: &ViewRef, summary: &Summary) -> ViewRef {
    let shown = is_shown(own.view) && frame::unavailable(own.view, Some(summary)).is_none();
    let view = if summary.profiles.is_empty() { View::Traces } else { View::Flame };
    if shown { own.clone() } else { own.same_samples(view) }
}

/// Inputs of [`Preview`].
#[derive(Properties, PartialEq)]
pub struct PreviewProps {
    /// What the view gets; its summary is that of the preview.
    pub shared: Shared,
    /// What is being read.
    pub loading: Loading,
    /// Stop, and keep what was read.
    pub keep: Callback<()>,
    /// Stop, and throw it away.
    pub cancel: Callback<()>,
}

/// The banner and the view.
#[component]
pub fn Preview(props: &PreviewProps) -> Html {
    let l = &props.loading;
    let Some((_, upto)) = &l.preview else { return html! {} };
    let size = l.files.get(upto.file).map_or(0.0, |f| f.1);
    let name = l.files.get(upto.file).map_or("", |f| f.0.as_str());
    let now = if l.progress.file == upto.file { l.progress.bytes.min(size) } else { size };
    let reading = l.progress.stage == Stage::Reading;
    html! {
        <>
            <div class="partial" role="status">
                <p>
                    <strong>{ format!("Partial: {} of {}", format_bytes(upto.bytes), format_bytes(size)) }</strong>
                    { format!(" of {name} are shown, and numbers grow. Findings, services, comparisons and exports wait for the whole file.") }
                </p>
                <progress max={size.max(1.0).to_string()} value={now.to_string()} aria-label={format!("{name}: bytes read")}></progress>
                <span class="numbers">{ if reading { progress_text(l) } else { stage_text(&l.progress) } }</span>
                <span class="actions">
                    <button id="keep" disabled={!reading} onclick={props.keep.reform(|_| ())}>{ "Stop and keep this part" }</button>
                    <button id="cancel" onclick={props.cancel.reform(|_| ())}>{ "Cancel" }</button>
                </span>
            </div>
            { frame::view_of(&props.shared) }
        </>
    }
}
