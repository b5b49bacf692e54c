//! What looks like a defect and is none: rules must stay silent on it.

use super::plants::{place, query};
use super::{Calls, Count, Dice, How, Step, System, Values};

/// Puts up to three harmless things into a system.
pub fn near_misses(system: &mut System, dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        let row = place(system, dice);
        // Different things at once: what a good handler does.
        if dice.chance(20) {
            let both = vec![Calls::one(query(system, dice, 1000, 4000)), Calls::one(query(system, dice, 1000, 4000))];
            system.ops[row].steps.push(Step::Together(both));
            system.ops[row].steps.push(Step::Work(dice.range(2500, 6000)));
            continue;
        }
        if dice.chance(35) {
            system.ops[row].steps.extend(super::plants_latency::near_miss(dice));
            continue;
        }
        let calls = match dice.below(4) {
            // Too few to be a loop over data.
            0 => Calls {
                target: query(system, dice, 1000, 4000),
                count: Count::Fixed(dice.range(2, 4)),
                how: How::Serial,
                values: Values::Distinct,
                gap_us: dice.range(200, 800),
            },
            // A few at once.
            1 => Calls {
                target: query(system, dice, 1000, 4000),
                count: Count::Fixed(dice.range(2, 6)),
                how: How::Parallel(6),
                values: Values::Distinct,
                gap_us: 0,
            },
            // Read twice, and cheap.
            2 => Calls {
                target: query(system, dice, 300, 900),
                count: Count::Fixed(2),
                how: How::Serial,
                values: Values::Same,
                gap_us: dice.range(500, 2000),
            },
            // A loop whose calls cost next to nothing beside the work around it.
            _ => {
                system.ops[row].steps.push(Step::Work(60_000));
                Calls {
                    target: query(system, dice, 100, 140),
                    count: Count::Fixed(dice.range(5, 12)),
                    how: How::Serial,
                    values: Values::Distinct,
                    gap_us: 50,
                }
            }
        };
        system.ops[row].steps.push(Step::Calls(calls));
        system.ops[row].steps.push(Step::Work(dice.range(2500, 6000)));
    }
}
