//! zip as a walk over its local headers (PKWARE APPNOTE 6.3): one pass, no seeking, so that an archive may come from a pipe
//! or stand in another wrapping, and entries cannot overlap. The central directory at the end is only counted.

use super::archive::{Kind, MAX_DRAINED, Member, Walk, fill, pass};
use super::stream::Ahead;
use std::io::{BufRead, Read};

const ENDS_INSIDE: &str = "the archive ends inside this file";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const NO_SIZE: u64 = u32::MAX as u64;
/// Marks a descriptor.
const MARK: &[u8] = b"PK\x07\x08";
/// Bytes of the longest descriptor.
const DESCRIPTOR: usize = 24;

/// Whether the bytes begin with a zip archive: a local header, or the end of an empty one; multi-volume marks before it.
pub fn starts(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"PK\x07\x08").or_else(|| head.strip_prefix(b"PK00")).unwrap_or(head);
    head.starts_with(b"PK\x03\x04") && head.get(5).is_none_or(|v| *v == 0) || head.starts_with(b"PK\x05\x06")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// What ends the bytes of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// So many packed bytes.
    Packed(u64),
    /// The deflate stream itself.
    Stream,
    /// A descriptor that fits the bytes before it.
    Descriptor,
}

struct Current {
    deflated: Option<flate2::Decompress>,
    end: End,
    /// A descriptor follows.
    descriptor: bool,
    /// Checksum and size as the header says; a descriptor says them later.
    stored: Option<(u32, u64)>,
    crc: flate2::Crc,
    packed: u64,
    out: u64,
    /// Nothing more comes out.
    done: bool,
    damage: Option<String>,
}

/// A zip archive.
pub struct Zip<'a> {
    input: Ahead<'a>,
    current: Option<Current>,
    members: u64,
}

/// The length of the descriptor that these bytes begin with, if it tells this size and, where they are known, this checksum
/// and this size when unpacked. It has 4 or 8 bytes per size, and a mark or none.
fn descriptor(bytes: &[u8], crc: Option<u32>, packed: u64, out: Option<u64>) -> Option<usize> {
    let fits = |at: usize, wide: bool| {
        let (length, mask) = if wide { (at + 20, u64::MAX) } else { (at + 12, NO_SIZE) };
        let (told_packed, told_out) = if wide {
            (u64_at(bytes, at + 4), u64_at(bytes, at + 12))
        } else {
            (u64::from(u32_at(bytes, at + 4)), u64::from(u32_at(bytes, at + 8)))
        };
        let same = told_packed == packed & mask && out.is_none_or(|n| told_out == n & mask);
        (same && bytes.len() >= length && crc.is_none_or(|crc| u32_at(bytes, at) == crc)).then_some(length)
    };
    let marked = bytes.starts_with(MARK);
    let first = if marked { fits(4, true).or_else(|| fits(4, false)) } else { None };
    first.or_else(|| fits(0, true)).or_else(|| fits(0, false))
}

impl<'a> Zip<'a> {
    /// Walks the archive that begins here.
    pub fn new(input: Box<dyn BufRead + 'a>) -> Zip<'a> {
        Zip { input: Ahead::new(input), current: None, members: 0 }
    }

    fn exactly<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        let n = fill(&mut self.input, &mut out).map_err(|e| e.to_string())?;
        if n == N { Ok(out) } else { Err("it ends before its directory".to_string()) }
    }

    fn pass(&mut self, n: u64, ended: &str) -> Result<(), String> {
        if pass(&mut self.input, n).map_err(|e| e.to_string())? { Ok(()) } else { Err(ended.to_string()) }
    }

    /// More bytes of the member.
    fn step(&mut self, current: &mut Current, buf: &mut [u8]) -> std::io::Result<usize> {
        if current.done || buf.is_empty() {
            return Ok(0);
        }
        let n = match (&current.end, current.deflated.is_some()) {
            (End::Descriptor, _) => self.until_descriptor(current, buf)?,
            (_, true) => self.inflate(current, buf)?,
            (_, false) => self.stored(current, buf)?,
        };
        current.crc.update(&buf[..n]);
        current.out += n as u64;
        if current.done && current.damage.is_none() {
            self.verify(current)?;
        }
        Ok(n)
    }

    fn stored(&mut self, current: &mut Current, buf: &mut [u8]) -> std::io::Result<usize> {
        let End::Packed(size) = current.end else { return Ok(0) };
        let want = (buf.len() as u64).min(size - current.packed) as usize;
        let n = self.input.read(&mut buf[..want])?;
        current.packed += n as u64;
        current.done = n == 0 || current.packed == size;
        if n == 0 && want > 0 {
            current.damage = Some(ENDS_INSIDE.to_string());
        }
        Ok(n)
    }

