//! Kinds of work that libraries do on the program's behalf (PROFILES 3).

use super::cost_rule::CostRule;
use super::cost_specs::{called, cost, is_option, thresholds, within};
use super::costs::{Frames, Measure};
use super::finding::{Rule, Threshold};

cost! {
    /// Encoding and decoding data (JSON, protobuf, XML, …) takes a large share of the CPU time.
    SERIALIZATION "serialization-cost" "Serialization" "Encoding and decoding data (JSON, protobuf, XML, …) takes a large share of the CPU time.",
    ["info-share" 0.08 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.2 "share that scores 75 (warning); PROFILES 3"],
    [within("", "Serialization", &["serialization"], &[])],
    (0.2, 0.8, "from a faster codec, at the lower bound of the share, to encoding only what is read"),
    [
        ("go", "Generate code for the types (easyjson, sonic, protobuf with vtprotobuf) or decode with a json.Decoder into reused values; avoid interface{} fields."),
        ("jvm", "Keep one ObjectMapper, use afterburner/blackbird or generated codecs, and stream instead of building trees."),
        ("cpython", "Use orjson or msgspec in place of json; validate once at the border (pydantic v2)."),
        ("v8", "Parse and stringify less: pass objects inside the process, split large documents, use fast-json-stringify with a schema."),
        ("rust", "Borrow instead of allocating (`&str`, `Cow`), avoid `serde_json::Value`, buffer the writer."),
        ("dotnet", "Use the source generator of System.Text.Json."),
        ("", "Encode once and pass bytes on, drop fields that nobody reads, cache encoded answers, choose a binary format inside."),
    ],
    []
}

cost! {
    /// Compressing and decompressing takes a large share of the CPU time.
    COMPRESSION "compression-cost" "Compression" "Compressing and decompressing takes a large share of the CPU time.",
    ["info-share" 0.08 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.2 "share that scores 75 (warning); PROFILES 3"],
    [within("", "Compression", &["compression"], &[])],
    (0.3, 0.9, "from a lower level or a faster codec (zstd or lz4 for deflate), at the lower bound of the share, to compressing only once"),
    [
        ("go", "Reuse gzip writers (Reset) and lower the level, or use klauspost/compress or zstd."),
        ("jvm", "Reuse Deflater and Inflater, lower the level, or use zstd-jni or lz4-java."),
        ("node", "Compress in a proxy or ahead of time; lower zlib's level."),
        ("", "Lower the level, use zstd or lz4, compress what does not change once, do not compress what is small or already compressed."),
    ],
    []
}

cost! {
    /// Encryption, hashing for security, or TLS handshakes take a large share of the CPU time.
    CRYPTO "crypto-cost" "Encryption and handshakes" "Encryption, hashing for security, or TLS handshakes take a large share of the CPU time.",
    ["info-share" 0.08 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.2 "share that scores 75 (warning); PROFILES 3", "handshake-info" 0.03 "lower bound of the share of active samples in handshakes that scores 25 (info); PROFILES 3", "handshake-warning" 0.1 "share in handshakes that scores 75 (warning); PROFILES 3"],
    [within("", "Cryptography", &["crypto"], &[]), Measure { name: "handshake", what: "Handshakes and signatures", of: &["crypto"], and: &["handshake"], without: &[], frames: Frames::Any }],
    (0.2, 0.9, "from hardware ciphers or cached results, at the lower bound of the share, to connections that are reused"),
    [
        ("go", "Share one http.Client and its Transport (raise MaxIdleConnsPerHost, read bodies to the end) so that connections are reused."),
        ("jvm", "Pool connections and keep SSLContext and KeyFactory objects; use Conscrypt or netty-tcnative."),
        ("node", "Use an Agent with keepAlive; move scrypt and pbkdf2 out of the main thread by their asynchronous forms."),
        ("cpython", "Share one requests.Session or httpx.Client: each call without one makes a new TLS connection."),
        ("", "Reuse connections, resume sessions, prefer ECDSA to RSA keys; check tokens once and remember the answer."),
    ],
    ["Password hashes (bcrypt, scrypt, argon2) are slow on purpose."]
}

