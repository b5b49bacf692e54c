//! Sentry's performance detectors, row by row: small traces that each detector reports or leaves alone by its published
//! thresholds, rebuilt from their description (no event of Sentry's is copied), with our verdict beside Sentry's. Where we
//! differ, a comment says why.

use crate::corpus::open_bytes;
use std::fmt::Write;

/// A request of one service, drawn as spans directly below one root.
struct Request {
    spans: String,
    now: u64,
    count: u64,
    /// The root's own work after the last call, milliseconds.
    own_ms: u64,
}

type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Request {
    fn new() -> Request {
        Request { spans: String::new(), now: 10_000, count: 1, own_ms: 0 }
    }

    /// A span at `at` microseconds.
    fn at(&mut self, at: u64, us: u64, name: &str, attributes: Attributes<'_>) {
        self.count += 1;
        let start = 1_700_000_000_000_000_000 + at * 1000;
        let list: Vec<String> = attributes
            .iter()
            .map(|(k, v)| format!(r#"{{"key":"{k}","value":{{"stringValue":{}}}}}"#, serde_json::Value::from(*v)))
            .collect();
        let _ = write!(
            self.spans,
            r#",{{"traceId":"{:032x}","spanId":"{:016x}","parentSpanId":"{:016x}","name":"{name}","kind":3,"startTimeUnixNano":"{start}","endTimeUnixNano":"{}","attributes":[{}]}}"#,
            7,
            self.count,
            1,
            start + us * 1000,
            list.join(",")
        );
        self.now = self.now.max(at + us);
    }

    /// A span after all others, with a pause before it.
    fn next(&mut self, pause_us: u64, us: u64, name: &str, attributes: Attributes<'_>) {
        self.at(self.now + pause_us, us, name, attributes);
    }

    fn sql(&mut self, us: u64, text: &str) {
        self.next(100, us, text.split(' ').next().unwrap_or("query"), &[("db.system", "postgresql"), ("db.statement", text)]);
    }

    fn get(&mut self, us: u64, url: &str) {
        self.next(100, us, "GET", &[("http.request.method", "GET"), ("url.full", url)]);
    }

    /// Own work after the last call.
    fn work(&mut self, ms: u64) {
        self.own_ms += ms;
    }

    /// Which of our rules speak of it, also under another finding.
    fn rules(self) -> Vec<&'static str> {
        let start = 1_700_000_000_000_000_000_u64;
        let end = start + (self.now + 10_000 + self.own_ms * 1000) * 1000;
        let text = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},"scopeSpans":[{{"scope":{{"name":"drawn"}},"spans":[{{"traceId":"{:032x}","spanId":"{:016x}","name":"GET /index","kind":2,"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}"}}{}]}}]}}]}}"#,
            7, 1, self.spans
        );
        let engine = open_bytes(text.into_bytes());
        let source = &engine.session.sources[0];
        assert_eq!((source.error.as_deref(), source.ledger.records_kept), (None, self.count));
        let all = engine.report.findings.iter().flat_map(|f| std::iter::once(f.rule).chain(f.also.iter().map(|r| r.rule)));
        let mut rules: Vec<&str> = all.filter(|rule| !rule.starts_with("recording-")).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

fn drawn(draw: &dyn Fn(&mut Request)) -> Vec<&'static str> {
    let mut request = Request::new();
    draw(&mut request);
    request.rules()
}

/// A row: what it is, whether Sentry reports it, the rule of ours, whether we do.
fn check(row: &str, sentry: bool, rule: &str, ours: bool, draw: &dyn Fn(&mut Request)) {
    let rules = drawn(draw);
    let told = rules.contains(&rule);
    println!("{row}: Sentry {}, {rule} {}", if sentry { "reports" } else { "is silent" }, if told { "reports" } else { "is silent" });
    assert_eq!(told, ours, "{row}: {rules:?}");
}

