//! The first page and the progress of reading.

use super::Loading;
use crate::base::quantity::{format_bytes, format_count};
use crate::engine::protocol::stage::Stage;
use crate::web::dom;
use crate::web::wire::{FileProgress, get};
use js_sys::{Array, Function, Promise, Uint8Array};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::File;
use yew::prelude::*;

/// Our own recordings: file name, promise, what it is.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("checkout.otlp.json", "A checkout that asks for each item on its own", "OTLP trace, 6 requests over 4 services"),
    ("cpu.pb.gz", "A Go program with one loop that takes the time", "pprof CPU profile"),
    ("allocs.pb.gz", "A Go service that allocates in a hot loop", "pprof heap profile"),
    ("loops.perf-script.txt.gz", "Three C loops and one function that is not a loop", "perf script"),
];

/// What is read, by where it comes from; the whole list with its programs is in the readme.
const READS: &[(&str, &str)] = &[
    ("Native code", "pprof and gperftools, perf.data and perf script, Callgrind, DHAT, DTrace, VTune, Visual Studio, pmcstat"),
    ("Symbols for it", "ELF and DWARF, perf maps, jitdump, kallsyms"),
    ("Go", "pprof, dumps of goroutines"),
    ("Java", "Flight Recorder, async-profiler, dumps of threads"),
    ("JavaScript", "V8 CPU and heap profiles, Firefox Profiler, Chrome traces"),
    ("Python, Ruby, Haskell", "py-spy, memray, tracemalloc, rbspy, stackprof, GHC"),
    ("Android, Apple", "method traces, simpleperf; sample, Instruments, xctrace"),
    ("Any language", "folded stacks, speedscope, OTLP profiles"),
    ("Traces", "OTLP, Jaeger, Zipkin, AWS X-Ray, Datadog, consoles of OpenTelemetry's SDKs"),
    ("Timelines", "Chrome Trace Event JSON of DevTools, Bazel, clang, PyTorch"),
    ("Databases", "PostgreSQL's EXPLAIN (ANALYZE)"),
];

/// Loads a sample of ours and hands it over as a file.
pub fn fetch_sample(name: &'static str, then: impl FnOnce(Result<File, String>) + 'static) {
    let hotspan = get(&js_sys::global(), "hotspan");
    let called = get(&hotspan, "sample").dyn_into::<Function>().and_then(|f| f.call1(&hotspan, &JsValue::from_str(name)));
    let Ok(promise) = called.and_then(|p| p.dyn_into::<Promise>()) else {
        then(Err("samples are not part of this page".to_string()));
        return;
    };
    let then = std::rc::Rc::new(std::cell::Cell::new(Some(then)));
    let other = then.clone();
    let good = Closure::once(move |bytes: JsValue| {
        let parts = Array::of1(&bytes.unchecked_into::<Uint8Array>());
        let file = File::new_with_u8_array_sequence(&parts, name).map_err(|_| format!("{name} could not be unpacked"));
        if let Some(then) = then.take() {
            then(file);
        }
    });
    let bad = Closure::once(move |why: JsValue| {
        if let Some(then) = other.take() {
            let why = js_sys::Error::from(why).message();
            then(Err(format!("the sample could not be loaded: {}", String::from(why))));
        }
    });
    let _ = promise.then2(&good, &bad);
    // One of them runs once; both are given to the browser's collector.
    good.forget();
    bad.forget();
}

/// Inputs of [`Home`].
#[derive(Properties, PartialEq)]
pub struct HomeProps {
    /// A sample was chosen.
    pub sample: Callback<&'static str>,
}

