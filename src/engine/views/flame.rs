//! The flame graph and the flame chart.

use super::derived::{category_names, check};
use super::summary::thread_name;
use crate::analysis::flame::{FlameBoxes, inverted, merged};
use crate::analysis::flame_chart::chart;
use crate::analysis::weights::Weights;
use crate::base::slabs::{Slabs, Texts};
use crate::engine::Engine;
use crate::engine::protocol::flame::{FlameData, FlameHead, FlameMode, TrackHead};
use crate::engine::protocol::{Failure, SampleQuery};
use crate::model::Session;
use crate::model::profile::ValueType;
use std::collections::BTreeMap;

/// Lays out a picture.
///
/// # Errors
/// [`Failure`] when the query names nothing, or a chart is asked of a profile without times.
pub fn answer(engine: &mut Engine, query: &SampleQuery, mode: FlameMode) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let p = check(session, query)?;
    let derived = engine.cache.selections.get(session, query)?;
    let session = derived.session(session);
    let boxes = match mode {
        FlameMode::Merged => merged(&derived.tree),
        FlameMode::Inverted => inverted(session, &derived.tree),
        FlameMode::Chart => chart(session, derived.selection()).ok_or_else(|| {
            let why = if engine.session.reduced.times { ", or they were given up to make room, as its ledger says" } else { "" };
            Failure::new(format!("this profile has no times{why}, so its samples have no order; the merged graph shows them all"))
        })?,
    };
    let value = &p.value_types[query.value as usize];
    let is_chart = mode == FlameMode::Chart;
    let tracks = boxes
        .tracks
        .iter()
        .map(|t| TrackHead {
            name: t.thread.and_then(|i| p.threads.get(i as usize)).map_or(String::new(), thread_name),
            thread: t.thread,
            first_row: t.first_row,
            rows: t.rows,
        })
        .collect();
    let head = FlameHead {
        mode,
        value: if is_chart { "time".into() } else { value.name.clone() },
        unit: if is_chart { "nanoseconds".into() } else { value.unit.clone() },
        total: if is_chart { boxes.extent } else { derived.weights.total as f64 },
        extent: boxes.extent,
        nodes: boxes.len() as u32,
        rows: boxes.rows,
        without_stack: if is_chart { 0.0 } else { derived.weights.without_stack as f64 },
        pruned: boxes.pruned,
        pruned_weight: boxes.pruned_weight,
        min_share: boxes.min_share,
        tracks,
        origin_ns: if is_chart { boxes.origin_ns.to_string() } else { String::new() },
        categories: category_names(),
        ..FlameHead::default()
    };
    data(session, head, boxes, &derived.category).encode()
}

/// A merged graph of a session's own weights, without threads.
///
/// # Errors
/// Never in practice; a number that JSON does not know would be one.
pub fn graph(session: &Session, value: &ValueType, weights: &Weights, boxes: FlameBoxes, category: &[u8]) -> Result<Slabs, Failure> {
    let head = FlameHead {
        mode: FlameMode::Merged,
        value: value.name.clone(),
        unit: value.unit.clone(),
        total: weights.total as f64,
        extent: boxes.extent,
        nodes: boxes.len() as u32,
        rows: boxes.rows,
        without_stack: weights.without_stack as f64,
        pruned: boxes.pruned,
        pruned_weight: boxes.pruned_weight,
        min_share: boxes.min_share,
        categories: category_names(),
        ..FlameHead::default()
    };
    data(session, head, boxes, category).encode()
}

/// Replaces function rows by positions in a list of names.
fn data(session: &Session, head: FlameHead, boxes: FlameBoxes, category: &[u8]) -> FlameData {
    let mut out = FlameData { head, ..FlameData::default() };
    let mut places = Places::default();
    let mut name_of = vec![u32::MAX; session.symbols.funcs.len()];
    for func in &boxes.func {
        let slot = &mut name_of[func.index()];
        if *slot == u32::MAX {
            *slot = out.names.push(session.symbols.func_name(&session.strings, *func));
            out.name_module.push(places.position(session.symbols.module(&session.strings, *func)));
            out.name_file.push(places.position(session.strings.get(session.symbols.funcs.file[func.index()])));
            out.name_category.push(category[func.index()]);
        }
        out.name.push(*slot);
    }
    out.places = places.texts;
    out.parent = boxes.parent;
    out.depth = boxes.row;
    out.start = boxes.start;
    out.total = boxes.width;
    out.self_weight = boxes.own;
    out.signed = boxes.signed;
    out
}

/// Texts that repeat, each once; position 0 is `""`.
pub struct Places {
    /// The texts.
    pub texts: Texts,
    known: BTreeMap<String, u32>,
}

impl Default for Places {
    fn default() -> Places {
        let mut texts = Texts::default();
        texts.push("");
        Places { texts, known: BTreeMap::new() }
    }
}

impl Places {
    /// Position of a text.
    pub fn position(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let position = self.texts.push(text);
        self.known.insert(text.to_string(), position);
        position
    }
}
