//! Profiles of the Firefox Profiler: processed ones (all versions up to 70, also of samply and other importers) and raw ones of
//! Gecko (rows with schemas, subprocesses inside). Tables are read as a stream into columns and resolved at the end, because
//! shared tables may stand anywhere.

use super::gecko_build::{self, Document, Lib, Thread};
use super::gecko_table::{self, Table};
use super::json::{Broken, Json, Stop, Text, outline};
use super::span_sink::CUT;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StringId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use serde::Deserialize;
use std::io::BufRead;

const NAME: &str = "Firefox Profiler JSON";
/// The newest version of processed profiles whose form is known.
const NEWEST: i64 = 70;
const NEWER: DiagnosticCode = DiagnosticCode {
    code: "gecko/newer-version",
    level: Level::Notice,
    message: "The profile is of a version that is newer than those known here; tables that moved since are missing.",
};
const MARKERS: DiagnosticCode =
    DiagnosticCode { code: "gecko/markers-not-drawn", level: Level::Info, message: "Markers are counted and not drawn." };

/// The format.
pub struct Gecko;

impl Format for Gecko {
    fn id(&self) -> &'static str {
        "gecko"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "profile.json"]
    }
    fn hint(&self) -> &'static str {
        "The Firefox Profiler (profiler.firefox.com, \u{201c}Upload Local Profile\u{201d} or Download), `samply record --save-only -o profile.json`, `MOZ_PROFILER_SHUTDOWN` write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes).filter(|o| o.first == b'{') else { return Sniff::No };
        let text = prefix.text();
        let meta = o.has(&["meta"]) && (o.has(&["threads", "libs"]) || text.contains("\"preprocessedProfileVersion\""));
        let threads = o.has(&["threads"]) && text.contains("\"stackTable\"");
        if meta || threads { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut reader = Reader::default();
        let mut json = Json::new(input);
        let mut end = reader.document(&mut json, import);
        let mut at = json.position();
        // The oldest profiles hold subprocesses as texts of JSON.
        while end.is_ok()
            && let Some(text) = reader.texts.pop()
        {
            let mut bytes = text.as_bytes();
            let mut json = Json::new(&mut bytes);
            end = reader.document(&mut json, import);
            at = json.position();
        }
        let some = reader.threads.iter().any(|t| !t.samples.is_empty());
        let result = match end {
            Ok(()) if reader.threads.is_empty() => Err(ImportError::Malformed { format: NAME, reason: "it has no threads".into() }),
            Ok(()) => Ok(()),
            Err(Stop::Import(e)) => Err(e),
            Err(Stop::Broken(Broken::Io(reason))) => Err(ImportError::Io(reason)),
            Err(Stop::Broken(broken)) if some => {
                import.report(CUT, At::Byte(at), &broken.to_string());
                Ok(())
            }
            Err(Stop::Broken(broken)) => return Err(broken.into_error(NAME)),
        };
        if result != Err(ImportError::Stopped) {
            for document in &reader.documents {
                if document.version > NEWEST {
                    import.report(NEWER, At::File, &document.version.to_string());
                }
            }
            let markers: u64 = reader.threads.iter().map(|t| t.markers).sum();
            if markers > 0 {
                import.ledger.diagnostics.report_many(MARKERS, markers, At::File, "");
            }
            // The threads of a process stand in front of those of its subprocesses, wherever the file has them.
            reader.threads.sort_by_key(|t| t.document);
            gecko_build::store(&reader.documents, &reader.threads, import);
        }
        result
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    interval: Option<f64>,
    start_time: Option<f64>,
    preprocessed_profile_version: Option<i64>,
    categories: Option<Vec<Category>>,
    sample_units: Option<SampleUnits>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Category {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SampleUnits {
    #[serde(rename = "threadCPUDelta")]
    cpu: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLib<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    path: Text<'a>,
    #[serde(rename = "breakpadId", borrow)]
    build: Text<'a>,
}

#[derive(Default)]
struct Reader {
    documents: Vec<Document>,
    threads: Vec<Thread>,
    texts: Vec<String>,
    key: String,
    raw: Vec<u8>,
}

/// Where the walk is: in a profile, or in its array of subprocesses.
enum Place {
    Profile(usize),
    Processes,
}

impl Reader {
    /// Reads a profile and the subprocesses in it.
    fn document(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "an object").into());
        }
        let mut levels = vec![self.open()];
        while let Some(level) = levels.last() {
            match *level {
                Place::Processes => {
                    if !json.next_item()? {
                        levels.pop();
                    } else if json.eat(b'{')? {
                        levels.push(self.open());
                    } else {
                        json.skip()?;
                    }
                }
                Place::Profile(row) => {
                    if !json.next_key(&mut self.key)? {
                        levels.pop();
                    } else if self.key == "processes" && json.eat(b'[')? {
                        levels.push(Place::Processes);
                    } else {
                        self.member(row, json, import)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Place {
        self.documents.push(Document::default());
        Place::Profile(self.documents.len() - 1)
    }

    fn member(&mut self, row: usize, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        match self.key.as_str() {
            "meta" => {
                json.raw(&mut self.raw)?;
                let meta: Meta = serde_json::from_slice(&self.raw).unwrap_or_default();
                let d = &mut self.documents[row];
                d.interval_ms = meta.interval.unwrap_or(0.0);
                d.start_ms = meta.start_time.unwrap_or(0.0);
                d.version = meta.preprocessed_profile_version.unwrap_or(0);
                d.cpu_unit = meta.sample_units.and_then(|u| u.cpu).unwrap_or_default();
                d.categories = meta.categories.into_iter().flatten().map(|c| import.session.strings.intern(&c.name)).collect();
            }
            "libs" => {
                let mut libs = Vec::new();
                let result = self.libs(json, import, &mut libs);
                self.documents[row].libs = libs;
                result?;
            }
            "shared" if json.eat(b'{')? => {
                let mut shared = Thread::default();
                let result = self.tables(json, import, &mut shared);
                self.documents[row].shared = shared;
                result?;
            }
            "threads" if json.eat(b'[')? => {
                while json.next_item()? {
                    if json.eat(b'{')? {
                        let mut thread = Thread { document: row, ..Thread::default() };
                        let result = self.tables(json, import, &mut thread);
                        self.threads.push(thread);
                        result?;
                    } else if json.peek()? == Some(b'"') {
                        json.raw(&mut self.raw)?;
                        if let Ok(text) = serde_json::from_slice::<String>(&self.raw) {
                            self.texts.push(text);
                        }
                    } else {
                        json.skip()?;
                    }
                }
            }
            _ => json.skip()?,
        }
        Ok(())
    }

    fn libs(&mut self, json: &mut Json<'_>, import: &mut Import<'_>, out: &mut Vec<Lib>) -> Result<(), Stop> {
        if !json.eat(b'[')? {
            return Ok(json.skip()?);
        }
        while json.next_item()? {
            json.raw(&mut self.raw)?;
            let lib: RawLib<'_> = serde_json::from_slice(&self.raw).unwrap_or_default();
            let path = if lib.path.0.is_empty() { &lib.name.0 } else { &lib.path.0 };
            let strings = &mut import.session.strings;
            let build = if lib.build.0.is_empty() { StringId::NONE } else { strings.intern(&lib.build.0) };
            out.push(Lib { file: strings.intern(path), build });
        }
        Ok(())
    }

    /// The members of a thread, or of what threads share.
    fn tables(&mut self, json: &mut Json<'_>, import: &mut Import<'_>, t: &mut Thread) -> Result<(), Stop> {
        let mut key = String::new();
        while json.next_key(&mut key)? {
            let (wanted, table): (&[&'static str], &mut Table) = match key.as_str() {
                "samples" => (&["stack", "time", "timeDeltas", "weight", "threadCPUDelta"], &mut t.samples),
                "jsAllocations" => (&["stack", "time", "weight"], &mut t.js_allocations),
                "nativeAllocations" => (&["stack", "time", "weight"], &mut t.native_allocations),
                "stackTable" => (&["prefix", "prefixOffset", "frame", "category"], &mut t.stacks),
                "frameTable" => (&["func", "address", "line", "category", "inlineDepth", "nativeSymbol", "location"], &mut t.frames),
                "funcTable" => (&["name", "fileName", "source", "lineNumber", "resource"], &mut t.funcs),
                "resourceTable" => (&["lib"], &mut t.resources),
                "nativeSymbols" => (&["address"], &mut t.symbols),
                "sources" => (&["filename"], &mut t.sources),
                "markers" => {
                    let mut markers = Table::default();
                    gecko_table::read(json, &["name"], &mut markers, import)?;
                    t.markers += markers.len() as u64;
                    continue;
                }
                "stringTable" | "stringArray" if json.peek()? == Some(b'[') => {
                    self.strings(json, import, t)?;
                    continue;
                }
                "libs" => {
                    let mut libs = Vec::new();
                    let result = self.libs(json, import, &mut libs);
                    t.libs = libs;
                    result?;
                    continue;
                }
                "name" | "processName" | "processType" | "pid" | "tid" => {
                    json.raw(&mut self.raw)?;
                    let text = serde_json::from_slice::<Text<'_>>(&self.raw).unwrap_or_default().0.into_owned();
                    match key.as_str() {
                        "name" => t.name = text,
                        "processName" => t.process_name = text,
                        "processType" => t.process_type = text,
                        "pid" => t.pid = text,
                        _ => t.tid = text,
                    }
                    continue;
                }
                _ => {
                    json.skip()?;
                    continue;
                }
            };
            gecko_table::read(json, wanted, table, import)?;
        }
        Ok(())
    }

    fn strings(&mut self, json: &mut Json<'_>, import: &mut Import<'_>, t: &mut Thread) -> Result<(), Stop> {
        json.eat(b'[')?;
        while json.next_item()? {
            json.raw(&mut self.raw)?;
            let text = serde_json::from_slice::<Text<'_>>(&self.raw).map(|t| t.0);
            let text = text.unwrap_or_else(|_| String::from_utf8_lossy(&self.raw).into_owned().into());
            t.strings.push(import.session.strings.intern(&text));
        }
        Ok(())
    }
}
