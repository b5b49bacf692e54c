//! Whose samples they are: the nearest frame above the leaf that somebody who reads the finding can change.

use super::active::Active;
use crate::base::ids::{FuncId, StackId};
use crate::model::symbols::{FRAME_INLINED, FUNC_KERNEL};

/// First parts of the packages of Go's standard library; packages of others have a dot in it, or are the program's own.
const GO_STD: [&str; 44] = [
    "runtime",
    "math",
    "strings",
    "bytes",
    "strconv",
    "fmt",
    "sort",
    "slices",
    "maps",
    "sync",
    "internal",
    "encoding",
    "bufio",
    "io",
    "os",
    "net",
    "reflect",
    "regexp",
    "time",
    "unicode",
    "crypto",
    "hash",
    "compress",
    "syscall",
    "container",
    "errors",
    "context",
    "log",
    "path",
    "text",
    "html",
    "database",
    "archive",
    "image",
    "mime",
    "go",
    "testing",
    "unsafe",
    "vendor",
    "iter",
    "cmp",
    "type:",
    "type..eq",
    "unique",
];

/// Beginnings of names in standard libraries and language runtimes.
const STD_PREFIXES: [&str; 29] = [
    "java.",
    "javax.",
    "jdk.",
    "sun.",
    "com.sun.",
    "java/",
    "javax/",
    "jdk/",
    "sun/",
    "std::",
    "core::",
    "alloc::",
    "hashbrown::",
    "<std::",
    "<core::",
    "<alloc::",
    "<hashbrown::",
    "__gnu_cxx::",
    "operator new",
    "operator delete",
    "System.",
    "Microsoft.",
    "_start",
    "__libc_",
    "(anonymous namespace)::__",
    "kotlin.",
    "scala.",
    "node:",
    "<frozen",
];

/// Binaries that belong to the system.
const SYSTEM: [&str; 21] = [
    "libjli",
    "libjava.",
    "libnio.",
    "libnet.",
    "libzip.",
    "libc.",
    "libc-",
    "libm.",
    "libm-",
    "libpthread",
    "ld-linux",
    "ld-musl",
    "libstdc++",
    "libgcc_s",
    "libdl",
    "librt",
    "libjvm.so",
    "[vdso]",
    "libcoreclr",
    "libsystem_",
    "ntdll",
];

/// Interpreter loops: their samples are the interpreted program's, which this profile cannot see (PROFILES 1.8).
const INTERPRETERS: [&str; 22] = [
    "_PyEval_EvalFrameDefault",
    "PyEval_EvalFrameEx",
    "_TAIL_CALL_",
    "luaV_execute",
    "lj_BC_",
    "execute_ex",
    "zend_execute_ex",
    "ZEND_",
    "vm_exec",
    "vm_exec_core",
    "rb_vm_exec",
    "process_main",
    "Builtins_InterpreterEntryTrampoline",
    "Interpreter",
    "[Interpreter]",
    "BytecodeInterpreter::run",
    "BytecodeHandler:",
    "S_regmatch",
    "Perl_runops_",
    "sqlite3VdbeExec",
    "___bpf_prog_run",
    "wasm_interp_",
];

/// Stand-ins that are no functions, and frames of profilers and benchmark harnesses.
const NOBODY: [&str; 10] = [
    "(program)",
    "(root)",
    "(idle)",
    "(garbage collector)",
    "all",
    "root",
    "testing.(*B).runN",
    "testing.(*B).launch",
    "criterion::",
    "BenchmarkRunner",
];

/// Who owns a stack's samples, and what of the stack is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The owner's function, canonical.
    pub func: FuncId,
    /// The stack that ends in the owner's frame.
    pub at: StackId,
    /// Whether the samples are in the owner's own machine code: everything above the owner's frame was inlined into it.
    pub body: bool,
}

