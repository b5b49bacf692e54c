//! DHAT's JSON, version 2: allocation sites with what they allocated in all, at their own peak, at the program's peak and at
//! the end (valgrind's `dhat/dh_main.c`, whose comment on the file format is followed; dhat-rs writes the same).

use super::json::{Broken, Json, Stop};
use super::json_outline::outline;
use super::stack_sink::{Sink, Spot, stack_of};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::FrameId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, ValueKind, ValueType};
use serde::Deserialize;
use std::io::BufRead;

const NAME: &str = "DHAT JSON";
const BAD_SITE: DiagnosticCode =
    DiagnosticCode { code: "dhat/bad-site", level: Level::DataLoss, message: "Allocation sites that cannot be read were skipped." };
const BAD_FRAME: DiagnosticCode = DiagnosticCode {
    code: "dhat/no-such-frame",
    level: Level::Notice,
    message: "A site names a frame that is not in the table of frames; it is shown as unknown.",
};
const CUT: DiagnosticCode =
    DiagnosticCode { code: "dhat/cut", level: Level::DataLoss, message: "The file ends early; what comes before was read." };

/// The format.
pub struct Dhat;

impl Format for Dhat {
    fn id(&self) -> &'static str {
        "dhat"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "out"]
    }
    fn hint(&self) -> &'static str {
        "`valgrind --tool=dhat PROGRAM` writes dhat.out.PID, the dhat crate of Rust dhat-heap.json."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        outline(prefix.bytes).filter(|o| o.first == b'{' && o.has(&["dhatFileVersion"])).map_or(Sniff::No, |_| Sniff::Certain)
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut json = Json::new(input);
        let mut file = File::default();
        match file.scan(&mut json, import) {
            Ok(()) => {}
            Err(Stop::Broken(Broken::End)) => import.report(CUT, At::Byte(json.position()), ""),
            Err(Stop::Broken(broken)) if file.sites.is_empty() => return Err(broken.into_error(NAME)),
            Err(Stop::Broken(broken)) => import.report(CUT, At::Byte(json.position()), &broken.to_string()),
            Err(Stop::Import(e)) => return Err(e),
        }
        file.store(import)
    }
}

/// A program point.
#[derive(Deserialize)]
struct Site {
    #[serde(default)]
    tb: i64,
    #[serde(default)]
    tbk: i64,
    #[serde(default)]
    tl: i64,
    #[serde(default)]
    mb: i64,
    #[serde(default)]
    mbk: i64,
    #[serde(default)]
    gb: i64,
    #[serde(default)]
    gbk: i64,
    #[serde(default)]
    eb: i64,
    #[serde(default)]
    ebk: i64,
    #[serde(default)]
    rb: i64,
    #[serde(default)]
    wb: i64,
    #[serde(default)]
    fs: Vec<u32>,
}

#[derive(Default)]
struct File {
    version: i64,
    mode: String,
    command: String,
    time_unit: String,
    byte_unit: String,
    block_unit: String,
    /// Whether lifetimes, peaks and ends were tracked; absent in what does not.
    lifetimes: bool,
    accesses: bool,
    sites: Vec<(u64, Site)>,
    frames: Vec<String>,
}

