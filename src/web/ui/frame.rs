//! The frame around the views: bar, rail, status line, and the choice of the view.

use super::{Shared, compare, files, findings, flame, functions, json, preview, services, traces};
use crate::base::quantity::{counted, format_count, format_ns, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::ExportKind;
use crate::engine::protocol::summary::Summary;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::{File, HtmlInputElement};
use yew::prelude::*;

/// Why a view has nothing to show; `None` if it has.
pub fn unavailable(view: View, summary: Option<&Summary>) -> Option<&'static str> {
    let Some(summary) = summary else { return Some("nothing is open") };
    match view {
        View::Flame | View::Functions if summary.profiles.is_empty() => Some("no profile is open"),
        View::Traces | View::Services if summary.spans == 0 => Some("no trace is open"),
        _ => None,
    }
}

/// The view of the current place.
pub fn view_of(shared: &Shared) -> Html {
    let s = shared.clone();
    if let Some(reason) = unavailable(s.place.view, Some(&s.summary)) {
        return html! { <p class="empty">{ format!("Nothing to show here: {reason}.") }</p> };
    }
    match s.place.view {
        View::Findings => html! { <findings::Findings shared={s} /> },
        View::Files => html! { <files::Files shared={s} /> },
        View::Flame => html! { <flame::Flame shared={s} /> },
        View::Functions => html! { <functions::Functions shared={s} /> },
        View::Services => html! { <services::Services shared={s} /> },
        View::Traces => html! { <traces::Traces shared={s} /> },
        View::Compare => html! { <compare::Compare shared={s} /> },
    }
}

/// Name of a view on the rail.
pub fn title(view: View) -> &'static str {
    match view {
        View::Findings => "Findings",
        View::Flame => "Flame",
        View::Functions => "Functions",
        View::Traces => "Traces",
        View::Services => "Services",
        View::Compare => "Compare",
        View::Files => "Files",
    }
}

/// Inputs of [`Bar`].
#[derive(Properties, PartialEq)]
pub struct BarProps {
    /// What is loaded.
    pub summary: Option<Rc<Summary>>,
    /// Files were chosen.
    pub open: Callback<Vec<File>>,
    /// A source is to be closed.
    pub close: Callback<usize>,
    /// An export is wanted.
    pub export: Callback<ExportKind>,
    /// Change colours.
    pub theme: Callback<()>,
    /// Show the keys.
    pub help: Callback<()>,
    /// Show everything by its name.
    pub palette: Callback<()>,
}

/// The bar at the top.
#[component]
pub fn Bar(props: &BarProps) -> Html {
    let chosen = {
        let open = props.open.clone();
        Callback::from(move |e: web_sys::Event| {
            let Some(input) = e.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok()) else { return };
            let files = super::list(input.files());
            // The same file may be chosen again.
            input.set_value("");
            if !files.is_empty() {
                open.emit(files);
            }
        })
    };
    let sources = props.summary.as_ref().map(|s| s.sources.as_array().cloned().unwrap_or_default()).unwrap_or_default();
    let has_profiles = props.summary.as_ref().is_some_and(|s| !s.profiles.is_empty());
    let has_traces = props.summary.as_ref().is_some_and(|s| s.traces > 0);
    let entry = |kind: ExportKind, label: &'static str, enabled: bool| {
        let export = props.export.clone();
        html! { <li><button disabled={!enabled} onclick={move |_| export.emit(kind)}>{ label }</button></li> }
    };
    html! {
        <header class="bar">
            <a class="brand" href="#" title="Start">{ "hotspan" }</a>
            <ul class="sources" aria-label="Open files">
                { for files(&sources).enumerate().map(|(i, file)| {
                    let close = props.close.clone();
                    // What stands behind a slash is the path in an archive: names of opened files have none.
                    let name = json::text(&file[0], "file").split('/').next().unwrap_or_default().to_string();
                    let title = if file.len() > 1 { format!("{name}: {} entries, see Files", file.len()) } else { json::text(&file[0], "file").to_string() };
                    html! {
                        <li class={classes!(unread(file).then_some("bad"))}>
                            <span {title}>{ &name }</span>
                            <button class="plain" aria-label={format!("Close {name}")} onclick={move |_| close.emit(i)}>{ "×" }</button>
                        </li>
                    }
                }) }
            </ul>
            <label class="button" title="Ctrl+O">
                { "Open…" }
                <input id="open-input" type="file" multiple=true onchange={chosen} aria-label="Open profile or trace files" />
            </label>
            <span class="space"></span>
            if props.summary.is_some() {
                <button class="plain" title="Go to anything by its name (Ctrl+K)" onclick={props.palette.reform(|_| ())}>{ "Go to…" }</button>
                <details id="export-menu" class="menu">
                    <summary title="e">{ "Export" }</summary>
                    <ul>
                        { entry(ExportKind::Json, "Findings as JSON", true) }
                        { entry(ExportKind::Markdown, "Findings as Markdown", true) }
                        { entry(ExportKind::Svg, "Flame graph as SVG", has_profiles) }
                        { entry(ExportKind::Folded, "Folded stacks", has_profiles) }
                        { entry(ExportKind::Speedscope, "speedscope JSON", has_profiles) }
                        { entry(ExportKind::OtlpJson, "Traces as OTLP JSON", has_traces) }
                        { entry(ExportKind::Pprof, "Profile as pprof", has_profiles) }
                    </ul>
                </details>
            }
            <button class="plain" title="Light, dark, as the system" aria-label="Change colours" onclick={props.theme.reform(|_| ())}>{ "◐" }</button>
            <button class="plain" title="Keys (?)" aria-label="Keys" onclick={props.help.reform(|_| ())}>{ "?" }</button>
        </header>
    }
}