/// What hotspan is, where to drop, what it reads.
#[component]
pub fn Home(props: &HomeProps) -> Html {
    let choose = |_| {
        if let Some(input) = dom::document().get_element_by_id("open-input") {
            input.unchecked_into::<web_sys::HtmlInputElement>().click();
        }
    };
    html! {
        <div class="home">
            <h1>{ "See what is slow, why, and what fixing it would save." }</h1>
            <button class="drop" onclick={choose}>
                <strong>{ "Drop profiles and traces anywhere" }</strong>
                <span>{ "or choose files, or paste text" }</span>
            </button>
            <h2>{ "Or try one of ours" }</h2>
            <ul class="samples">
                { for SAMPLES.iter().map(|(name, title, what)| {
                    let sample = props.sample.clone();
                    html! {
                        <li><button data-sample-button={*name} onclick={move |_| sample.emit(name)}>
                            <strong>{ *title }</strong><span>{ *what }</span>
                        </button></li>
                    }
                }) }
            </ul>
            <h2>{ "Reads" }</h2>
            <dl class="formats">{ for READS.iter().map(|(of, what)| html! { <div><dt>{ *of }</dt><dd>{ *what }</dd></div> }) }</dl>
            <p class="formats">{ "Compressed or not, alone or in a zip or tar archive, recognised by content. Several files at once are one session." }</p>
            <p class="private">{ "Nothing leaves this page: it cannot, its policy forbids every other connection. It works offline and from a file." }</p>
        </div>
    }
}

/// Inputs of [`Progress`].
#[derive(Properties, PartialEq)]
pub struct ProgressProps {
    /// What is being read.
    pub loading: Loading,
    /// Stop it.
    pub cancel: Callback<()>,
}

/// What is being done behind reading.
pub fn stage_text(progress: &FileProgress) -> String {
    let what = match progress.stage {
        Stage::Reading => "Reading",
        Stage::Naming => "Giving names to addresses",
        Stage::Linking => "Putting spans together",
        Stage::Rules => "Running the rules",
    };
    match progress.steps {
        (_, 0) => what.to_string(),
        (done, all) => format!("{what}: {done} of {all}"),
    }
}

/// `1,200,000 rows, 120 MB/s, 3 s left`.
pub fn progress_text(l: &Loading) -> String {
    let done: f64 = l.files.iter().take(l.progress.file).map(|f| f.1).sum::<f64>() + l.progress.bytes;
    let total: f64 = l.files.iter().map(|f| f.1).sum();
    let seconds = (dom::now() - l.since) / 1000.0;
    let rate = if seconds > 0.2 { done / seconds } else { 0.0 };
    let remaining =
        if rate > 0.0 && done > 0.0 { format!(", {:.0} s left", ((total - done) / rate).max(0.0).ceil()) } else { String::new() };
    format!("{} rows, {}/s{remaining}", format_count(l.progress.rows as f64), format_bytes(rate))
}

/// How far each file is.
#[component]
pub fn Progress(props: &ProgressProps) -> Html {
    let l = &props.loading;
    let stage = stage_text(&l.progress);
    let (done, all) = l.progress.steps;
    html! {
        <div class="home loading" role="status">
            <h1>{ if l.progress.stage == Stage::Reading && l.keeping { "Keeping what was read".to_string() } else { stage } }</h1>
            <ul class="reading">
                { for l.files.iter().enumerate().map(|(i, (name, size))| {
                    let bytes = match i.cmp(&l.progress.file) {
                        std::cmp::Ordering::Less => *size,
                        std::cmp::Ordering::Equal => l.progress.bytes.min(*size),
                        std::cmp::Ordering::Greater => 0.0,
                    };
                    html! {
                        <li>
                            <span>{ name }</span>
                            <progress max={size.max(1.0).to_string()} value={bytes.to_string()} aria-label={format!("{name}: bytes read")}></progress>
                            <span class="numbers">{ format!("{} of {}", format_bytes(bytes), format_bytes(*size)) }</span>
                        </li>
                    }
                }) }
            </ul>
            if l.progress.stage == Stage::Reading {
                <p class="numbers">{ progress_text(l) }</p>
            } else if all > 0 {
                <progress max={all.to_string()} value={done.to_string()} aria-label="Rules run"></progress>
            }
            <button id="cancel" onclick={props.cancel.reform(|_| ())}>{ "Cancel" }</button>
        </div>
    }
}
