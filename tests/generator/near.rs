//! What looks like a defect and is none: rules must stay silent on it.

use super::plants::{place, query, table};
use super::{Calls, Count, Dice, How, Step, System, Target, Values};

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
        if dice.chance(20) {
            if dice.chance(60) {
                dependent(system, row, dice)
            } else {
                changed(system, row, dice)
            }
            system.ops[row].steps.push(Step::Work(dice.range(2500, 6000)));
            continue;
        }
        let calls = match dice.below(5) {
            // A call that fails once, is made again after a pause, and succeeds.
            4 => Calls {
                target: query(system, dice, 1000, 4000),
                count: Count::Fixed(dice.range(1, 2)),
                how: How::Retried(2, dice.range(15_000, 30_000)),
                values: Values::Distinct,
                gap_us: dice.range(200, 800),
            },
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

/// A row that is read, changed, and read again.
fn changed(system: &mut System, row: usize, dice: &mut Dice) {
    let Target::Query { text, overhead_us, rows_us } = query(system, dice, 10_000, 14_000) else { return };
    let key = dice.range(100_000, 999_999).to_string();
    let read = Target::Query { text: text.replace('?', &key), overhead_us, rows_us };
    let name = table(&read);
    let write =
        Target::Query { text: format!("UPDATE {name} SET a = 7 WHERE id = {key}"), overhead_us: overhead_us / 4, rows_us: rows_us / 4 };
    system.ops[row].steps.push(Step::InTurn(vec![Calls::one(read.clone()), Calls::one(write), Calls::one(read)], dice.range(2500, 4000)));
}

/// Two calls that must come in this order: a row that is written and then read, or a key that the first answer gave.
fn dependent(system: &mut System, row: usize, dice: &mut Dice) {
    let with = |target: Target, change: &dyn Fn(&str) -> String| match target {
        Target::Query { text, overhead_us, rows_us } => Target::Query { text: change(&text), overhead_us, rows_us },
        other => other,
    };
    let (first, second) = (query(system, dice, 4000, 9000), query(system, dice, 4000, 9000));
    let (first, second) = if dice.chance(50) {
        let name = table(&first);
        (with(first, &|_| format!("INSERT INTO {name} (a, b) VALUES (?)")), second)
    } else {
        let key = dice.range(100_000, 999_999).to_string();
        (with(first, &|text| text.replace('?', &key)), with(second, &|text| text.replace('?', &key)))
    };
    system.ops[row].steps.push(Step::InTurn(vec![Calls::one(first), Calls::one(second)], dice.range(50, 700)));
}
