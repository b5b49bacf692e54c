//! Set-up that is paid for again and again: patterns compiled, keys derived, connections opened per call (PROFILES 1.1, 3).

use super::active::Active;
use super::finding::{Confidence, Finding, Rule, Severity, Threshold};
use super::stack_share::{FEW, MIN_ACTIVE, Pile, UNKNOWN, begin, flame, of_active, over_active, recover, subject, table};
use super::time_order::is_ordered;
use super::{Context, Detector, Outcome};
use crate::base::ids::{FuncId, StackId};
use crate::base::quantity::format_share;
use std::collections::BTreeMap;

/// The rule.
pub struct RepeatedSetup;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "repeated-setup",
    name: "Set-up per call",
    family: "hot loops",
    summary: "Work that is needed once (compiling a pattern, setting up a key, opening a connection) is done again in every call.",
    remedies: &[
        "Do it once, when the program or the object begins, and keep the result.",
        "Share the result between requests: a pool, a cache, a static.",
    ],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.01,
            doc: "lower bound of the share of active samples that scores 25 (info); PROFILES 3",
        },
        Threshold { name: "warning-share", default: 0.05, doc: "share that scores 75 (warning); PROFILES 3" },
        Threshold {
            name: "tenths",
            default: 3.0,
            doc: "tenths of the recording in which it must occur where times are known: once at the beginning is a start, not a habit; own choice",
        },
        MIN_ACTIVE,
        FEW,
        Threshold { name: "min-samples", default: 10.0, doc: "samples of one function below which it is not reported; PROFILES 4.2" },
        UNKNOWN,
    ],
    doc: include_str!("../../docs/rules/repeated-setup.md"),
};

/// Something that is set up.
struct Kind {
    word: &'static str,
    /// Category of the taxonomy; empty for none.
    category: &'static str,
    /// Parts of names.
    names: &'static [&'static str],
    remedy: &'static str,
    /// Whether starting programs do it too, so that only times can tell.
    at_start: bool,
}

const KINDS: [Kind; 7] = [
    Kind {
        word: "compiling regular expressions",
        category: "regex_compile",
        names: &[],
        remedy: "Compile the pattern once: a package variable, a static final Pattern, re.compile at module level, LazyLock.",
        at_start: false,
    },
    Kind {
        word: "TLS handshakes",
        category: "",
        names: &[
            "crypto/tls.(*Conn).Handshake",
            "crypto/tls.(*Conn).handshakeContext",
            "crypto/tls.(*Conn).clientHandshake",
            "crypto/tls.(*Conn).serverHandshake",
            "SSL_do_handshake",
            "SSL_connect",
            "SSL_accept",
            "do_handshake (",
            "sun.security.ssl.SSLSocketImpl.startHandshake",
            "sun/security/ssl/SSLSocketImpl.startHandshake",
            "rustls::client::hs::",
            "rustls::server::hs::",
            "mbedtls_ssl_handshake",
        ],
        remedy: "Keep connections open: one client for all requests, keep-alive, session resumption, a pool of connections.",
        at_start: false,
    },
    Kind {
        word: "setting up keys and certificates",
        category: "",
        names: &[
            "crypto/aes.NewCipher",
            "AES_set_encrypt_key",
            "AES_set_decrypt_key",
            "aesni_set_encrypt_key",
            "aesni_set_decrypt_key",
            "PKCS5_PBKDF2",
            "RSA_generate_key",
            "RSA_check_key",
            "PEM_read_bio",
            "x509.ParseCertificate",
            "x509.ParsePKCS",
            "x509.(*CertPool).AppendCertsFromPEM",
            "SSL_CTX_new",
            "SSL_CTX_load_verify",
            "X509_load_cert_crl_file",
            "X509_STORE_load",
            "load_verify_locations",
            "set_default_verify_paths",
            "load_default_certs",
            "createSecureContext",
            "KeyFactory.generatePrivate",
            "KeyPairGenerator.generate",
            "SSLContext.init",
            "TrustManagerFactory.init",
        ],
        remedy: "Read keys and certificates once and keep the prepared key, cipher or context.",
        at_start: false,
    },
    Kind {
        word: "opening connections to a database",
        category: "",
        names: &[
            "PQconnectdb",
            "PQconnectStart",
            "PQconnectPoll",
            "mysql_real_connect",
            "DriverManager.getConnection",
            "pgconn.Connect",
            "pgconn.ConnectConfig",
            "lib/pq.Open",
            "lib/pq.DialOpen",
            "mysql.(*MySQLDriver).Open",
            "mysql.(*connector).Connect",
            "connect (psycopg2",
            "_connect (psycopg",
            "MongoClient.<init>",
            "NpgsqlConnector.Open",
            "sqlite3_open",
        ],
        remedy: "Take connections from a pool that lives as long as the program.",
        at_start: false,
    },
    Kind {
        word: "compiling schemas",
        category: "",
        names: &[
            "jsonschema.(*Compiler).Compile",
            "gojsonschema.NewSchema",
            "JsonSchemaFactory.getSchema",
            "SchemaLoader.load",
            "check_schema (",
            "Draft7Validator",
            "Draft202012Validator",
            "compileSchema",
            "TypeAdapter.__init__",
            "jsonschema::compiler::",
        ],
        remedy: "Compile the schema once and keep the validator.",
        at_start: false,
    },
    Kind {
        word: "compiling templates",
        category: "",
        names: &[
            "text/template.(*Template).Parse",
            "html/template.(*Template).Parse",
            "text/template/parse.",
            "html/template.ParseFiles",
            "Handlebars.compile",
            "/jinja2/compiler.py",
            "/jinja2/parser.py",
            "/mako/codegen.py",
        ],
        remedy: "Parse templates when the program begins and keep them.",
        at_start: false,
    },
    Kind {
        word: "loading classes and modules",
        category: "classload",
        names: &[],
        remedy: "Import or look the class up once, outside the function that needs it; keep class loaders and script engines.",
        at_start: true,
    },
];

