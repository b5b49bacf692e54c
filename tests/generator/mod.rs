//! A deterministic generator of services: systems of operations that call each other, with one planted defect or none, which
//! it executes into spans, and executes again with the defect repaired. What the repair saves is a fact, not an estimate, so
//! detectors and their estimates can be judged (see [`judge`]).
//!
//! Every random draw is a hash of seed, trace, place in the program and repetition: the repaired system draws the same
//! numbers for everything that the repair does not touch.

pub mod acts;
pub mod judge;
pub mod near;
pub mod otlp;
pub mod plants;
pub mod plants_latency;
pub mod plants_paths;
pub mod plants_tail;
pub mod run;

/// Nanoseconds in a microsecond.
pub const US: i64 = 1000;

/// A system of services.
#[derive(Clone, Debug)]
pub struct System {
    /// Seed of all its draws.
    pub seed: u64,
    /// Requests that are executed.
    pub traces: u64,
    /// Handlers; the first is the entry.
    pub ops: Vec<Op>,
}

/// A handler of a service.
#[derive(Clone, Debug)]
pub struct Op {
    /// Service name.
    pub service: String,
    /// Span name: `GET /cart`.
    pub name: String,
    /// What it does, in order.
    pub steps: Vec<Step>,
}

/// One step of a handler.
#[derive(Clone, Debug)]
pub enum Step {
    /// Own work of about so many microseconds.
    Work(u32),
    /// Calls of one kind.
    Calls(Calls),
    /// Steps that run side by side; the handler goes on when all have ended.
    Together(Vec<Calls>),
    /// Calls of a callee of its own.
    Act(acts::Act),
    /// The same one after the other, with about so many microseconds of own work between them.
    InTurn(Vec<Calls>, u32),
    /// One of each, then one of each again, as often as the first says, with so many microseconds of own work between.
    Rounds(Vec<Calls>, u32),
}

/// Calls of one kind.
#[derive(Clone, Debug)]
pub struct Calls {
    /// What is called.
    pub target: Target,
    /// How often.
    pub count: Count,
    /// In which manner.
    pub how: How,
    /// What the calls ask for.
    pub values: Values,
    /// The handler's own work between calls, microseconds.
    pub gap_us: u32,
}

/// What is called.
#[derive(Clone, Debug)]
pub enum Target {
    /// A handler, by its row in [`System::ops`]; `net_us` each way.
    Op {
        /// Row.
        op: usize,
        /// Network time each way, microseconds.
        net_us: u32,
    },
    /// A statement; `?` in it stands for the value.
    Query {
        /// Statement text with `?`.
        text: String,
        /// Time that every statement takes, microseconds.
        overhead_us: u32,
        /// Time that its rows take, microseconds; varies.
        rows_us: u32,
    },
}

/// How many calls.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    /// In every request the same.
    Fixed(u32),
    /// As many as the request has items, from a range.
    Items(u32, u32),
    /// In most requests `usual`, in `percent` of them `rare`; the same requests wherever it stands.
    Rare {
        /// How many calls as a rule.
        usual: u32,
        /// How many in the rare requests.
        rare: u32,
        /// How many of a hundred requests are rare ones.
        percent: u32,
    },
}

/// In which manner calls are made.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// One after the other.
    Serial,
    /// Side by side, so many at once.
    Parallel(u32),
    /// One call for all; the rows take this part of their sum, never less than the slowest.
    Batched(f64),
    /// Only the first is made; its answer serves the others of the handler.
    Once,
    /// Only the first of the whole request is made; later ones wait for its answer.
    OncePerTrace,
    /// One after the other, each so many times: all attempts but the last fail. The pause after a failure, microseconds,
    /// doubles each time.
    Retried(u32, u32),
    /// Once, and in every sixth request so many microseconds late.
    Late(u32),
    /// One after the other, each so many times with all that the callee does: all attempts but the last fail at their end.
    /// Microseconds of pause after a failure.
    Again(u32, u32),
    /// All at once, and each takes as many times as long as calls are under way when it begins.
    Crowded,
}

/// What calls ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Each something else.
    Distinct,
    /// All the same.
    Same,
    /// Prepared statements: the values are not in the trace.
    Hidden,
}

impl Calls {
    /// One call.
    pub fn one(target: Target) -> Calls {
        Calls { target, count: Count::Fixed(1), how: How::Serial, values: Values::Distinct, gap_us: 0 }
    }
}

/// A number from a seed and a place (SplitMix64 over the parts).
pub fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |h, part| {
        let z = (h ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// A stream of draws.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        self.0 = hash(&[self.0]);
        (self.0 % u64::from(n.max(1))) as u32
    }
    /// From `low` to `high`, both included.
    pub fn range(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }
    /// True in `percent` of cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
    /// From 0 to 1.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.below(1 << 24)) / f64::from(1 << 24)
    }
}
