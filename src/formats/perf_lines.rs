//! The lines of `perf script`: sample headers and stack frames. The grammar follows 21 real variants (perf 3.x to 6.x,
//! simpleperf); a header is found by its time stamp, so that command names may hold spaces, digits and slashes.

/// The first line of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Header<'a> {
    /// Command, as padded lines trimmed.
    pub comm: &'a str,
    /// -1 if not printed.
    pub pid: i64,
    /// Thread id, or the only number.
    pub tid: i64,
    /// Nanoseconds; `None` for the oldest form without a time stamp.
    pub time_ns: Option<i64>,
    /// Period, if printed.
    pub period: Option<i64>,
    /// Event with its modifiers, without the closing colon.
    pub event: &'a str,
    /// What follows on the line: a tracepoint's payload, or a frame.
    pub rest: &'a str,
}

/// A stack frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// Instruction pointer.
    pub ip: u64,
    /// Symbol without offset; may be empty.
    pub symbol: &'a str,
    /// Offset in the symbol.
    pub offset: Option<u64>,
    /// Binary; `None` if not printed.
    pub dso: Option<&'a str>,
    /// Inlined into the next frame.
    pub inlined: bool,
}

/// Splits off the first word; the rest has no leading blanks.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    match text.find(char::is_whitespace) {
        Some(at) => (&text[..at], text[at..].trim_start()),
        None => (text, ""),
    }
}

/// `123.456789:` as nanoseconds.
fn time(word: &str) -> Option<i64> {
    let (seconds, fraction) = word.strip_suffix(':')?.split_once('.')?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_i64.pow(9 - fraction.len() as u32);
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction.parse::<i64>().ok()? * scale)
}

/// `12/34`, `34`: pid (or -1) and tid.
fn ids(word: &str) -> Option<(i64, i64)> {
    let number = |s: &str| {
        let digits = s.strip_prefix('-').unwrap_or(s);
        (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<i64>().ok()).flatten()
    };
    match word.split_once('/') {
        Some((pid, tid)) => Some((number(pid)?, number(tid)?)),
        None => Some((-1, number(word)?)),
    }
}

fn is_cpu(word: &str) -> bool {
    word.strip_prefix('[').and_then(|w| w.strip_suffix(']')).is_some_and(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit()))
}

/// perf's misc column: `U`, `K`, `H`, `PERF_RECORD_MISC` letters.
fn is_misc(word: &str) -> bool {
    let upper = word.bytes().take_while(u8::is_ascii_uppercase).count();
    (1..=3).contains(&upper) && word.len() <= 8 && word[upper..].bytes().all(|b| b.is_ascii_alphabetic() || b == b'>')
}

/// Where the last word begins. perf separates by ASCII blanks; command names may hold any other.
fn last_word_at(text: &str) -> usize {
    text.rfind(|c: char| c.is_ascii_whitespace()).map_or(0, |at| at + 1)
}

/// Splits off the last word.
fn last_word(text: &str) -> (&str, &str) {
    let text = text.trim_end();
    let (before, word) = text.split_at(last_word_at(text));
    (before.trim_end(), word)
}

/// Command, pid and tid from what stands before the time stamp.
fn who(text: &str) -> Option<(&str, i64, i64)> {
    let (mut before, mut last) = last_word(text);
    if is_misc(last) && ids(last_word(before).1).is_some() || is_misc(last) && is_cpu(last_word(before).1) {
        (before, last) = last_word(before);
    }
    if is_cpu(last) {
        (before, last) = last_word(before);
    }
    let (pid, tid) = ids(last)?;
    Some((before.trim(), pid, tid))
}

/// The next colon with a blank behind it, else one at the end of the line.
fn time_mark(line: &str, from: usize) -> Option<usize> {
    let bytes = line.as_bytes();
    let mut colons = memchr::memchr_iter(b':', &bytes[from..]).map(|at| at + from);
    colons.find(|at| bytes.get(at + 1).is_none_or(|next| *next == b' '))
}

/// Parses a header line; `None` if it is none.
pub fn header(line: &str) -> Option<Header<'_>> {
    let mut from = 0;
    // The time stamp is the first word of its shape that leaves a readable command in front and an event behind.
    while let Some(at) = time_mark(line, from) {
        let start = last_word_at(&line[..at]);
        if let Some(time_ns) = time(&line[start..=at])
            && let Some((comm, pid, tid)) = who(&line[..start])
            && let Some((period, event, rest)) = event(&line[at + 1..])
        {
            return Some(Header { comm, pid, tid, time_ns: Some(time_ns), period, event, rest });
        }
        from = at + 1;
        if from >= line.len() {
            break;
        }
    }
    // Tab-separated forms have no blank behind the colon.
    if line.contains(":\t") {
        let at = line.find(":\t")?;
        let start = last_word_at(&line[..at]);
        let (comm, pid, tid) = who(&line[..start])?;
        let (period, event, rest) = event(&line[at + 1..])?;
        return Some(Header { comm, pid, tid, time_ns: Some(time(&line[start..=at])?), period, event, rest });
    }
    None
}

