//! Random healthy systems, and the defects that are planted into them.

use super::near::near_misses;
use super::plants_latency as latency;
use super::plants_paths as paths;
use super::plants_tail as tail;
use super::{Calls, Count, Dice, How, Op, Step, System, Target, Values};

/// What was planted.
#[derive(Clone, Debug)]
pub struct Truth {
    /// The rule that must find it.
    pub rule: &'static str,
    /// A text that the finding's subject holds.
    pub marker: String,
    /// Other rules that rightly speak of the same calls.
    pub allowed: &'static [&'static str],
    /// The system with the defect repaired as the rule advises.
    pub repaired: System,
}

/// A generated system with its truth; `None` for a healthy one.
#[derive(Clone, Debug)]
pub struct Case {
    /// The system.
    pub system: System,
    /// What was planted.
    pub truth: Option<Truth>,
}

/// A kind of defect: plants itself into a system and gives the truth.
pub type Plant = fn(&mut System, &mut Dice) -> Truth;

/// Every kind of defect, with the rule that must find it.
pub const PLANTS: &[(&str, Plant)] = &[
    ("chatty-n-plus-one", n_plus_one_query),
    ("chatty-n-plus-one", n_plus_one_call),
    ("chatty-n-plus-one", rounds),
    ("chatty-fan-out", fan_out),
    ("chatty-duplicate", duplicate),
    ("chatty-transitive", transitive),
    ("slow-query", latency::slow_query),
    ("slow-query", latency::locked_query),
    ("slow-call", latency::slow_call),
    ("slow-call", latency::paused_call),
    ("many-writes", latency::many_writes),
    ("large-payload", latency::large_answer),
    ("connection-churn", latency::connection_churn),
    ("pool-wait", latency::pool_wait),
    ("retry-storm", retries),
    ("sequential-calls", in_turn),
    ("pool-staircase", pool),
    ("fan-out-width", straggler),
    ("timeouts", latency::long_timeout),
    ("timeouts", latency::abandoned_work),
    ("error-origin", latency::masked_error),
    ("queue-lag", latency::queue_lag),
    ("queue-lag", latency::busy_callee),
    ("deep-chain", latency::far_callee),
    ("deep-chain", latency::deep_chain),
    ("deep-chain", paths::pass_through),
    ("deep-chain", paths::circle),
    ("retry-storm", paths::amplified),
    ("pool-staircase", paths::crowd),
    ("growth-law", paths::growth),
    ("slow-endpoint", paths::slow_endpoint),
    ("tail-latency", tail::cache_miss),
    ("tail-latency", tail::retry),
    ("tail-latency", tail::lock),
];

const SERVICES: [&str; 8] = ["gateway", "cart", "stock", "price", "user", "mail", "search", "report"];
const NOUNS: [&str; 12] =
    ["orders", "items", "prices", "users", "quotes", "reviews", "labels", "parcels", "offers", "images", "stores", "taxes"];

/// The case of a number: every second one is healthy, the others go through the plants in turn.
pub fn case(number: u64) -> Case {
    let mut dice = Dice(super::hash(&[number, 0xca5e]));
    let mut system = healthy(number, &mut dice);
    near_misses(&mut system, &mut dice);
    let truth = (number % 2 == 1).then(|| {
        let (_, plant) = PLANTS[(number / 2) as usize % PLANTS.len()];
        plant(&mut system, &mut dice)
    });
    Case { system, truth }
}

