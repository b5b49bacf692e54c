//! tar as a walk: ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU headers, old archives without a mark too.

use super::archive::{Kind, Member, Walk, fill, pass};
use std::io::{BufRead, Read};

const BLOCK: usize = 512;
/// Long names and pax headers beyond this are not read.
const MAX_EXTRA: u64 = 1 << 20;

/// Whether the bytes begin with a tar header: the sum of its bytes is in it.
pub fn starts(head: &[u8]) -> bool {
    head.get(..BLOCK).is_some_and(|block| block[0] != 0 && sum_fits(block) && number(&block[124..136]).is_some())
}

/// The header's checksum counts its own field as blanks; very old programs summed signed bytes.
fn sum_fits(block: &[u8]) -> bool {
    let Some(stored) = number(&block[148..156]) else { return false };
    let own = |i: usize| if (148..156).contains(&i) { b' ' } else { block[i] };
    let unsigned: u64 = (0..BLOCK).map(|i| u64::from(own(i))).sum();
    let signed: i64 = (0..BLOCK).map(|i| i64::from(own(i) as i8)).sum();
    stored == unsigned || stored as i64 == signed
}

/// A number in octal digits, or in base 256 with the top bit set (GNU).
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        return field[1..].iter().try_fold(u64::from(field[0] & 0x7f), |n, b| n.checked_mul(256).map(|n| n | u64::from(*b)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// A tar archive.
pub struct Tar<'a> {
    input: Box<dyn BufRead + 'a>,
    /// Bytes of the current member that were not read yet, and what fills its last block.
    left: u64,
    padding: u64,
    damage: Option<String>,
}

impl<'a> Tar<'a> {
    /// Walks the archive that begins here.
    pub fn new(input: Box<dyn BufRead + 'a>) -> Tar<'a> {
        Tar { input, left: 0, padding: 0, damage: None }
    }

    /// The content of a header that describes the next one.
    fn extra(&mut self, size: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        (&mut self.input).take(size.min(MAX_EXTRA)).read_to_end(&mut out).map_err(|e| e.to_string())?;
        self.left = size - out.len() as u64;
        Ok(out)
    }
}

/// The path and size of a pax header: records of `length key=value\n`.
fn pax(bytes: &[u8], path: &mut Option<String>, size: &mut Option<u64>) {
    let mut rest = bytes;
    while let Some(space) = rest.iter().position(|b| *b == b' ') {
        let length = std::str::from_utf8(&rest[..space]).ok().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        let Some(record) = rest.get(space + 1..length) else { return };
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(value) = record.strip_prefix(b"path=") {
            *path = Some(String::from_utf8_lossy(value).into_owned());
        } else if let Some(value) = record.strip_prefix(b"size=") {
            *size = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok());
        }
        rest = &rest[length..];
    }
}

impl Read for Tar<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let want = (buf.len() as u64).min(self.left) as usize;
        let n = self.input.read(&mut buf[..want])?;
        if n == 0 && want > 0 {
            self.damage = Some("the archive ends inside this file".to_string());
            (self.left, self.padding) = (0, 0);
        }
        self.left -= n as u64;
        Ok(n)
    }
}

impl Walk for Tar<'_> {
    fn next(&mut self) -> Result<Option<Member>, String> {
        let (mut path, mut size) = (None, None);
        loop {
            self.leave()?;
            let mut block = [0; BLOCK];
            match fill(&mut *self.input, &mut block).map_err(|e| e.to_string())? {
                // Programs that append leave out the two empty blocks at the end.
                0 => return Ok(None),
                BLOCK => {}
                n => return Err(format!("its last header has {n} bytes instead of {BLOCK}")),
            }
            if block.iter().all(|b| *b == 0) {
                return Ok(None);
            }
            let length = number(&block[124..136]).filter(|n| *n < 1 << 62);
            let (true, Some(length)) = (sum_fits(&block), length) else { return Err("a header is damaged".to_string()) };
            let kind = block[156];
            let has_body = !matches!(kind, b'1'..=b'6');
            let length =
                if has_body { size.filter(|n| *n < 1 << 62 && !matches!(kind, b'x' | b'L' | b'K' | b'g')).unwrap_or(length) } else { 0 };
            self.left = length;
            self.padding = (BLOCK as u64 - length % BLOCK as u64) % BLOCK as u64;
            match kind {
                b'x' => {
                    let extra = self.extra(length)?;
                    pax(&extra, &mut path, &mut size);
                    continue;
                }
                b'L' => {
                    path = Some(text(&self.extra(length)?));
                    continue;
                }
                b'K' | b'g' | b'V' => continue,
                _ => {}
            }
            let own = || {
                let (prefix, name) = (text(&block[345..500]), text(&block[..100]));
                let posix = &block[257..263] == b"ustar\0" && !prefix.is_empty();
                if posix { format!("{prefix}/{name}") } else { name }
            };
            let name = path.take().unwrap_or_else(own);
            let kind = match kind {
                0 | b'0' | b'7' if !name.ends_with('/') => Kind::File,
                b'S' => Kind::Locked("it is stored with holes (a sparse file); unpack the archive and open the file".to_string()),
                _ => Kind::Other,
            };
            return Ok(Some(Member { name, size: Some(length), kind }));
        }
    }

    fn leave(&mut self) -> Result<Option<String>, String> {
        let rest = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        if pass(&mut *self.input, rest).map_err(|e| e.to_string())? {
            Ok(self.damage.take())
        } else {
            Err("it ends inside a file".to_string())
        }
    }
}