/// Whether nobody who reads the finding is likely to change this function.
pub fn is_library(active: &Active<'_>, func: FuncId) -> bool {
    let s = &active.session.symbols;
    let strings = &active.session.strings;
    // Copying and comparing of memory is told by names of the C library that count at a leaf only.
    let known = !active.class_of(func).is_empty() || active.leaf_class_of(func).has("memops");
    if s.funcs.flags[func.index()] & FUNC_KERNEL != 0 || active.is_unknown(func) || known {
        return true;
    }
    let name = active.name(func);
    let module = s.module(strings, func);
    let file = strings.get(s.funcs.file[func.index()]);
    starts_with_any(name, &STD_PREFIXES)
        || starts_with_any(module, &SYSTEM)
        || is_go_std(active, name, file)
        || file.starts_with("node:")
        || file.starts_with("<frozen")
        || file.contains("/lib/python") && !file.contains("site-packages")
        || file.contains("/rustc/")
}

fn is_go_std(active: &Active<'_>, name: &str, file: &str) -> bool {
    if !active.has_runtime("go") && !file.ends_with(".go") {
        return false;
    }
    if file.contains("/go/src/") && !file.contains("/pkg/mod/") && !file.contains("/go/src/github.com/") {
        let package = name.split('/').next().unwrap_or("");
        let first = package.split('.').next().unwrap_or("");
        return GO_STD.contains(&first);
    }
    let first = name.split(['/', '.']).next().unwrap_or("");
    GO_STD.contains(&first) && !name.split('/').next().is_some_and(|head| name.contains('/') && head.contains('.'))
}

fn starts_with_any(text: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|b| text.starts_with(b))
}

/// Whether a function is an interpreter's loop.
pub fn is_interpreter(name: &str) -> bool {
    starts_with_any(name, &INTERPRETERS)
}

/// Whether a name stands for no function, or for a frame of a profiler or benchmark harness.
pub fn is_stand_in(name: &str) -> bool {
    starts_with_any(name, &NOBODY[6..]) || NOBODY.contains(&name)
}

/// What is remembered of a stack's owner.
#[derive(Clone, Copy, Debug)]
pub struct Owned {
    /// The stack that ends in the owner's frame; `NONE` if there is none.
    pub at: StackId,
    /// See [`Owner::body`].
    pub body: bool,
}

/// For every stack the first frame from the leaf towards the root that is not library, runtime or kernel; none if it is a
/// stand-in. A stack that ends in library code has the owner of the stack below it: one pass, prefixes first.
pub fn owners(active: &Active<'_>) -> Vec<Owned> {
    let s = &active.session.symbols;
    let library = active.library();
    let nobody: Vec<bool> = (0..s.funcs.len())
        .map(|i| {
            let name = active.name(FuncId::from_index(i));
            is_stand_in(name) || is_interpreter(name)
        })
        .collect();
    let mut out: Vec<Owned> = Vec::with_capacity(s.stacks.len());
    for row in 0..s.stacks.len() {
        let stack = StackId::from_index(row);
        let func = active.func(stack).index();
        out.push(match (library[func], s.stacks.prefix[row].get()) {
            (false, _) if nobody[func] => Owned { at: StackId::NONE, body: false },
            (false, _) => Owned { at: stack, body: true },
            (true, None) => Owned { at: StackId::NONE, body: false },
            // Machine code stays the same while frames on the way down are marked as inlined into the next.
            (true, Some(below)) => {
                let owned = out[below.index()];
                Owned { body: owned.body && s.frames.flags[s.stacks.frame[row].index()] & FRAME_INLINED != 0, ..owned }
            }
        });
    }
    out
}

/// For every function whether it is library code; computed once per profile.
pub fn libraries(active: &Active<'_>) -> Vec<bool> {
    let mut out = vec![false; active.session.symbols.funcs.len()];
    let mut seen = vec![false; out.len()];
    let mut visited = vec![false; active.session.symbols.stacks.len()];
    for a in &active.stacks {
        let mut at = a.stack.get();
        while let Some(stack) = at.filter(|s| !visited[s.index()]) {
            visited[stack.index()] = true;
            let func = active.func(stack);
            if !seen[func.index()] {
                seen[func.index()] = true;
                out[func.index()] = is_library(active, func);
            }
            at = active.session.symbols.stacks.prefix[stack.index()].get();
        }
    }
    out
}