/// Parses the oldest header, `comm pid [cpu]? time?: event:` without a time stamp: `java 12688 cpu-clock:`.
pub fn old_header(line: &str) -> Option<Header<'_>> {
    let line = line.trim_end();
    let (before, last) = last_word(line);
    let name = last.strip_suffix(':')?;
    if name.is_empty()
        || name.ends_with(':')
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || line.starts_with(char::is_whitespace)
    {
        return None;
    }
    let (comm, pid, tid) = who(before)?;
    (!comm.is_empty()).then_some(Header { comm, pid, tid, time_ns: None, period: None, event: name, rest: "" })
}

/// Period, event name and rest, from what follows the time stamp.
fn event(text: &str) -> Option<(Option<i64>, &str, &str)> {
    let (first, rest) = word(text);
    if let Ok(period) = first.parse::<i64>()
        && first.bytes().all(|b| b.is_ascii_digit())
    {
        let (name, rest) = word(rest);
        if let Some(name) = name.strip_suffix(':').filter(|n| !n.is_empty()) {
            return Some((Some(period), name, rest));
        }
    }
    let name = first.strip_suffix(':').filter(|n| !n.is_empty())?;
    Some((None, name, rest.trim_end()))
}

/// Parses a frame: `ip symbol+0xoff (dso)`, with everything but the pointer optional.
pub fn frame(line: &str) -> Option<Frame<'_>> {
    let line = line.trim();
    let (ip, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let hex = !ip.is_empty() && ip.len() <= 16 && ip.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !hex {
        return None;
    }
    let ip = u64::from_str_radix(ip, 16).ok()?;
    let mut symbol = rest.trim();
    let mut dso = None;
    if let Some(at) = last_group(symbol) {
        dso = Some(&symbol[at + 1..symbol.len() - 1]);
        symbol = symbol[..at].trim_end();
    }
    let inlined = dso == Some("inlined");
    if inlined {
        dso = None;
    }
    let mut offset = None;
    if let Some(at) = offset_mark(symbol)
        && let Ok(value) = u64::from_str_radix(&symbol[at + 3..], 16)
    {
        offset = Some(value);
        symbol = &symbol[..at];
    }
    Some(Frame { ip, symbol, offset, dso, inlined })
}

/// Where the last `+0x` stands.
fn offset_mark(symbol: &str) -> Option<usize> {
    let bytes = symbol.as_bytes();
    memchr::memrchr_iter(b'+', bytes).find(|at| bytes[at + 1..].starts_with(b"0x"))
}