cost! {
    /// Computing hashes and checksums takes a large share of the CPU time.
    HASHING "hashing-cost" "Hashing" "Computing hashes and checksums takes a large share of the CPU time.",
    ["info-share" 0.05 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.15 "share that scores 75 (warning); PROFILES 3"],
    [within("", "Hashing", &["hashing"], &["jit"])],
    (0.3, 0.9, "from a faster hash, at the lower bound of the share, to hashing once"),
    [
        ("go", "Map keys that are long strings or structs are hashed at every access: use integer ids; for checksums use xxhash or hash/maphash."),
        ("jvm", "Cache hashCode in immutable keys; use xxHash or CRC32C (intrinsic) for checksums."),
        ("rust", "SipHash guards against attackers: for trusted keys use rustc-hash or ahash."),
        ("", "Hash shorter keys, keep the hash beside the key, use a hash with hardware support."),
    ],
    ["Hashing for security is counted as cryptography."]
}

cost! {
    /// Regular expressions are compiled outside of initialization.
    REGEX_COMPILE "regex-compile" "Regular expression compiled again and again" "Regular expressions are compiled outside of initialization.",
    ["info-share" 0.01 "lower bound of the share of active samples that scores 25 (info); PROFILES 3; a planted defect measured 20 %", "warning-share" 0.05 "share that scores 75 (warning); PROFILES 3; a planted defect measured 20 %"],
    [within("", "Compiling regular expressions", &["regex_compile"], &["init", "module_init"])],
    (0.8, 1.0, "compiled once, none of it remains: from eight tenths, at the lower bound of the share, to all"),
    [
        ("go", "Move regexp.MustCompile to a package variable."),
        ("jvm", "Keep the Pattern in a static final field; String.matches, split and replaceAll compile at every call."),
        ("cpython", "Compile at module level with re.compile; re keeps only 512 patterns."),
        ("v8", "Use a literal outside the loop instead of `new RegExp` inside."),
        ("rust", "Keep the Regex in a LazyLock."),
        ("dotnet", "Use GeneratedRegex or a static Regex."),
        ("", "Compile once, outside the function, and reuse."),
    ],
    []
}

cost! {
    /// Matching regular expressions takes a large share of the CPU time, or one match runs very long.
    REGEX "regex-match" "Regular expression matching" "Matching regular expressions takes a large share of the CPU time, or one match runs very long.",
    ["info-share" 0.08 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.2 "share that scores 75 (warning); PROFILES 3", "min-run-ms" 50.0 "milliseconds of one uninterrupted run of matching that are reported whatever the share (backtracking); PROFILES 3"],
    [within("", "Matching regular expressions", &["regex"], &["regex_compile"])],
    (0.2, 0.9, "from simpler expressions, at the lower bound of the share, to plain string functions"),
    [
        ("go", "Use strings functions for fixed texts; anchor expressions; match bytes without conversion."),
        ("jvm", "Use possessive quantifiers or string methods; nested quantifiers backtrack without bound."),
        ("v8", "Avoid nested quantifiers such as (a+)+: V8 backtracks; anchor, or split the check."),
        ("cpython", "Use str methods for fixed texts, or google-re2 for expressions on foreign input."),
        ("", "Replace fixed patterns by string search, anchor, avoid nested quantifiers, use a linear-time engine for foreign input."),
    ],
    [], runs
}

cost! {
    /// Formatting, converting and joining strings takes a large share of the CPU time.
    STRFMT "string-formatting" "String formatting and concatenation" "Formatting, converting and joining strings takes a large share of the CPU time.",
    ["info-share" 0.08 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.2 "share that scores 75 (warning); PROFILES 3"],
    [within("", "String formatting", &["strfmt"], &[])],
    (0.2, 0.8, "from cheaper formatting, at the lower bound of the share, to strings that are not built"),
    [
        ("go", "Append with strconv.Append… and strings.Builder instead of fmt.Sprintf and +=."),
        ("jvm", "Use StringBuilder instead of String.format and of + in loops."),
        ("cpython", "Join lists instead of +=; do not format log messages that are not written."),
        ("rust", "write! into one String instead of format! per part."),
        ("", "Build strings once, in one buffer; keep numbers as numbers until the border."),
    ],
    []
}

