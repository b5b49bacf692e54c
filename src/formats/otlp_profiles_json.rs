//! OTLP profiles as JSON (protobuf's JSON mapping with hex ids): one message, an array of them, or JSON lines. Samples are read
//! one by one, so that a broken one is lost alone.

use super::json::{Broken, Json, Scalar, Stop, Text};
use super::json_mend::record;
use super::otlp_profiles_proto::attr_value;
use super::otlp_profiles_store::{Message, RawProfile, RawSample, Store};
use super::otlp_profiles_tables::{AttrValue, Attribute, Dictionary, Function, Location, Mapping};
use super::span_sink::{span_id_text, trace_id};
use super::{Import, ImportError};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use serde::{Deserialize, Deserializer};
use std::io::BufRead;

const BAD_SAMPLE: DiagnosticCode = DiagnosticCode {
    code: "otlp-profiles/bad-record",
    level: Level::DataLoss,
    message: "Samples or tables that are not of the format were dropped.",
};

/// A number, also as a text, as protobuf writes 64 bits.
#[derive(Clone, Copy, Debug, Default)]
struct Num(i64);

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Num, D::Error> {
        Ok(Num(Scalar::deserialize(d)?.int().unwrap_or(0)))
    }
}

/// A number of 64 bits without sign.
#[derive(Clone, Copy, Debug, Default)]
struct Wide(u64);

impl<'de> Deserialize<'de> for Wide {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Wide, D::Error> {
        Ok(Wide(match Scalar::deserialize(d)? {
            Scalar::Big(n) => n,
            Scalar::Text(text) => text.trim().parse().unwrap_or(0),
            other => other.int().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        }))
    }
}

type Nums = Option<Vec<Num>>;

fn nums(list: Nums) -> Vec<i64> {
    list.unwrap_or_default().into_iter().map(|n| n.0).collect()
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SampleRecord {
    #[serde(alias = "stack_index")]
    stack_index: Num,
    #[serde(alias = "attribute_indices")]
    attribute_indices: Nums,
    #[serde(alias = "link_index")]
    link_index: Num,
    values: Nums,
    #[serde(alias = "timestamps_unix_nano")]
    timestamps_unix_nano: Nums,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ValueTypeRecord {
    #[serde(alias = "type_strindex")]
    type_strindex: Num,
    #[serde(alias = "unit_strindex")]
    unit_strindex: Num,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct MappingRecord {
    #[serde(alias = "filename_strindex")]
    filename_strindex: Num,
    #[serde(alias = "attribute_indices")]
    attribute_indices: Nums,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct LineRecord {
    #[serde(alias = "function_index")]
    function_index: Num,
    line: Num,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct LocationRecord {
    #[serde(alias = "mapping_index")]
    mapping_index: Num,
    address: Wide,
    lines: Option<Vec<LineRecord>>,
    #[serde(alias = "attribute_indices")]
    attribute_indices: Nums,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct FunctionRecord {
    #[serde(alias = "name_strindex")]
    name_strindex: Num,
    #[serde(alias = "system_name_strindex")]
    system_name_strindex: Num,
    #[serde(alias = "filename_strindex")]
    filename_strindex: Num,
    #[serde(alias = "start_line")]
    start_line: Num,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, bound = "'de: 'a")]
struct LinkRecord<'a> {
    #[serde(alias = "trace_id")]
    trace_id: Text<'a>,
    #[serde(alias = "span_id")]
    span_id: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, bound = "'de: 'a")]
struct AnyRecord<'a> {
    #[serde(alias = "string_value")]
    string_value: Option<Text<'a>>,
    #[serde(alias = "string_value_strindex")]
    string_value_strindex: Option<Num>,
    #[serde(alias = "int_value")]
    int_value: Option<Num>,
    #[serde(alias = "bool_value", alias = "doubleValue", alias = "double_value", alias = "bytesValue", alias = "bytes_value")]
    #[serde(alias = "arrayValue", alias = "array_value", alias = "kvlistValue", alias = "kvlist_value")]
    bool_value: Scalar<'a>,
}

impl AnyRecord<'_> {
    fn value(self) -> AttrValue {
        match self {
            AnyRecord { string_value: Some(text), .. } => AttrValue::Text(text.0.into_owned()),
            AnyRecord { string_value_strindex: Some(row), .. } => AttrValue::Constant(row.0),
            AnyRecord { int_value: Some(n), .. } => AttrValue::Number(n.0),
            AnyRecord { bool_value, .. } => attr_value(&bool_value),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, bound = "'de: 'a")]
struct AttributeRecord<'a> {
    key: Option<Text<'a>>,
    #[serde(alias = "key_strindex")]
    key_strindex: Num,
    value: Option<AnyRecord<'a>>,
    #[serde(alias = "unit_strindex")]
    unit_strindex: Num,
}

#[derive(Deserialize, Default)]
#[serde(default, bound = "'de: 'a")]
struct ResourceRecord<'a> {
    attributes: Option<Vec<AttributeRecord<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct StackRecord {
    #[serde(alias = "location_indices")]
    location_indices: Nums,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, bound = "'de: 'a")]
