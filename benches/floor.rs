//! The floor that browser benchmarks are held against: a bare scan of `perf script` lines and frames, with interning of the
//! texts of frames, and nothing else: no tables, no stacks, no findings. Compiled to wasm32 by `benches/browser.rs`.

/// Memory that the page writes each chunk into.
static mut INPUT: [u8; 1 << 20] = [0; 1 << 20];

struct Scan {
    rest: Vec<u8>,
    lines: u32,
    frames: u32,
    slots: Vec<(u64, u32)>,
    texts: u32,
}

static mut SCAN: Option<Scan> = None;

/// Address of the input buffer.
#[unsafe(no_mangle)]
pub extern "C" fn input() -> *mut u8 {
    &raw mut INPUT as *mut u8
}

/// Scans `length` bytes of the input buffer; the number of lines so far.
#[unsafe(no_mangle)]
pub extern "C" fn scan(length: usize) -> u32 {
    let input = unsafe { &*(&raw const INPUT) };
    let state = unsafe { &mut *(&raw mut SCAN) };
    let scan = state.get_or_insert_with(|| Scan { rest: Vec::new(), lines: 0, frames: 0, slots: vec![(0, 0); 1 << 21], texts: 0 });
    let bytes = &input[..length];
    let mut from = 0;
    while let Some(n) = bytes[from..].iter().position(|b| *b == b'\n') {
        if scan.rest.is_empty() {
            line(scan, &bytes[from..from + n]);
        } else {
            let mut whole = std::mem::take(&mut scan.rest);
            whole.extend_from_slice(&bytes[from..from + n]);
            line(scan, &whole);
        }
        from += n + 1;
    }
    scan.rest.extend_from_slice(&bytes[from..]);
    scan.lines
}

/// Distinct texts of frames.
#[unsafe(no_mangle)]
pub extern "C" fn texts() -> u32 {
    unsafe { &*(&raw const SCAN) }.as_ref().map_or(0, |s| s.texts)
}

fn line(scan: &mut Scan, line: &[u8]) {
    scan.lines += 1;
    if !matches!(line.first(), Some(b'\t' | b' ')) {
        return;
    }
    scan.frames += 1;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for chunk in line.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    let mut at = hash as usize & (scan.slots.len() - 1);
    for _ in 0..64 {
        if scan.slots[at].1 == 0 {
            scan.texts += 1;
            scan.slots[at] = (hash, scan.texts);
            return;
        }
        if scan.slots[at].0 == hash {
            return;
        }
        at = (at + 1) & (scan.slots.len() - 1);
    }
}