impl File {
    fn scan(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let (mut key, mut raw) = (String::new(), Vec::new());
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "`{`").into());
        }
        while json.next_key(&mut key)? {
            match key.as_str() {
                "pps" if json.eat(b'[')? => {
                    while json.next_item()? {
                        let at = json.position();
                        import.ledger.records_in += 1;
                        json.raw(&mut raw)?;
                        match serde_json::from_slice::<Site>(&raw) {
                            Ok(site) => self.sites.push((at, site)),
                            Err(e) => import.report(BAD_SITE, At::Byte(at), &e.to_string()),
                        }
                        if import.ledger.records_in.is_multiple_of(16_384) {
                            import.tick(import.ledger.records_in)?;
                        }
                    }
                }
                "ftbl" if json.eat(b'[')? => {
                    while json.next_item()? {
                        json.raw(&mut raw)?;
                        self.frames.push(serde_json::from_slice(&raw).unwrap_or_default());
                    }
                }
                _ => {
                    json.raw(&mut raw)?;
                    let text = || serde_json::from_slice::<String>(&raw).unwrap_or_default();
                    match key.as_str() {
                        "dhatFileVersion" => self.version = serde_json::from_slice(&raw).unwrap_or(0),
                        "mode" => self.mode = text(),
                        "cmd" => self.command = text(),
                        "tu" => self.time_unit = text(),
                        "bu" => self.byte_unit = text(),
                        "bksu" => self.block_unit = text(),
                        "bklt" => self.lifetimes = raw == b"true",
                        "bkacc" => self.accesses = raw == b"true",
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn store(self, import: &mut Import<'_>) -> Result<(), ImportError> {
        if self.version > 2 {
            return Err(ImportError::Unsupported(format!(
                "it is a DHAT file of version {}; versions up to 2 are read. Record it with an older DHAT.",
                self.version
            )));
        }
        let frames: Vec<FrameId> = self.frames.iter().map(|text| spot(text).intern(import.session)).collect();
        let unknown = Spot::default().intern(import.session);
        let bytes = if self.byte_unit.is_empty() { "bytes" } else { &self.byte_unit };
        let bytes = if bytes == "byte" { "bytes" } else { bytes };
        let blocks = if self.block_unit.is_empty() { "count" } else { &self.block_unit };
        let memory = bytes == "bytes" && self.mode != "ad-hoc" && self.mode != "copy";
        let kind = |kind| if memory { kind } else { ValueKind::Other };
        let mut types = Vec::new();
        let mut column = |name: &str, unit: &str, kind| types.push(ValueType { name: name.into(), unit: unit.into(), kind });
        column("total_bytes", bytes, kind(ValueKind::AllocBytes));
        column("total_blocks", blocks, kind(ValueKind::AllocObjects));
        if self.lifetimes {
            column("gmax_bytes", bytes, kind(ValueKind::InUseBytes));
            column("gmax_blocks", blocks, kind(ValueKind::InUseObjects));
            column("end_bytes", bytes, kind(ValueKind::InUseBytes));
            column("end_blocks", blocks, kind(ValueKind::InUseObjects));
            // Sites peak at different times: these have meaning per site, not as a sum.
            column("max_bytes", bytes, ValueKind::Other);
            column("max_blocks", blocks, ValueKind::Other);
            column("total_lifetimes", if self.time_unit.is_empty() { "instrs" } else { &self.time_unit }, ValueKind::Other);
        }
        if self.accesses {
            column("reads_bytes", bytes, ValueKind::Other);
            column("writes_bytes", bytes, ValueKind::Other);
        }
        let mut profile = Profile::new(import.source, "dhat", types);
        profile.name = self.command;
        let mut sink = Sink::of(profile);
        let mut stack = Vec::new();
        for (place, site) in &self.sites {
            stack.clear();
            for index in &site.fs {
                match frames.get(*index as usize) {
                    // Frame 0 is "[root]", which is no function.
                    Some(_) if *index == 0 && self.frames[0] == "[root]" => {}
                    Some(frame) => stack.push(*frame),
                    None => {
                        import.report(BAD_FRAME, At::Byte(*place), &index.to_string());
                        stack.push(unknown);
                    }
                }
            }
            let stack = stack_of(import.session, &stack);
            let mut values = vec![site.tb, site.tbk];
            if self.lifetimes {
                values.extend([site.gb, site.gbk, site.eb, site.ebk, site.mb, site.mbk, site.tl]);
            }
            if self.accesses {
                values.extend([site.rb, site.wb]);
            }
            sink.sample(stack, &values);
            import.ledger.records_kept += 1;
        }
        sink.finish(import);
        Ok(())
    }
}

/// `0x1091A9: main (foo.c:12)`, `0x4C2F1B3: malloc (in /usr/lib/x.so)`, `0x109d3ea40: f (mod.rs:605:20)`, `0x0: ???`.
fn spot(text: &str) -> Spot<'_> {
    let (address, rest) = match text.split_once(": ") {
        Some((address, rest)) if address.starts_with("0x") => (u64::from_str_radix(&address[2..], 16).ok(), rest),
        _ => (None, text),
    };
    let mut spot = Spot { address, ..Spot::named(rest) };
    // The place is the last pair of parentheses; names have some of their own.
    if let Some((name, place)) = rest.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")) {
        if let Some(module) = place.strip_prefix("in ") {
            (spot.name, spot.module) = (name, module);
        } else {
            let mut parts = place.rsplitn(3, ':');
            let (last, middle, first) = (parts.next(), parts.next(), parts.next());
            let number = |text: Option<&str>| text.and_then(|t| t.parse::<u32>().ok());
            match (first, number(middle), number(last)) {
                // Line and column.
                (Some(file), Some(line), Some(_)) => (spot.name, spot.file, spot.line) = (name, file, line),
                (_, _, Some(line)) if middle.is_some() => {
                    let file = place.rsplit_once(':').map_or("", |(file, _)| file);
                    (spot.name, spot.file, spot.line) = (name, file, line);
                }
                _ => {}
            }
        }
    }
    if spot.name == "???" {
        spot.name = "";
    }
    spot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart() {
        let parts = |text| {
            let s = spot(text);
            (s.address.is_some(), s.name, s.file, s.line, s.module)
        };
        assert_eq!(parts("0x1091A9: main (foo.c:12)"), (true, "main", "foo.c", 12, ""));
        assert_eq!(parts("0x4C2: malloc (in /usr/lib/x.so)"), (true, "malloc", "", 0, "/usr/lib/x.so"));
        assert_eq!(parts("0x1: f::g (mod.rs:605:20)"), (true, "f::g", "mod.rs", 605, ""));
        assert_eq!(parts("0x1: f(int) (C:\\a.c:7)"), (true, "f(int)", "C:\\a.c", 7, ""));
        assert_eq!(parts("0x1: f(int)"), (true, "f(int)", "", 0, ""));
        assert_eq!(parts("0x1: ???"), (true, "", "", 0, ""));
        assert_eq!(parts("odd"), (false, "odd", "", 0, ""));
    }
}
