//! Thread dumps of the JVM: `jstack`, `jcmd PID Thread.print`, SIGQUIT (HotSpot's `threads.cpp` and `javaClasses.cpp`, OpenJ9
//! aside). One sample per thread and dump; the state and the lock that is waited for are labels.

use super::stack_sink::{Lines, Sink, Spot, stack_of};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{FrameId, StringId};
use crate::model::profile::{Label, ValueKind};
use std::io::BufRead;

/// The format.
pub struct JavaDump;

impl Format for JavaDump {
    fn id(&self) -> &'static str {
        "java-dump"
    }
    fn name(&self) -> &'static str {
        "Java thread dump"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["txt", "tdump", "log"]
    }
    fn hint(&self) -> &'static str {
        "`jstack PID > threads.txt`, `jcmd PID Thread.print`, or `kill -QUIT PID`; several dumps in one file are counted together."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let mut lines = prefix.text().lines().take(400);
        if lines.any(|line| line.starts_with("Full thread dump ")) { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input);
        let mut sink = Sink::new(import, "java-dump", &[("threads", "count", ValueKind::Other)]);
        let mut thread: Option<Thread> = None;
        let (mut dumps, mut open) = (0, false);
        while lines.next(import)? {
            let text = lines.text.as_str();
            if text.starts_with("Full thread dump ") {
                dumps += 1;
                open = true;
            }
            // The report of deadlocks repeats stacks of the dump.
            open &= !text.starts_with("Found one Java-level deadlock") && !text.starts_with("Java stack information for the threads");
            if let Some(header) = Thread::parse(text).filter(|_| open) {
                if let Some(done) = thread.replace(header) {
                    done.store(&mut sink, import);
                }
                import.ledger.records_in += 1;
            } else if text.trim().is_empty() || !open {
                if let Some(done) = thread.take() {
                    done.store(&mut sink, import);
                }
            } else if let Some(thread) = &mut thread {
                thread.line(text.trim(), import);
            }
        }
        if let Some(done) = thread.take() {
            done.store(&mut sink, import);
        }
        if dumps > 1 {
            import.choose(
                "dumps",
                "all together",
                &["one at a time"],
                "The file holds several dumps; each thread counts once per dump, so that what stands in most of them weighs most.",
            );
        }
        sink.finish(import);
        Ok(())
    }
}

#[derive(Default)]
struct Thread {
    name: String,
    tid: i64,
    state: String,
    lock: String,
    frames: Vec<FrameId>,
}

impl Thread {
    /// `"main" #1 prio=5 os_prio=0 cpu=267.29ms elapsed=4.20s tid=0x… nid=0x6fee waiting on condition  [0x…]`.
    fn parse(line: &str) -> Option<Thread> {
        let rest = line.strip_prefix('"')?;
        let at = rest.rfind("\" ")?;
        let (name, rest) = (&rest[..at], &rest[at + 2..]);
        let (_, after) = rest.split_once("nid=")?;
        let (nid, state) = after.split_once(' ').unwrap_or((after, ""));
        let tid = match nid.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).ok(),
            None => nid.parse().ok(),
        };
        let state = state.split(" [0x").next().unwrap_or(state).trim().trim_end_matches(',');
        Some(Thread { name: name.to_string(), tid: tid.unwrap_or(-1), state: state.to_string(), ..Thread::default() })
    }

    fn line(&mut self, text: &str, import: &mut Import<'_>) {
        if let Some(state) = text.strip_prefix("java.lang.Thread.State: ") {
            self.state = state.to_string();
        } else if let Some(frame) = text.strip_prefix("at ") {
            self.frames.push(spot(frame).intern(import.session));
        } else if self.lock.is_empty()
            && let Some((_, class)) = ["- waiting to lock <", "- parking to wait for  <", "- waiting on <"]
                .iter()
                .find_map(|start| text.strip_prefix(start))
                .and_then(|rest| rest.split_once("> (a "))
        {
            self.lock = class.strip_suffix(')').unwrap_or(class).to_string();
        }
    }

    fn store(self, sink: &mut Sink, import: &mut Import<'_>) {
        let session = &mut *import.session;
        let stack = stack_of(session, &self.frames);
        sink.sample(stack, &[1]);
        sink.thread(&self.name, -1, self.tid);
        let mut label = |key: &str, text: &str| Label {
            key: session.strings.intern(key),
            text: session.strings.intern(text),
            number: 0,
            unit: StringId::NONE,
        };
        let mut labels = vec![label("state", &self.state)];
        if !self.lock.is_empty() {
            labels.push(label("waits for", &self.lock));
        }
        sink.labels(&labels);
        import.ledger.records_kept += 1;
    }
}

/// `java.lang.Thread.run(java.base@17.0.15/Thread.java:840)`, `J.hold(J.java:2)`, `app//a.B.c(B.java)`, `(Native Method)`.
fn spot(text: &str) -> Spot<'_> {
    let (name, place) = text.rsplit_once('(').map_or((text, ""), |(name, place)| (name, place.trim_end_matches(')')));
    let name = name.rsplit_once('/').filter(|(loader, _)| !loader.contains('$')).map_or(name, |(_, name)| name);
    let (module, place) = place.rsplit_once('/').map_or(("", place), |(module, place)| (module.split('@').next().unwrap_or(module), place));
    let (file, line) = match place.rsplit_once(':') {
        Some((file, line)) => (file, line.parse().unwrap_or(0)),
        None if place.ends_with(".java") || place.ends_with(".kt") || place.ends_with(".scala") => (place, 0),
        None => ("", 0),
    };
    Spot { module, file, line, ..Spot::named(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_frames_are_taken_apart() {
        let t =
            Thread::parse("\"a \"b\" c\" #13 prio=5 os_prio=0 cpu=0.45ms tid=0x7 nid=0x7632 waiting for monitor entry  [0x00]").unwrap();
        assert_eq!((t.name.as_str(), t.tid, t.state.as_str()), ("a \"b\" c", 0x7632, "waiting for monitor entry"));
        let t = Thread::parse("\"VM Thread\" os_prio=0 tid=0x7 nid=30245 runnable  ").unwrap();
        assert_eq!((t.tid, t.state.as_str()), (30245, "runnable"));
        assert!(Thread::parse("\"x\" is no thread").is_none() && Thread::parse("x").is_none());
        let s = spot("java.lang.Thread.run(java.base@17.0.15/Thread.java:840)");
        assert_eq!((s.name, s.module, s.file, s.line), ("java.lang.Thread.run", "java.base", "Thread.java", 840));
        let s = spot("J$$Lambda$2/0x00007f3070000c28.run(Unknown Source)");
        assert_eq!((s.name, s.file, s.line), ("J$$Lambda$2/0x00007f3070000c28.run", "", 0));
        assert_eq!(spot("app//a.B.c(B.java)").name, "a.B.c");
    }
}