    fn inflate(&mut self, current: &mut Current, buf: &mut [u8]) -> std::io::Result<usize> {
        let Some(inflater) = &mut current.deflated else { return Ok(0) };
        loop {
            let packed = self.input.fill_buf()?;
            let limit = if let End::Packed(size) = current.end { size - current.packed } else { u64::MAX };
            let packed = &packed[..(packed.len() as u64).min(limit) as usize];
            let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
            let result = inflater.decompress(packed, buf, flate2::FlushDecompress::None);
            let (used, out) = ((inflater.total_in() - before_in) as usize, (inflater.total_out() - before_out) as usize);
            let empty = packed.is_empty();
            self.input.consume(used);
            current.packed += used as u64;
            match result {
                Err(e) => {
                    current.damage = Some(e.to_string());
                    current.done = true;
                }
                Ok(flate2::Status::StreamEnd) => current.done = true,
                Ok(_) if out == 0 && empty => {
                    current.damage = Some("its packed bytes end early".to_string());
                    current.done = true;
                }
                Ok(_) => {}
            }
            if out > 0 || current.done {
                return Ok(out);
            }
        }
    }

    /// Stored bytes of unknown number: they end before a marked descriptor that tells their number and checksum.
    fn until_descriptor(&mut self, current: &mut Current, buf: &mut [u8]) -> std::io::Result<usize> {
        let ahead = self.input.look(buf.len().max(DESCRIPTOR))?;
        if ahead.is_empty() {
            current.damage = Some(ENDS_INSIDE.to_string());
            current.done = true;
            return Ok(0);
        }
        let crc = current.stored.is_none().then(|| current.crc.sum());
        if ahead.starts_with(MARK) && descriptor(ahead, crc, current.packed, crc.map(|_| current.packed)).is_some() {
            current.done = true;
            return Ok(0);
        }
        let next = ahead[1..].windows(MARK.len()).position(|w| w == MARK).map(|at| at + 1);
        // A mark may begin in the last bytes.
        let n = next.unwrap_or(if ahead.len() > DESCRIPTOR { ahead.len() - 3 } else { ahead.len() }).min(buf.len());
        buf[..n].copy_from_slice(&ahead[..n]);
        self.input.consume(n);
        current.packed += n as u64;
        Ok(n)
    }

    /// At the end of a member: checksum and size.
    fn verify(&mut self, current: &mut Current) -> std::io::Result<()> {
        const DIFFERS: &str = "its checksum or size differs from what the archive says";
        let (crc, out) = (current.crc.sum(), current.out);
        if matches!(current.end, End::Packed(_)) {
            if current.stored.is_some_and(|stored| stored != (crc, out)) {
                current.damage = Some(DIFFERS.to_string());
            }
            return Ok(());
        }
        let known = current.stored.is_none();
        let ahead = self.input.look(DESCRIPTOR)?;
        let length = descriptor(ahead, known.then_some(crc), current.packed, known.then_some(out));
        if length.is_none() {
            current.damage = Some(DIFFERS.to_string());
        }
        let length = length.unwrap_or(if ahead.starts_with(MARK) { 16 } else { 12 }).min(ahead.len());
        self.input.consume(length);
        Ok(())
    }

    /// The directory at the end: as many entries as members were met.
    fn directory(&mut self) -> Result<(), String> {
        let mut entries = 1_u64;
        loop {
            let fixed: [u8; 42] = self.exactly()?;
            let rest = u64::from(u16_at(&fixed, 24)) + u64::from(u16_at(&fixed, 26)) + u64::from(u16_at(&fixed, 28));
            self.pass(rest, "it ends inside its directory")?;
            let mark: [u8; 4] = self.exactly().map_err(|_| "it ends inside its directory".to_string())?;
            if &mark != b"PK\x01\x02" {
                break;
            }
            entries += 1;
        }
        if entries == self.members {
            return Ok(());
        }
        Err(format!("its directory lists {entries} entries, and {} were met", self.members))
    }