/// A tree of handlers in which every call is made once, with own work between the calls.
fn healthy(seed: u64, dice: &mut Dice) -> System {
    let mut system = System { seed, traces: u64::from(dice.range(8, 24)), ops: Vec::new() };
    let mut todo = vec![(0_usize, 0_u32)];
    system.ops.push(op(0, dice, "index"));
    while let Some((row, depth)) = todo.pop() {
        let calls = if depth == 0 { dice.range(2, 3) } else { dice.range(0, 2) };
        system.ops[row].steps.push(Step::Work(dice.range(300, 3000)));
        for _ in 0..calls {
            let step = if depth < 3 && dice.chance(60) {
                let callee = system.ops.len();
                let noun = NOUNS[dice.below(12) as usize];
                let new = op(callee, dice, noun);
                system.ops.push(new);
                todo.push((callee, depth + 1));
                Calls::one(Target::Op { op: callee, net_us: dice.range(150, 900) })
            } else {
                Calls::one(query(&mut system, dice, 300, 4000))
            };
            system.ops[row].steps.push(Step::Calls(step));
            // Own work of a size that no rule on waiting calls takes for nothing.
            system.ops[row].steps.push(Step::Work(dice.range(2500, 6000)));
        }
    }
    system
}

fn op(row: usize, dice: &mut Dice, noun: &str) -> Op {
    let verb = ["GET", "POST"][dice.below(2) as usize];
    let service = SERVICES[if row == 0 { 0 } else { 1 + dice.below(7) as usize }];
    Op { service: service.to_string(), name: format!("{verb} /{noun}-{}", letters(row)), steps: Vec::new() }
}

/// A name without digits, because digits are normalised away: 0 is `a`, 27 is `bb`.
pub fn letters(n: usize) -> String {
    let mut out = String::new();
    let mut n = n;
    loop {
        out.insert(0, char::from(b'a' + (n % 26) as u8));
        n /= 26;
        if n == 0 {
            return out;
        }
    }
}

/// A statement on a table of its own, whose time lies in a range of microseconds.
pub fn query(system: &mut System, dice: &mut Dice, low: u32, high: u32) -> Target {
    let table = format!("t_{}", letters(dice.below(1 << 20) as usize + system.ops.len()));
    let total = dice.range(low, high);
    let overhead = total / 10 * dice.range(2, 6);
    Target::Query { text: format!("SELECT a, b FROM {table} WHERE id = ?"), overhead_us: overhead, rows_us: total - overhead }
}

/// Where something can be planted: a handler that is not too deep for what follows.
pub fn place(system: &System, dice: &mut Dice) -> usize {
    dice.below(system.ops.len() as u32) as usize
}

/// The table of a statement.
pub fn table(target: &Target) -> String {
    match target {
        Target::Query { text, .. } => text.split_whitespace().find(|w| w.starts_with("t_")).unwrap_or("").to_string(),
        Target::Op { .. } => String::new(),
    }
}

/// A batch of rows takes part of what its members' rows took: they share pages, plans and index look-ups.
fn batched(dice: &mut Dice) -> How {
    How::Batched(0.05 + 0.45 * dice.unit())
}

/// Puts calls at the end of a handler and gives the system with the calls made in another manner.
fn planted(system: &mut System, row: usize, calls: Calls, repaired: How) -> System {
    system.ops[row].steps.push(Step::Calls(calls.clone()));
    system.ops[row].steps.push(Step::Work(1500));
    let mut other = system.clone();
    let at = other.ops[row].steps.len() - 2;
    other.ops[row].steps[at] = Step::Calls(Calls { how: repaired, ..calls });
    other
}

fn items(dice: &mut Dice, least: u32) -> Count {
    let low = dice.range(least, least + 10);
    Count::Items(low, low + dice.range(0, 15))
}

fn n_plus_one_query(system: &mut System, dice: &mut Dice) -> Truth {
    let target = query(system, dice, 4000, 9000);
    let row = place(system, dice);
    let marker = table(&target);
    let values = if dice.chance(30) { Values::Hidden } else { Values::Distinct };
    let count = if values == Values::Hidden { items(dice, 16) } else { items(dice, 8) };
    let calls = Calls { target, count, how: How::Serial, values, gap_us: dice.range(20, 400) };
    let repaired = planted(system, row, calls, batched(dice));
    Truth { rule: "chatty-n-plus-one", marker, allowed: &["growth-law"], repaired }
}

