//! How much memory the tables may take. A wasm32 page has 4 GiB of addresses, and memory that it has taken once never
//! shrinks: what does not fit must be noticed before the allocator ends the worker.

/// Tables of a page may grow to this size while files are read. Linking, rules and the first views need about as much again.
pub const TABLES_LIMIT: u64 = 2 << 30;

/// Bytes of memory that this instance has taken; 0 where the system gives what is asked for (native builds).
pub fn taken() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return core::arch::wasm32::memory_size::<0>() as u64 * 65_536;
    #[cfg(not(target_arch = "wasm32"))]
    0
}

/// How much memory reading may take, and how much it has taken. A test sets both.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes beyond which reading stops.
    pub limit: u64,
    /// Bytes taken at the moment.
    pub taken: fn() -> u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { limit: TABLES_LIMIT, taken }
    }
}

impl Budget {
    /// What to say when the limit is met, after so many rows; `None` while there is room.
    pub fn full(&self, rows: u64) -> Option<String> {
        ((self.taken)() > self.limit).then(|| {
            format!(
                "reading stopped after {rows} rows, because a page cannot hold more than 4 GB and its views need half of that; what was \
                 read so far is shown. The command `hotspan analyze` reads all of it, and so does the page when it gets a part of the file."
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_said_in_words() {
        assert_eq!(Budget { limit: 5, taken: || 5 }.full(7), None);
        assert!(Budget { limit: 5, taken: || 6 }.full(7).is_some_and(|text| text.contains("after 7 rows")));
        assert_eq!(Budget::default().full(0), None);
    }
}
