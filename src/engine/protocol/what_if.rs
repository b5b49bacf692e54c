//! What-if: a trace with changes, replayed.

use super::Failure;
use crate::base::slabs::{Slab, Slabs};
use serde::{Deserialize, Serialize};

/// One change with what it concerns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeHead {
    /// As written: `batch:ID+siblings`.
    pub text: String,
    /// For people: `52 × platformapi GET /devices in one call`.
    pub label: String,
    /// How many spans it concerns.
    pub spans: u32,
}

/// What the changes make of the root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WhatIfHead {
    /// What the root took, nanoseconds.
    pub before_ns: f64,
    /// What it would take at best, nanoseconds.
    pub best_ns: f64,
    /// What it would take at worst.
    pub worst_ns: f64,
    /// The changes, in the order asked for.
    pub changes: Vec<ChangeHead>,
}

/// The answer to [`super::Request::WhatIf`]. Columns run parallel to the rows of [`super::traces::TraceData`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WhatIfData {
    /// The root.
    pub head: WhatIfHead,
    /// New begin in nanoseconds since the trace's begin, at worst.
    pub start: Vec<f64>,
    /// New length in nanoseconds, at worst.
    pub duration: Vec<f64>,
    /// Rows that a change concerns.
    pub rows: Vec<u32>,
}

impl WhatIfData {
    /// The message.
    ///
    /// # Errors
    /// Never in practice; a number in the head that JSON does not know would be one.
    pub fn encode(self) -> Result<Slabs, Failure> {
        let head = serde_json::to_string(&self.head).map_err(|e| Failure::new(e.to_string()))?;
        Ok(Slabs { head, slabs: vec![Slab::F64(self.start), Slab::F64(self.duration), Slab::U32(self.rows)] })
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Failure`] when the head is another's or the columns have different lengths.
    pub fn decode(slabs: Slabs) -> Result<WhatIfData, Failure> {
        let head = serde_json::from_str(&slabs.head).map_err(|e| Failure::new(format!("not a what-if: {e}")))?;
        let mut r = slabs.reader();
        let out = WhatIfData { head, start: r.f64(), duration: r.f64(), rows: r.u32() };
        if out.start.len() != out.duration.len() {
            return Err(Failure::new("a what-if with columns of different lengths"));
        }
        Ok(out)
    }
}
