//! The zstd stream of `perf record -z`: pieces of it stand in `COMPRESSED` and `COMPRESSED2` records, and what comes out is
//! records again, which may begin in one piece and end in the next.

use ruzstd::decoding::FrameDecoder;

/// An empty last block: perf never ends its frame, and the decoder holds back one window until the frame has ended.
const LAST_BLOCK: [u8; 3] = [1, 0, 0];
/// The longest frame header.
const HEADER: usize = 18;

/// Inflates pieces of a stream.
pub struct Stream {
    decoder: FrameDecoder,
    in_frame: bool,
    input: Vec<u8>,
    buffer: Vec<u8>,
    /// Inflated bytes that the caller has not taken yet.
    pub out: Vec<u8>,
    bytes_in: u64,
    bytes_out: u64,
    ratio: u64,
    /// The last frame was ended by force: nothing may follow it.
    closing: bool,
    /// Why it stopped.
    broken: Option<String>,
}

impl Stream {
    /// `ratio` bounds inflated bytes per given byte, checked beyond 64 MiB.
    pub fn new(ratio: u64) -> Stream {
        Stream {
            decoder: FrameDecoder::new(),
            in_frame: false,
            input: Vec::new(),
            buffer: vec![0; 1 << 17],
            out: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
            ratio,
            closing: false,
            broken: None,
        }
    }

    /// Whether it was given anything.
    pub fn used(&self) -> bool {
        self.bytes_in > 0
    }

    /// Takes the next piece; what can be inflated is appended to `out`.
    ///
    /// # Errors
    /// Why the stream is damaged; told once, then pieces are passed over.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), String> {
        if self.broken.is_some() {
            return Ok(());
        }
        self.bytes_in += piece.len() as u64;
        self.input.extend_from_slice(piece);
        self.run(false)
    }

    /// Gives what the decoder still holds, at the end of the file.
    ///
    /// # Errors
    /// Why the stream is damaged.
    pub fn end(&mut self) -> Result<(), String> {
        if self.broken.is_some() {
            return Ok(());
        }
        let result = self.run(true);
        if self.in_frame && self.broken.is_none() {
            // Half a block can never be completed.
            self.input.clear();
            self.input.extend(LAST_BLOCK);
            // A checksum may be due behind the last block; it is not compared.
            self.input.extend([0; 4]);
            self.closing = true;
            return result.and(self.run(true));
        }
        result
    }

    fn run(&mut self, ending: bool) -> Result<(), String> {
        let mut at = 0;
        let result = self.inflate(&mut at, ending);
        self.input.drain(..at.min(self.input.len()));
        if let Err(reason) = &result {
            self.broken = Some(reason.clone());
            self.input = Vec::new();
        }
        result
    }

    fn inflate(&mut self, at: &mut usize, ending: bool) -> Result<(), String> {
        loop {
            if !self.in_frame {
                if self.closing {
                    return Ok(());
                }
                let rest = self.input.get(*at..).unwrap_or_default();
                if rest.is_empty() || rest.len() < HEADER && !ending {
                    return Ok(());
                }
                let mut source = rest;
                self.decoder.init(&mut source).map_err(|e| e.to_string())?;
                *at += rest.len() - source.len();
                self.in_frame = true;
            }
            // One block at a time: a piece may hold thousands of blocks that are tiny until they are inflated.
            let Some(block) = block_len(self.input.get(*at..).unwrap_or_default()) else { return Ok(()) };
            let (read, written) = self.step(*at, block)?;
            *at += read;
            if read == 0 && written == 0 && self.in_frame {
                return Ok(());
            }
        }
    }

    /// Decodes a block and drains what is ready.
    fn step(&mut self, at: usize, block: usize) -> Result<(usize, usize), String> {
        // The checksum behind a last block may be split off; it is part of the same step.
        let source = self.input.get(at..at + block).unwrap_or_default();
        let (mut read, mut written) = self.decoder.decode_from_to(source, &mut self.buffer).map_err(|e| e.to_string())?;
        read = read.min(source.len());
        self.out.extend_from_slice(&self.buffer[..written]);
        while self.decoder.can_collect() > 0 {
            let more = std::io::Read::read(&mut self.decoder, &mut self.buffer).map_err(|e| e.to_string())?;
            if more == 0 {
                break;
            }
            self.out.extend_from_slice(&self.buffer[..more]);
            written += more;
        }
        self.bytes_out += written as u64;
        if self.bytes_out > 64 << 20 && self.bytes_out / self.ratio.max(1) > self.bytes_in {
            return Err(format!("inflates to more than {} times its size; stopped", self.ratio));
        }
        if self.decoder.is_finished() {
            self.in_frame = false;
        }
        Ok((read, written))
    }
}

/// Bytes of the next block with its header; with the checksum if it is the last block and the bytes are there.
fn block_len(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, ..] = *bytes else { return None };
    let header = u32::from_le_bytes([a, b, c, 0]);
    // A block of one repeated byte holds that byte only.
    let content = if header >> 1 & 3 == 1 { 1 } else { (header >> 3) as usize };
    let len = 3 + content;
    if header & 1 == 1 {
        return (bytes.len() >= len).then(|| bytes.len().min(len + 4));
    }
    (bytes.len() >= len).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of two blocks: five raw bytes and 300 repeated ones; window of 1 KiB, never ended.
    fn stream() -> Vec<u8> {
        let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00];
        out.extend([5 << 3, 0, 0]);
        out.extend(b"hello");
        let repeated = (300_u32 << 3 | 1 << 1).to_le_bytes();
        out.extend(&repeated[..3]);
        out.push(b'x');
        out
    }

    #[test]
    fn pieces_of_any_size_give_the_same() {
        let whole = stream();
        for size in 1..=whole.len() {
            let mut s = Stream::new(1000);
            for piece in whole.chunks(size) {
                s.feed(piece).unwrap();
            }
            s.end().unwrap();
            assert_eq!(s.out.len(), 305, "pieces of {size}");
            assert!(s.out.starts_with(b"helloxxx"));
        }
    }

    #[test]
    fn damage_is_told_once() {
        let mut s = Stream::new(1000);
        assert!(s.feed(&[7; 40]).is_err());
        assert_eq!((s.feed(&[7; 40]), s.end()), (Ok(()), Ok(())));
        let mut s = Stream::new(1000);
        s.feed(&stream()[..12]).unwrap();
        s.end().unwrap();
        assert_eq!(s.out.len(), 0);
    }
}
