//! Puts what linking found into the ledgers of the files it concerns.

use crate::base::ids::SourceId;
use crate::model::Session;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::trace_link::LinkReport;

const DUPLICATES: DiagnosticCode = DiagnosticCode {
    code: "spans/exact-duplicate",
    level: Level::Notice,
    message: "Spans that repeat an earlier span in every field were dropped; nothing is missing.",
};
const DUPLICATE_IDS: DiagnosticCode = DiagnosticCode {
    code: "spans/duplicate-id",
    level: Level::Notice,
    message: "Several different spans share one id; all are kept, children belong to the first.",
};
const ORPHANS: DiagnosticCode = DiagnosticCode {
    code: "spans/missing-parent",
    level: Level::Notice,
    message: "The parent of these spans is not in the files; they are shown as extra roots.",
};
const CYCLES: DiagnosticCode = DiagnosticCode {
    code: "spans/parent-cycle",
    level: Level::Notice,
    message: "Parent ids run in a circle; it was cut at the earliest span.",
};

/// Reports duplicates, orphans and cycles. Counts of an earlier linking of the same files are replaced, not added.
pub fn link_report(session: &mut Session, report: &LinkReport) {
    let lists: [(DiagnosticCode, &[(SourceId, u64)]); 4] =
        [(DUPLICATES, &report.duplicates), (DUPLICATE_IDS, &report.duplicate_ids), (ORPHANS, &report.orphans), (CYCLES, &report.cycles)];
    for (code, spans) in lists {
        for source in &mut session.sources {
            if code.code != DUPLICATES.code {
                source.ledger.diagnostics.forget(code.code);
            }
        }
        for &(source, id) in spans {
            let text = format!("span {}", session.traces.id_text(&session.strings, id));
            if let Some(source) = session.sources.get_mut(source.index()) {
                source.ledger.diagnostics.report(code, At::File, &text);
                if code.code == DUPLICATES.code {
                    source.ledger.records_kept = source.ledger.records_kept.saturating_sub(1);
                }
            }
        }
    }
}