    /// The parts of a local header behind its mark.
    fn header(&mut self) -> Result<Member, String> {
        let fixed: [u8; 26] = self.exactly()?;
        let (flags, method) = (u16_at(&fixed, 2), u16_at(&fixed, 4));
        let mut name = vec![0; usize::from(u16_at(&fixed, 22))];
        let mut extra = vec![0; usize::from(u16_at(&fixed, 24))];
        for part in [&mut name, &mut extra] {
            if fill(&mut self.input, part).map_err(|e| e.to_string())? < part.len() {
                return Err("it ends inside a header".to_string());
            }
        }
        let (crc, mut packed, mut size) = (u32_at(&fixed, 10), u64::from(u32_at(&fixed, 14)), u64::from(u32_at(&fixed, 18)));
        if packed == NO_SIZE || size == NO_SIZE {
            wide_sizes(&extra, &mut size, &mut packed);
        }
        let descriptor = flags & 8 != 0;
        let known = !(descriptor && packed == 0);
        let encrypted = flags & 1 != 0;
        let plain = !encrypted && method == STORED;
        let end = match (known, method) {
            (true, _) => End::Packed(packed),
            (false, DEFLATED) if !encrypted => End::Stream,
            (false, _) => End::Descriptor,
        };
        // Bytes that cannot be unpacked have another checksum than the descriptor tells: only their number is compared.
        let stored = if known && !descriptor || end == End::Descriptor && !plain { Some((crc, size)) } else { None };
        let name = String::from_utf8(name)
            .unwrap_or_else(|e| e.into_bytes().iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }).collect());
        let kind = if encrypted {
            Kind::Locked("it is encrypted; unpack the archive with its password and open the file".to_string())
        } else if name.ends_with('/') {
            Kind::Other
        } else if matches!(method, STORED | DEFLATED) {
            Kind::File
        } else {
            Kind::Locked(format!("it is packed by {}, which is not read here; unpack the archive and open the file", method_name(method)))
        };
        self.current = Some(Current {
            deflated: (method == DEFLATED && !encrypted).then(|| flate2::Decompress::new(false)),
            end,
            descriptor,
            stored,
            crc: flate2::Crc::new(),
            packed: 0,
            out: 0,
            done: false,
            damage: None,
        });
        Ok(Member { name, size: known.then_some(size), kind })
    }
}

/// Sizes of 8 bytes (zip64): those of the header that are full are in the extra field, in this order.
fn wide_sizes(extra: &[u8], size: &mut u64, packed: &mut u64) {
    let mut rest = extra;
    while rest.len() >= 4 {
        let length = usize::from(u16_at(rest, 2));
        if u16_at(rest, 0) == 1 {
            let mut at = 4;
            for wide in [size, packed] {
                if *wide == NO_SIZE && at + 8 <= 4 + length {
                    *wide = u64_at(rest, at);
                    at += 8;
                }
            }
            return;
        }
        rest = rest.get(4 + length..).unwrap_or(&[]);
    }
}

fn method_name(method: u16) -> String {
    let name = match method {
        1..=6 => "a method of the eighties",
        9 => "Deflate64",
        12 => "bzip2",
        14 => "LZMA",
        93 => "zstd",
        95 => "xz",
        98 => "PPMd",
        _ => "an unknown method",
    };
    format!("{name} (zip method {method})")
}

impl Read for Zip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let Some(mut current) = self.current.take() else { return Ok(0) };
        let n = self.step(&mut current, buf);
        self.current = Some(current);
        n
    }
}

impl Walk for Zip<'_> {
    fn next(&mut self) -> Result<Option<Member>, String> {
        loop {
            let mark: [u8; 4] = self.exactly()?;
            match &mark {
                b"PK\x03\x04" => {
                    self.members += 1;
                    return self.header().map(Some);
                }
                // Marks of archives in several volumes that are in one after all.
                b"PK\x07\x08" | b"PK00" if self.members == 0 => {}
                b"PK\x06\x08" => {
                    let length = u32::from_le_bytes(self.exactly()?);
                    self.pass(u64::from(length), "it ends before its directory")?;
                }
                b"PK\x01\x02" => return self.directory().map(|()| None),
                b"PK\x05\x06" | b"PK\x06\x06" if self.members == 0 => return Ok(None),
                _ => return Err(format!("behind {} files stands something else than a header", self.members)),
            }
        }
    }

    fn leave(&mut self) -> Result<Option<String>, String> {
        let Some(mut current) = self.current.take() else { return Ok(None) };
        if let End::Packed(size) = current.end {
            self.pass(size.saturating_sub(current.packed), ENDS_INSIDE)?;
            if current.descriptor {
                let ahead = self.input.look(DESCRIPTOR).map_err(|e| e.to_string())?;
                let length = descriptor(ahead, None, size, None).unwrap_or(if ahead.starts_with(MARK) { 16 } else { 12 }).min(ahead.len());
                self.input.consume(length);
            }
            return Ok(current.damage);
        }
        let mut sink = vec![0; 1 << 16];
        while !current.done {
            self.step(&mut current, &mut sink).map_err(|e| e.to_string())?;
            if current.out > MAX_DRAINED {
                return Err(format!("the end of a file was not found within {MAX_DRAINED} bytes"));
            }
        }
        Ok(current.damage)
    }
}
