//! While a file is read: looking at what is there changes nothing of the result, numbers only grow, and what is kept of a file
//! that was not read to its end says so wherever it goes.

use crate::corpus;
use crate::parts::{everything, files, in_one_piece, long_script};
use hotspan::engine::Engine;
use hotspan::engine::parts::{HEAD_BYTES, Joiner, Partial, Plan, plan, read_part};
use hotspan::engine::protocol::flame::FlameMode;
use hotspan::engine::protocol::functions::TableForm;
use hotspan::engine::protocol::summary::Summary;
use hotspan::engine::protocol::traces::TraceQuery;
use hotspan::engine::protocol::{ExportHead, ExportKind, Request, SampleQuery};
use hotspan::report;
use std::io::Read;
use std::path::Path;

/// A file that is read part by part.
struct Reading<'b> {
    bytes: &'b [u8],
    plan: Plan,
    joiner: Joiner,
    engine: Engine,
    next: usize,
}

impl<'b> Reading<'b> {
    fn new(bytes: &'b [u8], parts: u64) -> Option<Reading<'b>> {
        let size = bytes.len() as u64;
        let plan = plan(&bytes[..bytes.len().min(HEAD_BYTES)], size, size.div_ceil(parts))?;
        let mut engine = Engine::default();
        let joiner = Joiner::new(&mut engine.session, &plan, "f", size)?;
        Some(Reading { bytes, plan, joiner, engine, next: 0 })
    }

    /// Reads and joins the next part; `false` when there is none.
    fn part(&mut self) -> bool {
        if self.next >= self.plan.cuts.len() {
            return false;
        }
        let mut exact = None;
        loop {
            let open = |at: u64| Ok(Box::new(std::io::Cursor::new(self.bytes[at as usize..].to_vec())) as Box<dyn Read>);
            let read = read_part(&self.plan, self.plan.range(self.next), exact, open, &mut |_| true).unwrap();
            let read = Partial::unpack(&self.plan, &read.pack()).unwrap();
            exact = self.joiner.add(read, &mut self.engine.session);
            if exact.is_none() {
                self.next += 1;
                return true;
            }
        }
    }

    /// What the page shows of it now.
    fn look(&mut self) -> Summary {
        self.engine.preview(&self.joiner);
        let outline: Summary = serde_json::from_str(&self.engine.handle(&Request::Outline).unwrap().head).unwrap();
        if !outline.profiles.is_empty() {
            let query = SampleQuery::default();
            self.engine.handle(&Request::Flame { query: query.clone(), mode: FlameMode::Merged }).unwrap();
            self.engine.handle(&Request::Functions { query, form: TableForm::default() }).unwrap();
        }
        if outline.traces > 0 {
            self.engine.handle(&Request::TraceList { query: TraceQuery::default() }).unwrap();
        }
        outline
    }

    fn finish(mut self) -> Engine {
        self.engine.end_preview();
        self.joiner.finish(&mut self.engine.session);
        self.engine
    }
}

#[test]
fn looking_at_what_is_read_so_far_changes_nothing_and_its_numbers_only_grow() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), &mut paths);
    match corpus::folder() {
        Some(folder) => files(&folder, &mut paths),
        None => println!("SKIPPED: the corpus is absent; only our own fixtures were looked at"),
    }
    let (mut looked, mut whole_profiles) = (0, 0);
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 600_000 {
            continue;
        }
        let Some(mut reading) = Reading::new(&bytes, 4) else { continue };
        let mut before = Summary::default();
        while reading.part() {
            let now = reading.look();
            let name = path.display();
            assert!(now.spans >= before.spans && now.traces >= before.traces, "{name}: spans or traces vanish");
            for of in &before.profiles {
                let same =
                    now.profiles.iter().find(|p| p.name == of.name).unwrap_or_else(|| panic!("{name}: profile {:?} vanishes", of.name));
                assert!(same.events >= of.events, "{name}: {:?} to {:?} samples", of.events, same.events);
            }
            assert!(now.profiles.iter().all(|p| !p.has_times), "{name}: a part of a recording has no order of time to show");
            before = now;
            looked += 1;
        }
        let engine = reading.finish();
        assert_eq!(everything(&engine.session), everything(&in_one_piece(&bytes)), "{}: looking changed the result", path.display());
        // The last look was at the whole file: its weights are those of the result.
        for p in &before.profiles {
            let same = engine.session.profiles.iter().find(|q| q.name == p.name).unwrap();
            for value in &p.values {
                // Folded weights know neither the time between samples nor what was under way meanwhile.
                let Some(column) = same.value_index(&value.name) else { panic!("{}: {}", path.display(), value.name) };
                assert_eq!(value.total, same.total(column) as f64, "{}: {}", path.display(), value.name);
                whole_profiles += 1;
            }
        }
    }
    println!("looked {looked} times; {whole_profiles} totals compared");
    assert!(looked > 50 && whole_profiles > 20, "hardly anything was looked at: {looked}, {whole_profiles}");
}

