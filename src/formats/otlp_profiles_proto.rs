//! OTLP profiles in protobuf: `ProfilesData` and `ExportProfilesServiceRequest`, which are alike; alone, or in a stream with their
//! lengths before them.

use super::json::Scalar;
use super::otlp_profiles_store::{Message, RawProfile, RawSample};
use super::otlp_profiles_tables::{AttrValue, Attribute, Function, Location, Mapping};
use super::otlp_value::key_value;
use super::span_sink::trace_id;
use super::wire::{Fields, Value, repeated, varint};

/// How the fields of a file's profiles are numbered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    /// opentelemetry-proto 1.9 and later.
    Current,
    /// An older draft.
    Older,
}

/// What stands before messages: bytes to pass over and bytes of the message.
pub fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    if layout(bytes).is_some() {
        return Some((0, bytes.len()));
    }
    if let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if layout(&rest[..rest.len().min(length)]).is_some() {
            return Some((4, length));
        }
    }
    let mut at = 0;
    let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
    let rest = &bytes[at..];
    layout(&rest[..rest.len().min(length)]).map(|_| (at, length))
}

/// Whether these bytes begin a message with profiles, and of which layout: the first profile tells.
pub fn layout(bytes: &[u8]) -> Option<Layout> {
    let Some((1, Value::Bytes(first))) = to_end(bytes).into_iter().next() else { return None };
    let scopes = to_end(first).into_iter().filter(|(number, _)| *number == 2);
    scopes.flat_map(|(_, scope)| to_end(scope.bytes())).filter(|(number, _)| *number == 2).find_map(|(_, profile)| {
        let fields = to_end(profile.bytes());
        match fields.first() {
            // A container of the first draft: an id, then two times.
            Some((1, Value::Bytes(id))) if id.len() == 16 && matches!(fields.get(1), Some((2, Value::Int(_)))) => Some(Layout::Older),
            Some((1, Value::Bytes(kind))) if is_value_type(kind) => {
                let samples = || fields.iter().filter(|(number, _)| *number == 2).map(|(_, sample)| sample.bytes());
                let known = |(number, value): &(u64, Value<'_>)| (1..=14).contains(number) && (*number != 2 || value.bytes().len() > 1);
                fields.iter().all(known).then_some(())?;
                let older = fields.iter().any(|(number, value)| matches!((number, value), (3, Value::Bytes(_))))
                    || fields.iter().filter(|(number, _)| *number == 1).count() > 1
                    || samples().any(|s| Fields::new(s).any(|(number, value)| matches!((number, value), (3, Value::Bytes(_)))));
                Some(if older { Layout::Older } else { Layout::Current })
            }
            _ => None,
        }
    })
}

fn is_value_type(bytes: &[u8]) -> bool {
    let mut fields = Fields::new(bytes);
    fields.by_ref().all(|(number, value)| matches!((number, value), (1..=3, Value::Int(_)))) && fields.damaged_at().is_none()
}

/// The fields of a message; one that the end cuts is given as far as it goes.
fn to_end(bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Fields::new(bytes);
    let mut out: Vec<(u64, Value<'_>)> = fields.by_ref().collect();
    out.extend(fields.cut().map(|(number, rest)| (number, Value::Bytes(rest))));
    out
}

/// Reads a message that begins at an offset of the file. `false` when it breaks off; what lies before was read.
pub fn message(bytes: &[u8], at: u64, out: &mut Message) -> bool {
    let mut fields = Fields::new(bytes);
    let mut whole = true;
    for (number, value) in fields.by_ref() {
        match number {
            1 => whole &= resource(value.bytes(), at, out),
            2 => whole &= dictionary(value.bytes(), out),
            _ => {}
        }
    }
    // What the end cuts is read as far as it goes.
    match fields.cut() {
        Some((1, rest)) => _ = resource(rest, at, out),
        Some((2, rest)) => _ = dictionary(rest, out),
        _ => {}
    }
    whole && fields.damaged_at().is_none()
}

fn resource(bytes: &[u8], at: u64, out: &mut Message) -> bool {
    out.resources.push(Vec::new());
    let mut whole = Fields::new(bytes).count() == to_end(bytes).len();
    for (number, value) in to_end(bytes) {
        if number == 1 {
            let attributes = Fields::new(value.bytes()).filter(|(number, _)| *number == 1).map(|(_, kv)| attribute(kv.bytes()));
            if let Some(resource) = out.resources.last_mut() {
                resource.extend(attributes);
            }
        }
        for (_, value) in to_end(value.bytes()).into_iter().filter(|(inner, _)| (number, *inner) == (2, 2)) {
            whole &= profile(value.bytes(), at, out);
        }
    }
    whole
}

/// A `KeyValue`, whose key and text may be rows of the dictionary.
fn attribute(bytes: &[u8]) -> (AttrValue, AttrValue) {
    let (key, value) = key_value(bytes);
    let mut out = (AttrValue::Text(key.into_owned()), attr_value(&value));
    for (number, field) in Fields::new(bytes) {
        match number {
            3 => out.0 = AttrValue::Constant(field.i64()),
            2 => out.1 = constant(field.bytes()).unwrap_or(out.1),
            _ => {}
        }
    }
    out
}

/// An `AnyValue` that is a row of the strings.
fn constant(any_value: &[u8]) -> Option<AttrValue> {
    Fields::new(any_value).find(|(number, _)| *number == 8).map(|(_, row)| AttrValue::Constant(row.i64()))
}

/// A value as labels hold it.
pub fn attr_value(value: &Scalar<'_>) -> AttrValue {
    match value {
        Scalar::Null => AttrValue::Null,
        Scalar::Int(n) => AttrValue::Number(*n),
        Scalar::Big(n) => AttrValue::Text(n.to_string()),
        Scalar::Bool(b) => AttrValue::Text(b.to_string()),
        Scalar::Float(f) => AttrValue::Text(f.to_string()),
        Scalar::Text(text) | Scalar::Json(text) => AttrValue::Text(text.to_string()),
    }
}

fn numbers(value: Value<'_>, out: &mut Vec<i64>) {
    let mut raw = Vec::new();
    repeated(value, &mut raw);
    out.extend(raw.into_iter().map(|n| n as i64));
}

/// Times are `fixed64`, packed or not.
fn times(value: Value<'_>, out: &mut Vec<i64>) {
    match value {
        Value::Int(n) => out.push(i64::try_from(n).unwrap_or(i64::MAX)),
        Value::Bytes(bytes) => {
            out.extend(bytes.as_chunks::<8>().0.iter().map(|eight| i64::try_from(u64::from_le_bytes(*eight)).unwrap_or(i64::MAX)))
        }
    }
}

fn pair(bytes: &[u8]) -> (i64, i64) {
    let mut out = (0, 0);
    for (number, value) in Fields::new(bytes) {
        match number {
            1 => out.0 = value.i64(),
            2 => out.1 = value.i64(),
            _ => {}
        }
    }
    out
}

fn profile(bytes: &[u8], at: u64, out: &mut Message) -> bool {
    let mut profile = RawProfile { resource: out.resources.len() - 1, at, ..RawProfile::default() };
    let (mut fields, mut whole, mut payload) = (Fields::new(bytes), true, None);
    for (number, value) in fields.by_ref() {
        match number {
            1 => profile.sample_type = pair(value.bytes()),
            2 => whole &= sample(value.bytes(), &mut profile),
            3 => profile.time_ns = value.i64(),
            4 => profile.duration_ns = value.i64(),
            5 => profile.period_type = pair(value.bytes()),
            6 => profile.period = value.i64(),
            9 => payload = Some(String::from_utf8_lossy(value.bytes()).into_owned()),
            10 if !value.bytes().is_empty() => profile.payload = Some(payload.clone().unwrap_or_default()),
            _ => {}
        }
    }
    out.profiles.push(profile);
    whole && fields.damaged_at().is_none()
}

fn sample(bytes: &[u8], profile: &mut RawProfile) -> bool {
    let mut sample = RawSample::default();
    let mut fields = Fields::new(bytes);
    for (number, value) in fields.by_ref() {
        match number {
            1 => sample.stack = value.i64(),
            2 => numbers(value, &mut sample.attributes),
            3 => sample.link = value.i64(),
            4 => numbers(value, &mut sample.values),
            5 => times(value, &mut sample.times),
            _ => {}
        }
    }
    profile.samples.push(sample);
    fields.damaged_at().is_none()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn dictionary(bytes: &[u8], message: &mut Message) -> bool {
    let out = &mut message.dictionary;
    let mut fields = Fields::new(bytes);
    for (number, value) in fields.by_ref() {
        let row = Fields::new(value.bytes());
        match number {
            1 => {
                let mut mapping = Mapping::default();
                for (number, value) in row {
                    match number {
                        4 => mapping.file = value.i64(),
                        5 => numbers(value, &mut mapping.attributes),
                        _ => {}
                    }
                }
                out.mappings.push(mapping);
            }
            2 => {
                let mut location = Location::default();
                for (number, value) in row {
                    match number {
                        1 => location.mapping = value.i64(),
                        2 => location.address = value.u64(),
                        3 => location.lines.push(pair(value.bytes())),
                        4 => numbers(value, &mut location.attributes),
                        _ => {}
                    }
                }
                out.locations.push(location);
            }
            3 => {
                let mut function = Function::default();
                for (number, value) in row {
                    match number {
                        1 => function.name = value.i64(),
                        2 => function.system_name = value.i64(),
                        3 => function.file = value.i64(),
                        4 => function.start_line = value.i64(),
                        _ => {}
                    }
                }
                out.functions.push(function);
            }
            4 => {
                let mut link = (String::new(), String::new());
                for (number, value) in row {
                    match number {
                        1 => link.0 = trace_id(&hex(value.bytes())),
                        2 => link.1 = hex(value.bytes()),
                        _ => {}
                    }
                }
                out.links.push(link);
            }
            5 => out.strings.push(String::from_utf8_lossy(value.bytes()).into_owned()),
            6 => {
                let mut attribute = Attribute::default();
                for (number, field) in row {
                    match number {
                        1 => attribute.key = field.i64(),
                        // A `KeyValue` with an empty key: what it says of the value holds here too.
                        2 => attribute.value = constant(field.bytes()).unwrap_or_else(|| attr_value(&key_value(value.bytes()).1)),
                        3 => attribute.unit = field.i64(),
                        _ => {}
                    }
                }
                out.attributes.push(attribute);
            }
            7 => {
                let mut stack = Vec::new();
                row.filter(|(number, _)| *number == 1).for_each(|(_, value)| numbers(value, &mut stack));
                out.stacks.push(stack);
            }
            _ => {}
        }
    }
    fields.damaged_at().is_none()
}
