//! Defects of slow, failing and queued work, and what looks like them.

use super::acts::{Act, NewConnection};
use super::plants::{Truth, letters, place};
use super::{Calls, Count, Dice, How, Op, Step, System, Target, Values};

/// Puts a step at the end of a handler, with own work after it, and gives the system with the other step in its place.
fn with(system: &mut System, row: usize, defect: Act, repair: Act) -> System {
    system.ops[row].steps.push(Step::Act(defect));
    system.ops[row].steps.push(Step::Work(3000));
    let mut repaired = system.clone();
    let at = repaired.ops[row].steps.len() - 2;
    repaired.ops[row].steps[at] = Step::Act(repair);
    repaired
}

/// A name that no other part of the system has.
fn unique(dice: &mut Dice) -> String {
    format!("z{}", letters(dice.below(1 << 24) as usize + 676))
}

fn statement(dice: &mut Dice) -> (String, Act) {
    let table = unique(dice);
    let name = format!("SELECT a, b FROM t_{table} WHERE c = ? LIMIT 10");
    (table, Act { name, count: 1, ..Act::default() })
}

fn service(dice: &mut Dice) -> (String, Act) {
    let noun = unique(dice);
    let act =
        Act { service: format!("svc-{noun}"), name: format!("GET /{noun}"), count: 1, net_us: dice.range(150, 900), ..Act::default() };
    (noun, act)
}

