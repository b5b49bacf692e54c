//! What a session gives up when it has no room left: times of samples first, then attributes that no rule looks at. Sums, counts
//! and spans stay exact, and the ledgers say what is gone.

use super::Session;
use super::diagnostics::{At, DiagnosticCode, Level};
use super::fold::GivenUp;
use super::ledger::Ledger;
use super::trace::{AttrTable, AttrValue};
use crate::base::attribute_keys::is_looked_at;
use crate::base::ids::{SourceId, StringId};

/// Times that were given up.
pub const TIMES: DiagnosticCode = DiagnosticCode {
    code: "memory/times-given-up",
    level: Level::DataLoss,
    message: "To make room, samples that agree in stack, thread and labels were added up and their times given up: sums are exact, the \
              order of time is lost.",
};
/// Branch stacks that were given up.
pub const BRANCHES: DiagnosticCode = DiagnosticCode {
    code: "memory/branches-given-up",
    level: Level::DataLoss,
    message: "To make room, the taken branches (LBR) of samples were given up.",
};
/// Copied stacks that were given up.
pub const COPIES: DiagnosticCode = DiagnosticCode {
    code: "memory/stack-copies-given-up",
    level: Level::DataLoss,
    message: "To make room, copies of stack memory were given up: files with names that are opened later do not unwind them any more.",
};
/// Samples that were added up and had no time to lose.
pub const ADDED_UP: DiagnosticCode = DiagnosticCode {
    code: "memory/samples-added-up",
    level: Level::Notice,
    message: "To make room, samples that agree in stack, thread and labels were added up; nothing is missing.",
};
/// Attributes that were given up.
pub const ATTRIBUTES: DiagnosticCode = DiagnosticCode {
    code: "memory/attributes-given-up",
    level: Level::DataLoss,
    message: "To make room, attributes of spans that no rule looks at were given up: they are missing beside spans and in exports.",
};

/// What a session has given up.
#[derive(Clone, Debug, Default)]
pub struct Reduced {
    /// Times of samples; what is read from now on gives them up as it comes.
    pub times: bool,
    /// Attributes that no rule looks at; the same.
    pub attributes: bool,
    /// How often what may be taken was raised because what was given back is used again.
    pub steps: u32,
    /// Attributes given up, by source.
    dropped: Vec<u64>,
}

impl Reduced {
    /// Counts attributes of a file that were given up.
    pub fn drop_attributes(&mut self, source: SourceId, count: u64) {
        if self.dropped.len() <= source.index() {
            self.dropped.resize(source.index() + 1, 0);
        }
        self.dropped[source.index()] += count;
    }
}

/// Reports what folding gave up.
pub fn report_fold(ledger: &mut Ledger, folded: GivenUp, name: &str) {
    let text = format!("{} rows of {} became {}", folded.before, if name.is_empty() { "the profile" } else { name }, folded.after);
    let diagnostics = &mut ledger.diagnostics;
    for (code, count) in [(TIMES, folded.times), (BRANCHES, folded.branches), (COPIES, folded.copies)] {
        if count > 0 {
            diagnostics.report_many(code, count, At::File, &text);
        }
    }
    if folded.times == 0 && folded.after < folded.before {
        diagnostics.report_many(ADDED_UP, folded.before - folded.after, At::File, &text);
    }
}

impl Session {
    /// About how many bytes its tables take, counted from rows.
    pub fn bytes(&self) -> u64 {
        let (text, ends) = self.strings.raw();
        let s = &self.symbols;
        let symbols = s.funcs.len() * 60 + s.frames.len() * 44 + s.stacks.len() * 14;
        let profiles: usize = self.profiles.iter().map(super::profile::Profile::bytes).sum();
        let t = &self.traces;
        let spans = t.spans.len() * 112 + t.attrs.key.len() * 20 + t.events.name.len() * 20 + t.links.span_id.len() * 20;
        (text.len() + ends.len() * 10 + symbols + profiles + spans + t.resources.service.len() * 12) as u64
    }

    /// Folds the profiles that are stored. Gives what each gave up.
    pub fn fold_profiles(&mut self) -> Vec<(SourceId, String, GivenUp)> {
        let mut out = Vec::new();
        for profile in &mut self.profiles {
            if let Some(folded) = profile.fold() {
                out.push((profile.source, profile.name.clone(), folded));
            }
        }
        out
    }