struct DictionaryRecord<'a> {
    #[serde(alias = "mapping_table")]
    mapping_table: Option<Vec<MappingRecord>>,
    #[serde(alias = "location_table")]
    location_table: Option<Vec<LocationRecord>>,
    #[serde(alias = "function_table")]
    function_table: Option<Vec<FunctionRecord>>,
    #[serde(alias = "link_table")]
    link_table: Option<Vec<LinkRecord<'a>>>,
    #[serde(alias = "string_table")]
    string_table: Option<Vec<Text<'a>>>,
    #[serde(alias = "attribute_table")]
    attribute_table: Option<Vec<AttributeRecord<'a>>>,
    #[serde(alias = "stack_table")]
    stack_table: Option<Vec<StackRecord>>,
}

impl DictionaryRecord<'_> {
    fn tables(self) -> Dictionary {
        fn rows<T, U>(list: Option<Vec<T>>, row: impl Fn(T) -> U) -> Vec<U> {
            list.unwrap_or_default().into_iter().map(row).collect()
        }
        Dictionary {
            strings: rows(self.string_table, |text| text.0.into_owned()),
            mappings: rows(self.mapping_table, |m| Mapping { file: m.filename_strindex.0, attributes: nums(m.attribute_indices) }),
            locations: rows(self.location_table, |l| Location {
                mapping: l.mapping_index.0,
                address: l.address.0,
                lines: rows(l.lines, |line| (line.function_index.0, line.line.0)),
                attributes: nums(l.attribute_indices),
            }),
            functions: rows(self.function_table, |f| Function {
                name: f.name_strindex.0,
                system_name: f.system_name_strindex.0,
                file: f.filename_strindex.0,
                start_line: f.start_line.0,
            }),
            links: rows(self.link_table, |l| (trace_id(&l.trace_id.0), span_id_text(&l.span_id.0))),
            attributes: rows(self.attribute_table, |a| Attribute {
                key: a.key_strindex.0,
                value: a.value.map_or(AttrValue::Null, AnyRecord::value),
                unit: a.unit_strindex.0,
            }),
            stacks: rows(self.stack_table, |s| nums(s.location_indices)),
        }
    }
}

/// Reads every message of a file.
///
/// # Errors
/// Those of the import.
pub fn read(input: &mut dyn BufRead, store: &mut Store, import: &mut Import<'_>, cut: DiagnosticCode) -> Result<(), ImportError> {
    let mut json = Json::new(input);
    let mut reader = Reader::default();
    loop {
        match json.peek().map_err(|e| e.into_error(super::otlp_profiles::NAME))? {
            None => return Ok(()),
            Some(b'[' | b',' | b']') => {
                json.pass(1);
                continue;
            }
            Some(_) => {}
        }
        reader.message = Message::default();
        let end = reader.message(&mut json, import);
        // What was read of a broken message counts too.
        store.add(std::mem::take(&mut reader.message), import);
        match end {
            Ok(()) => {}
            Err(Stop::Import(e)) => return Err(e),
            Err(Stop::Broken(Broken::Io(reason))) => return Err(ImportError::Io(reason)),
            Err(Stop::Broken(broken)) => {
                import.report(cut, At::Byte(json.position()), &broken.to_string());
                if broken == Broken::End || !json.next_line().map_err(|e| e.into_error(super::otlp_profiles::NAME))? {
                    return Ok(());
                }
            }
        }
    }
}

#[derive(Default)]
struct Reader {
    message: Message,
    key: String,
    raw: Vec<u8>,
    spare: Vec<u8>,
}

