//! Defects of the way of a request through services, of attempts at several levels, of crowds, and of endpoints as a whole.

use super::plants::{Truth, letters, place, query, table};
use super::{Calls, Count, Dice, How, Op, Step, System, Target, Values};

fn unique(dice: &mut Dice) -> String {
    format!("y{}", letters(dice.below(1 << 24) as usize + 676))
}

fn handler(system: &mut System, service: String, name: &str, steps: Vec<Step>) -> usize {
    system.ops.push(Op { service, name: format!("GET /{name}"), steps });
    system.ops.len() - 1
}

fn call(op: usize, net_us: u32) -> Step {
    Step::Calls(Calls::one(Target::Op { op, net_us }))
}

/// Puts a step at the end of a handler, with own work after it that no rule on waiting calls takes for nothing.
fn end(system: &mut System, row: usize, step: Step) {
    system.ops[row].steps.extend([step, Step::Work(9000)]);
}

/// A gateway far away that adds nothing to the one call it makes; the repair puts it into the caller's process.
pub fn pass_through(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let marker = unique(dice);
    let work = dice.range(40_000, 80_000);
    let (own, net) = (dice.range(50, 200), dice.range(14_000, 22_000));
    let mut repaired = system.clone();
    for (system, own, net_us) in [(&mut *system, own, net), (&mut repaired, 0, 0)] {
        let worker = handler(system, format!("{marker}-work"), &format!("{marker}-w"), vec![Step::Work(work)]);
        let steps = vec![Step::Work(own), call(worker, 300)];
        let gate = handler(system, format!("{marker}-gate"), &format!("{marker}-g"), steps);
        end(system, row, call(gate, net_us));
    }
    Truth { rule: "deep-chain", marker, allowed: &["queue-lag", "slow-call"], repaired }
}

/// A handler asks another service, which comes back to the same operation; the repair asks it for what it needs.
pub fn circle(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let marker = unique(dice);
    let net = dice.range(2000, 6000);
    let work = [dice.range(3000, 9000), dice.range(3000, 9000), dice.range(3000, 9000)];
    let mut repaired = system.clone();
    for (system, net_us) in [(&mut *system, net), (&mut repaired, 0)] {
        let service = |part: &str| format!("{marker}-{part}");
        let inner = handler(system, service("a"), &marker, vec![Step::Work(work[2])]);
        let middle = handler(system, service("b"), &format!("{marker}-b"), vec![Step::Work(work[1]), call(inner, net_us)]);
        let outer = handler(system, service("a"), &marker, vec![Step::Work(work[0]), call(middle, net)]);
        end(system, row, call(outer, 500));
    }
    Truth { rule: "deep-chain", marker, allowed: &[], repaired }
}

/// Two levels that each try twice: four calls at the bottom for one at the top. The repair retries at the upper level only.
pub fn amplified(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let target = query(system, dice, 12_000, 20_000);
    let marker = table(&target);
    let pause = dice.range(15_000, 30_000);
    let bottom = |how| Step::Calls(Calls { target: target.clone(), count: Count::Fixed(1), how, values: Values::Distinct, gap_us: 0 });
    let mut repaired = system.clone();
    for (system, inner, attempts) in [(&mut *system, How::Retried(2, pause), 2), (&mut repaired, How::Serial, 2)] {
        let steps = vec![bottom(inner), Step::Work(3000)];
        let op = handler(system, format!("{marker}-svc"), &format!("{marker}-mid"), steps);
        let how = How::Again(attempts, pause);
        let calls = Calls { target: Target::Op { op, net_us: 400 }, count: Count::Fixed(1), how, values: Values::Same, gap_us: 0 };
        end(system, row, Step::Calls(calls));
    }
    Truth { rule: "retry-storm", marker, allowed: &["error-origin", "slow-call", "slow-query", "timeouts", "chatty-duplicate"], repaired }
}

/// More calls at once than the callee can serve: each takes longer the more are under way. The repair makes two at a time.
pub fn crowd(system: &mut System, dice: &mut Dice) -> Truth {
    let target = query(system, dice, 10_000, 20_000);
    let row = place(system, dice);
    let marker = table(&target);
    let n = dice.range(10, 16);
    let calls = |how| Step::Calls(Calls { target: target.clone(), count: Count::Fixed(n), how, values: Values::Distinct, gap_us: 0 });
    let mut repaired = system.clone();
    end(system, row, calls(How::Crowded));
    end(&mut repaired, row, calls(How::Parallel(2)));
    Truth { rule: "pool-staircase", marker, allowed: &["chatty-fan-out", "fan-out-width", "slow-query"], repaired }
}

/// Time that grows with the number of items, by a call for each.
pub fn growth(system: &mut System, dice: &mut Dice) -> Truth {
    system.traces = u64::from(dice.range(30, 50));
    let target = query(system, dice, 5000, 9000);
    let row = place(system, dice);
    let marker = table(&target);
    let calls = |how| Step::Calls(Calls { target: target.clone(), count: Count::Items(5, 40), how, values: Values::Distinct, gap_us: 100 });
    let mut repaired = system.clone();
    end(system, row, calls(How::Serial));
    end(&mut repaired, row, calls(How::Batched(0.3)));
    Truth { rule: "growth-law", marker, allowed: &["chatty-n-plus-one", "tail-latency"], repaired }
}

/// The entry itself works for seconds.
pub fn slow_endpoint(system: &mut System, dice: &mut Dice) -> Truth {
    let marker = system.ops[0].name.to_lowercase();
    let repaired = system.clone();
    system.ops[0].steps.push(Step::Work(dice.range(1_500_000, 4_000_000)));
    Truth { rule: "slow-endpoint", marker, allowed: &[], repaired }
}
