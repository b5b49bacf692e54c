//! A file of the browser as a reader: slices, read synchronously, which only workers may.

use crate::engine::protocol::Failure;
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::{File, FileReaderSync};

/// Bytes per read: large enough that the call costs nothing, small enough to report progress.
const SLICE_BYTES: f64 = (4 << 20) as f64;

/// Reads from an offset to the end of a file.
pub struct Slices {
    file: File,
    reader: FileReaderSync,
    size: f64,
    at: f64,
    /// The slice as the browser gave it; its bytes are copied once, to where they are wanted.
    chunk: Uint8Array,
    used: u32,
}

impl Slices {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Failure`] outside workers.
    pub fn open(file: &File, at: u64) -> Result<Slices, Failure> {
        let reader = FileReaderSync::new().map_err(|_| Failure::new("this browser cannot read files in a worker"))?;
        Ok(Slices { size: file.size(), file: file.clone(), reader, at: at as f64, chunk: Uint8Array::new_with_length(0), used: 0 })
    }
}

impl std::io::Read for Slices {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.used >= self.chunk.length() {
            if self.at >= self.size {
                return Ok(0);
            }
            let end = (self.at + SLICE_BYTES).min(self.size);
            let failed =
                |e: JsValue| std::io::Error::other(format!("the browser refused to read the file ({e:?}); it may have changed or moved"));
            let slice = self.file.slice_with_f64_and_f64(self.at, end).map_err(failed)?;
            let buffer = self.reader.read_as_array_buffer(&slice).map_err(failed)?;
            self.chunk = Uint8Array::new(&buffer);
            self.used = 0;
            self.at = end;
        }
        let n = (buf.len() as u32).min(self.chunk.length() - self.used);
        self.chunk.subarray(self.used, self.used + n).copy_to(&mut buf[..n as usize]);
        self.used += n;
        Ok(n as usize)
    }
}