fn n_plus_one_call(system: &mut System, dice: &mut Dice) -> Truth {
    let callee = system.ops.len();
    let mut new = op(callee, dice, "details");
    new.steps.push(Step::Work(dice.range(1500, 4000)));
    if dice.chance(50) {
        let inner = query(system, dice, 500, 1500);
        new.steps.push(Step::Calls(Calls::one(inner)));
    }
    let row = place(system, dice);
    new.service = format!("{}x", new.service);
    let marker = new.name.clone();
    system.ops.push(new);
    let target = Target::Op { op: callee, net_us: dice.range(200, 900) };
    let calls = Calls { target, count: items(dice, 8), how: How::Serial, values: Values::Distinct, gap_us: dice.range(20, 400) };
    let repaired = planted(system, row, calls, How::Batched(0.1 + 0.9 * dice.unit()));
    let marker = marker.split(' ').nth(1).unwrap_or("").to_string();
    Truth { rule: "chatty-n-plus-one", marker, allowed: &["many-writes", "growth-law"], repaired }
}

fn fan_out(system: &mut System, dice: &mut Dice) -> Truth {
    let target = query(system, dice, 15_000, 40_000);
    let row = place(system, dice);
    let marker = table(&target);
    let workers = dice.range(6, 24);
    let calls = Calls { target, count: items(dice, 20), how: How::Parallel(workers), values: Values::Distinct, gap_us: 0 };
    let repaired = planted(system, row, calls, How::Batched(0.01 + 0.05 * dice.unit()));
    Truth { rule: "chatty-fan-out", marker, allowed: &["pool-staircase", "fan-out-width", "growth-law"], repaired }
}

fn duplicate(system: &mut System, dice: &mut Dice) -> Truth {
    let target = query(system, dice, 3000, 9000);
    let row = place(system, dice);
    let marker = table(&target);
    let count = Count::Fixed(dice.range(5, 12));
    let calls = Calls { target, count, how: How::Serial, values: Values::Same, gap_us: dice.range(50, 500) };
    let repaired = planted(system, row, calls, How::Once);
    Truth { rule: "chatty-duplicate", marker, allowed: &[], repaired }
}

/// Every handler asks for the same thing.
fn transitive(system: &mut System, dice: &mut Dice) -> Truth {
    // Enough hops to be one.
    while system.ops.len() < 10 {
        let callee = system.ops.len();
        let mut new = op(callee, dice, "hop");
        new.steps.push(Step::Work(dice.range(1000, 3000)));
        system.ops.push(new);
        // Beside each other rather than below each other: six services in a row are a defect of their own.
        let row = dice.below(callee.min(4) as u32) as usize;
        let target = Target::Op { op: callee, net_us: dice.range(150, 600) };
        system.ops[row].steps.push(Step::Calls(Calls::one(target)));
        system.ops[row].steps.push(Step::Work(dice.range(2500, 6000)));
    }
    let target = query(system, dice, 4000, 8000);
    let marker = table(&target);
    let calls = Calls { target, count: Count::Fixed(1), how: How::Serial, values: Values::Same, gap_us: 0 };
    let mut repaired = system.clone();
    for (ops, how) in [(&mut system.ops, How::Serial), (&mut repaired.ops, How::OncePerTrace)] {
        for op in ops.iter_mut() {
            op.steps.insert(0, Step::Calls(Calls { how, ..calls.clone() }));
            op.steps.insert(1, Step::Work(4000));
        }
    }
    Truth { rule: "chatty-transitive", marker, allowed: &[], repaired }
}

/// A call that fails again and again before it succeeds.
fn retries(system: &mut System, dice: &mut Dice) -> Truth {
    let target = query(system, dice, 4000, 20_000);
    let row = place(system, dice);
    let marker = table(&target);
    let values = if dice.chance(20) { Values::Hidden } else { Values::Distinct };
    // Short pauses: long ones would make the handler itself a slow callee, which is true and told by another rule.
    let pause = [0, 1000, 3000][dice.below(3) as usize];
    let attempts = dice.range(3, 5);
    let calls = Calls { target, count: Count::Fixed(1), how: How::Retried(attempts, pause), values, gap_us: 0 };
    let repaired = planted(system, row, calls, How::Serial);
    Truth { rule: "retry-storm", marker, allowed: &["slow-query", "slow-call", "error-origin", "timeouts"], repaired }
}

