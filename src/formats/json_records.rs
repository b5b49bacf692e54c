//! Walks a file of JSON records: one after another, by lines, in arrays (of arrays), or inside wrapping objects. What the
//! first object is decides where records are looked for; text between records is skipped and counted.

use super::json::{Broken, Json, Stop};
use super::json_mend::record;
use super::json_value::Text;
use super::span_sink::{BROKEN, CUT};
use super::{Import, ImportError, LONG_PREFIX_BYTES};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::io::BufRead;

const BETWEEN: DiagnosticCode = DiagnosticCode {
    code: "json/between",
    level: Level::Notice,
    message: "Text between the records, such as other output of the program, was passed over.",
};

/// Where records stand: the members to go into from an outermost object, arrays being entered on the way.
pub type Path = &'static [&'static str];

/// What takes a record: its text and its offset. It counts the record (or the spans in it) itself.
pub type Take<'t> = &'t mut dyn FnMut(&[u8], u64, &mut Import<'_>) -> Result<(), ImportError>;

/// Reads a file whose records stand where `locate` says, given the first bytes. A text where a record should be is taken for
/// the JSON of the record (escaped documents of AWS X-Ray).
///
/// # Errors
/// As [`super::Format::read`]: damage is reported, not an error.
pub fn read_records(
    input: &mut dyn BufRead,
    import: &mut Import<'_>,
    locate: fn(&[u8]) -> Option<Path>,
    take: Take<'_>,
) -> Result<(), ImportError> {
    import.has_spans = true;
    let mut json = Json::new(input);
    let head = json.ahead(LONG_PREFIX_BYTES).map_err(|e| e.into_error("JSON"))?;
    let path = locate(head).unwrap_or(&[]);
    let mut walk = Walk { path, stack: Vec::new(), raw: Vec::new(), spare: Vec::new(), key: String::new(), records: 0 };
    loop {
        match walk.run(&mut json, import, take) {
            Ok(()) => return Ok(()),
            Err(Stop::Import(e)) => return Err(e),
            Err(Stop::Broken(Broken::Io(reason))) => return Err(ImportError::Io(reason)),
            Err(Stop::Broken(Broken::End)) => {
                import.report(CUT, At::Byte(json.position()), "");
                return Ok(());
            }
            Err(Stop::Broken(broken)) => {
                import.report(BROKEN, At::Byte(json.position()), &broken.to_string());
                walk.stack.clear();
                if !next_document(&mut json).map_err(|e| e.into_error("JSON"))? {
                    return Ok(());
                }
            }
        }
    }
}

/// Goes to the next line that begins with an object or array; `false` at the end of the file.
fn next_document(json: &mut Json<'_>) -> Result<bool, Broken> {
    while json.next_line()? {
        if matches!(json.ahead(1)?, [b'{' | b'[']) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An open array or object, and how many members of the path lie outside of it.
#[derive(Clone, Copy)]
enum Open {
    Array(usize),
    Object(usize),
}

struct Walk {
    path: Path,
    stack: Vec<Open>,
    raw: Vec<u8>,
    spare: Vec<u8>,
    key: String,
    records: u64,
}

impl Walk {
    fn run(&mut self, json: &mut Json<'_>, import: &mut Import<'_>, take: Take<'_>) -> Result<(), Stop> {
        loop {
            match self.stack.last().copied() {
                None => match json.peek()? {
                    None => return Ok(()),
                    // Documents joined by commas, and brackets that nothing opened.
                    Some(b @ (b',' | b']')) => {
                        json.eat(b)?;
                    }
                    Some(b'{' | b'[') => self.value(0, json, import, take)?,
                    Some(_) => {
                        import.report(BETWEEN, At::Byte(json.position()), "");
                        if !next_document(json)? {
                            return Ok(());
                        }
                    }
                },
                Some(Open::Array(level)) => {
                    if json.next_item()? {
                        self.value(level, json, import, take)?;
                    } else {
                        self.stack.pop();
                    }
                }
                Some(Open::Object(level)) => {
                    if !json.next_key(&mut self.key)? {
                        self.stack.pop();
                    } else if self.path.get(level).is_some_and(|wanted| self.key == *wanted) {
                        self.value(level + 1, json, import, take)?;
                    } else {
                        json.skip()?;
                    }
                }
            }
        }
    }

    fn value(&mut self, level: usize, json: &mut Json<'_>, import: &mut Import<'_>, take: Take<'_>) -> Result<(), Stop> {
        let record_here = level == self.path.len();
        match json.peek()? {
            Some(b'[') => {
                json.eat(b'[')?;
                self.stack.push(Open::Array(level));
            }
            Some(b'{') if !record_here => {
                json.eat(b'{')?;
                self.stack.push(Open::Object(level));
            }
            Some(first @ (b'{' | b'"')) if record_here => {
                let at = json.position();
                if let Err(e) = json.raw(&mut self.raw) {
                    // The record that the end of the file cuts is a record all the same.
                    import.ledger.records_in += 1;
                    return Err(e.into());
                }
                if first == b'{' {
                    take(&self.raw, at, import)?;
                } else {
                    let text =
                        record::<Text<'_>>(&self.raw, &mut self.spare, at, import).map_or_else(|_| String::new(), |t| t.0.into_owned());
                    take(text.as_bytes(), at, import)?;
                }
                self.records += 1;
                if self.records.is_multiple_of(1024) {
                    import.tick(import.ledger.records_in)?;
                }
            }
            _ => json.skip()?,
        }
        Ok(())
    }
}