fn truth(rule: &'static str, marker: String, allowed: &'static [&'static str], repaired: System) -> Truth {
    Truth { rule, marker, allowed, repaired }
}

/// Every call takes long; an index leaves a part of it.
pub fn slow_query(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = statement(dice);
    let own_us = dice.range(350, 900) * 1000;
    let less = (f64::from(own_us) * (0.05 + 0.4 * dice.unit())) as u32;
    let repaired = with(system, row, Act { own_us, ..act.clone() }, Act { own_us: less, ..act });
    truth("slow-query", marker, &[], repaired)
}

/// Some calls wait for a lock.
pub fn locked_query(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = statement(dice);
    let act = Act { own_us: dice.range(25, 40) * 1000, count: 3, gap_us: 3000, ..act };
    let repaired = with(system, row, Act { slow: (20, dice.range(15, 25)), ..act.clone() }, act);
    truth("slow-query", marker, &[], repaired)
}

/// The callee itself takes long.
pub fn slow_call(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let own_us = dice.range(350, 900) * 1000;
    let less = (f64::from(own_us) * (0.05 + 0.4 * dice.unit())) as u32;
    let repaired = with(system, row, Act { own_us, ..act.clone() }, Act { own_us: less, ..act });
    truth("slow-call", marker, &[], repaired)
}

/// Some calls meet a pause.
pub fn paused_call(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let act = Act { own_us: dice.range(25, 40) * 1000, count: 3, gap_us: 3000, ..act };
    let repaired = with(system, row, Act { slow: (20, dice.range(15, 25)), ..act.clone() }, act);
    truth("slow-call", marker, &[], repaired)
}

/// Rows of several tables, written one by one.
pub fn many_writes(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let marker = unique(dice);
    let mut repaired = system.clone();
    for part in ["a", "b", "c"] {
        let overhead_us = dice.range(500, 1500);
        let target =
            Target::Query { text: format!("INSERT INTO t_{marker}_{part} (a) VALUES (?)"), overhead_us, rows_us: dice.range(500, 2500) };
        let count = Count::Fixed(dice.range(8, 14));
        let calls = Calls { target, count, how: How::Serial, values: Values::Distinct, gap_us: dice.range(20, 200) };
        let batched = Calls { how: How::Batched(0.05 + 0.45 * dice.unit()), ..calls.clone() };
        for (system, calls) in [(&mut *system, calls), (&mut repaired, batched)] {
            system.ops[row].steps.extend([Step::Calls(calls), Step::Work(2500)]);
        }
    }
    truth("many-writes", marker, &["chatty-n-plus-one"], repaired)
}

/// An answer that is mostly thrown away; a page of it is enough.
pub fn large_answer(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let bytes = u64::from(dice.range(3, 8)) * 1_000_000;
    let act = Act { own_us: dice.range(5000, 30_000), answer: (bytes, dice.range(60, 150)), ..act };
    let less = (bytes as f64 * (0.05 + 0.4 * dice.unit())) as u64;
    let repair = Act { answer: (less, act.answer.1), ..act.clone() };
    let repaired = with(system, row, act, repair);
    truth("large-payload", marker, &["slow-call"], repaired)
}

/// Every call opens a connection.
pub fn connection_churn(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let act = Act { own_us: dice.range(2000, 6000), count: dice.range(2, 4), gap_us: 3000, ..act };
    let set_up = dice.range(8000, 25_000);
    let repair = Act { set_up: (set_up, NewConnection::Once), ..act.clone() };
    let repaired = with(system, row, Act { set_up: (set_up, NewConnection::Always), ..act }, repair);
    truth("connection-churn", marker, &[], repaired)
}

/// Calls wait for one of too few connections.
pub fn pool_wait(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let act = Act { own_us: dice.range(3000, 12_000), count: dice.range(1, 3), gap_us: 3000, ..act };
    let repair = Act { wait: (100, 100), ..act.clone() };
    let repaired = with(system, row, Act { wait: (dice.range(60, 300) * 1000, dice.range(60, 100)), ..act }, repair);
    truth("pool-wait", marker, &[], repaired)
}

/// The callee does not answer; the caller waits for a limit far above what it takes when it is well.
pub fn long_timeout(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let limit = [500, 1000, 2000, 3000, 5000][dice.below(5) as usize] * 1000;
    let act = Act { own_us: dice.range(20_000, 50_000), count: 3, gap_us: 3000, fails: 40, ..act };
    let slowest = f64::from(act.own_us) * 1.4 + 2.0 * f64::from(act.net_us);
    let repair = Act { timeout_us: (slowest * (1.1 + 1.7 * dice.unit())) as u32, ..act.clone() };
    let repaired = with(system, row, Act { timeout_us: limit, ..act }, repair);
    truth("timeouts", marker, &["error-origin", "slow-call"], repaired)
}

/// The caller gives up, and the callee works on.
pub fn abandoned_work(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let act = Act { own_us: dice.range(20_000, 50_000), count: 3, gap_us: 3000, fails: 40, fail_us: dice.range(60, 120) * 1000, ..act };
    let repaired = with(system, row, Act { overrun_us: dice.range(100, 900) * 1000, ..act.clone() }, act);
    truth("timeouts", marker, &["error-origin", "slow-call"], repaired)
}

/// A fallback hides that a call fails slowly.
pub fn masked_error(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let act = Act { own_us: dice.range(10_000, 30_000), count: 2, gap_us: 3000, ..act };
    let defect = Act { fails: dice.range(30, 80), fail_us: dice.range(100, 170) * 1000, ..act.clone() };
    let repaired = with(system, row, defect, act);
    truth("error-origin", marker, &["slow-call"], repaired)
}

/// A consumer that is too slow.
pub fn queue_lag(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let act = Act { own_us: dice.range(5000, 60_000), ..act };
    let lag = dice.range(1500, 9000) * 1000;
    let less = (f64::from(lag) * (0.02 + 0.4 * dice.unit())) as u32;
    let repaired = with(system, row, Act { lag_us: Some(lag), ..act.clone() }, Act { lag_us: Some(less), ..act });
    truth("queue-lag", marker, &[], repaired)
}

/// A callee without a free worker.
pub fn busy_callee(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let act = Act { own_us: dice.range(5000, 30_000), count: dice.range(2, 3), gap_us: 3000, ..act };
    let wait = dice.range(150, 400) * 1000;
    let less = (f64::from(wait) * 0.4 * dice.unit()) as u32;
    let repaired = with(system, row, Act { queue_us: wait, ..act.clone() }, Act { queue_us: less, ..act });
    truth("queue-lag", marker, &["slow-call"], repaired)
}

/// A callee in another region, called from here.
pub fn far_callee(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let (marker, act) = service(dice);
    let act = Act { own_us: dice.range(5000, 30_000), net_us: dice.range(30_000, 70_000), far: true, ..act };
    let repair = Act { net_us: dice.range(200, 900), far: false, ..act.clone() };
    let repaired = with(system, row, act, repair);
    truth("deep-chain", marker, &["slow-call"], repaired)
}

/// A chain of services that pass a request on to the one that does the work; the repair runs them in one process.
pub fn deep_chain(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let marker = unique(dice);
    let n = dice.range(6, 9);
    let (work, net) = (dice.range(100, 300), dice.range(500, 1500));
    let first = system.ops.len();
    let mut repaired = system.clone();
    let last_us = dice.range(40_000, 80_000);
    for (system, work, net_us) in [(&mut *system, work, net), (&mut repaired, 0, 0)] {
        let call = |op: usize, net_us: u32| Step::Calls(Calls::one(Target::Op { op, net_us }));
        for i in 0..n {
            let (service, name) = (format!("{marker}-{}", letters(i as usize)), format!("GET /{marker}-{}", letters(i as usize)));
            let next = first + i as usize + 1;
            let steps = if i + 1 < n { vec![Step::Work(work), call(next, net_us)] } else { vec![Step::Work(last_us)] };
            system.ops.push(Op { service, name, steps });
        }
        system.ops[row].steps.extend([call(first, net), Step::Work(9000)]);
    }
    truth("deep-chain", marker, &[], repaired)
}

/// Harmless things of the same kinds; gives the steps.
pub fn near_miss(dice: &mut Dice) -> Vec<Step> {
    let (_, query) = statement(dice);
    let (_, call) = service(dice);
    let act = match dice.below(7) {
        // Takes its time, and is not slow.
        0 => Act { own_us: dice.range(20_000, 60_000), ..query },
        1 => Act { own_us: dice.range(20_000, 60_000), ..call },
        // An answer of ordinary size.
        2 => Act { own_us: 5000, answer: (u64::from(dice.range(20_000, 200_000)), 40), ..call },
        // The first connection of a process.
        3 => Act { own_us: 5000, count: 3, gap_us: 2500, set_up: (15_000, NewConnection::Once), ..call },
        // A pool that has connections.
        4 => Act { own_us: 5000, wait: (200, 100), ..call },
        // What is not there: an answer, no failure.
        5 => Act { own_us: 5000, fails: 20, fail_us: 5000, status: 404, ..call },
        // A message that is handled soon.
        _ => Act { own_us: 20_000, lag_us: Some(8000), ..call },
    };
    vec![Step::Act(act), Step::Work(dice.range(2500, 6000))]
}