cost! {
    /// Writing logs takes a large share of the CPU time.
    LOGGING "logging-cost" "Logging" "Writing logs takes a large share of the CPU time.",
    ["info-share" 0.05 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.15 "share that scores 75 (warning); PROFILES 3"],
    [called("", "Logging", &["logging"], &["jit"])],
    (0.5, 1.0, "from half of the messages, at the lower bound of the share, to none"),
    [
        ("go", "Use log/slog, zap or zerolog with typed fields; check the level before building arguments."),
        ("jvm", "Use parameterized messages, asynchronous appenders, and no caller location (%C, %L, %M walk the stack)."),
        ("cpython", "Pass arguments instead of formatted strings; guard expensive ones with isEnabledFor."),
        ("node", "console.log writes synchronously: use pino with an asynchronous destination."),
        ("", "Log less in inner code, sample, check the level first, write in batches."),
    ],
    []
}

cost! {
    /// Throwing exceptions, unwinding and taking stack traces takes CPU time.
    EXCEPTIONS "exception-cost" "Exceptions and stack traces" "Throwing exceptions, unwinding and taking stack traces takes CPU time.",
    ["info-share" 0.02 "lower bound of the share of active samples that scores 25 (info); PROFILES 3; Datadog warns at 10,000 exceptions per minute", "warning-share" 0.08 "share that scores 75 (warning); PROFILES 3; Datadog warns at 10,000 exceptions per minute"],
    [called("", "Exceptions and stack traces", &["exceptions"], &["gc", "stackgrow", "jit", "tracing_overhead"])],
    (0.7, 1.0, "results instead of exceptions: from seven tenths, at the lower bound of the share, to all"),
    [
        ("go", "Return errors instead of panics; github.com/pkg/errors takes a stack trace per error, errors.New and fmt.Errorf do not."),
        ("jvm", "Do not throw for control flow; override fillInStackTrace or use the constructor without writable stack trace for expected errors."),
        ("cpp", "Return std::expected or error codes where failure is ordinary: unwinding takes a global lock in old runtimes."),
        ("rust", "Do not capture backtraces for ordinary errors (RUST_LIB_BACKTRACE=0), and do not catch panics for control flow."),
        ("", "Use return values for what happens often; keep exceptions for what should not happen."),
    ],
    []
}

cost! {
    /// Reflection and dynamic invocation take a large share of the CPU time.
    REFLECTION "reflection-cost" "Reflection" "Reflection and dynamic invocation take a large share of the CPU time.",
    ["info-share" 0.05 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.15 "share that scores 75 (warning); PROFILES 3"],
    [called("", "Reflection", &["reflection"], &["jit"])],
    (0.3, 0.9, "from cached accessors, at the lower bound of the share, to generated code"),
    [
        ("go", "Generate code for encoding and mapping; cache reflect.Type lookups; avoid reflect.DeepEqual in inner code."),
        ("jvm", "Cache Method and MethodHandle objects, use LambdaMetafactory or generated accessors."),
        ("dotnet", "Use source generators or compiled expressions."),
        ("", "Look types up once, then use generated or cached accessors."),
    ],
    ["Where serialization stands beside it, the codec is the cause."]
}

cost! {
    /// Looking up and changing hash maps takes a large share of the CPU time.
    HASH_MAP "hash-map-cost" "Hash maps" "Looking up and changing hash maps takes a large share of the CPU time.",
    ["info-share" 0.1 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.25 "share that scores 75 (warning); PROFILES 3"],
    [called("", "Hash maps", &["hashmap"], &["jit"])],
    (0.2, 0.8, "from cheaper keys, at the lower bound of the share, to arrays by index"),
    [
        ("go", "Use integer keys or slices by index, look up once and keep the value, avoid string keys built for the lookup."),
        ("jvm", "Use primitive maps (fastutil, Eclipse Collections), EnumMap, or arrays by id."),
        ("rust", "Use a faster hasher for trusted keys (rustc-hash), the entry API, or Vec by index."),
        ("cpp", "Use a flat hash map (absl, boost::unordered_flat_map) instead of std::unordered_map and std::map."),
        ("", "Look up once instead of test and get, use small integer ids as indices, keep hot fields out of maps."),
    ],
    []
}

