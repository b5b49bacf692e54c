//! The kinds of files that are known and not read. Order matters only where two marks fit one file: the narrower is first.

use super::unsupported::Mark::{self, At, Binary, Keys, KeysHold, Start, StartHolds, Test, Under};
use super::unsupported::{Kind, is_cprofile, is_etl, is_otlp_protobuf, is_perfetto};

const fn kind(what: &'static str, instead: &'static str, marks: &'static [Mark]) -> Kind {
    Kind { what, instead, marks }
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    // Recordings of profilers, binary.
    kind(
        "a perf.data recording in the first form, which perf has not written since 2010",
        "turn it into text on the machine that recorded it, `perf script -i perf.data > perf.txt`, and open that",
        &[At(0, b"PERFFILE")],
    ),
    kind(
        "a Java heap dump (.hprof), which lists objects and not where they were allocated",
        "record the allocations with async-profiler, `asprof -e alloc -d 30 -o collapsed -f alloc.collapsed PID`, and open that",
        &[At(0, b"JAVA PROFILE 1.0")],
    ),
    kind(
        "a Go execution trace",
        "extract a profile with `go tool trace -pprof=sync trace.out > sync.pprof` (or net, syscall, sched) and open that",
        &[StartHolds("go 1.", " trace\0")],
    ),
    kind(
        "a Windows event trace (.etl)",
        "fold its samples with UIforETW's `xperf_to_collapsedstacks.py` and open the folded stacks",
        &[Test(is_etl)],
    ),
    kind(
        "a .NET trace (.nettrace)",
        "convert it with `dotnet-trace convert --format Chromium trace.nettrace` and open the Chrome trace",
        &[At(0, b"Nettrace"), At(0, b"!FastSerialization.1"), Binary(b"!FastSerialization.1")],
    ),
    kind(
        "a Perfetto trace in protobuf",
        "convert it with Perfetto's `traceconv json trace.pftrace trace.json` and open the Chrome trace",
        &[Test(is_perfetto)],
    ),
    kind(
        "an OTLP message in protobuf without spans (metrics, logs or a profile)",
        "have the OpenTelemetry collector's file exporter write a pipeline of traces and open that",
        &[Test(is_otlp_protobuf)],
    ),
    kind(
        "a cProfile table of Python, which keeps totals per function and no stacks",
        "record with `py-spy record --format raw -o stacks.folded -- python PROGRAM` and open the folded stacks",
        &[Test(is_cprofile)],
    ),
    kind(
        "a memray recording of Python",
        "write its stacks with `memray transform csv -o run.csv FILE` and open that",
        &[At(0, b"memray\0")],
    ),
    kind(
        "a stackprof dump of Ruby",
        "write it as JSON with `stackprof --json FILE > run.json` and open that",
        &[StartHolds("\u{4}\u{8}{", ":mode"), Binary(b":\x11gc_samples")],
    ),
    kind(
        "a gmon.out file of gprof, which keeps call counts and no stacks",
        "record with `perf record -g PROGRAM` and open the text that `perf script` writes",
        &[At(0, b"gmon")],
    ),
    kind(
        "a trace-cmd recording of the Linux function tracer",
        "record with `perf record -g PROGRAM` and open the text that `perf script` writes",
        &[At(0, b"\x17\x08\x44tracing")],
    ),
    kind(
        "an Android method trace in the form of Android 16, whose records are packed in another way",
        "record with simpleperf and open the folded stacks that its `stackcollapse.py` writes",
        &[At(0, b"SLOW")],
    ),
    // Profiles as text.
    kind(
        "stacks that bpftrace counted",
        "fold them with `stackcollapse-bpftrace.pl` of FlameGraph and open the folded stacks",
        &[StartHolds("Attaching ", "@["), StartHolds("@[\n", "]: ")],
    ),
    kind(
        "a trace of Xdebug",
        "fold it with `stackcollapse-xdebug.php` of FlameGraph and open the folded stacks",
        &[StartHolds("", "\nTRACE START [")],
    ),
    kind(
        "a Massif file of Valgrind",
        "record the same program with `valgrind --tool=dhat` and open that",
        &[StartHolds("desc:", "\nsnapshot=")],
    ),
    kind(
        "a heaptrack recording",
        "fold it with `heaptrack_print --print-flamegraph stacks.folded FILE` and open that",
        &[StartHolds("v ", "\nX ")],
    ),
    kind(
        "a Papyrus stack log of Skyrim or Fallout 4",
        "look at it with speedscope, because nothing turns it into a form that is read here",
        &[StartHolds("Stack_", " log opened (PC)")],
    ),
    kind(
        "a trace of the Linux kernel as text (ftrace)",
        "convert it with Perfetto's `traceconv json trace.txt trace.json` and open the Chrome trace",
        &[Start("# tracer: ")],
    ),
    // Profiles and dumps as JSON.
    kind(
        "a V8 heap snapshot, which lists objects and not where they were allocated",
        "record the heap with the `pprof` package of Node and open the pprof file",
        &[Keys(&["snapshot"])],
    ),
    kind(
        "an archive of web requests (.har)",
        "record the page with DevTools' Performance panel and open the Chrome trace it saves",
        &[KeysHold(&["log"], "\"entries\""), KeysHold(&["log"], "\"creator\"")],
    ),
    // Traces.
    kind(
        "OpenTelemetry logs, which hold no spans",
        "export traces instead (OTLP JSON with `resourceSpans`) and open them",
        &[Keys(&["resourceLogs"])],
    ),
    kind(
        "OpenTelemetry metrics, which hold no spans",
        "export traces instead (OTLP JSON with `resourceSpans`) and open them",
        &[Keys(&["resourceMetrics"])],
    ),
    kind(
        "a list of search results of Tempo, without spans",
        "fetch one trace from `/api/traces/ID` of Tempo and open that",
        &[Under(&["traces"], &["rootServiceName"]), Under(&["traces"], &["rootTraceName"])],
    ),
    kind(
        "a search result of Elasticsearch whose documents are no spans of Jaeger",
        "search in the index `jaeger-span-*`, whose documents are read, or fetch the trace from Jaeger's query service",
        &[Under(&["hits", "hits"], &["_source"])],
    ),
    // Containers and things that are no recordings.
    kind("compressed with xz", "unpack it with `xz -d FILE` and open the result", &[At(0, b"\xfd7zXZ\0")]),
    kind(
        "compressed with bzip2",
        "unpack it with `bzip2 -d FILE` and open the result",
        &[
            At(0, b"BZh11AY&SY"),
            At(0, b"BZh21AY&SY"),
            At(0, b"BZh31AY&SY"),
            At(0, b"BZh41AY&SY"),
            At(0, b"BZh51AY&SY"),
            At(0, b"BZh61AY&SY"),
            At(0, b"BZh71AY&SY"),
            At(0, b"BZh81AY&SY"),
            At(0, b"BZh91AY&SY"),
        ],
    ),
    kind("compressed with lz4 in its old form", "unpack it with `lz4 -d FILE` and open the result", &[At(0, b"\x02\x21\x4c\x18")]),
    kind("a 7-Zip or RAR archive", "unpack it and open the files in it", &[At(0, b"7z\xbc\xaf\x27\x1c"), At(0, b"Rar!\x1a\x07")]),
    kind(
        "a program or library of another system, or a core dump, not a recording of one",
        "record it, for example with `perf record -g PROGRAM`, and open the text that `perf script` writes",
        &[
            At(0, b"\x7fELF"),
            At(0, b"\xcf\xfa\xed\xfe"),
            At(0, b"\xce\xfa\xed\xfe"),
            At(0, b"\xca\xfe\xba\xbe"),
            At(0, b"\0asm"),
            At(0, b"!<arch>\n"),
            At(0, b"MZ\x90\0"),
        ],
    ),
    kind(
        "a flame graph as a picture (SVG)",
        "open the folded stacks that it was drawn from",
        &[Start("<svg"), StartHolds("<?xml", "<svg")],
    ),
    kind(
        "a web page",
        "save the data instead: the sign-in or error page of a server is often stored by mistake, and a flame graph page can be written as folded stacks by its tool",
        &[Start("<!doctype html"), Start("<html"), StartHolds("<!--", "<html")],
    ),
    kind(
        "a picture or a document",
        "open the recording that it was made from",
        &[At(0, b"\x89PNG"), At(0, b"\xff\xd8\xff"), At(0, b"GIF8"), At(8, b"WEBP"), At(0, b"%PDF-")],
    ),
    kind("an SQLite database", "export its profile or trace with the tool that wrote it and open that", &[At(0, b"SQLite format 3\0")]),
];
