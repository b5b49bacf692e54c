//! What the box under the pointer says.

use crate::base::quantity::{format_share, format_value};
use crate::engine::protocol::flame::FlameData;
use yew::prelude::*;

/// Beside the pointer, on the side where there is room; `pointer` and `size` of the canvas in CSS pixels.
pub fn tooltip(data: &FlameData, node: u32, pointer: (f64, f64), size: (f64, f64)) -> Html {
    let (i, unit) = (node as usize, data.head.unit.as_str());
    let total = data.total[i];
    let parent = data.parent[i];
    let of_parent = if parent == u32::MAX { data.head.extent } else { data.total[parent as usize] };
    let share = |whole: f64| format_share(if whole > 0.0 { total / whole } else { 0.0 });
    let left = pointer.0 + 14.0;
    let side = if left + 420.0 > size.0 { format!("right:{}px", (size.0 - pointer.0 + 8.0).max(0.0)) } else { format!("left:{left}px") };
    let vertical =
        if pointer.1 + 150.0 > size.1 { format!("bottom:{}px", size.1 - pointer.1 + 10.0) } else { format!("top:{}px", pointer.1 + 16.0) };
    let place = [data.module_of(node), data.file_of(node)].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" · ");
    html! {
        <div class="tooltip" style={format!("{side};{vertical}")} role="tooltip">
            <code>{ data.name_of(node) }</code>
            <div>{ format!("total {} ({} of all, {} of its parent)", format_value(total, unit), share(data.head.extent), share(of_parent)) }</div>
            <div>{ format!("self {}", format_value(data.self_weight[i], unit)) }</div>
            if let Some([b, c]) = data.sides_of(node) {
                <div>{ format!("before {}, now {}: {:+.2} pp, {}", format_share(b.1), format_share(c.1), (c.1 - b.1) * 100.0, if data.certain[i] == 1 { "certain" } else { "not certain" }) }</div>
            }
            if !place.is_empty() { <div class="dim">{ place }</div> }
        </div>
    }
}