/// The sources of each opened file: several for an archive.
fn files(sources: &[serde_json::Value]) -> impl Iterator<Item = &[serde_json::Value]> {
    sources.chunk_by(|a, b| a["file_index"] == b["file_index"])
}

/// Whether nothing of a file was read.
fn unread(file: &[serde_json::Value]) -> bool {
    file.iter().all(|source| !source["error"].is_null() && source["partial"].is_null())
}

/// Inputs of [`Rail`].
#[derive(Properties, PartialEq)]
pub struct RailProps {
    /// What is loaded.
    pub summary: Option<Rc<Summary>>,
    /// Whether that is only a part of what is being read.
    pub partial: bool,
    /// Where the user is.
    pub place: Rc<ViewRef>,
    /// Goes to a view.
    pub go: Callback<ViewRef>,
}

/// The list of views.
#[component]
pub fn Rail(props: &RailProps) -> Html {
    html! {
        <nav class="rail" aria-label="Views">
            { for View::ALL.into_iter().enumerate().map(|(i, view)| {
                let held = (props.partial && !preview::is_shown(view)).then_some(preview::HELD);
                let reason = held.or(unavailable(view, props.summary.as_deref()));
                let current = props.place.view == view;
                let place = props.place.same_samples(view);
                let go = props.go.clone();
                let count = match (view, &props.summary) {
                    (View::Findings, Some(s)) => s.findings.as_array().map(|f| format_count(f.len() as f64)),
                    _ => None,
                };
                html! {
                    <button
                        class={classes!(current.then_some("current"))}
                        aria-current={current.then_some("page")}
                        disabled={reason.is_some()}
                        title={reason.map_or_else(|| format!("{} ({})", title(view), i + 1), str::to_string)}
                        onclick={move |_| go.emit(place.clone())}
                    >
                        <span>{ title(view) }</span>
                        if let Some(count) = count { <span class="count">{ count }</span> }
                    </button>
                }
            }) }
        </nav>
    }
}

/// Inputs of [`Status`].
#[derive(Properties, PartialEq)]
pub struct StatusProps {
    /// What is loaded.
    pub summary: Option<Rc<Summary>>,
    /// From hand-over to the answer, in milliseconds.
    pub took_ms: f64,
}

/// The line at the bottom: how much data, and whether anything was lost.
#[component]
pub fn Status(props: &StatusProps) -> Html {
    let Some(summary) = &props.summary else {
        return html! { <footer class="status"><span>{ "Nothing leaves this page: its policy forbids every other connection." }</span></footer> };
    };
    let mut parts = Vec::new();
    // Rows of a table say little: pprof adds up equal stacks. Heap profiles count objects, whose stacks are told instead.
    let events: u64 = summary.profiles.iter().filter_map(|p| p.events).sum();
    let rows: u64 = summary.profiles.iter().filter(|p| p.events.is_none()).map(|p| p.samples).sum();
    if events > 0 {
        parts.push(counted(events, "sample"));
    }
    if rows > 0 {
        parts.push(counted(rows, "weighted stack"));
    }
    // A sum over profiles of different kinds says nothing, and of samples it was said already.
    if summary.profiles.len() == 1
        && let Some(p) = summary.profiles.first()
        && let Some(v) = p.values.get(p.default_value as usize)
        && (v.name != "samples" || events == 0)
    {
        parts.push(format!("{} {}", format_value(v.total, &v.unit), v.name));
    }
    if summary.spans > 0 {
        parts.push(format!(
            "{} in {} of {}",
            counted(summary.spans, "span"),
            counted(summary.traces, "trace"),
            counted(summary.services, "service")
        ));
    }
    let sources = summary.sources.as_array().cloned().unwrap_or_default();
    let failed = files(&sources).filter(|file| unread(file)).count();
    let lost = sources.iter().flat_map(|s| json::items(&s["ledger"], "entries")).filter(|e| json::text(e, "level") == "data-loss").count();
    let ledger = match (failed, lost) {
        (0, 0) => "ledger ✓ nothing dropped".to_string(),
        (0, 1) => "ledger: 1 kind of loss, see Files".to_string(),
        (0, n) => format!("ledger: {n} kinds of loss, see Files"),
        (f, _) => format!("{f} of {} not read, see Files", counted(files(&sources).count() as u64, "file")),
    };
    html! {
        <footer class="status">
            <span>{ parts.join(" · ") }</span>
            <span class={classes!("ledger", (failed + lost > 0).then_some("warn"))}>{ ledger }</span>
            <span class="took" title="From hand-over to findings">{ format_ns(props.took_ms * 1e6) }</span>
        </footer>
    }
}