impl Reader {
    fn message(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        open(json)?;
        while json.next_key(&mut self.key)? {
            match self.key.as_str() {
                "resourceProfiles" | "resource_profiles" if json.eat(b'[')? => {
                    while json.next_item()? {
                        self.resource(json, import)?;
                    }
                }
                "dictionary" => {
                    let at = json.position();
                    json.raw(&mut self.raw)?;
                    match record::<DictionaryRecord<'_>>(&self.raw, &mut self.spare, at, import) {
                        Ok(dictionary) => self.message.dictionary = dictionary.tables(),
                        Err(e) => import.report(BAD_SAMPLE, At::Byte(at), &format!("the dictionary: {e}")),
                    }
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    fn resource(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        open(json)?;
        let at = self.message.resources.len();
        self.message.resources.push(Vec::new());
        while json.next_key(&mut self.key)? {
            match self.key.as_str() {
                "resource" => {
                    let place = json.position();
                    json.raw(&mut self.raw)?;
                    let read = record::<ResourceRecord<'_>>(&self.raw, &mut self.spare, place, import).unwrap_or_default();
                    let attribute = |a: AttributeRecord<'_>| {
                        let key = a.key.filter(|key| !key.0.is_empty()).map(|key| AttrValue::Text(key.0.into_owned()));
                        (key.unwrap_or(AttrValue::Constant(a.key_strindex.0)), a.value.map_or(AttrValue::Null, AnyRecord::value))
                    };
                    self.message.resources[at] = read.attributes.unwrap_or_default().into_iter().map(attribute).collect();
                }
                "scopeProfiles" | "scope_profiles" if json.eat(b'[')? => {
                    while json.next_item()? {
                        self.scope(json, at, import)?;
                    }
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    fn scope(&mut self, json: &mut Json<'_>, resource: usize, import: &mut Import<'_>) -> Result<(), Stop> {
        open(json)?;
        while json.next_key(&mut self.key)? {
            if self.key == "profiles" && json.eat(b'[')? {
                while json.next_item()? {
                    let at = json.position();
                    self.message.profiles.push(RawProfile { resource, at, ..RawProfile::default() });
                    self.profile(json, import)?;
                }
            } else {
                json.skip()?;
            }
        }
        Ok(())
    }

    fn profile(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        open(json)?;
        let mut format = None;
        while json.next_key(&mut self.key)? {
            let key = std::mem::take(&mut self.key);
            if key == "samples" && json.eat(b'[')? {
                while json.next_item()? {
                    self.sample(json, import)?;
                }
                self.key = key;
                continue;
            }
            // Names of older drafts: samples under another name, tables in each profile, profiles in containers.
            if matches!(
                key.as_str(),
                "sample" | "locationIndices" | "location_indices" | "stringTable" | "string_table" | "profile" | "timeNanos" | "time_nanos"
            ) {
                self.message.older = true;
            }
            json.raw(&mut self.raw)?;
            let Some(profile) = self.message.profiles.last_mut() else { continue };
            let kind = |raw: &[u8]| serde_json::from_slice::<ValueTypeRecord>(raw).unwrap_or_default();
            let number = |raw: &[u8]| serde_json::from_slice::<Num>(raw).unwrap_or_default().0;
            match key.as_str() {
                "sampleType" | "sample_type" => {
                    let kind = kind(&self.raw);
                    profile.sample_type = (kind.type_strindex.0, kind.unit_strindex.0);
                }
                "periodType" | "period_type" => {
                    let kind = kind(&self.raw);
                    profile.period_type = (kind.type_strindex.0, kind.unit_strindex.0);
                }
                "period" => profile.period = number(&self.raw),
                "timeUnixNano" | "time_unix_nano" => profile.time_ns = number(&self.raw),
                "durationNano" | "duration_nano" => profile.duration_ns = number(&self.raw),
                "originalPayloadFormat" | "original_payload_format" => {
                    format = serde_json::from_slice::<Text<'_>>(&self.raw).ok().map(|t| t.0.into_owned());
                }
                "originalPayload" | "original_payload" if self.raw.len() > 2 => profile.payload = Some(format.clone().unwrap_or_default()),
                _ => {}
            }
            self.key = key;
        }
        Ok(())
    }

    fn sample(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let at = json.position();
        json.raw(&mut self.raw)?;
        match record::<SampleRecord>(&self.raw, &mut self.spare, at, import) {
            Ok(s) => {
                if let Some(profile) = self.message.profiles.last_mut() {
                    profile.samples.push(RawSample {
                        stack: s.stack_index.0,
                        attributes: nums(s.attribute_indices),
                        link: s.link_index.0,
                        values: nums(s.values),
                        times: nums(s.timestamps_unix_nano),
                    });
                    if profile.samples.len().is_multiple_of(4096) {
                        import.tick(import.ledger.records_in + profile.samples.len() as u64)?;
                    }
                }
            }
            Err(e) => {
                import.ledger.records_in += 1;
                import.report(BAD_SAMPLE, At::Byte(at), &e.to_string());
            }
        }
        Ok(())
    }
}

fn open(json: &mut Json<'_>) -> Result<(), Stop> {
    if json.eat(b'{')? { Ok(()) } else { Err(Broken::Unexpected(json.position(), "an object").into()) }
}
