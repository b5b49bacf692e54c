//! OTLP profiles (opentelemetry-proto profiles/v1development, the layout since 1.9), in JSON and in protobuf.

use super::json_outline::outline;
use super::otlp_profiles_proto::{Layout, frame, layout, message};
use super::otlp_profiles_store::{Message, Store};
use super::{Format, Import, ImportError, Prefix, Sniff, otlp_profiles_json};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::io::{BufRead, Read};

/// Name for people.
pub const NAME: &str = "OTLP profiles";
const CUT: DiagnosticCode = DiagnosticCode {
    code: "otlp-profiles/cut",
    level: Level::DataLoss,
    message: "A message is cut or damaged; what lies before the place was read.",
};
const OLDER: &str = "it is an OpenTelemetry profile of an older draft, whose fields have other names and numbers; have it written by a \
                     collector or profiler that follows opentelemetry-proto 1.9 or later, or as pprof, and open that.";
/// A protobuf file is held while it is read: its dictionary stands behind the samples that refer to it.
const MAX_BYTES: u64 = 1 << 30;

/// The format.
pub struct OtlpProfiles;

impl Format for OtlpProfiles {
    fn id(&self) -> &'static str {
        "otlp-profiles"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "jsonl", "pb", "otlp"]
    }
    fn hint(&self) -> &'static str {
        "The OpenTelemetry eBPF profiler, the collector's file exporter and async-profiler (`asprof -o otlp`) write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if frame(prefix.bytes).is_some() {
            return Sniff::Certain;
        }
        let Some(o) = outline(prefix.bytes) else { return Sniff::No };
        let tables = ["\"stringTable\"", "\"string_table\""];
        let told = o.has(&["resourceProfiles", "resource_profiles"])
            || o.has(&["dictionary"]) && tables.iter().any(|key| prefix.text().contains(key));
        if told { Sniff::Certain } else { Sniff::No }
    }

    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut store = Store::default();
        let text = input.fill_buf()?.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| matches!(b, b'{' | b'['));
        let end = if text { otlp_profiles_json::read(input, &mut store, import, CUT) } else { protobuf(input, &mut store, import) };
        if end == Err(ImportError::Stopped) {
            return end;
        }
        let (older, empty) = (store.older, store.is_empty());
        if older {
            return Err(ImportError::Unsupported(OLDER.to_string()));
        }
        store.finish(import);
        end?;
        if empty && import.ledger.diagnostics.worst().is_none() {
            return Err(ImportError::Malformed { format: NAME, reason: "it holds no profile".to_string() });
        }
        Ok(())
    }
}

fn protobuf(input: &mut dyn BufRead, store: &mut Store, import: &mut Import<'_>) -> Result<(), ImportError> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ImportError::TooLarge(format!(
            "it is an OTLP profile of more than {MAX_BYTES} bytes, which is more than is held at once; have it written in several files."
        )));
    }
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        // A message without profiles begins like none: it is passed over by the length before it, if the first had one.
        let Some((skip, length)) = frame(rest) else {
            import.report(CUT, At::Byte(at as u64), "no message with profiles");
            return Ok(());
        };
        let (from, to) = (at + skip, (at + skip).saturating_add(length).min(bytes.len()));
        let mut read = Message { older: layout(&bytes[from..to]) == Some(Layout::Older), ..Message::default() };
        let whole = message(&bytes[from..to], from as u64, &mut read) && at + skip + length <= bytes.len();
        if !whole {
            import.report(CUT, At::Byte(from as u64), "");
        }
        if read.older {
            store.older = true;
            return Ok(());
        }
        store.add(read, import);
        import.tick(import.ledger.records_in)?;
        at = to;
    }
    Ok(())
}
