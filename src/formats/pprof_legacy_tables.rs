//! From an old profile to the tables of pprof: addresses become locations with functions and binaries.

use super::pprof::store_as;
use super::pprof_legacy::Raw;
use super::pprof_memory_map::Maps;
use super::pprof_samples::Samples;
use super::pprof_tables::Tables;
use super::wire::Value;
use super::{Import, ImportError};
use crate::base::protobuf::Message;
use std::collections::HashMap;

/// Texts by number; 0 is the empty one.
#[derive(Default)]
struct Texts<'a> {
    numbers: HashMap<&'a str, u64>,
    list: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    fn of(&mut self, text: &'a str) -> u64 {
        if self.list.is_empty() {
            self.list.push("");
            self.numbers.insert("", 0);
        }
        let next = self.list.len() as u64;
        let number = *self.numbers.entry(text).or_insert(next);
        if number == next {
            self.list.push(text);
        }
        number
    }
}

fn pair<'a>(texts: &mut Texts<'a>, name: &'a str, unit: &'a str) -> Message {
    let mut m = Message::default();
    m.number(1, texts.of(name));
    m.number(2, texts.of(unit));
    m
}

/// Makes a profile of what was read.
pub(super) fn store(raw: &Raw, maps: Maps, (drop, keep): (&str, &str), import: &mut Import<'_>) -> Result<(), ImportError> {
    let (mut tables, mut samples, mut texts) = (Tables::default(), Samples::default(), Texts::default());
    let mut field = |number: u64, message: &Message| tables.field(number, Value::Bytes(&message.bytes));
    for (name, unit) in &raw.types {
        let m = pair(&mut texts, name, unit);
        field(1, &m);
    }
    let m = pair(&mut texts, &raw.period_type.0, &raw.period_type.1);
    field(11, &m);
    // Locations in order of appearance: the numbers of addresses are their ids.
    let mut ids: HashMap<u64, u64> = HashMap::new();
    let mut addresses: Vec<u64> = Vec::new();
    for sample in &raw.samples {
        let mut m = Message::default();
        let locations: Vec<u64> = (sample.addresses.iter())
            .map(|a| {
                *ids.entry(*a).or_insert_with(|| {
                    addresses.push(*a);
                    addresses.len() as u64
                })
            })
            .collect();
        m.packed(1, locations.into_iter());
        m.packed(2, sample.values.iter().map(|v| *v as u64));
        for tag in &sample.tags {
            let mut label = Message::default();
            label.number(1, texts.of(&tag.key));
            label.number(2, texts.of(&tag.text));
            label.number(3, tag.number as u64);
            m.bytes(3, &label.bytes);
        }
        samples.add(&m.bytes);
    }
    for (at, map) in maps.list.iter().enumerate() {
        let mut m = Message::default();
        for (number, value) in [(1, at as u64 + 1), (2, map.start), (3, map.limit), (4, map.offset)] {
            m.number(number, value);
        }
        m.number(5, texts.of(&map.file));
        m.number(6, texts.of(&map.build_id));
        field(3, &m);
    }
    let mut order: Vec<usize> = (0..addresses.len()).collect();
    order.sort_by_key(|i| addresses[*i]);
    let sorted: Vec<u64> = order.iter().map(|i| addresses[*i]).collect();
    let mut map_of = vec![0_u64; addresses.len()];
    for (place, found) in order.into_iter().zip(maps.find(&sorted)) {
        map_of[place] = found.map_or(0, |m| m as u64 + 1);
    }
    let mut functions: HashMap<(u64, u64), u64> = HashMap::new();
    for (at, address) in addresses.iter().enumerate() {
        let mut m = Message::default();
        m.number(1, at as u64 + 1);
        if !raw.no_addresses {
            m.number(2, map_of[at]);
            m.number(3, *address);
        }
        for line in raw.lines(*address) {
            let key = (texts.of(&line.name), texts.of(&line.file));
            let next = functions.len() as u64 + 1;
            let id = *functions.entry(key).or_insert(next);
            if id == next {
                let mut function = Message::default();
                for (number, value) in [(1, id), (2, key.0), (3, key.0), (4, key.1)] {
                    function.number(number, value);
                }
                field(5, &function);
            }
            let mut l = Message::default();
            l.number(1, id);
            l.number(2, line.line);
            m.bytes(4, &l.bytes);
        }
        field(4, &m);
    }
    let (drop, keep) = (texts.of(drop), texts.of(keep));
    for text in &texts.list {
        tables.field(6, Value::Bytes(text.as_bytes()));
    }
    for (number, value) in [(7, drop), (8, keep), (10, raw.duration_ns as u64), (12, raw.period as u64)] {
        tables.field(number, Value::Int(value));
    }
    store_as("pprof-legacy", &tables, samples, import)
}
