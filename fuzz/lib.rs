//! What holds for every file, however broken: nothing panics, nothing is lost without a count, and the rules and reports
//! can be made from what was read. See `README.md` for how to run the targets.

use hotspan::base::ids::SourceId;
use hotspan::engine::Engine;
use hotspan::formats::input::format_by_id;
use hotspan::formats::{Import, Limits};
use hotspan::model::Source;
use std::io::Cursor;

/// Small enough that a target stays fast, large enough that limits are met.
fn limits() -> Limits {
    Limits { max_bytes: 1 << 24, max_rows: 1 << 16, ..Limits::default() }
}

/// Opens the bytes as the command and the page do.
pub fn any(bytes: &[u8]) {
    let mut engine = Engine::default();
    engine.open("x", bytes.len() as u64, Box::new(Cursor::new(bytes.to_vec())), &mut |_| true);
    check(engine);
}

/// Reads the bytes with one format, even where it would not recognise them.
///
/// # Panics
/// When a promise is broken, or when no format has this id.
pub fn format(id: &str, bytes: &[u8]) {
    let format = format_by_id(id).expect("a registered format");
    let mut engine = Engine::default();
    engine.session.sources.push(Source::default());
    let mut import = Import {
        session: &mut engine.session,
        source: SourceId::from_index(0),
        file_name: "x",
        ledger: Default::default(),
        limits: limits(),
        progress: &mut |_| true,
        consumed: Default::default(),
        timeline: None,
        has_spans: false,
    };
    let result = format.read(&mut Cursor::new(bytes), &mut import);
    let (ledger, timeline, has_spans) = (std::mem::take(&mut import.ledger), import.timeline, import.has_spans);
    let source = &mut engine.session.sources[0];
    (source.ledger, source.timeline, source.has_spans) = (ledger, timeline, has_spans);
    source.error = result.err().map(|e| e.to_string());
    check(engine);
}

fn check(mut engine: Engine) {
    engine.finish();
    // An archive is several sources.
    for source in &engine.session.sources {
        assert!(source.ledger.records_kept <= source.ledger.records_in, "kept more than there was");
        for line in &source.ledger.weights {
            assert_eq!(line.weight_in, line.kept.saturating_add(line.dropped), "weight was lost: {line:?}");
        }
        assert!(source.error.as_deref() != Some(""), "an error without a sentence");
        // What was lost has a reason that the Files view can show.
        if source.ledger.records_kept < source.ledger.records_in && source.error.is_none() {
            assert!(source.ledger.diagnostics.worst().is_some(), "records were dropped without a word");
        }
    }
    let _ = hotspan::report::inspect::inspect(&engine.session);
}