/// Functions that run once: what they set up is where it belongs (PROFILES 1.1).
fn is_start(name: &str) -> bool {
    const BEGINNINGS: [&str; 9] = [
        "runtime.doInit",
        "_GLOBAL__sub_I_",
        "__static_initialization_and_destruction",
        "_find_and_load",
        "Module._compile",
        "Module._load",
        "compileForInternalLoader",
        "call_init",
        "_dl_init",
    ];
    let last = name.rsplit(['.', '/']).next().unwrap_or(name);
    name.contains("<module>")
        || name.contains("<clinit>")
        || name.contains("glob..func")
        || BEGINNINGS.iter().any(|b| name.starts_with(b))
        || last == "init"
        || name.rsplit_once(".init.").is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

impl Detector for RepeatedSetup {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        over_active(cx, self, |active| of_profile(cx, active))
    }
}

/// By stack: which kind is set up, and who asked for it.
#[derive(Clone, Copy)]
enum State {
    /// Nothing so far.
    Nothing,
    /// Below a function that runs once.
    Start,
    /// Kind and the function that can be changed.
    Setup(u8, FuncId),
}

fn of_profile(cx: &Context<'_>, active: &Active<'_>) -> Vec<Finding> {
    let s = &active.session.symbols;
    // Functions are few: their names are looked at once.
    let mut kinds: Vec<Option<u8>> = vec![None; s.funcs.len()];
    let mut starts = vec![false; s.funcs.len()];
    for i in (0..s.funcs.len()).filter(|i| s.funcs.canonical[*i].index() == *i) {
        let name = active.name(FuncId::from_index(i));
        let class = active.class_of(FuncId::from_index(i));
        starts[i] = is_start(name);
        let fits = |k: &Kind| (!k.category.is_empty() && class.has(k.category)) || k.names.iter().any(|n| name.contains(n));
        kinds[i] = KINDS.iter().position(fits).map(|k| k as u8);
    }
    let mut states: Vec<State> = Vec::with_capacity(s.stacks.len());
    for row in 0..s.stacks.len() {
        let func = active.func(StackId::from_index(row)).index();
        let below = s.stacks.prefix[row].get();
        let state = match below.map_or(State::Nothing, |p| states[p.index()]) {
            State::Nothing if starts[func] => State::Start,
            State::Nothing => match kinds[func].zip(below.and_then(|p| active.owner(p))) {
                Some((kind, owner)) => State::Setup(kind, owner.func),
                None => State::Nothing,
            },
            known => known,
        };
        states.push(state);
    }
    let mut piles: BTreeMap<(u8, FuncId), Pile> = BTreeMap::new();
    for a in active.stacks.iter().filter(|a| !a.thread.any(&["gc", "jit"])) {
        if let State::Setup(kind, owner) = states[a.stack.index()] {
            piles.entry((kind, owner)).or_default().add(a);
        }
    }
    let spread = tenths(active, &states, &piles);
    let mut out = Vec::new();
    for ((kind, owner), pile) in piles {
        let seen = spread.as_ref().map(|s| s.get(&(kind, owner)).map_or(0, |bits| bits.count_ones()));
        let told = match seen {
            Some(tenths) => f64::from(tenths) >= cx.threshold(&RULE, "tenths"),
            None => !KINDS[usize::from(kind)].at_start,
        };
        if told {
            out.extend(describe(cx, active, &KINDS[usize::from(kind)], owner, pile, seen));
        }
    }
    out
}