#[test]
fn n_plus_one_db() {
    let rule = "chatty-n-plus-one";
    let loops = |n: u64, us: u64| {
        move |r: &mut Request| {
            r.sql(2000, "SELECT id FROM books WHERE shelf = 3");
            (0..n).for_each(|i| r.sql(us, &format!("SELECT name FROM authors WHERE id = {i}")));
            r.work(2000);
        }
    };
    check("10 queries after a source", true, rule, true, &loops(10, 12_000));
    check("5 queries, 50 ms: at both thresholds", true, rule, true, &loops(5, 10_000));
    check("4 queries", false, rule, false, &loops(4, 20_000));
    check("fast: 10 queries of 1 ms", false, rule, false, &loops(10, 1000));
    let hidden = |r: &mut Request| {
        r.sql(2000, "SELECT id FROM books");
        (0..10).for_each(|_| r.sql(12_000, "SELECT name FROM authors WHERE id = $1"));
    };
    check("parameters are not recorded", true, rule, true, &hidden);
    let pool = |r: &mut Request| {
        r.sql(2000, "SELECT id FROM books");
        (0..10).for_each(|i| {
            r.next(50, 200, "pg-pool.connect", &[("db.system", "postgresql")]);
            r.sql(12_000, &format!("SELECT name FROM authors WHERE id = {i}"));
        });
    };
    check("connections are taken from a pool in between", true, rule, true, &pool);
    // Sentry's runs end at any other span. We group by execution: the loop is one although something lies between its calls.
    let broken = |r: &mut Request| {
        (0..10).for_each(|i| {
            r.sql(12_000, &format!("SELECT name FROM authors WHERE id = {i}"));
            if i % 3 == 2 {
                r.next(50, 3000, "render", &[("rpc.system", "grpc"), ("rpc.method", "Render")]);
            }
        });
    };
    check("other spans lie between", false, rule, true, &broken);
    let redis =
        |r: &mut Request| (0..9).for_each(|i| r.next(50, 9000, "GET", &[("db.system", "redis"), ("db.statement", &format!("GET k:{i}"))]));
    check("9 cache reads", false, rule, false, &redis);
    // Sentry leaves caches out. From ten serial reads on, one MGET is worth a note.
    let many =
        |r: &mut Request| (0..12).for_each(|i| r.next(50, 9000, "GET", &[("db.system", "redis"), ("db.statement", &format!("GET k:{i}"))]));
    check("12 cache reads", false, rule, true, &many);
    // The waterfall of different queries is no loop.
    let waterfall =
        |r: &mut Request| ["a", "b", "c", "d", "e", "f"].iter().for_each(|t| r.sql(12_000, &format!("SELECT x FROM {t} WHERE id = 4711")));
    check("different queries", false, rule, false, &waterfall);
}

#[test]
fn n_plus_one_in_parallel() {
    let draw = |r: &mut Request| {
        r.sql(2000, "SELECT id FROM books WHERE shelf = 3");
        (0..10).for_each(|i| {
            let text = format!("SELECT name FROM authors WHERE id = {i}");
            r.at(20_000 + i * 500, 60_000, "SELECT", &[("db.system", "postgresql"), ("db.statement", &text)]);
        });
    };
    // Sentry calls it N+1. The calls cost load more than time: we name it by what it is.
    check("10 queries at once", true, "chatty-fan-out", true, &draw);
    check("10 queries at once", true, "chatty-n-plus-one", false, &draw);
}

#[test]
fn mn_plus_one_db() {
    // Sentry also asks for a common parent that is not the request itself; the rows take that as given.
    let rule = "chatty-n-plus-one";
    let rounds = |n: u64, us: u64| {
        move |r: &mut Request| {
            (0..n).for_each(|i| {
                r.sql(us, &format!("SELECT a FROM orders WHERE id = {i}"));
                r.sql(us, &format!("SELECT b FROM lines WHERE o = {i}"));
                r.sql(us, &format!("SELECT c FROM notes WHERE o = {i}"));
            });
            r.work(3000);
        }
    };
    check("three queries, eight times", true, rule, true, &rounds(8, 8000));
    check("three queries, three times", true, rule, true, &rounds(3, 8000));
    check("three queries, twice", false, rule, false, &rounds(2, 8000));
    check("three queries, four times, 12 ms in all", false, rule, false, &rounds(4, 1000));
    let caches = |r: &mut Request| {
        (0..4).for_each(|i| {
            r.next(50, 9000, "GET", &[("db.system", "redis"), ("db.statement", &format!("GET a:{i}"))]);
            r.next(50, 9000, "GET", &[("db.system", "redis"), ("db.statement", &format!("GET b:{i}"))]);
        });
    };
    check("a pattern of cache reads alone", false, rule, false, &caches);
}

