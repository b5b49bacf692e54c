//! Feature sections of a perf.data file: names of events, build ids, the clock. In a file they stand behind the data, in a
//! pipe each is a record. Layouts as in `tools/perf/Documentation/perf.data-file-format.txt`.

use super::perf_bytes::{Bytes, until_nul};
use super::perf_data_record::{Mode, hex};
use super::perf_data_symbols::{FileSymbols, simpleperf_files};

const BUILD_ID: u32 = 2;
const EVENT_DESC: u32 = 12;
const CLOCK_DATA: u32 = 29;
const SIMPLEPERF_FILE: u32 = 128;
const SIMPLEPERF_FILE2: u32 = 132;

/// What the features say, as far as it is used.
#[derive(Debug, Default)]
pub struct Features {
    /// Build ids in hex by file name.
    pub build_ids: Vec<(String, String)>,
    /// Name and ids of each event.
    pub events: Vec<(String, Vec<u64>)>,
    /// The same moment on the wall clock and on the recording's clock, in nanoseconds.
    pub clock: Option<(u64, u64)>,
    /// Symbols that simpleperf puts into the file.
    pub symbols: Vec<FileSymbols>,
}

impl Features {
    /// Takes over a section. `None` when it is shorter than it says; what stands before the damage is kept.
    pub fn read(&mut self, feature: u32, bytes: &[u8], big: bool) -> Option<()> {
        match feature {
            BUILD_ID => self.read_build_ids(bytes, big),
            EVENT_DESC => self.read_events(bytes, big),
            CLOCK_DATA => {
                let mut b = Bytes::new(bytes, big);
                b.skip(8)?;
                self.clock = Some((b.u64()?, b.u64()?));
                Some(())
            }
            SIMPLEPERF_FILE | SIMPLEPERF_FILE2 => simpleperf_files(bytes, feature == SIMPLEPERF_FILE2, &mut self.symbols),
            _ => Some(()),
        }
    }

    fn read_build_ids(&mut self, bytes: &[u8], big: bool) -> Option<()> {
        let mut b = Bytes::new(bytes, big);
        while !b.is_empty() {
            b.u32()?;
            let (misc, size) = (b.u16()?, usize::from(b.u16()?));
            let payload = b.take(size.checked_sub(8)?)?;
            if let Some(entry) = build_id(misc, payload) {
                self.build_ids.push(entry);
            }
        }
        Some(())
    }

    fn read_events(&mut self, bytes: &[u8], big: bool) -> Option<()> {
        let mut b = Bytes::new(bytes, big);
        let (count, attr_size) = (b.u32()?, b.u32()? as usize);
        for _ in 0..count {
            b.skip(attr_size)?;
            let ids = b.u32()? as usize;
            let len = b.u32()? as usize;
            let name = until_nul(b.take(len)?);
            if ids > b.rest().len() / 8 {
                return None;
            }
            let ids = (0..ids).filter_map(|_| b.u64()).collect();
            self.events.push((name, ids));
        }
        Some(())
    }
}

/// A build id event, in the section or as a record of a pipe: file name and id in hex.
pub fn build_id(misc: u16, payload: &[u8]) -> Option<(String, String)> {
    let id = payload.get(4..28)?;
    let mut file = until_nul(payload.get(28..)?);
    let mut id = if misc & 1 << 15 != 0 { id.get(..usize::from(id[20]).min(20))? } else { &id[..20] };
    // The first version had no process id before the build id.
    if file.starts_with("nel.kallsyms]") {
        id = payload.get(..20)?;
        file = until_nul(payload.get(24..)?);
    }
    // Ids of 16 bytes are filled up with zeros.
    if id.get(16..).is_some_and(|rest| rest.iter().all(|b| *b == 0)) {
        id = &id[..16];
    }
    let kernel = matches!(Mode::of_misc(misc), Mode::Kernel) && file.starts_with("[kernel");
    if kernel && let Some(at) = file.find(']') {
        file.truncate(at + 1);
    }
    id.iter().any(|b| *b != 0).then(|| (file, hex(id)))
}