/// In which tenths of the recording each set-up occurs, one bit each; `None` without times.
fn tenths(active: &Active<'_>, states: &[State], piles: &BTreeMap<(u8, FuncId), Pile>) -> Option<BTreeMap<(u8, FuncId), u16>> {
    let samples = &active.profile.samples;
    if !is_ordered(active.profile) || piles.is_empty() {
        return None;
    }
    let (first, last) = (*samples.time_ns.iter().min()?, *samples.time_ns.iter().max()?);
    let length = i128::from(last) - i128::from(first) + 1;
    let mut out: BTreeMap<(u8, FuncId), u16> = BTreeMap::new();
    for (stack, time) in samples.stack.iter().zip(&samples.time_ns) {
        let Some(State::Setup(kind, owner)) = stack.get().map(|s| states[s.index()]) else { continue };
        let tenth = (i128::from(*time) - i128::from(first)) * 10 / length;
        *out.entry((kind, owner)).or_default() |= 1 << tenth;
    }
    Some(out)
}

fn describe(cx: &Context<'_>, active: &Active<'_>, kind: &Kind, owner: FuncId, pile: Pile, tenths: Option<u32>) -> Option<Finding> {
    let name = active.name(owner);
    let count = pile.count;
    let tier = if tenths.is_some() { "T0+T3" } else { "T0" };
    let mut f = begin(cx, &RULE, active, pile, tier, &[name, kind.word])?;
    if tenths.is_some() {
        f.confidence = Confidence::Likely;
    }
    if kind.at_start {
        f.severity = Severity::Info;
        f.score = f.score.min(74);
    }
    let share = f.share.as_ref().map_or(0.0, |s| s.p);
    let over = tenths.map_or(String::new(), |n| format!(", in {n} of 10 tenths of the recording"));
    f.subject = subject(cx, active, owner, &[]);
    f.title = format!("Set-up per call: {name} spends {} of the time {}", format_share(share), kind.word);
    f.message = format!("{} are spent {} below {name}{over}; it is no function that runs only once.", of_active(active, count), kind.word);
    f.evidence.push(flame(active, &f));
    f.evidence.push(table(active, owner, format!("callers and callees of {name}")));
    f.caveats.push("Different inputs may need a set-up each: then a cache by input helps.".to_string());
    if tenths.is_none() {
        f.caveats.push("Without times a long start looks the same as set-up in every call.".to_string());
    }
    recover(&mut f, 0.8, 1.0, "From four fifths of the set-up at the lower bound of its share (some inputs are new) to all of it");
    f.remedies = vec![kind.remedy.to_string(), "Profile again after the change and compare the share.".to_string()];
    Some(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_run_once() {
        for name in
            ["main.init", "example.com/x.init.0", "runtime.doInit1", "a.B.<clinit>", "<module> (x.py)", "_GLOBAL__sub_I_x", "p.glob..func1"]
        {
            assert!(is_start(name), "{name}");
        }
        for name in ["main.initialize", "main.handle", "a.B.init2", "x.init.y", "compile"] {
            assert!(!is_start(name), "{name}");
        }
    }
}
