//! zstd (RFC 8878) as a reader: any number of frames, skippable ones between them, checksums compared.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{BufRead, Error, Read, Result};

/// The decoded bytes of a zstd stream. Windows beyond 128 MiB (`--ultra --long=28` and more) are refused by the library.
pub struct Zstd<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    /// A frame is open.
    open: bool,
    /// Given out before the damage is said: what was decoded until there.
    damage: Option<String>,
}

impl<R: BufRead> Zstd<R> {
    /// Decodes what begins here.
    pub fn new(source: R) -> Zstd<R> {
        Zstd { source, decoder: FrameDecoder::new(), open: false, damage: None }
    }

    /// Opens the next frame; `false` at the end of the file.
    fn next_frame(&mut self) -> Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = std::io::copy(&mut (&mut self.source).take(u64::from(length)), &mut std::io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(Error::other("it ends inside a skippable frame"));
                    }
                }
                Err(e) => return Err(Error::other(e.to_string())),
            }
        }
        Ok(false)
    }

    /// Decodes one more block. What a broken frame has decoded lies in its window; an empty last block makes it come out.
    fn more(&mut self) {
        if let Err(e) = self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1)) {
            self.damage = Some(e.to_string());
            let last_block_and_checksum = [1_u8, 0, 0, 0, 0, 0, 0];
            let _ = self.decoder.decode_blocks(&last_block_and_checksum[..], BlockDecodingStrategy::UptoBlocks(1));
        }
    }

    fn close_frame(&mut self) -> Result<()> {
        self.open = false;
        if let Some(reason) = self.damage.take() {
            return Err(Error::other(reason));
        }
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stored), Some(own)) if stored != own => Err(Error::other("the checksum of its content differs")),
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        loop {
            if !self.open && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() && self.damage.is_none() {
                self.more();
            }
            let n = self.decoder.read(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            self.close_frame()?;
        }
    }
}