#[test]
fn n_plus_one_api_calls() {
    // Sentry looks at page loads only; the rows take that as given.
    let burst = |n: u64, gap_us: u64, us: u64, url: &'static str| {
        move |r: &mut Request| {
            (0..n).for_each(|i| r.at(20_000 + i * gap_us, us, "GET", &[("http.request.method", "GET"), ("url.full", &format!("{url}{i}"))]))
        }
    };
    check("25 calls within milliseconds", true, "chatty-fan-out", true, &burst(25, 2000, 90_000, "http://api/issues/"));
    check("4 calls", false, "chatty-fan-out", false, &burst(4, 2000, 90_000, "http://api/issues/"));
    // Sentry needs at least five at once; we ask for eight of concurrent calls, because a few at once are what a good client does.
    check("6 calls at once", true, "chatty-fan-out", false, &burst(6, 2000, 90_000, "http://api/issues/"));
    // Sentry's run ends when calls start more than 15 ms apart, so that serial loops over HTTP are missed. Ours is a loop.
    check("10 serial calls of 30 ms", false, "chatty-n-plus-one", true, &burst(10, 31_000, 30_000, "http://api/issues/"));
    // Addresses without a parameter are different things.
    let words = |r: &mut Request| {
        ["red", "blue", "green", "black", "white", "pink", "grey", "gold"].iter().for_each(|c| r.get(40_000, &format!("http://api/{c}")))
    };
    check("8 different paths", false, "chatty-n-plus-one", false, &words);
}

#[test]
fn consecutive_db() {
    let rule = "sequential-calls";
    let two = |us: u64, second: &'static str| {
        move |r: &mut Request| {
            r.sql(us, "SELECT count FROM books");
            r.sql(us, second);
            r.work(100);
        }
    };
    check("two independent queries, 120 ms each", true, rule, true, &two(120_000, "SELECT count FROM authors"));
    // An eighth of the request: both ask for 100 ms or 10 %; Sentry for 100 ms and 10 %. A fast request may gain as much.
    check("two independent queries, 20 ms each", false, rule, true, &two(20_000, "SELECT count FROM authors"));
    check("two independent queries, 2 ms each", false, rule, false, &two(2000, "SELECT count FROM authors"));
    // A WHERE makes a query dependent for Sentry. For us a value must be seen to pass from one to the next.
    check("the second has a WHERE with a value of its own", false, rule, true, &two(120_000, "SELECT count FROM authors WHERE kind = 'x'"));
    let passed = |r: &mut Request| {
        r.sql(120_000, "SELECT a FROM books WHERE id = 918273");
        r.sql(120_000, "SELECT b FROM authors WHERE book = 918273");
    };
    check("a value passes from one to the next", false, rule, false, &passed);
    let written = |r: &mut Request| {
        r.sql(120_000, "INSERT INTO books (a) VALUES (1)");
        r.sql(120_000, "SELECT count FROM books");
    };
    check("a write comes first", false, rule, false, &written);
}

#[test]
fn consecutive_http() {
    let rule = "sequential-calls";
    let hosts = |n: usize, us: u64, pause_us: u64| {
        move |r: &mut Request| {
            ["a", "b", "c", "d"][..n].iter().for_each(|h| {
                r.next(pause_us, us, "GET", &[("http.request.method", "GET"), ("url.full", &format!("http://{h}.shop/all"))])
            });
        }
    };
    // Sentry drops chains over three and more hosts; for a backend those are the ones that can run at once.
    check("three calls of 2 s to three hosts", false, rule, true, &hosts(3, 2_000_000, 100));
    let one = |r: &mut Request| ["/a", "/b", "/c"].iter().for_each(|p| r.get(2_000_000, &format!("http://one.shop{p}")));
    check("three calls of 2 s to one host", true, rule, true, &one);
    check("two calls", false, rule, false, &hosts(2, 2_000_000, 100));
    check("600 ms of own work between", false, rule, false, &hosts(3, 2_000_000, 600_000));
    let overlap = |r: &mut Request| {
        (0..3).for_each(|i| {
            r.at(20_000 + i * 100_000, 2_000_000, "GET", &[("http.request.method", "GET"), ("url.full", &format!("http://h{i}x.shop/all"))])
        })
    };
    check("they overlap", false, rule, false, &overlap);
}

