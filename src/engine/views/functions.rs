//! The function table, and one function with its callers and callees.

use super::derived::{category_names, check};
use super::flame::Places;
use crate::analysis::functions::{By, Entry, Granularity, Names, Options, functions, label};
use crate::analysis::neighbours::{heaviest_path, neighbours, places};
use crate::base::ids::FuncId;
use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::functions::{FunctionDetail, FunctionsData, FunctionsHead, Neighbour, PLACES, Place, Rows, TableForm};
use crate::engine::protocol::{Failure, SampleQuery};
use crate::model::Session;
use crate::model::symbols::NO_ADDRESS;

/// The whole table, largest self weight first.
///
/// # Errors
/// [`Failure`] when the query names nothing.
pub fn answer(engine: &mut Engine, query: &SampleQuery, form: TableForm) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let value = &check(session, query)?.value_types[query.value as usize];
    let derived = engine.cache.selections.get(session, query)?;
    let session = derived.session(session);
    let rows = form.rows;
    let granularity = match rows {
        Rows::Functions => Granularity::Functions,
        Rows::FileFunctions => Granularity::FileFunctions,
        Rows::Files => Granularity::Files,
        Rows::Lines => Granularity::Lines,
        Rows::Addresses => Granularity::Addresses,
    };
    let names = if form.full_names { Names::Full } else { Names::Simple };
    let options = Options { granularity, no_inlines: form.no_inlines, names };
    let mut table = functions(session, &derived.weights, options);
    table.sort(session, By::Own);
    let head = FunctionsHead {
        value: value.name.clone(),
        unit: value.unit.clone(),
        total: table.sum as f64,
        whole: table.magnitude as f64,
        rows: table.rows.len() as u32,
        categories: category_names(),
    };
    let mut out = FunctionsData { head, ..FunctionsData::default() };
    let mut places = Places::default();
    for e in &table.rows {
        let f = e.func.index();
        let canonical = session.symbols.funcs.canonical[f].index();
        out.names.push(&label(session, e));
        out.module.push(places.position(session.symbols.module(&session.strings, e.func)));
        let function = if rows == Rows::Files { "" } else { session.symbols.func_name(&session.strings, e.func) };
        out.function.push(places.position(function));
        out.file.push(places.position(session.strings.get(session.symbols.funcs.file[f])));
        out.line.push(e.line);
        out.self_weight.push(e.own as f64);
        out.total.push(e.total as f64);
        out.category.push(if rows == Rows::Files { 0 } else { derived.category[canonical] });
        if rows == Rows::Addresses {
            out.addresses.push(&address(e));
        }
    }
    out.places = places.texts;
    out.encode()
}

/// One function by name.
///
/// # Errors
/// [`Failure`] when the query names nothing or no function has this name.
pub fn detail(engine: &mut Engine, query: &SampleQuery, name: &str) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let value = &check(session, query)?.value_types[query.value as usize];
    let derived = engine.cache.selections.get(session, query)?;
    let session = derived.session(session);
    let func = session.strings.find(name).and_then(|n| session.symbols.funcs.find_by_name(n));
    let func = func.ok_or_else(|| Failure::new(format!("there is no function {name}")))?;
    let n = neighbours(session, &derived.weights, func);
    let listed = |granularity| -> Vec<Place> {
        places(session, &derived.weights, func, granularity, PLACES).iter().map(|e| place(session, e)).collect()
    };
    FunctionDetail {
        name: name.to_string(),
        module: session.symbols.module(&session.strings, func).to_string(),
        file: session.strings.get(session.symbols.funcs.file[func.index()]).to_string(),
        category: category_names()[usize::from(derived.category[func.index()])].clone(),
        unit: value.unit.clone(),
        whole: derived.weights.magnitude as f64,
        self_weight: n.own as f64,
        total: n.total as f64,
        as_root: n.as_root as f64,
        callers: n.callers.iter().map(|c| neighbour(session, *c)).collect(),
        callees: n.callees.iter().map(|c| neighbour(session, *c)).collect(),
        lines: listed(Granularity::Lines),
        addresses: listed(Granularity::Addresses),
        path: heaviest_path(session, &derived.tree, func),
    }
    .encode()
}

fn neighbour(session: &Session, (func, weight): (FuncId, i64)) -> Neighbour {
    Neighbour {
        name: session.symbols.func_name(&session.strings, func).to_string(),
        module: session.symbols.module(&session.strings, func).to_string(),
        weight: weight as f64,
    }
}

fn place(session: &Session, e: &Entry) -> Place {
    Place {
        file: session.strings.get(e.file).to_string(),
        line: e.line,
        address: address(e),
        self_weight: e.own as f64,
        total: e.total as f64,
    }
}

/// `+0x1f` in the symbol, else the address, else nothing.
fn address(e: &Entry) -> String {
    if e.offset != NO_ADDRESS {
        format!("+{:#x}", e.offset)
    } else if e.address != NO_ADDRESS {
        format!("{:#x}", e.address)
    } else {
        String::new()
    }
}
