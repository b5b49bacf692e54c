//! speedscope's own JSON (`file-format-spec.ts` of speedscope): shared frames, and profiles of samples or of open and close
//! events. Frames may stand behind the profiles, so samples are kept as paths of frame numbers until the end.

use super::json::{Broken, Json, Scalar, Stop, Text, outline};
use super::json_mend::record;
use super::span_sink::CUT;
use super::speedscope_profile::{RawProfile, Tree};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{FrameId, StringId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbols::{FUNC_UNSYMBOLIZED, FrameKey, FuncKey};
use serde::Deserialize;
use std::io::BufRead;

/// Name for people.
pub const NAME: &str = "speedscope JSON";
const BAD_FRAME: DiagnosticCode = DiagnosticCode {
    code: "speedscope/bad-frame",
    level: Level::DataLoss,
    message: "Frames that cannot be read, or that the file does not define, are shown as <unknown>.",
};
const BAD_RECORD: DiagnosticCode = DiagnosticCode {
    code: "speedscope/bad-record",
    level: Level::DataLoss,
    message: "Samples, weights and events that cannot be read were dropped.",
};

/// The format.
pub struct Speedscope;

impl Format for Speedscope {
    fn id(&self) -> &'static str {
        "speedscope"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["speedscope.json", "json"]
    }
    fn hint(&self) -> &'static str {
        "speedscope (\u{201c}Export\u{201d}), `py-spy record --format speedscope`, rbspy, dotnet-trace, `hotspan export --to speedscope` write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes).filter(|o| o.first == b'{') else { return Sniff::No };
        let schema = o.has(&["$schema"]) && prefix.text().contains("speedscope");
        let both = o.has(&["shared"]) && o.has(&["profiles"]);
        if schema || both { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut reader = Reader::default();
        let mut json = Json::new(input);
        let end = reader.members(&mut json, import);
        let at = json.position();
        let some = !reader.profiles.is_empty();
        let result = match end {
            Ok(()) if !some => {
                Err(ImportError::Malformed { format: NAME, reason: "it holds no profile (`profiles` is empty or absent)".into() })
            }
            Ok(()) => Ok(()),
            Err(Stop::Import(e)) => Err(e),
            Err(Stop::Broken(Broken::Io(reason))) => Err(ImportError::Io(reason)),
            Err(Stop::Broken(broken)) if some && !reader.frames.is_empty() => {
                import.report(CUT, At::Byte(at), &broken.to_string());
                Ok(())
            }
            Err(Stop::Broken(broken)) => return Err(broken.into_error(NAME)),
        };
        if result != Err(ImportError::Stopped) {
            reader.finish(import);
        }
        result
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Frame<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    file: Text<'a>,
    #[serde(borrow)]
    line: Scalar<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    frame: Scalar<'a>,
    at: Option<f64>,
}

#[derive(Default)]
struct Reader {
    raw: Vec<u8>,
    spare: Vec<u8>,
    frames: Vec<FrameId>,
    profiles: Vec<RawProfile>,
    tree: Tree,
    rows: u64,
}

impl Reader {
    fn members(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "an object").into());
        }
        let mut key = String::new();
        while json.next_key(&mut key)? {
            match key.as_str() {
                "shared" if json.eat(b'{')? => {
                    while json.next_key(&mut key)? {
                        if key == "frames" && json.eat(b'[')? { self.frames(json, import)? } else { json.skip()? }
                    }
                }
                "profiles" if json.eat(b'[')? => {
                    while json.next_item()? {
                        if json.eat(b'{')? {
                            self.profiles.push(RawProfile::default());
                            self.profile(json, import)?;
                        } else {
                            import.report(BAD_RECORD, At::Byte(json.position()), "a profile that is no object");
                            json.skip()?;
                        }
                    }
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    fn tick(&mut self, import: &mut Import<'_>) -> Result<(), ImportError> {
        self.rows += 1;
        if self.rows.is_multiple_of(16_384) { import.tick(self.rows) } else { Ok(()) }
    }

    fn frames(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while json.next_item()? {
            let at = json.position();
            json.raw(&mut self.raw)?;
            let frame = match record::<Frame<'_>>(&self.raw, &mut self.spare, at, import) {
                Ok(frame) => {
                    let session = &mut *import.session;
                    let name = session.strings.intern(if frame.name.0.is_empty() { "(anonymous)" } else { &frame.name.0 });
                    let file = if frame.file.0.is_empty() { StringId::NONE } else { session.strings.intern(&frame.file.0) };
                    let key = FuncKey { file, ..FuncKey::named(name) };
                    let func = session.symbols.funcs.intern(key);
                    let line = frame.line.int().and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
                    session.symbols.frames.intern(FrameKey { line, ..FrameKey::of(func) })
                }
                Err(e) => {
                    import.report(BAD_FRAME, At::Byte(at), &e.to_string());
                    unknown(import)
                }
            };
            self.frames.push(frame);
            self.tick(import)?;
        }
        Ok(())
    }

    fn profile(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let mut key = String::new();
        while json.next_key(&mut key)? {
            match key.as_str() {
                "samples" if json.eat(b'[')? => self.samples(json, import)?,
                "weights" if json.eat(b'[')? => {
                    while json.next_item()? {
                        let at = json.position();
                        json.raw(&mut self.raw)?;
                        let weight = number(&self.raw);
                        if weight.is_none() {
                            import.report(BAD_RECORD, At::Byte(at), &String::from_utf8_lossy(&self.raw));
                        }
                        if let Some(p) = self.profiles.last_mut() {
                            p.weights.push(weight.unwrap_or(f64::NAN));
                        }
                        self.tick(import)?;
                    }
                }
                "events" if json.eat(b'[')? => self.events(json, import)?,
                "name" | "unit" | "startValue" | "endValue" => {
                    json.raw(&mut self.raw)?;
                    let text = serde_json::from_slice::<Text<'_>>(&self.raw).unwrap_or_default().0.into_owned();
                    let Some(p) = self.profiles.last_mut() else { continue };
                    match key.as_str() {
                        "name" => p.name = text,
                        "unit" => p.unit = text,
                        "endValue" => p.end = text.parse().ok(),
                        _ => {}
                    }
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    /// Samples are arrays of frame numbers, outermost first.
    fn samples(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while json.next_item()? {
            let at = json.position();
            json.raw(&mut self.raw)?;
            import.ledger.records_in += 1;
            let text = std::str::from_utf8(&self.raw).unwrap_or("");
            let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).map(str::trim);
            let path = inner.map(|inner| {
                let frames = inner.split(',').filter(|_| !inner.is_empty());
                frames.map(|n| n.trim().parse::<u32>().ok()).try_fold(Tree::ROOT, |node, frame| Some(self.tree.step(node, frame?)))
            });
            let node = path.flatten();
            if node.is_none() {
                import.report(BAD_RECORD, At::Byte(at), text);
            }
            if let Some(p) = self.profiles.last_mut() {
                p.sampled = true;
                p.samples.push(node);
            }
            self.tick(import)?;
        }
        Ok(())
    }

    fn events(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while json.next_item()? {
            let at = json.position();
            json.raw(&mut self.raw)?;
            import.ledger.records_in += 1;
            let event = record::<Event<'_>>(&self.raw, &mut self.spare, at, import).ok();
            let event = event.and_then(|e| {
                let open = match &*e.kind.0 {
                    "O" => true,
                    "C" => false,
                    _ => return None,
                };
                Some((open, u32::try_from(e.frame.int()?).ok()?, e.at?))
            });
            match (event, self.profiles.last_mut()) {
                (Some(event), Some(p)) => p.events.push(event),
                _ => import.report(BAD_RECORD, At::Byte(at), &String::from_utf8_lossy(&self.raw)),
            }
            self.tick(import)?;
        }
        Ok(())
    }

    fn finish(self, import: &mut Import<'_>) {
        let missing = self.tree.frames().chain(self.profiles.iter().flat_map(|p| p.events.iter().map(|e| e.1)));
        let missing = missing.filter(|frame| *frame as usize >= self.frames.len()).count();
        let unknown = unknown(import);
        if missing > 0 {
            import.ledger.diagnostics.report_many(BAD_FRAME, missing as u64, At::File, "numbers beyond the list of frames");
        }
        let mut tree = self.tree;
        for profile in self.profiles {
            profile.store(&mut tree, &self.frames, unknown, import);
        }
    }
}

fn number(raw: &[u8]) -> Option<f64> {
    std::str::from_utf8(raw).ok()?.trim().parse::<f64>().ok().filter(|n| n.is_finite())
}

fn unknown(import: &mut Import<'_>) -> FrameId {
    let name = import.session.strings.intern("<unknown>");
    let func = import.session.symbols.funcs.intern(FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) });
    import.session.symbols.frames.intern(FrameKey::of(func))
}
