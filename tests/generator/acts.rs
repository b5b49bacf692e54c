//! What a handler may do beside plain calls: calls whose time is drawn apart (slow ones, large answers, new connections, waits
//! for a pool, queues before the callee, time-outs and errors), and messages that a consumer handles later.

use super::run::Run;
use super::{US, hash};

/// Calls of one callee of its own, one after the other. The default is a call that takes no time.
#[derive(Clone, Debug, Default)]
pub struct Act {
    /// Callee's service; empty for a database.
    pub service: String,
    /// `GET /path`, or the statement of a database call; `?` in it stands for a value.
    pub name: String,
    /// How often, with `gap_us` of the handler's own work between.
    pub count: u32,
    /// See `count`.
    pub gap_us: u32,
    /// Network time each way, microseconds.
    pub net_us: u32,
    /// The callee's own time, microseconds; varies.
    pub own_us: u32,
    /// Part of the calls, in percent, whose own time is so many times longer.
    pub slow: (u32, u32),
    /// Bytes of the answer, and microseconds that a kilobyte takes on the way.
    pub answer: (u64, u32),
    /// Microseconds that a new connection takes, and of which calls it is made.
    pub set_up: (u32, NewConnection),
    /// Microseconds of waiting for a connection, varying widely, and percent of the calls that wait.
    pub wait: (u32, u32),
    /// Microseconds before the callee begins, varying widely.
    pub queue_us: u32,
    /// Percent of the calls that fail.
    pub fails: u32,
    /// Microseconds after which a failing call ends, exactly; 0: after a time that varies around `fail_us`.
    pub timeout_us: u32,
    /// See `timeout_us`.
    pub fail_us: u32,
    /// Microseconds that the callee works on after its caller gave up.
    pub overrun_us: u32,
    /// HTTP status of failing calls.
    pub status: u32,
    /// The callee is in another region.
    pub far: bool,
    /// The call is a message: the handler goes on, and a consumer begins after so many microseconds, varying.
    pub lag_us: Option<u32>,
}

/// Which calls make a connection first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewConnection {
    /// None.
    #[default]
    Never,
    /// Every one.
    Always,
    /// The first of the first request.
    Once,
}

impl Run<'_> {
    /// Makes the calls; gives the end of the last.
    pub(super) fn act(&mut self, op: usize, act: &Act, parent: u64, start: i64, place: u64) -> i64 {
        let mut now = start;
        for k in 0..act.count {
            let here = hash(&[place, u64::from(k), 23]);
            if k > 0 {
                now += self.work(act.gap_us, here, 1);
            }
            now = if act.lag_us.is_some() { self.message(op, act, parent, now, here) } else { self.remote(op, act, k, parent, now, here) };
        }
        now
    }

    /// A time that varies from a fifth to nearly twice.
    fn widely(&self, us: u32, place: u64, what: u64) -> i64 {
        (f64::from(us) * (0.2 + 1.6 * self.draw(place, what))) as i64 * US
    }

    fn remote(&mut self, op: usize, act: &Act, k: u32, parent: u64, start: i64, here: u64) -> i64 {
        let caller = self.system.ops[op].service.clone();
        let is_db = act.service.is_empty();
        let mut now = start;
        if act.wait.1 > 0 && self.draw(here, 2) * 100.0 < f64::from(act.wait.1) {
            let end = now + self.widely(act.wait.0, here, 3);
            let id = self.id();
            self.emit(id, parent, &caller, "pool.acquire", 1, (now, end), vec![("peer.service", act.service.clone())]);
            now = end;
        }
        let begin = now;
        let (client, server) = (self.id(), self.id());
        let new = act.set_up.1 == NewConnection::Always || (act.set_up.1 == NewConnection::Once && self.trace == 0 && k == 0);
        if new {
            let connected = now + self.work(act.set_up.0 / 2, here, 4);
            let secured = connected + self.work(act.set_up.0 / 2, here, 5);
            for (name, part) in [("tcp.connect", (now, connected)), ("tls.connect", (connected, secured))] {
                let id = self.id();
                self.emit(id, client, &caller, name, 1, part, Vec::new());
            }
            now = secured;
        }
        let net = i64::from(act.net_us) * US;
        let failed = self.draw(here, 6) * 100.0 < f64::from(act.fails);
        let is_slow = self.draw(here, 7) * 100.0 < f64::from(act.slow.0);
        let arrived = now + net + if act.queue_us > 0 { self.widely(act.queue_us, here, 8) } else { 0 };
        let factor = if is_slow { i64::from(act.slow.1.max(1)) } else { 1 };
        let mut done = arrived + self.work(act.own_us, here, 9) * factor;
        let mut end = done + net + (act.answer.0 / 1024) as i64 * i64::from(act.answer.1) * US;
        if failed {
            let after = if act.timeout_us > 0 { i64::from(act.timeout_us) * US } else { self.work(act.fail_us, here, 10) };
            end = now + after;
            done = if act.overrun_us > 0 { end + self.work(act.overrun_us, here, 11) } else { (end - net).max(arrived) };
        }
        let value = (hash(&[here, self.trace, 13]) % 1_000_000).to_string();
        if is_db {
            let attributes = vec![("db.system", "postgresql".to_string()), ("db.statement", act.name.replace('?', &value))];
            self.emit(client, parent, &caller, act.name.split(' ').next().unwrap_or("query"), 3, (begin, end), attributes);
        } else {
            let (verb, path) = act.name.split_once(' ').unwrap_or(("GET", "/"));
            let mut attributes = vec![
                ("http.request.method", verb.to_string()),
                ("url.full", format!("http://{}{path}/{value}", act.service)),
                ("http.response.status_code", if failed { act.status.max(500).to_string() } else { "200".to_string() }),
                ("peer.service", act.service.clone()),
            ];
            if failed && act.status > 0 {
                attributes[2].1 = act.status.to_string();
            }
            if act.answer.0 > 0 {
                attributes.push(("http.response.body.size", act.answer.0.to_string()));
            }
            let mut own = Vec::new();
            if act.far {
                attributes.push(("cloud.region", "eu-west-1".to_string()));
                own.push(("cloud.region", "us-east-1".to_string()));
            }
            self.emit(client, parent, &caller, &act.name, 3, (begin, end), attributes);
            if failed {
                self.fail_last();
            }
            self.emit(server, client, &act.service, &act.name, 2, (arrived, done), own);
            // An answer that says no is the server's success.
            if failed && act.status < 500 && act.status > 0 {
                return end;
            }
        }
        if failed {
            self.fail_last();
        }
        end
    }

    fn message(&mut self, op: usize, act: &Act, parent: u64, start: i64, here: u64) -> i64 {
        let caller = self.system.ops[op].service.clone();
        let (sent, handled) = (self.id(), self.id());
        let end = start + 500 * US;
        let attributes = |operation: &str| {
            let told =
                [("messaging.system", "kafka"), ("messaging.destination.name", act.name.as_str()), ("messaging.operation.type", operation)];
            told.map(|(k, v)| (k, v.to_string())).to_vec()
        };
        self.emit(sent, parent, &caller, &format!("{} publish", act.name), 4, (start, end), attributes("publish"));
        let begin = end + self.widely(act.lag_us.unwrap_or(0), here, 2);
        let done = begin + self.work(act.own_us, here, 3);
        self.emit(handled, sent, &act.service, &format!("{} process", act.name), 5, (begin, done), attributes("process"));
        self.later(done);
        end
    }
}
