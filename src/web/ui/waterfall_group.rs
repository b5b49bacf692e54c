//! The heading of equal siblings in the waterfall: how many, how long, and all their bars in one line.

use super::Shared;
use super::waterfall::{ROW, scale};
use crate::base::quantity::{counted, format_ns};
use crate::engine::protocol::traces::{FLAG_ERROR, TraceData};
use crate::paint::siblings::{Group, Groups, Spans};
use yew::prelude::*;

/// So many bars of a group are drawn; of more, every n-th.
const BARS: usize = 300;

/// The groups of a trace.
pub fn groups(data: &TraceData) -> Groups {
    Groups::find(Spans {
        parent: &data.parent,
        end_row: &data.end_row,
        service: &data.service,
        operation: &data.operation,
        start: &data.start,
        duration: &data.duration,
    })
}

/// The heading at a line; `toggle` opens and closes it.
pub fn heading(s: &Shared, data: &TraceData, group: &Group, at: usize, window: (f64, f64), open: bool, toggle: Callback<()>) -> Html {
    let Some(first) = group.rows.first().map(|r| *r as usize) else { return html! {} };
    let (service, operation) = (data.texts.get(data.service[first]), data.texts.get(data.operation[first]));
    let colour = s.service_colour(service);
    let failed = group.rows.iter().filter(|r| data.flags[**r as usize] & FLAG_ERROR != 0).count();
    let n = group.rows.len();
    let x = scale(window);
    let step = n.div_ceil(BARS);
    let bars = group.rows.iter().step_by(step.max(1)).map(|r| {
        let r = *r as usize;
        let (from, to) = (x(data.start[r]), x(data.start[r] + data.duration[r]));
        html! { <span class="span-bar" style={format!("left:{from:.3}%;width:{:.3}%;background:{colour}", (to - from).max(0.0))}></span> }
    });
    let end = group.rows.iter().map(|r| data.start[*r as usize] + data.duration[*r as usize]).fold(0.0, f64::max);
    let each = format!(", {} to {}, mean {}", format_ns(group.least), format_ns(group.most), format_ns(group.mean));
    let says = format!("{} together{each}", format_ns(group.union));
    let (label, inside) =
        if x(end) < 60.0 { (format!("left:calc({:.3}% + 4px)", x(end).max(0.0)), false) } else { ("right:6px".to_string(), true) };
    let (by_row, by_button) = (toggle.clone(), toggle);
    html! {
        <div key={format!("group-{first}")} role="row" aria-rowindex={(at + 1).to_string()} aria-level={(data.depth[first] + 1).to_string()} aria-expanded={open.to_string()}
            class="span-row group" style={format!("top:{}px", at as f64 * ROW)} onclick={move |_| by_row.emit(())}>
            <span role="gridcell" class="span-name" style={format!("padding-left:{}px", 4 + data.depth[first].min(40) * 12)} title={format!("{n} equal calls of {service} {operation} by one caller: {says}")}>
                <button class="plain toggle" data-group={n.to_string()} aria-label={format!("{} {}", if open { "Fold" } else { "Unfold" }, counted(n as u64, "equal call"))}
                    onclick={move |e: MouseEvent| { e.stop_propagation(); by_button.emit(()); }}>{ if open { "▾" } else { "▸" } }</button>
                <span class="edge" style={format!("background:{colour}")}></span>
                <b class="times">{ format!("×{n}") }</b>{ " " }<b>{ service }</b>{ " " }{ operation }
                if failed > 0 { <span class="mark bad" title={format!("{failed} failed")}>{ format!("✕{failed}") }</span> }
            </span>
            <span role="gridcell" class="span-bars">
                { for bars }
                <span class={classes!("span-label", inside.then_some("inside"))} style={label}>{ format!("{} together", format_ns(group.union)) }<span class="narrow-off">{ each }</span></span>
            </span>
        </div>
    }
}
