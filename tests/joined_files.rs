//! A drawn CPU profile and a drawn trace whose samples and spans belong together.

pub fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 128 {
        out.push(n as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

pub fn number(field: u64, n: u64) -> Vec<u8> {
    [varint(field << 3), varint(n)].concat()
}

pub fn message(field: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// Function, count, labels.
pub type Sample<'a> = (&'a str, u64, &'a [(&'a str, &'a str)]);

/// A CPU profile in pprof's format: (leaf, count, labels) under one root `main`, ten milliseconds per sample.
pub fn pprof(samples: &[Sample<'_>]) -> Vec<u8> {
    let mut strings: Vec<String> = ["", "samples", "count", "cpu", "nanoseconds", "main"].map(String::from).into();
    let mut id = |text: &str| {
        strings.iter().position(|s| s == text).unwrap_or_else(|| {
            strings.push(text.to_string());
            strings.len() - 1
        }) as u64
    };
    let mut out = [message(1, &[number(1, 1), number(2, 2)].concat()), message(1, &[number(1, 3), number(2, 4)].concat())].concat();
    let mut leaves: Vec<u64> = vec![5];
    for (leaf, count, labels) in samples {
        let name = id(leaf);
        if !leaves.contains(&name) {
            leaves.push(name);
        }
        let mut sample = [number(1, name), number(1, 5), number(2, *count), number(2, count * 10_000_000)].concat();
        for (key, value) in *labels {
            sample.extend(message(3, &[number(1, id(key)), number(2, id(value))].concat()));
        }
        out.extend(message(2, &sample));
    }
    for name in leaves {
        out.extend(message(4, &[number(1, name), message(4, &number(1, name))].concat()));
        out.extend(message(5, &[number(1, name), number(2, name)].concat()));
    }
    out.extend(strings.iter().flat_map(|s| message(6, s.as_bytes())));
    out.extend([message(11, &[number(1, 3), number(2, 4)].concat()), number(12, 10_000_000)].concat());
    out
}

pub const TRACE: &str = "00112233445566778899aabbccddeeff";

/// A request of four seconds: `GET /pay` with `price` (2 s) and a call of the database (1 s) below it, and one of `GET /list`.
pub fn otlp() -> String {
    let span = |trace: &str, id: &str, parent: &str, name: &str, kind: u32, from: u64, to: u64, more: &str| {
        format!(
            r#"{{"traceId":"{trace}","spanId":"{id}","parentSpanId":"{parent}","name":"{name}","kind":{kind},"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{{"key":"thread.id","value":{{"intValue":"42"}}}}{more}]}}"#,
            1_700_000_000_000_000_000 + from * 1_000_000,
            1_700_000_000_000_000_000 + to * 1_000_000
        )
    };
    let db =
        r#",{"key":"db.system","value":{"stringValue":"postgresql"}},{"key":"db.statement","value":{"stringValue":"SELECT 1 FROM t"}}"#;
    let spans = [
        span(TRACE, "00000000000000a1", "", "GET /pay", 2, 0, 4000, ""),
        span(TRACE, "00000000000000a2", "00000000000000a1", "price", 1, 500, 2500, ""),
        span(TRACE, "00000000000000a3", "00000000000000a1", "query", 3, 2600, 3600, db),
        span("00112233445566778899aabbccddee00", "00000000000000b1", "", "GET /list", 2, 5000, 6000, ""),
    ];
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
}

/// 300 samples: 180 of `tax` and 20 of `render` during `price`, 40 of `encode` during `GET /list`, 60 outside of spans.
pub fn samples(hex: bool) -> Vec<u8> {
    let (key, price, list) = if hex { ("span_id", "00000000000000a2", "00000000000000b1") } else { ("span id", "162", "177") };
    pprof(&[
        ("tax", 180, &[(key, price)]),
        ("render", 20, &[(key, price)]),
        ("encode", 40, &[(key, list)]),
        ("sweep", 60, &[]),
        ("lost", 1, &[(key, "00000000000000ff")]),
    ])
}
