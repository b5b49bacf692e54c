//! The keys of the waterfall.

use super::Shared;
use crate::engine::protocol::traces::TraceData;
use crate::paint::siblings::{Groups, Line};
use crate::web::dom;
use gloo::events::{EventListener, EventListenerOptions};
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;
use yew::prelude::*;

/// The lines on screen, and what folds them.
#[derive(Clone)]
pub struct Folds {
    /// The trace.
    pub data: Rc<TraceData>,
    /// Lines on screen.
    pub lines: Rc<Vec<Line>>,
    /// Equal siblings.
    pub groups: Rc<Groups>,
    /// Rows whose descendants are hidden.
    pub collapsed: UseStateHandle<Vec<bool>>,
    /// Groups that are open; those beyond its end are not.
    pub opened: UseStateHandle<Vec<bool>>,
}

#[hook]
fn use_keys(deps: (Shared, Option<u32>, usize), handler: Rc<dyn Fn(&KeyboardEvent)>) {
    use_effect_with(deps, move |_| {
        let listener =
            EventListener::new_with_options(&dom::window(), "keydown", EventListenerOptions::enable_prevent_default(), move |e| {
                if let Some(e) = e.dyn_ref::<KeyboardEvent>() {
                    handler(e);
                }
            });
        move || drop(listener)
    });
}

/// Arrows, zoom, brackets and Escape.
#[hook]
pub fn use_waterfall_keys(s: &Shared, folds: &Folds, selected: Option<u32>, window: (f64, f64), total: f64) {
    let state = Rc::as_ptr(&folds.lines) as usize;
    let shared = s.clone();
    let Folds { data, lines, groups, collapsed, opened } = folds.clone();
    use_keys(
        (s.clone(), selected, state),
        Rc::new(move |e: &KeyboardEvent| {
            if e.ctrl_key() || e.meta_key() || e.alt_key() || dom::takes_text(e.target()) && e.key() != "Escape" {
                return;
            }
            let zoom = |from: f64, to: f64| {
                let span = (to - from).clamp(total * 1e-7, total);
                let start = from.clamp(0.0, total - span);
                shared.change(true, |p| p.zoom = (span < total).then(|| format!("{start}..{}", start + span)));
            };
            let (from, to) = window;
            let quarter = (to - from) / 4.0;
            let spans = || lines.iter().filter_map(|l| if let Line::Span(row) = l { Some(*row) } else { None });
            // Groups of equal calls right below a row.
            let below = |row: usize, open: bool| {
                let is_open = |g: usize| opened.get(g).copied().unwrap_or(false);
                let of_row = |g: &usize| groups.list[*g].rows.first().is_some_and(|r| data.parent[*r as usize] as usize == row);
                (0..groups.list.len()).filter(of_row).filter(|g| is_open(*g) == open).collect::<Vec<_>>()
            };
            let fold = |which: Vec<usize>, open: bool| {
                let mut next = (*opened).clone();
                next.resize(groups.list.len(), false);
                which.into_iter().for_each(|g| next[g] = open);
                opened.set(next);
            };
            let select = |row: Option<u32>| {
                let id = row.map(|r| data.ids.get(r).to_string());
                shared.change(true, |p| p.span = id);
            };
            match e.key().as_str() {
                "ArrowDown" => {
                    let next = selected.map_or_else(|| spans().next(), |row| spans().skip_while(|r| *r != row).nth(1));
                    select(next.or(selected));
                }
                "ArrowUp" => {
                    let before = selected.and_then(|row| spans().take_while(|r| *r != row).last());
                    select(before.or(selected).or_else(|| spans().next()));
                }
                "ArrowLeft" | "ArrowRight" => {
                    let Some(row) = selected.map(|r| r as usize) else { return };
                    let close = e.key() == "ArrowLeft";
                    let open_now = !collapsed[row] && data.end_row[row] as usize > row + 1;
                    let grouped = if collapsed[row] { Vec::new() } else { below(row, close) };
                    if !grouped.is_empty() {
                        fold(grouped, !close);
                    } else if close && !open_now {
                        select(Some(data.parent[row]).filter(|p| *p != u32::MAX).or(selected));
                    } else {
                        let mut next = (*collapsed).clone();
                        next[row] = close;
                        collapsed.set(next);
                    }
                }
                "[" => {
                    opened.set(Vec::new());
                    collapsed.set((0..data.parent.len()).map(|i| data.end_row[i] as usize > i + 1 && data.parent[i] != u32::MAX).collect())
                }
                "]" => {
                    collapsed.set(vec![false; data.parent.len()]);
                    opened.set(vec![true; groups.list.len()]);
                }
                "w" | "+" | "=" => zoom(from + quarter / 2.0, to - quarter / 2.0),
                "s" | "-" => zoom(from - quarter, to + quarter),
                "a" => zoom(from - quarter, to - quarter),
                "d" => zoom(from + quarter, to + quarter),
                "0" => shared.change(true, |p| p.zoom = None),
                "Escape" => {
                    let p = &shared.place;
                    if p.search.is_some() {
                        shared.change(true, |p| p.search = None);
                    } else if p.span.is_some() {
                        shared.change(true, |p| p.span = None);
                    } else if p.zoom.is_some() {
                        shared.change(true, |p| p.zoom = None);
                    } else {
                        shared.change(false, |p| p.trace = None);
                    }
                }
                _ => return,
            }
            e.prevent_default();
        }),
    );
}
