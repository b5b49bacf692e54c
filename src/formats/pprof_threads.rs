//! Threads of a pprof profile: labels that name one become the thread of their samples; they stay labels too.

use crate::base::ids::{LabelSetId, StringId, ThreadId};
use crate::base::intern::StringTable;
use crate::model::profile::{Profile, Thread, thread_of_labels};
use std::collections::HashMap;

/// Fills the threads of a profile, in order of the label sets that name them. Samples without such labels share a thread
/// without a name; without any such label there are no threads.
pub(super) fn threads_from_labels(profile: &mut Profile, strings: &StringTable) {
    // Keys are few: most profiles have no labels that could name a thread.
    let mut keys: Vec<StringId> = profile.labels.labels.iter().map(|l| l.key).collect();
    keys.sort_unstable_by_key(|k| k.0);
    keys.dedup();
    if !keys.iter().any(|k| THREAD_KEYS.contains(&strings.get(*k))) {
        return;
    }
    let mut rows: HashMap<(String, i64, i64, String), ThreadId> = HashMap::new();
    let mut threads: Vec<Thread> = Vec::new();
    let mut row = |thread: Thread| {
        let key = (thread.name.clone(), thread.pid, thread.tid, thread.process.clone());
        *rows.entry(key).or_insert_with(|| {
            threads.push(thread);
            ThreadId::from_index(threads.len() - 1)
        })
    };
    let of_set: Vec<Option<ThreadId>> = (0..profile.labels.start.len())
        .map(|set| thread_of_labels(strings, profile.labels.set(LabelSetId::from_index(set))).map(&mut row))
        .collect();
    if of_set.iter().all(Option::is_none) {
        return;
    }
    let mut other = None;
    let column = (0..profile.samples.len())
        .map(|i| {
            let set = profile.samples.labels.get(i).and_then(|set| set.get());
            set.and_then(|set| of_set[set.index()]).unwrap_or_else(|| {
                *other.get_or_insert_with(|| row(Thread { name: String::new(), pid: -1, tid: -1, process: String::new() }))
            })
        })
        .collect();
    profile.samples.thread = column;
    profile.threads = threads;
}

/// Keys of which at least one is needed.
const THREAD_KEYS: [&str; 8] = ["thread", "thread_name", "thread name", "thread_comm", "tid", "thread_id", "thread id", "os thread id"];
