//! perf.data files against the facts of an independent reader and of perf itself.

use crate::corpus::{Table, expected, fixture, open};
use crate::profiles::survives_damage;
use hotspan::base::ids::FrameId;
use hotspan::model::branches::{BRANCH_KINDS, BRANCH_MISPREDICTED, BRANCH_NOT_TAKEN, BRANCH_PREDICTED};
use hotspan::model::diagnostics::Level;
use hotspan::model::profile::Profile;
use hotspan::model::symbols::NO_ADDRESS;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Samples by name of the thread, most first.
fn comms(profiles: &[Profile]) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for p in profiles {
        for t in &p.samples.thread {
            *out.entry(p.threads[t.index()].name.clone()).or_default() += 1;
        }
    }
    out
}

#[test]
fn perf_data_equals_the_reference() {
    let mut table = Table::default();
    for (file, expect, facts) in expected(&["perf-data"]) {
        let engine = open(&file).unwrap();
        table.file();
        let source = &engine.session.sources[0];
        let own = &facts["own_parser"];
        table.check(&file, "format", source.format.as_str(), "perf-data");
        let profiles = &engine.session.profiles;
        let samples: u64 = profiles.iter().map(|p| p.samples.len() as u64).sum();
        table.check(&file, "samples", samples, own["samples"].as_u64().unwrap_or(0));
        if expect == "malformed" {
            table.check(&file, "error", source.error.is_some(), true);
            continue;
        }
        table.check(&file, "error", &source.error, &None);
        // Samples and periods by event; events are matched by these numbers, since the reader knows no names.
        let mut counts: Vec<(u64, i64)> =
            profiles.iter().map(|p| (p.samples.len() as u64, p.total(p.value_index("period").unwrap_or(0)))).collect();
        counts.sort_unstable();
        let by_attr = own["samples_by_attr"].as_object().unwrap();
        let mut theirs: Vec<(u64, i64)> =
            by_attr.iter().map(|(attr, n)| (n.as_u64().unwrap(), own["period_by_attr"][attr].as_i64().unwrap())).collect();
        theirs.sort_unstable();
        table.check(&file, "samples and period by event", counts, theirs);
        for (event, count) in facts["perf_6_1"]["perf_script"]["events"].as_object().into_iter().flatten() {
            // What perf decodes out of AUX data is not in the file as samples.
            if !by_attr.values().any(|n| n == count) {
                continue;
            }
            let p = profiles.iter().find(|p| p.name == *event);
            table.check(&file, event, p.map(|p| p.samples.len() as u64), count.as_u64());
        }
        let names = comms(profiles);
        // perf sorts by time as we do; the other reader goes by position.
        let perf_reads = facts["perf_6_1"]["perf_script"]["lines"].as_u64() == Some(samples);
        for pair in facts["perf_6_1"]["perf_script"]["comms_top10"].as_array().into_iter().flatten().filter(|_| perf_reads) {
            let comm = pair[0].as_str().unwrap();
            table.check(&file, &format!("comm {comm}"), names.get(comm).copied().unwrap_or(0), pair[1].as_u64().unwrap());
        }
        let threads: BTreeSet<(i64, i64)> = profiles.iter().flat_map(|p| p.threads.iter().map(|t| (t.pid, t.tid))).collect();
        let tids: BTreeSet<i64> = threads.iter().map(|(_, tid)| *tid).collect();
        table.check(&file, "threads", tids.len() as u64, own["threads"].as_u64().unwrap());
        let pids: BTreeSet<i64> = threads.iter().map(|(pid, _)| *pid).collect();
        table.check(&file, "processes", pids.len() as u64, own["processes"].as_u64().unwrap());
        let times: Vec<i64> = profiles.iter().flat_map(|p| p.samples.time_ns.iter().copied()).collect();
        let range: Vec<i64> = own["time_ns"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
        table.check(&file, "time", times.iter().min().into_iter().chain(times.iter().max()).copied().collect(), range);
        let diagnostics = &source.ledger.diagnostics;
        if diagnostics.count("perf-data/bogus-root") == 0 {
            let stacks = &engine.session.symbols.stacks;
            let frames: u64 = profiles.iter().flat_map(|p| p.samples.stack.iter()).map(|s| u64::from(stacks.depth[s.index()]) + 1).sum();
            // Beside a copied stack the registers tell where the process was while the kernel worked: one frame more.
            let copies = profiles.iter().filter_map(|p| p.copied.as_ref()).flat_map(|c| &c.copies);
            let frames = frames - copies.filter(|copy| copy.kernel > 0).count() as u64;
            let chain = &own["callchain"];
            let single = samples - chain["samples_with_chain"].as_u64().unwrap();
            table.check(&file, "frames", frames, chain["frames"].as_u64().unwrap() + single);
        }
        let branches: u64 = profiles.iter().map(|p| p.branches.len() as u64).sum();
        table.check(&file, "branch entries", branches, own["branch_entries"].as_u64().unwrap());
        let lost = own["lost_events"].as_u64().unwrap() + own["lost_samples"].as_u64().unwrap();
        table.check(&file, "lost", diagnostics.count("perf-data/lost") + diagnostics.count("perf-data/lost-samples"), lost);
        // What the recorder lost, and copied stacks without the binaries that ran, are no fault of reading.
        let lacking =
            |code: &str| ["perf-data/lost", "perf-data/copied-stacks", "perf-data/stack-copy"].iter().any(|start| code.starts_with(start));
        let data_loss = diagnostics.iter().filter(|(code, e)| e.level >= Level::DataLoss && !lacking(code)).count();
        if expect == "ok" {
            table.check(&file, "data loss", data_loss, 0);
        }
    }
    table.finish("perf-data", &[]);
}

#[test]
fn damage_is_survived() {
    for name in ["callgraph.data", "zstd.data", "pipe.data"] {
        survives_damage(&format!("perf-data/{name}"), 300);
    }
}

#[test]
fn branch_stacks_of_text_are_kept() {
    let engine = fixture("perf-script/brs-all.txt");
    let p = &engine.session.profiles[0];
    let s = &engine.session.symbols;
    let end = |frame: FrameId| {
        let k = s.frames.key(frame.0);
        let at = if k.offset == NO_ADDRESS { k.address } else { k.offset };
        format!("{}+{at:#x}", s.func_name(&engine.session.strings, k.func))
    };
    let of = |i: usize| -> Vec<(String, String, u8, &str, u16)> {
        p.branches.of(i).map(|b| (end(b.from), end(b.to), b.flags, BRANCH_KINDS[usize::from(b.kind)], b.cycles)).collect()
    };
    let plain = |flags, cycles| ("[unknown]+0x401010".to_string(), "[unknown]+0x401000".to_string(), flags, "", cycles);
    assert_eq!(of(0), [plain(BRANCH_PREDICTED, 3), plain(BRANCH_MISPREDICTED, 4)]);
    assert_eq!(of(1), [plain(BRANCH_PREDICTED, 3), plain(BRANCH_PREDICTED, 3)]);
    let named = [
        ("f+0x10".to_string(), "f+0x0".to_string(), BRANCH_PREDICTED, "COND", 5),
        ("operator/+0x8".to_string(), "main+0x3".to_string(), BRANCH_PREDICTED, "RET", 2),
    ];
    let of_2: Vec<_> = of(2).into_iter().map(|(from, to, f, k, c)| (from.replace("(A const&)", ""), to, f, k, c)).collect();
    assert_eq!(of_2, named);
    assert_eq!(of(3).len(), 2);
    assert_eq!(of(4), [("[a]+0x401010".to_string(), "[a]+0x401000".to_string(), BRANCH_PREDICTED | BRANCH_NOT_TAKEN, "IND_CALL", 0)]);
    let depths: Vec<u32> = p.samples.stack.iter().map(|stack| s.stacks.depth[stack.index()]).collect();
    assert_eq!(depths, [1, 0, 0, 0, 0]);
    let diagnostics = &engine.session.sources[0].ledger.diagnostics;
    assert_eq!((diagnostics.count("perf-script/bad-branch"), diagnostics.count("perf-script/bad-line")), (1, 0));
    assert_eq!(diagnostics.count("perf-script/no-stack"), 1);
}
