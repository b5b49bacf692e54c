//! Fixtures of all kinds, which the command, the engine and the page must answer with the same bytes.

/// Below `tests/fixtures`.
pub const KINDS: &[&str] = &[
    "pprof/cpu.pb.gz",
    "pprof/labels.pb.gz",
    "perf-script/loops.perf-script.txt.gz",
    "folded/small.folded",
    "chrome-trace/phases.json",
    "cpuprofile/a.cpuprofile",
    "heapprofile/a.heapprofile",
    "jfr/shop.jfr.gz",
    "otlp-profiles/shop.pb",
    "otlp-json/shop.json",
    "jaeger-json/shop.json",
    "zipkin-json/shop.json",
    "xray/shop.json",
    "datadog/shop.json",
];