    /// Gives up attributes of spans, events and links that no rule looks at; those of resources are few and stay. Gives how many
    /// went. No reader may hold rows of attributes meanwhile.
    pub fn give_up_attributes(&mut self) -> u64 {
        let (set, strings) = (&mut self.traces, &self.strings);
        let wanted: Vec<bool> = {
            let mut known = vec![None; strings.len()];
            let mut is = |key: StringId| {
                let slot: &mut Option<bool> = &mut known[key.index()];
                *slot.get_or_insert_with(|| is_looked_at(strings.get(key)))
            };
            set.attrs.key.iter().map(|key| is(*key)).collect()
        };
        let mut keep = wanted;
        for (start, len) in set.resources.attr_start.iter().zip(&set.resources.attr_len) {
            keep[*start as usize..(*start + *len) as usize].fill(true);
        }
        let mut next = 0;
        let mut moved: Vec<u32> = Vec::with_capacity(keep.len() + 1);
        for kept in &keep {
            moved.push(next);
            next += u32::from(*kept);
        }
        moved.push(next);
        let gone = keep.len() as u64 - u64::from(next);
        self.reduced.attributes = true;
        if gone == 0 {
            return 0;
        }
        let shrink = |starts: &mut [u32], lens: &mut [u32]| {
            for (start, len) in starts.iter_mut().zip(lens) {
                let (from, to) = (moved[*start as usize], moved[(*start + *len) as usize]);
                (*start, *len) = (from, to - from);
            }
        };
        let before = own_attributes(set);
        shrink(&mut set.spans.attr_start, &mut set.spans.attr_len);
        shrink(&mut set.events.attr_start, &mut set.events.attr_len);
        shrink(&mut set.links.attr_start, &mut set.links.attr_len);
        shrink(&mut set.resources.attr_start, &mut set.resources.attr_len);
        let old = std::mem::take(&mut set.attrs);
        let rows = || keep.iter().enumerate().filter(|(_, kept)| **kept).map(|(row, _)| row);
        let (mut key, mut value): (Vec<StringId>, Vec<AttrValue>) = (Vec::new(), Vec::new());
        key.reserve_exact(next as usize);
        key.extend(rows().map(|row| old.key[row]));
        value.reserve_exact(next as usize);
        value.extend(rows().map(|row| old.value[row]));
        set.attrs = AttrTable { key, value };
        let after = own_attributes(set);
        for (source, (before, after)) in before.iter().zip(&after).enumerate() {
            self.reduced.drop_attributes(SourceId::from_index(source), before - after);
        }
        gone
    }

    /// As [`Session::give_up_attributes`], for a part that is about to be joined: also tells which texts are said by nothing else,
    /// so that they need not be taken over.
    pub fn give_up_attributes_and_texts(&mut self) -> (u64, Vec<bool>) {
        let mut unused = vec![false; self.strings.len()];
        let texts = |set: &super::trace::TraceSet, unused: &mut Vec<bool>, to: bool| {
            let of_value = |value: &AttrValue| match value {
                AttrValue::Text(id) | AttrValue::Json(id) => *id,
                _ => StringId::NONE,
            };
            for id in set.attrs.key.iter().copied().chain(set.attrs.value.iter().map(of_value)) {
                if let Some(slot) = id.get().and_then(|id| unused.get_mut(id.index())) {
                    *slot = to;
                }
            }
        };
        texts(&self.traces, &mut unused, true);
        let gone = self.give_up_attributes();
        texts(&self.traces, &mut unused, false);
        let (set, s) = (&self.traces, &self.symbols);
        let odd: Vec<StringId> = set.odd_ids.iter().map(|(_, text)| *text).collect();
        let elsewhere: [&[StringId]; 13] = [
            &set.services,
            &set.operations.name,
            &set.events.name,
            &set.links.trace_id,
            &set.spans.trace_id,
            &set.spans.scope,
            &odd,
            &s.funcs.name,
            &s.funcs.full_name,
            &s.funcs.system_name,
            &s.funcs.file,
            &s.mappings.file,
            &s.mappings.build_id,
        ];
        for id in elsewhere.into_iter().flatten().filter_map(|id| id.get()) {
            unused[id.index()] = false;
        }
        (gone, unused)
    }

    /// Writes into the account of each file how many attributes of its spans are kept and how many were given up; `current` is the
    /// account of the file that is being read.
    pub fn account_for_attributes(&mut self, source: SourceId, current: &mut Ledger) {
        if !self.reduced.attributes {
            return;
        }
        let kept = own_attributes(&self.traces);
        for i in 0..self.sources.len() {
            let dropped = self.reduced.dropped.get(i).copied().unwrap_or(0);
            let kept = kept.get(i).copied().unwrap_or(0);
            if dropped == 0 {
                continue;
            }
            let ledger = if i == source.index() { &mut *current } else { &mut self.sources[i].ledger };
            ledger.diagnostics.forget(ATTRIBUTES.code);
            ledger.diagnostics.report_many(ATTRIBUTES, dropped, At::File, &format!("{dropped} of {} attributes", kept + dropped));
            ledger.set_line("span attributes", "count", kept as i64, dropped as i64);
        }
    }
}

/// Attributes of spans, their events and links, by source.
fn own_attributes(set: &super::trace::TraceSet) -> Vec<u64> {
    let mut out: Vec<u64> = Vec::new();
    for row in 0..set.spans.len() {
        // Spans of a part have no source yet.
        let Some(source) = set.spans.source[row].get() else { continue };
        let source = source.index();
        if out.len() <= source {
            out.resize(source + 1, 0);
        }
        let of =
            |start: u32, len: u32, lens: &[u32]| lens[start as usize..(start + len) as usize].iter().map(|l| u64::from(*l)).sum::<u64>();
        out[source] += u64::from(set.spans.attr_len[row])
            + of(set.spans.event_start[row], set.spans.event_len[row], &set.events.attr_len)
            + of(set.spans.link_start[row], set.spans.link_len[row], &set.links.attr_len);
    }
    out
}