/// Start of the balanced parenthesis group at the end, if a blank (or nothing) stands before it.
fn last_group(text: &str) -> Option<usize> {
    if !text.ends_with(')') {
        return None;
    }
    let mut depth = 0_i32;
    for (at, b) in text.bytes().enumerate().rev() {
        match b {
            b')' => depth += 1,
            b'(' => {
                depth -= 1;
                if depth == 0 {
                    return (at == 0 || text.as_bytes()[at - 1].is_ascii_whitespace()).then_some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// `file.c:12`, as `-F +srcline` prints it under a frame; `None` for `??:0` and `lib.so[27b25]`.
pub fn source_line(line: &str) -> Option<(&str, u32)> {
    let line = line.trim().trim_end_matches(" (inlined)");
    let (file, number) = line.rsplit_once(':')?;
    let number: u32 = number.parse().ok()?;
    (number > 0 && !file.is_empty() && file != "??").then_some((file, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Drawn = (&'static str, Option<(&'static str, i64, i64, Option<i64>, &'static str, &'static str)>);

    #[test]
    fn blanks_of_other_alphabets_are_no_separators() {
        assert_eq!(last_word("a\u{2028}b 12"), ("a\u{2028}b", "12"));
        assert_eq!(last_word("a\u{2028}12"), ("", "a\u{2028}12"));
        let h = header("my\u{2003}tool 7 1.5: cycles:").map(|h| (h.comm, h.tid));
        assert_eq!(h, Some(("my\u{2003}tool", 7)));
    }

    #[test]
    fn headers_of_real_files() {
        // The variants of the prototype's table (PROFILES 5.3).
        let table: &[Drawn] = &[
            ("java 25607 4794564.109216: cycles:", Some(("java", -1, 25607, None, "cycles", ""))),
            ("java 12688 [002] 6544038.708352: 235 cpu-clock:", Some(("java", -1, 12688, Some(235), "cpu-clock", ""))),
            (
                "V8 WorkerThread 24636/25607 [000] 94564.109216: 100 cycles:",
                Some(("V8 WorkerThread", 24636, 25607, Some(100), "cycles", "")),
            ),
            ("vote   913    72.176760:     257597 cycles:uppp:", Some(("vote", -1, 913, Some(257597), "cycles:uppp", ""))),
            (
                "false 64414 20110.539270:      34467 cycles:u:  ffffffff9aa3c8de [unknown] ([unknown])",
                Some(("false", -1, 64414, Some(34467), "cycles:u", "ffffffff9aa3c8de [unknown] ([unknown])")),
            ),
            (
                "loops 29928/29928 U      1383.006345: cpu-clock:                         ",
                Some(("loops", 29928, 29928, None, "cpu-clock", "")),
            ),
            ("  4242/4242 [001] 2.000000:  100 cycles: ", Some(("", 4242, 4242, Some(100), "cycles", ""))),
            (":-1 -1/-1 [001] 2.000000:  100 cycles: ", Some((":-1", -1, -1, Some(100), "cycles", ""))),
            (
                "migration/0    18 [000]  2090.881247:     250000          cpu-clock: ",
                Some(("migration/0", -1, 18, Some(250000), "cpu-clock", "")),
            ),
            (
                "bash 100/101 [000] 10.000001:          1 sched:sched_switch: prev_comm=bash ==> next_comm=swapper/0",
                Some(("bash", 100, 101, Some(1), "sched:sched_switch", "prev_comm=bash ==> next_comm=swapper/0")),
            ),
            ("Gecko\t25122 [007] 115539.936601:\t\t1000000 task-clock:u:", Some(("Gecko", -1, 25122, Some(1000000), "task-clock:u", ""))),
            ("my app 2 1/1 [000] 1.000000:  100 cycles: ", Some(("my app 2", 1, 1, Some(100), "cycles", ""))),
            ("kworker/1:3-eve 22 [001] 2.000000:  100 cycles: ", Some(("kworker/1:3-eve", -1, 22, Some(100), "cycles", ""))),
            ("x 1 [000] 5.123456789: 7 cpu/event=0x3c,umask=0x0/: ", Some(("x", -1, 1, Some(7), "cpu/event=0x3c,umask=0x0/", ""))),
            ("swapper     0 [021] 28648.467059: cpu-clock:", Some(("swapper", -1, 0, None, "cpu-clock", ""))),
            ("bash 19964   986.966338: PERF_RECORD_FORK(19966:19966):(19964:19964)", None),
            ("python3 19964   986.937953: PERF_RECORD_COMM exec: python3:19964/19964", None),
            ("\tffffffff81611c8d unmapped_area_topdown+0x10d ([kernel.kallsyms])", None),
        ];
        for (line, expected) in table {
            let got = header(line).map(|h| (h.comm, h.pid, h.tid, h.period, h.event, h.rest));
            assert_eq!(got, *expected, "{line}");
        }
        assert_eq!(header("x 1 [000] 5.123456789: 7 c: ").and_then(|h| h.time_ns), Some(5_123_456_789));
    }

    #[test]
    fn frames_of_real_files() {
        let f = |line| frame(line).map(|f| (f.symbol, f.offset, f.dso, f.inlined));
        assert_eq!(f("\t401000 main+0x0 (/bin/x (deleted))"), Some(("main", Some(0), Some("/bin/x (deleted)"), false)));
        assert_eq!(f("\t401000 f+0x0 (/bin/my app)"), Some(("f", Some(0), Some("/bin/my app"), false)));
        assert_eq!(f("\t 27304 __libc_start_main_impl+0x84 (inlined)"), Some(("__libc_start_main_impl", Some(0x84), None, true)));
        assert_eq!(f("\t401000 f+0x10"), Some(("f", Some(16), None, false)));
        assert_eq!(f("\t7f1e2215d058  (/lib/libc-2.15.so)"), Some(("", None, Some("/lib/libc-2.15.so"), false)));
        assert_eq!(
            f("\t7f7 CardTableModRefBS::process_stride(Space*, MemRegion, int) (/usr/lib/libjvm.so)"),
            Some(("CardTableModRefBS::process_stride(Space*, MemRegion, int)", None, Some("/usr/lib/libjvm.so"), false))
        );
        assert_eq!(
            f("\t1 std::function<void (int, int)>::operator()(int, int)+0x12 (/a/b)"),
            Some(("std::function<void (int, int)>::operator()(int, int)", Some(0x12), Some("/a/b"), false))
        );
        assert_eq!(f("\t1 (anonymous namespace)::f+0x1 (/a)"), Some(("(anonymous namespace)::f", Some(1), Some("/a"), false)));
        assert_eq!(f("\t0 [unknown] ([unknown])"), Some(("[unknown]", None, Some("[unknown]"), false)));
        assert_eq!(f("  file.c:12"), None);
        assert_eq!(source_line("  file.c:12"), Some(("file.c", 12)));
        assert_eq!(source_line("  ??:0"), None);
    }
}
