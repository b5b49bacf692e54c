//! Wrappings of one stream: gzip, zlib, zstd and lz4, told by their first bytes and taken off as the bytes come.

use super::carried::carried;
use super::zstd::Zstd;
use crate::model::diagnostics::{DiagnosticCode, Level};
use std::io::{BufRead, Read};

/// A wrapping of a stream.
pub struct Wrapping {
    /// Name in [`crate::model::Source::container`].
    pub name: &'static str,
    /// What damage of it is called.
    pub damaged: DiagnosticCode,
    starts: fn(&[u8]) -> bool,
    open: Option<Open>,
}

type Open = for<'a> fn(Box<dyn BufRead + 'a>) -> Box<dyn Read + 'a>;

impl Wrapping {
    /// The bytes in it; `None` when this build has no decoder.
    pub fn open<'a>(&self, wrapped: Box<dyn BufRead + 'a>) -> Option<Box<dyn Read + 'a>> {
        self.open.map(|open| open(wrapped))
    }
}

const fn damaged(code: &'static str, message: &'static str) -> DiagnosticCode {
    DiagnosticCode { code, level: Level::DataLoss, message }
}

const GZIP: Wrapping = Wrapping {
    name: "gzip",
    damaged: damaged("container/gzip-damaged", "The gzip stream is cut or damaged; what could be inflated was read."),
    starts: |head| head.starts_with(&[0x1f, 0x8b]),
    open: Some(|wrapped| Box::new(flate2::bufread::MultiGzDecoder::new(wrapped))),
};
const ZSTD: Wrapping = Wrapping {
    name: "zstd",
    damaged: damaged("container/zstd-damaged", "The zstd stream is cut or damaged; what could be decoded was read."),
    starts: is_zstd,
    open: Some(|wrapped| Box::new(Zstd::new(wrapped))),
};
const LZ4: Wrapping = Wrapping {
    name: "lz4",
    damaged: damaged("container/lz4-damaged", "The lz4 stream is cut or damaged; what could be decoded was read."),
    starts: |head| head.starts_with(b"\x04\x22\x4d\x18"),
    open: Some(|wrapped| Box::new(lz4_flex::frame::FrameDecoder::new(wrapped))),
};
const ZLIB: Wrapping = Wrapping {
    name: "zlib",
    damaged: damaged("container/zlib-damaged", "The zlib stream is cut or damaged; what could be inflated was read."),
    starts: is_zlib,
    open: Some(|wrapped| Box::new(flate2::bufread::ZlibDecoder::new(wrapped))),
};

/// Every wrapping.
pub const WRAPPINGS: &[Wrapping] = &[GZIP, ZSTD, LZ4, ZLIB];
/// The same list as the page's first module has it, with the decoders that most files need.
pub const FIRST: &[Wrapping] = &[GZIP, Wrapping { open: None, ..ZSTD }, Wrapping { open: None, ..LZ4 }, ZLIB];

/// Bytes of a stream's head that [`wrapping`] and the archives want to see.
pub const HEAD_BYTES: usize = 1024;

/// The wrapping that a stream begins with.
pub fn wrapping(head: &[u8]) -> Option<&'static Wrapping> {
    wrapping_among(carried().wrappings, head)
}

/// As [`wrapping`], among these.
pub fn wrapping_among(wrappings: &'static [Wrapping], head: &[u8]) -> Option<&'static Wrapping> {
    wrappings.iter().find(|w| (w.starts)(head))
}

/// A frame, or a skippable frame with a frame behind it (what parallel compressors write).
fn is_zstd(head: &[u8]) -> bool {
    let mut rest = head;
    for _ in 0..4 {
        match *rest {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return true,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] => {
                match rest.get(8_usize.saturating_add(u32::from_le_bytes([a, b, c, d]) as usize)..) {
                    Some(next) => rest = next,
                    // The skippable frame is longer than the head: nothing else begins so.
                    None => return true,
                }
            }
            _ => return false,
        }
    }
    false
}

/// Two bytes are a weak mark (RFC 1950), and text may begin with them: what follows must inflate.
fn is_zlib(head: &[u8]) -> bool {
    let [method, flags, ..] = *head else { return false };
    if method & 0x0f != 8 || method >> 4 > 7 || flags & 0x20 != 0 || !(u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31) {
        return false;
    }
    let mut out = [0; 256];
    let mut inflater = flate2::Decompress::new(true);
    let result = inflater.decompress(head, &mut out, flate2::FlushDecompress::None);
    let plain_text = head.len() > 16 && head.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
    result.is_ok() && inflater.total_out() > 0 && !plain_text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(head: &[u8]) -> &'static str {
        wrapping(head).map_or("", |w| w.name)
    }

    #[test]
    fn marks_and_what_looks_like_them() {
        assert_eq!(name(b"\x1f\x8b\x08\0"), "gzip");
        assert_eq!(name(b"\x28\xb5\x2f\xfd\x04"), "zstd");
        // pzstd: a skippable frame of four bytes, then a frame.
        assert_eq!(name(b"\x50\x2a\x4d\x18\x04\0\0\0\x01\0\0\0\x28\xb5\x2f\xfd"), "zstd");
        assert_eq!(name(b"\x50\x2a\x4d\x18\x04\0\0\0\x01\0\0\0text"), "");
        // `zlib.compress(b"main;work 12\n", level)` of Python for levels 1, 6 and 9.
        for level in [b"\x78\x01", b"\x78\x9c", b"\x78\xda"] {
            let body = b"\xcb\x4d\xcc\xcc\xb3\x2e\xcf\x2f\xca\x56\x30\x34\xe2\x02\x00\x22\x09\x04\x31";
            assert_eq!(name(&[&level[..], body].concat()), "zlib");
        }
        assert_eq!(name(b"x^y;main;work 12\nx^y;main;rest 3\n"), "");
        assert_eq!(name(b"x\x01"), "");
        assert_eq!(name(b""), "");
    }
}
