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
            }
        }
    }
}
