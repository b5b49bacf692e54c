//! The bar of kinds of work: where the CPU time of the selection goes, as parts that add up to the whole, and as a table.

use super::Shared;
use crate::base::quantity::{format_count, format_share, format_value};
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::Request;
use crate::engine::protocol::kinds::{Kind, KindsData};
use crate::web::hooks::use_answer;
use yew::prelude::*;

/// So many kinds have a colour and a place in the legend; the rest is one part.
const SHOWN: usize = 8;

/// Inputs of [`Kinds`].
#[derive(Properties, PartialEq)]
pub struct KindsProps {
    /// What every view gets.
    pub shared: Shared,
}

/// The bar with its legend and table; nothing for profiles that are not of CPU time.
#[component]
pub fn Kinds(props: &KindsProps) -> Html {
    let s = &props.shared;
    let answer = use_answer(&s.client, s.generation, Request::Kinds { query: s.query() }, |slabs| {
        serde_json::from_str::<KindsData>(&slabs.head).ok()
    });
    let Some(data) = answer.value().filter(|d| !d.kinds.is_empty() && d.samples > 0) else { return html! {} };
    let whole = data.samples as f64;
    let share = |k: &Kind| k.samples as f64 / whole;
    let place = |k: &Kind| {
        let function = (!k.function.is_empty()).then(|| k.function.clone());
        let view = ViewRef { function, ..s.place.same_samples(View::Functions) };
        (
            view.to_hash(),
            format!("{}: {} ({} samples), most in {}", k.label, format_share(share(k)), format_count(k.samples as f64), k.function),
        )
    };
    let colour = |at: usize| format!("background:var(--kind-{at})");
    let rest: f64 = data.kinds.iter().skip(SHOWN).map(share).sum();
    html! {
        <section class="kinds" aria-label="Kinds of work">
            <div class="kinds-bar" aria-hidden="true">
                { for data.kinds.iter().take(SHOWN).enumerate().map(|(at, k)| {
                    let (href, title) = place(k);
                    html! { <a {href} {title} tabindex="-1" style={format!("width:{:.4}%;{}", share(k) * 100.0, colour(at))}></a> }
                }) }
                if rest > 0.0 { <span title={format!("others: {}", format_share(rest))} style={format!("width:{:.4}%", rest * 100.0)}></span> }
            </div>
            <ul class="kinds-legend">
                { for data.kinds.iter().take(SHOWN).enumerate().map(|(at, k)| {
                    let (href, title) = place(k);
                    html! { <li><a {href} {title}><i style={colour(at)}></i>{ &k.label }<b>{ format_share(share(k)) }</b></a></li> }
                }) }
                if rest > 0.0 { <li class="dim">{ format!("others {}", format_share(rest)) }</li> }
            </ul>
            <details>
                <summary>{ "As a table" }</summary>
                <table>
                    <caption>{ over(data) }</caption>
                    <thead><tr><th scope="col">{ "Kind of work" }</th><th scope="col" class="n">{ "Share" }</th><th scope="col" class="n">{ &data.value }</th><th scope="col">{ "Most in" }</th></tr></thead>
                    <tbody>
                        { for data.kinds.iter().map(|k| html! {
                            <tr>
                                <th scope="row">{ &k.label }</th><td class="n">{ format_share(share(k)) }</td>
                                <td class="n">{ format_value(k.weight, &data.unit) }</td><td><a href={place(k).0}>{ &k.function }</a></td>
                            </tr>
                        }) }
                    </tbody>
                </table>
                <p class="dim">{ tax(data) }</p>
            </details>
        </section>
    }
}

fn over(data: &KindsData) -> String {
    let idle = if data.idle > 0 { format!("; {} idle ones are left out", format_count(data.idle as f64)) } else { String::new() };
    format!("Each of {} active samples in one kind of work{idle}.", format_count(data.samples as f64))
}

/// The comparison that Kanev et al. (ISCA 2015) allow.
fn tax(data: &KindsData) -> String {
    format!(
        "Serialization, RPC, hashing, compression, memory management and copying make {} here; in Google's fleet they were nearly 30 % (Kanev 2015).",
        format_share(data.tax as f64 / data.samples.max(1) as f64)
    )
}