cost! {
    /// Hash maps are grown again and again instead of being made with their size.
    HASH_MAP_GROWTH "hash-map-growth" "Hash maps that grow" "Hash maps are grown again and again instead of being made with their size.",
    ["info-share" 0.02 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.06 "share that scores 75 (warning); PROFILES 3"],
    [Measure { name: "", what: "Growing hash maps", of: &["hashmap"], and: &["mapgrow"], without: &["jit"], frames: Frames::Called }],
    (0.6, 1.0, "made with the final size: from six tenths, at the lower bound of the share, to all of it"),
    [
        ("go", "make(map[K]V, n) with the expected size."),
        ("jvm", "new HashMap<>(n * 4 / 3 + 1), or HashMap.newHashMap(n)."),
        ("rust", "HashMap::with_capacity(n) or reserve."),
        ("cpp", "reserve(n) before inserting."),
        ("dotnet", "Pass the capacity to the constructor."),
        ("", "Give the map its size when it is made, or clear and reuse one."),
    ],
    []
}

cost! {
    /// Sorting takes a large share of the CPU time.
    SORT "sort-cost" "Sorting" "Sorting takes a large share of the CPU time.",
    ["info-share" 0.1 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.25 "share that scores 75 (warning); PROFILES 3"],
    [within("", "Sorting", &["sort"], &["jit"])],
    (0.3, 0.9, "from a cheaper comparison, at the lower bound of the share, to data that is kept in order"),
    [
        ("go", "Use slices.SortFunc instead of sort.Slice (no reflection), and sort by precomputed keys."),
        ("jvm", "Sort primitive arrays, precompute keys; a Comparator that parses or formats is called n log n times."),
        ("cpython", "Use key= instead of cmp_to_key; heapq.nlargest for the first few."),
        ("v8", "Precompute keys; localeCompare is slow, Intl.Collator is not."),
        ("", "Sort once and keep the order, take only the first k with a heap or selection, precompute keys."),
    ],
    []
}

cost! {
    /// The database driver and object mapper take a large share of the CPU time.
    DB_DRIVER "db-driver-cost" "Database client" "The database driver and object mapper take a large share of the CPU time.",
    ["info-share" 0.15 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.35 "share that scores 75 (warning); PROFILES 3"],
    [called("", "Database drivers and mappers", &["dbdriver"], &["jit"])],
    (0.2, 0.7, "from fewer rows and columns, at the lower bound of the share, to fewer queries"),
    [
        ("jvm", "Fetch projections instead of entities, set the fetch size, use batches; look for N+1 queries in traces."),
        ("cpython", "Select columns instead of objects, use bulk operations, compiled drivers (asyncpg, psycopg with C)."),
        ("go", "Scan into fixed types, prepare statements, fetch only the columns that are used."),
        ("", "Fetch fewer rows and columns, and fewer times; traces show queries per request."),
    ],
    ["The database's own time is not in this profile."], info_only
}

cost! {
    /// The client side and the internals of RPC and HTTP frameworks take a large share of the CPU time.
    RPC "rpc-cost" "RPC and HTTP framework" "The client side and the internals of RPC and HTTP frameworks take a large share of the CPU time.",
    ["info-share" 0.15 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.35 "share that scores 75 (warning); PROFILES 3"],
    [called("", "RPC and HTTP frameworks", &["rpc"], &["jit", "idle_worker"])],
    (0.2, 0.6, "from batched calls, at the lower bound of the share, to calls that are not made"),
    [
        ("go", "Reuse http.Transport and gRPC connections; keep headers small."),
        ("jvm", "Reuse clients and event loops; check interceptors."),
        ("", "Fewer and larger calls; reuse clients and connections; look at middleware."),
    ],
    ["A server's framework below the program's handlers does not count; only what the program calls and what has no function of the program does."], info_only
}