#[test]
fn what_would_mislead_is_held_back_until_everything_is_read() {
    let text = long_script();
    let mut reading = Reading::new(text.as_bytes(), 4).unwrap();
    reading.part();
    reading.look();
    let query = SampleQuery::default();
    for request in [
        Request::Export { what: ExportKind::Pprof, query: query.clone(), finding: None },
        Request::Settings { lines: Vec::new() },
        Request::Compare,
        Request::Interpret { unit: "nanoseconds".into() },
    ] {
        let failure = reading.engine.handle(&request).unwrap_err();
        assert!(failure.message.contains("held back until the whole file is read"), "{request:?}: {}", failure.message);
    }
    assert!(reading.engine.report.findings.is_empty(), "no rule has run");
    // And the questions that follow are answered as before.
    assert!(reading.engine.handle(&Request::Flame { query, mode: FlameMode::Merged }).is_ok());
}

#[test]
fn what_is_kept_of_a_stopped_file_says_so_in_ledger_reports_and_exports() {
    let text = long_script();
    let mut reading = Reading::new(text.as_bytes(), 4).unwrap();
    assert!(reading.part() && reading.part());
    let upto = reading.look().profiles[0].samples;
    assert!(upto > 0);
    reading.joiner.stop(&mut reading.engine.session);
    // What a worker may still send afterwards is left aside.
    reading.part();
    let mut engine = reading.finish();
    engine.finish();
    let source = &engine.session.sources[0];
    let partial = source.partial.as_ref().unwrap();
    assert_eq!(partial.of, text.len() as u64);
    // The parts end at boundaries behind their cuts.
    assert!(partial.read >= partial.of / 2 && partial.read < partial.of / 2 + 1000, "{partial:?}");
    let samples = engine.session.profiles[0].samples.len();
    assert_eq!(text[..partial.read as usize].matches("cycles:").count(), samples);
    assert_eq!((source.ledger.records_in, source.ledger.records_kept), (samples as u64, samples as u64));
    assert_eq!(source.ledger.diagnostics.count("reading/stopped"), 1);
    assert_eq!(source.error, None);

    let markdown = report::markdown::markdown(&engine.session, &engine.report);
    assert!(markdown.contains("**partial**") && markdown.contains("reading/stopped"), "{markdown}");
    let json = report::analyze::json(&engine.session, &engine.report).unwrap();
    assert!(json.contains("\"partial\": {") && json.contains("\"why\": \"reading was stopped on request\""), "{json}");
    for (what, ending) in
        [(ExportKind::Pprof, ".partial.pb.gz"), (ExportKind::Folded, ".partial.folded"), (ExportKind::Json, ".partial.json")]
    {
        let request = Request::Export { what, query: SampleQuery::default(), finding: None };
        let head: ExportHead = serde_json::from_str(&engine.handle(&request).unwrap().head).unwrap();
        assert!(head.name.ends_with(ending) && head.note.contains("f is partial"), "{head:?}");
    }
    // A profile that is taken away carries the remark with it.
    let pprof = report::pprof::pprof(&engine.session, 0, None).unwrap();
    let again = in_one_piece(&pprof.bytes);
    assert!(again.profiles[0].comments.iter().any(|c| c.contains("partial")), "{:?}", again.profiles[0].comments);
}

#[test]
fn every_stage_behind_reading_is_told_before_it_begins() {
    let text = long_script();
    let mut reading = Reading::new(text.as_bytes(), 2).unwrap();
    while reading.part() {}
    let mut engine = reading.finish();
    let mut told = Vec::new();
    engine.finish_telling(&mut |stage, done, all| told.push((stage, done, all)));
    let rules: Vec<usize> = told.iter().filter(|(_, _, all)| *all > 0).map(|(_, done, _)| *done).collect();
    let all = hotspan::findings::DETECTORS.len();
    assert_eq!(rules, (0..=all).collect::<Vec<_>>(), "each rule is a step");
    let mut stages: Vec<_> = told.iter().map(|(stage, _, _)| format!("{stage:?}")).collect();
    stages.dedup();
    // Baseline and candidate are named and linked one after the other.
    assert_eq!(stages, ["Naming", "Linking", "Naming", "Linking", "Rules"]);
}
