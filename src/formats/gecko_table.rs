//! Tables of Gecko and processed profiles, read as a stream: an object of columns, or a schema with rows.

use super::json::{Broken, Json, Scalar, Stop, Text};
use super::{Import, ImportError};
use std::collections::BTreeMap;

/// Cells of a row that are looked at; schemas have a dozen.
const MAX_PLACES: usize = 32;

/// Columns of numbers by name. A cell that is null or no number is not a number.
#[derive(Debug, Default)]
pub struct Table {
    columns: BTreeMap<&'static str, Vec<f64>>,
    length: usize,
    /// `weightType` of a table of samples.
    pub weight_type: String,
}

impl Table {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.columns.values().map(Vec::len).max().unwrap_or(0).max(if self.columns.is_empty() { self.length } else { 0 })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A column; empty when the table has none of this name.
    pub fn column(&self, name: &str) -> &[f64] {
        self.columns.get(name).map_or(&[], Vec::as_slice)
    }

    /// A cell as a number that is there.
    pub fn number(&self, name: &str, row: usize) -> Option<f64> {
        self.column(name).get(row).copied().filter(|n| n.is_finite())
    }

    /// A cell as a row of another table; -1 and null are none.
    pub fn index(&self, name: &str, row: usize) -> Option<usize> {
        self.number(name, row).filter(|n| *n >= 0.0).map(|n| n as usize)
    }
}

/// Reads a table, of which the wanted columns are kept. What is no table is passed over.
///
/// # Errors
/// [`Broken`] where the text is damaged, or the import was stopped; what was read is in `out`.
pub fn read(json: &mut Json<'_>, wanted: &[&'static str], out: &mut Table, import: &mut Import<'_>) -> Result<(), Stop> {
    if !json.eat(b'{')? {
        return Ok(json.skip()?);
    }
    let (mut key, mut raw) = (String::new(), Vec::new());
    // What stands at each place of a row; the schema may follow the rows.
    let mut schema: Option<Vec<Option<&'static str>>> = None;
    let mut places: Vec<Vec<f64>> = Vec::new();
    let result = members(json, wanted, &mut key, &mut raw, &mut schema, &mut places, out, import);
    for (name, column) in schema.unwrap_or_default().into_iter().zip(places) {
        if let Some(name) = name {
            out.columns.insert(name, column);
        }
    }
    result
}

fn members(
    json: &mut Json<'_>,
    wanted: &[&'static str],
    key: &mut String,
    raw: &mut Vec<u8>,
    schema: &mut Option<Vec<Option<&'static str>>>,
    places: &mut Vec<Vec<f64>>,
    out: &mut Table,
    import: &mut Import<'_>,
) -> Result<(), Stop> {
    while json.next_key(key)? {
        let name = wanted.iter().find(|name| *name == key).copied();
        match key.as_str() {
            "schema" => {
                json.raw(raw)?;
                *schema = Some(columns(raw, wanted));
            }
            "data" if json.eat(b'[')? => rows(json, schema.as_deref(), places, import)?,
            "length" | "weightType" => {
                json.raw(raw)?;
                let value = serde_json::from_slice::<Text<'_>>(raw).unwrap_or_default().0;
                if key == "length" {
                    out.length = value.parse().unwrap_or(0);
                } else {
                    out.weight_type = value.into_owned();
                }
            }
            _ => match name {
                Some(name) if json.eat(b'[')? => {
                    let column = out.columns.entry(name).or_default();
                    while json.next_item()? {
                        column.push(cell(json, raw)?);
                        tick(column.len(), import)?;
                    }
                }
                _ => json.skip()?,
            },
        }
    }
    Ok(())
}

fn tick(rows: usize, import: &mut Import<'_>) -> Result<(), ImportError> {
    if rows.is_multiple_of(65_536) { import.tick(rows as u64) } else { Ok(()) }
}

fn cell(json: &mut Json<'_>, raw: &mut Vec<u8>) -> Result<f64, Broken> {
    if matches!(json.peek()?, Some(b'{' | b'[')) {
        json.skip()?;
        return Ok(f64::NAN);
    }
    json.raw(raw)?;
    Ok(match serde_json::from_slice::<Scalar<'_>>(raw).unwrap_or_default() {
        Scalar::Int(n) => n as f64,
        Scalar::Big(n) => n as f64,
        Scalar::Float(n) => n,
        Scalar::Bool(b) => f64::from(u8::from(b)),
        Scalar::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
        Scalar::Null | Scalar::Json(_) => f64::NAN,
    })
}

/// Which wanted column stands at each place of a row.
fn columns(schema: &[u8], wanted: &[&'static str]) -> Vec<Option<&'static str>> {
    let places: BTreeMap<String, usize> = serde_json::from_slice(schema).unwrap_or_default();
    let last = wanted.iter().filter_map(|name| places.get(*name)).max().copied().unwrap_or(0).min(MAX_PLACES - 1);
    let mut out = vec![None; last + 1];
    for name in wanted {
        if let Some(slot) = places.get(*name).and_then(|at| out.get_mut(*at)) {
            *slot = Some(*name);
        }
    }
    out
}

/// Reads rows into columns by place, without those that are known not to be wanted. Arrays of anything but rows (the data of
/// markers in processed profiles) are passed over.
fn rows(
    json: &mut Json<'_>,
    schema: Option<&[Option<&'static str>]>,
    places: &mut Vec<Vec<f64>>,
    import: &mut Import<'_>,
) -> Result<(), Stop> {
    let wanted = |at: usize| at < MAX_PLACES && schema.is_none_or(|schema| schema.get(at).is_some_and(Option::is_some));
    let mut raw = Vec::new();
    let mut row = 0;
    while json.next_item()? {
        if !json.eat(b'[')? {
            json.skip()?;
            continue;
        }
        let mut at = 0;
        while json.next_item()? {
            if wanted(at) {
                if places.len() <= at {
                    places.resize_with(at + 1, Vec::new);
                }
                // Rows end with their last cell that is not null.
                places[at].resize(row, f64::NAN);
                places[at].push(cell(json, &mut raw)?);
            } else {
                json.skip()?;
            }
            at += 1;
        }
        row += 1;
        tick(row, import)?;
    }
    places.iter_mut().filter(|column| !column.is_empty()).for_each(|column| column.resize(row, f64::NAN));
    Ok(())
}
