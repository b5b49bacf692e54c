//! The memory map behind an old profile: which binary lies where, as /proc/PID/maps or in the short form of gperftools.

/// A range of addresses of a binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    pub start: u64,
    /// One behind the last.
    pub limit: u64,
    pub offset: u64,
    pub file: String,
    pub build_id: String,
}

/// Whether a line says that the memory map follows.
pub(super) fn is_map_mark(line: &str) -> bool {
    line.contains("--- Memory map: ---") || line.contains("MAPPED_LIBRARIES:")
}

/// Reads the lines of a map; others are passed over, `name=value` lines are put in where `$name` stands.
pub(super) fn memory_map<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Map> {
    let mut names: Vec<(String, String)> = Vec::new();
    let mut out = Vec::new();
    for line in lines {
        let mut line = line.trim().to_string();
        // Variables are few by nature; a file with many of them is no map.
        for (name, value) in names.iter().take(16) {
            line = line.replace(name, value);
        }
        match entry(&line) {
            Some(Entry::Code(map)) => out.push(map),
            Some(Entry::Data) => {}
            None => {
                if let Some((name, value)) = line.split_once('=') {
                    names.push((format!("${}", name.trim()), value.trim().to_string()));
                }
            }
        }
    }
    out
}

enum Entry {
    Code(Map),
    Data,
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

/// `START-END perms offset dev inode file`, or `START-END: file (@offset) buildid`.
fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let range = words.next()?;
    let (start, limit) = range.trim_end_matches(':').split_once('-')?;
    let (start, limit) = (hex(start)?, hex(limit)?);
    let mut rest: Vec<&str> = words.collect();
    let permissions = |w: &str| w.bytes().all(|b| b"-rwxp".contains(&b));
    if rest.first().is_some_and(|w| permissions(w)) && rest.remove(0).find('x').is_none() {
        return Some(Entry::Data);
    }
    let mut map = Map { start, limit, ..Map::default() };
    match rest[..] {
        [offset, device, _, ref file @ ..] if device.contains(':') && hex(offset).is_some() => {
            map.offset = hex(offset)?;
            map.file = file.first().map_or("", |f| f).to_string();
        }
        _ => {
            let mut rest = rest.into_iter();
            map.file = rest.next().unwrap_or_default().to_string();
            for word in rest {
                match word.strip_prefix("(@").and_then(|w| w.strip_suffix(')')) {
                    Some(offset) => map.offset = hex(offset)?,
                    None if word.bytes().all(|b| b.is_ascii_hexdigit()) => map.build_id = word.to_string(),
                    None => {}
                }
            }
        }
    }
    Some(Entry::Code(map))
}

/// The map, made ready to find addresses in.
pub(super) struct Maps {
    /// The program first.
    pub list: Vec<Map>,
}

impl Maps {
    /// Joins ranges that continue each other and puts the program first, as `go tool pprof` does.
    pub fn new(list: Vec<Map>) -> Maps {
        let mut out: Vec<Map> = Vec::with_capacity(list.len());
        for map in list {
            match out.last_mut() {
                Some(last) if continues(last, &map) => {
                    last.limit = map.limit;
                    for (own, more) in [(&mut last.file, map.file), (&mut last.build_id, map.build_id)] {
                        if !more.is_empty() {
                            *own = more;
                        }
                    }
                }
                _ => out.push(map),
            }
        }
        let program = |m: &Map| {
            let file = m.file.replace("(deleted)", "");
            let file = file.trim();
            !file.is_empty() && !file.starts_with('[') && !is_library(file)
        };
        if let Some(at) = out.iter().position(program) {
            out.swap(0, at);
        }
        if out.len() > 1 && out[0].file.starts_with("/anon_hugepage") && out[0].limit == out[1].start {
            out.remove(0);
        }
        if let Some(first) = out.first_mut()
            && first.start.wrapping_sub(first.offset) == 0x40_0000
        {
            (first.start, first.offset) = (0x40_0000, 0);
        }
        Maps { list: out }
    }

