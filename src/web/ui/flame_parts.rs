//! What the flame graphs of profiles, of comparisons and of critical paths share: search, selection, zoom, the list of children.

use super::Shared;
use super::flame_canvas::{FlameCanvas, boxes};
use crate::engine::protocol::flame::{FlameData, FlameMode};
use crate::paint::flame::{Matches, search};
use std::rc::Rc;
use yew::prelude::*;

/// So many children are listed beside a picture.
const CHILDREN: usize = 60;

/// The state of a picture, from the address and from clicks.
pub struct Picture {
    /// Boxes that the search found.
    pub matches: Option<Rc<Matches>>,
    /// The end of the address's path.
    pub root: Option<u32>,
    /// The selected box.
    pub chosen: Option<u32>,
    /// What the selected box calls, or the roots.
    pub children: Rc<Vec<u32>>,
    /// Selects a box, or nothing.
    pub select: Callback<Option<u32>>,
    /// Changes with the data.
    pub key: usize,
}

/// Search, path and selection of a picture. A path in the address selects the box at its end.
#[hook]
pub fn use_picture(s: &Shared, data: Option<Rc<FlameData>>) -> Picture {
    let selected = use_state(|| None::<u32>);
    let key = data.as_ref().map_or(0, |d| Rc::as_ptr(d) as usize);
    let matches = {
        let data = data.clone();
        use_memo((key, s.place.search.clone()), move |(_, text)| search(&boxes(data.as_ref()?), text.as_deref().unwrap_or("")).map(Rc::new))
    };
    let root = {
        let data = data.clone();
        use_memo((key, s.place.path.clone()), move |(_, path)| if path.is_empty() { None } else { data?.find_path(path) })
    };
    let ends = {
        let data = data.clone();
        use_memo(key, move |_| data.map_or_else(Vec::new, |d| d.subtree_ends()))
    };
    {
        // Another picture has other boxes.
        let (selected, root) = (selected.clone(), *root);
        use_effect_with((key, root), move |_| selected.set(root));
    }
    let chosen = (*selected).filter(|n| data.as_ref().is_some_and(|d| (*n as usize) < d.parent.len()));
    let children = use_memo((key, chosen), move |_| data.map_or_else(Vec::new, |d| d.children(&ends, chosen)));
    let select = use_callback((), move |node, ()| selected.set(node));
    Picture { matches: (*matches).clone(), root: *root, chosen, children, select, key }
}

/// The zoom window of an address, inside a picture.
fn parse_window(text: Option<&String>, extent: f64) -> Option<(f64, f64)> {
    let (from, to) = text?.split_once("..")?;
    let (from, to) = (from.parse::<f64>().ok()?, to.parse::<f64>().ok()?);
    (from >= 0.0 && to > from && to <= extent * 1.000_001).then_some((from, to))
}

/// Zooms to a box, or shows all.
pub fn zoom_to(s: &Shared, data: &Rc<FlameData>) -> Callback<Option<u32>> {
    let (shared, data) = (s.clone(), data.clone());
    Callback::from(move |node: Option<u32>| {
        shared.change(false, |p| {
            p.zoom = None;
            p.path = node.map(|n| data.path_of(n)).unwrap_or_default();
            // In time order a path occurs many times: the box itself is meant.
            if let (FlameMode::Chart, Some(n)) = (data.head.mode, node) {
                let n = n as usize;
                p.path.clear();
                p.zoom = Some(format!("{}..{}", data.start[n], data.start[n] + data.total[n]));
            }
        });
    })
}

/// The canvas in its place.
pub fn canvas(s: &Shared, data: &Rc<FlameData>, picture: &Picture) -> Html {
    let extent = data.head.extent;
    let of_root = picture.root.map(|n| (data.start[n as usize], data.start[n as usize] + data.total[n as usize]));
    let window = parse_window(s.place.zoom.as_ref(), extent).or(of_root).unwrap_or((0.0, extent));
    let shared = s.clone();
    let zoom = Callback::from(move |(from, to): (f64, f64)| {
        let all = from <= 0.0 && to >= extent;
        shared.change(true, |p| {
            p.zoom = (!all).then(|| format!("{from}..{to}"));
            if all {
                p.path.clear();
            }
        });
    });
    html! {
        <FlameCanvas
            data={data.clone()}
            matches={picture.matches.clone()}
            selected={picture.chosen}
            {window}
            reveal={picture.root.map_or(0, |n| data.depth[n as usize])}
            select={picture.select.clone()}
            zoom_to={zoom_to(s, data)}
            {zoom}
            generation={s.generation}
        />
    }
}

/// What the selected box calls, each with a number beside it; a click selects it.
pub fn children(data: &FlameData, picture: &Picture, number: impl Fn(u32) -> Html) -> Html {
    let list = &picture.children;
    html! {
        <>
            <h3>{ if picture.chosen.is_some() { "Calls" } else { "Roots" } }</h3>
            if list.is_empty() { <p class="dim">{ "Nothing: its time is its own." }</p> }
            <ul class="children">
                { for list.iter().take(CHILDREN).map(|&c| {
                    let select = picture.select.clone();
                    html! { <li><button onclick={move |_| select.emit(Some(c))}><code>{ data.name_of(c) }</code>{ number(c) }</button></li> }
                }) }
            </ul>
            if list.len() > CHILDREN { <p class="dim">{ format!("and {} more", list.len() - CHILDREN) }</p> }
        </>
    }
}
