//! How much memory the tables may take. A wasm32 page has 4 GiB of addresses, and memory that it has taken once never
//! shrinks: what does not fit must be noticed before the allocator ends the worker.

/// A page may have taken this much while files are read. Linking, rules and the first views need about as much again.
pub const TAKEN_LIMIT: u64 = 2 << 30;

/// Tables of a page may come to this, as counted from their rows: with the room that growing columns need, more would not fit.
pub const TABLES_LIMIT: u64 = 1 << 30;

/// Below this nothing is made of what is taken: code, stack and the parts on their way take their share however small the tables.
const LEAST_TAKEN: u64 = 256 << 20;

/// How often a limit is raised by a quarter, each time after tables were reduced: what they gave back is used again, but what is
/// taken is never seen to shrink.
const STEPS: u32 = 2;

/// Bytes of memory that this instance has taken; 0 where the system gives what is asked for (native builds).
pub fn taken() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return core::arch::wasm32::memory_size::<0>() as u64 * 65_536;
    #[cfg(not(target_arch = "wasm32"))]
    0
}

/// How much memory reading may take, and how much it has taken. A test sets all of it.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes of tables beyond which they are reduced; reading stops when that gives too little back. Counted from rows, so that
    /// the same file is reduced at the same row everywhere.
    pub tables: u64,
    /// Bytes taken beyond which the same happens, for what is no table.
    pub limit: u64,
    /// Bytes taken at the moment.
    pub taken: fn() -> u64,
}

impl Default for Budget {
    fn default() -> Budget {
        let tables = if cfg!(target_arch = "wasm32") { TABLES_LIMIT } else { u64::MAX };
        Budget { tables, limit: TAKEN_LIMIT, taken }
    }
}

impl Budget {
    /// The budget of a device that has so many gigabytes of memory in all (`navigator.deviceMemory`, a rough figure of 8 at most):
    /// a quarter of it for tables, and never more than a page can hold.
    pub fn of_device(gigabytes: f64) -> Budget {
        let own = Budget::default();
        if gigabytes.is_nan() || gigabytes <= 0.0 {
            return own;
        }
        let bytes = (gigabytes * (1_u64 << 30) as f64) as u64;
        Budget { tables: own.tables.min(bytes / 4), limit: own.limit.min((bytes / 2).max(LEAST_TAKEN)), ..own }
    }

    /// Whether tables of so many bytes, or what is taken, are too much after `steps` reductions.
    pub fn pressed(&self, tables: u64, steps: u32) -> bool {
        let raised = |limit: u64| limit.saturating_add(limit / 4 * u64::from(steps.min(STEPS)));
        tables > raised(self.tables) || (self.taken)() > raised(self.limit)
    }

    /// What to say when reading ends after so many rows because there is no room left.
    pub fn ended(rows: u64) -> String {
        format!(
            "reading stopped after {rows} rows, because a page cannot hold more than 4 GB and its views need half of that; what was \
             read so far is shown. The command `hotspan analyze` reads all of it, and so does the page when it gets a part of the file."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_met_by_tables_and_by_what_is_taken() {
        let budget = Budget { tables: 100, limit: 8, taken: || 9 };
        assert!(budget.pressed(0, 0) && !budget.pressed(125, 1) && budget.pressed(126, 1));
        assert!(Budget { limit: 8, tables: 9, taken: || 13 }.pressed(0, 99), "what is taken may not grow for ever");
        assert!(!Budget::default().pressed(1 << 20, 0));
        assert!(Budget::ended(7).contains("after 7 rows"));
    }

    #[test]
    fn a_small_device_has_a_small_budget() {
        let phone = Budget::of_device(2.0);
        assert_eq!((phone.tables, phone.limit), (1 << 29, 1 << 30));
        assert_eq!((Budget::of_device(0.25).tables, Budget::of_device(0.25).limit), (1 << 26, 1 << 28));
        assert_eq!(Budget::of_device(8.0).limit, TAKEN_LIMIT);
        for none in [0.0, -1.0, f64::NAN] {
            assert_eq!(Budget::of_device(none).limit, TAKEN_LIMIT);
        }
    }
}
