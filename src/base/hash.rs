//! A fixed 64-bit hash: equal on every platform and in every build, so that it may be stored and shown.

/// FNV-1a over 64 bits, finished with the avalanche of SplitMix64 (both public domain algorithms).
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    let mut chunks = bytes.chunks_exact(8);
    for c in &mut chunks {
        let word = u64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]);
        h = (h ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^= h >> 29;
    }
    for &b in chunks.remainder() {
        h = (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(h ^ bytes.len() as u64)
}

/// A faster hash for tables in memory: two lanes of eight bytes (the step of rustc's FxHash), finished with `mix`. It may
/// change from one version to the next: nothing that is stored or shown may rest on it.
#[inline]
pub fn hash_text(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    let word = |at: usize| bytes.get(at..at + 8).and_then(|c| c.try_into().ok()).map_or(0, u64::from_le_bytes);
    if n < 8 {
        let packed = bytes.iter().fold(n as u64, |h, b| h << 8 | u64::from(*b));
        return mix(packed.wrapping_mul(LANE));
    }
    let step = |h: u64, w: u64| (h.rotate_left(23) ^ w).wrapping_mul(LANE);
    let (mut a, mut b) = (n as u64, LANE);
    let mut at = 0;
    while at + 16 <= n {
        a = step(a, word(at));
        b = step(b, word(at + 8));
        at += 16;
    }
    // What is left is covered by the last words, which may overlap what was read.
    if n - at > 8 {
        a = step(a, word(at));
    }
    b = step(b, word(n - 8));
    mix(a ^ b.rotate_left(32))
}

/// Whether two texts are the same, eight bytes at a time: comparing slices in wasm goes byte by byte.
#[inline]
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    let n = a.len();
    if n != b.len() {
        return false;
    }
    if n < 8 {
        return a == b;
    }
    let word = |bytes: &[u8], at: usize| bytes.get(at..at + 8).and_then(|c| c.try_into().ok()).map_or(0, u64::from_le_bytes);
    let mut at = 0;
    while at + 8 <= n {
        if word(a, at) != word(b, at) {
            return false;
        }
        at += 8;
    }
    word(a, n - 8) == word(b, n - 8)
}

const LANE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Combines an integer into a running hash.
pub fn hash_u64(seed: u64, value: u64) -> u64 {
    mix(seed.rotate_left(5) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_by_content_and_length() {
        let texts: [&[u8]; 6] = [b"", b"a", b"b", b"ab", b"abcdefgh", b"abcdefgh\0"];
        for (i, a) in texts.iter().enumerate() {
            for b in &texts[i + 1..] {
                assert_ne!(hash_bytes(a), hash_bytes(b));
                assert_ne!(hash_text(a), hash_text(b));
            }
        }
    }

    #[test]
    fn each_byte_of_a_text_counts() {
        for n in 0..70 {
            let text: Vec<u8> = (0..n).map(|i| b'a' + i as u8 % 23).collect();
            let own = hash_text(&text);
            for at in 0..n {
                let mut other = text.clone();
                other[at] ^= 1;
                assert_ne!(hash_text(&other), own, "byte {at} of {n}");
                assert!(!same_bytes(&other, &text) && same_bytes(&text, &text.clone()));
            }
        }
    }
}