    /// The map of each address (sorted), as its position in `list`: the first that holds it, else the first whose part
    /// before its offset does, for servers that leave out the first of several adjacent ranges.
    pub fn find(&self, sorted: &[u64]) -> Vec<Option<usize>> {
        let whole: Vec<(u64, u64)> = self.list.iter().map(|m| (m.start, m.limit)).collect();
        let before: Vec<(u64, u64)> =
            self.list.iter().map(|m| (m.start.saturating_sub(m.offset), if m.offset == 0 { 0 } else { m.start })).collect();
        let second = sweep(&before, sorted);
        sweep(&whole, sorted).into_iter().zip(second).map(|(found, other)| found.or(other)).collect()
    }
}

/// The first range that holds each of the sorted addresses.
fn sweep(ranges: &[(u64, u64)], sorted: &[u64]) -> Vec<Option<usize>> {
    let mut by_start: Vec<usize> = (0..ranges.len()).filter(|i| ranges[*i].0 < ranges[*i].1).collect();
    by_start.sort_by_key(|i| ranges[*i].0);
    let mut next = by_start.into_iter().peekable();
    let mut open = std::collections::BinaryHeap::new();
    let mut out = Vec::with_capacity(sorted.len());
    for address in sorted {
        while let Some(i) = next.next_if(|i| ranges[*i].0 <= *address) {
            open.push(std::cmp::Reverse(i));
        }
        // A range that has ended never holds a later address.
        while open.peek().is_some_and(|i| ranges[i.0].1 <= *address) {
            open.pop();
        }
        out.push(open.peek().map(|i| i.0));
    }
    out
}

fn continues(a: &Map, b: &Map) -> bool {
    let agree = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
    let offsets = a.offset == 0 || b.offset == 0 || a.offset.wrapping_add(a.limit.wrapping_sub(a.start)) == b.offset;
    agree(&a.file, &b.file) && agree(&a.build_id, &b.build_id) && a.limit == b.start && offsets
}

/// `libc.so`, `libc-2.15.so`, `libz.so.1`.
fn is_library(file: &str) -> bool {
    file.ends_with(".so")
        || file.match_indices(".so").any(|(at, _)| {
            let rest = &file.as_bytes()[at + 3..];
            matches!(rest, [b'.' | b'_', digit, ..] if digit.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_map() {
        let text = "build=/opt/app\n  00400000-00fcb000: cppbench_server_main\n7f00-7f10 r-xp 00000010 00:00 7482  /lib/ld-2.15.so\n7f10-7f20 rw-p 00024000 00:00 7482  /lib/ld-2.15.so\n40-50: $build/main (@10) abc123\nffff-fffff: [vdso]";
        let maps = memory_map(text.lines());
        let map = |start, limit, offset, file: &str, id: &str| Map { start, limit, offset, file: file.into(), build_id: id.into() };
        assert_eq!(
            maps,
            [
                map(0x40_0000, 0xfc_b000, 0, "cppbench_server_main", ""),
                map(0x7f00, 0x7f10, 0x10, "/lib/ld-2.15.so", ""),
                map(0x40, 0x50, 0x10, "/opt/app/main", "abc123"),
                map(0xffff, 0xf_ffff, 0, "[vdso]", ""),
            ]
        );
        let found = Maps::new(maps).find(&[0x35, 0x45, 0x7ef5, 0x7f05, 0x40_0000, 0xfff_ffff]);
        assert_eq!(found, [Some(2), Some(2), Some(1), Some(1), Some(0), None]);
    }

    #[test]
    fn adjacent_ranges_are_one_and_the_program_is_first() {
        let map = |start, limit, file: &str| Map { start, limit, file: file.into(), ..Map::default() };
        let maps = Maps::new(vec![map(1, 2, "/lib/libz.so.1"), map(2, 3, "/lib/libz.so.1"), map(9, 10, "[vdso]"), map(5, 6, "/bin/x")]);
        assert_eq!(maps.list, [map(5, 6, "/bin/x"), map(9, 10, "[vdso]"), map(1, 3, "/lib/libz.so.1")]);
    }
}