#[test]
fn slow_db() {
    let one = |us: u64, text: &'static str| {
        move |r: &mut Request| {
            r.sql(us, text);
            r.work(9000);
        }
    };
    check("SELECT of 1001 ms", true, "slow-query", true, &one(1_001_000, "SELECT a FROM books WHERE b = 3"));
    check("SELECT of 150 ms in a long request", false, "slow-query", false, &one(150_000, "SELECT a FROM books WHERE b = 3"));
    // Sentry looks at 500 ms alone; we at 200 ms of waiting on the critical path.
    check("SELECT of 499 ms that the request waits for", false, "slow-query", true, &one(499_000, "SELECT a FROM books WHERE b = 3"));
}

#[test]
fn large_payload() {
    let body = |bytes: &'static str, us: u64| {
        move |r: &mut Request| {
            r.next(
                100,
                us,
                "GET",
                &[("http.request.method", "GET"), ("url.full", "http://api/list"), ("http.response_content_length", bytes)],
            );
        }
    };
    check("1,200,000 bytes in 400 ms", true, "large-payload", true, &body("1200000", 400_000));
    check("20,000 bytes in 400 ms", false, "large-payload", false, &body("20000", 400_000));
}

/// Rows about browsers and phones (HTTP/1.1 overhead, uncompressed and render-blocking assets, IO on the main thread), about
/// security (injections) and about agents' tools have no rule of ours: we read backend traces, and say nothing about them.
/// What must hold is that such spans accuse nobody.
#[test]
fn rows_without_a_rule_of_ours() {
    let asset = |r: &mut Request| {
        r.next(100, 3000, "resource.css", &[("http.response_content_length", "90000")]);
        r.next(100, 20_000, "file.write", &[("blocked_main_thread", "true")]);
        r.work(400);
    };
    assert_eq!(drawn(&asset), Vec::<&str>::new());
}

#[test]
fn retries_take_precedence() {
    let failing = |r: &mut Request| {
        (0..6).for_each(|i| {
            let status = if i < 5 { "503" } else { "200" };
            r.next(
                200,
                30_000,
                "GET",
                &[("http.request.method", "GET"), ("url.full", "http://pay/v/77"), ("http.response.status_code", status)],
            );
        });
    };
    check("five failures and a success", false, "retry-storm", true, &failing);
    check("five failures and a success", false, "chatty-n-plus-one", false, &failing);
    check("five failures and a success", false, "chatty-duplicate", false, &failing);
    let polled = |r: &mut Request| {
        (0..6).for_each(|_| {
            r.next(
                300_000,
                5000,
                "GET",
                &[("http.request.method", "GET"), ("url.full", "http://jobs/v/77"), ("http.response.status_code", "202")],
            );
        });
    };
    check("polls every 300 ms", false, "chatty-duplicate", false, &polled);
    let pages = |r: &mut Request| (0..6).for_each(|i| r.get(30_000, &format!("http://list/v?page={i}")));
    check("six pages", false, "chatty-n-plus-one", true, &pages);
    let batches =
        |r: &mut Request| (0..6).for_each(|i| r.sql(30_000, &format!("SELECT a FROM t WHERE id IN ({i}, {}, {})", i + 10, i + 20)));
    check("six batches of three", false, "chatty-n-plus-one", false, &batches);
    let written = |r: &mut Request| {
        r.sql(30_000, "SELECT a FROM stock WHERE id = 5");
        r.sql(3000, "UPDATE stock SET a = 2 WHERE id = 5");
        r.sql(30_000, "SELECT a FROM stock WHERE id = 5");
        r.work(100);
    };
    check("a write between two equal reads", false, "chatty-duplicate", false, &written);
    let compressed = |r: &mut Request| {
        r.next(
            100,
            120_000,
            "SELECT",
            &[("db.system", "postgresql"), ("db.statement", "SELECT a FROM t WHERE id = ?"), ("composite.count", "30")],
        );
    };
    check("one span for thirty queries", false, "chatty-n-plus-one", true, &compressed);
}
