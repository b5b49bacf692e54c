//! Plants for the tail: one request in thirty misses a cache, retries, or waits for a lock.

use super::plants::Truth;
use super::plants::{place, query, table};
use super::{Calls, Count, Dice, How, Step, System, Target, Values};

/// Requests in a hundred that have the cause.
const RARE: u32 = 3;

/// Room for percentiles: enough requests that the slowest five have the cause.
fn many(system: &mut System, dice: &mut Dice) {
    system.traces = u64::from(dice.range(240, 320));
}

fn calls(target: Target, count: Count, gap_us: u32) -> Calls {
    Calls { target, count, how: How::Serial, values: Values::Distinct, gap_us }
}

/// Puts calls at the end of a handler, and other ones into the repaired system.
fn plant(system: &mut System, dice: &mut Dice, marker: String, bad: &[Calls], good: &[Calls]) -> Truth {
    many(system, dice);
    let row = place(system, dice);
    let mut repaired = system.clone();
    for (ops, list) in [(&mut system.ops, bad), (&mut repaired.ops, good)] {
        ops[row].steps.extend(list.iter().cloned().map(Step::Calls));
        ops[row].steps.push(Step::Work(1500));
    }
    // To those who look at single traces a slow statement is slow, and one that is made again is repeated.
    let allowed = &["slow-query", "chatty-n-plus-one", "chatty-duplicate", "retry-storm", "growth-law"];
    Truth { rule: "tail-latency", marker, allowed, repaired }
}

/// Whole system's time is what the tail must stand out of.
fn weight(system: &System) -> u32 {
    let work = |s: &Step| if let Step::Work(us) = s { *us } else { 2000 };
    system.ops.iter().flat_map(|op| &op.steps).map(work).sum::<u32>()
}

/// A value is usually in the cache; where it is not, a long statement computes it.
pub fn cache_miss(system: &mut System, dice: &mut Dice) -> Truth {
    let long = weight(system) * 3;
    let target = query(system, dice, long, long * 2);
    let marker = table(&target);
    let miss = calls(target, Count::Rare { usual: 0, rare: 1, percent: RARE }, 0);
    plant(system, dice, marker, &[miss], &[])
}

/// A call that usually succeeds at once is made several times.
pub fn retry(system: &mut System, dice: &mut Dice) -> Truth {
    let each = weight(system);
    let target = query(system, dice, each, each + each / 4);
    let marker = table(&target);
    let again = dice.range(6, 9);
    let one = |rare| calls(target.clone(), Count::Rare { usual: 1, rare, percent: RARE }, 200);
    plant(system, dice, marker, &[one(again)], &[one(1)])
}

/// The same statement sometimes waits for a lock.
pub fn lock(system: &mut System, dice: &mut Dice) -> Truth {
    let long = weight(system) * 3;
    let quick = query(system, dice, 800, 2000);
    let marker = table(&quick);
    let Target::Query { text, overhead_us, rows_us } = quick.clone() else { unreachable!("a query is a query") };
    let waiting = Target::Query { text, overhead_us: overhead_us + long * 2, rows_us };
    let usual = calls(quick.clone(), Count::Rare { usual: 1, rare: 0, percent: RARE }, 0);
    let held = calls(waiting, Count::Rare { usual: 0, rare: 1, percent: RARE }, 0);
    plant(system, dice, marker, &[usual, held], &[calls(quick, Count::Fixed(1), 0)])
}