/// The same statement on a table whose name begins with a marker.
fn marked(target: Target, marker: &str, n: usize) -> Target {
    let own = table(&target);
    match target {
        Target::Query { text, overhead_us, rows_us } => {
            Target::Query { text: text.replace(&own, &format!("{marker}_{}", letters(n))), overhead_us, rows_us }
        }
        other @ Target::Op { .. } => other,
    }
}

/// Several queries for every item.
fn rounds(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let marker = table(&query(system, dice, 1, 2));
    let (count, kinds) = (items(dice, 6), dice.range(2, 4) as usize);
    let all: Vec<Calls> = (0..kinds).map(|k| Calls { count, ..Calls::one(marked(query(system, dice, 4000, 9000), &marker, k)) }).collect();
    let mut repaired = system.clone();
    let how = batched(dice);
    let gap_us = dice.range(20, 300);
    repaired.ops[row].steps.push(Step::InTurn(all.iter().map(|calls| Calls { how, ..calls.clone() }).collect(), gap_us));
    system.ops[row].steps.push(Step::Rounds(all, gap_us));
    Truth { rule: "chatty-n-plus-one", marker, allowed: &["growth-law"], repaired }
}

/// Different calls one after the other, of which none needs another's answer.
fn in_turn(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let marker = table(&query(system, dice, 1, 2));
    let mut all = Vec::new();
    for k in 0..dice.range(3, 5) as usize {
        // Half of them ask services of their own, half one database.
        let target = if dice.chance(50) {
            marked(query(system, dice, 80_000, 160_000), &marker, k)
        } else {
            let callee = system.ops.len();
            let mut new = op(callee, dice, "part");
            new.name = format!("GET /{marker}-{}", letters(k));
            new.service = format!("{}-{}", new.service, letters(callee));
            new.steps.push(Step::Work(dice.range(80_000, 160_000)));
            system.ops.push(new);
            Target::Op { op: callee, net_us: dice.range(200, 900) }
        };
        all.push(Calls::one(target));
    }
    let mut repaired = system.clone();
    system.ops[row].steps.push(Step::InTurn(all.clone(), dice.range(50, 700)));
    repaired.ops[row].steps.push(Step::Together(all));
    Truth { rule: "sequential-calls", marker, allowed: &["slow-call", "slow-query"], repaired }
}

/// Calls that wait for a pool; the repaired one is twice as large.
fn pool(system: &mut System, dice: &mut Dice) -> Truth {
    let target = query(system, dice, 15_000, 40_000);
    let row = place(system, dice);
    let marker = table(&target);
    let workers = dice.range(2, 5);
    let calls = Calls { target, count: items(dice, 5 * workers), how: How::Parallel(workers), values: Values::Distinct, gap_us: 0 };
    let repaired = planted(system, row, calls, How::Parallel(2 * workers));
    Truth { rule: "pool-staircase", marker, allowed: &["chatty-fan-out", "fan-out-width", "growth-law"], repaired }
}

/// One of several different calls at once is late in some requests.
fn straggler(system: &mut System, dice: &mut Dice) -> Truth {
    let row = place(system, dice);
    let marker = table(&query(system, dice, 1, 2));
    let mut all: Vec<Calls> =
        (0..dice.range(5, 8) as usize).map(|k| Calls::one(marked(query(system, dice, 10_000, 20_000), &marker, k))).collect();
    let mut repaired = system.clone();
    repaired.ops[row].steps.push(Step::Together(all.clone()));
    let late = dice.below(all.len() as u32) as usize;
    all[late].how = How::Late(dice.range(120_000, 300_000));
    system.ops[row].steps.push(Step::Together(all));
    Truth { rule: "fan-out-width", marker, allowed: &["slow-query"], repaired }
}
