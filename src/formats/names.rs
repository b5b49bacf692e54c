//! Function names as `go tool pprof` shows them: demangled without parameters and template arguments.

use super::carried;
use cpp_demangle::{DemangleOptions, Symbol};
use std::borrow::Cow;

/// The display name of a function given by its linker name. Behaviour of `demangleSingleFunction` in
/// google/pprof internal/symbolizer (mode "simple"); Rust names lose their hash.
pub fn simple_name(system_name: &str) -> String {
    if let Some(name) = demangle(system_name) {
        return name;
    }
    if !looks_like_cpp(system_name) {
        return system_name.to_string();
    }
    remove_matching(&remove_matching(system_name, '(', ')'), '<', '>')
}

/// The name with all its parameters and template arguments, as `go tool pprof -symbolize=demangle=full` writes it.
pub fn full_name(system_name: &str) -> String {
    if !is_mangled(system_name) {
        return system_name.to_string();
    }
    if let Ok(rust) = rustc_demangle::try_demangle(system_name) {
        return format!("{rust:#}");
    }
    carried_cpp(system_name, true).unwrap_or_else(|| system_name.to_string())
}

/// The name of a C++ symbol, with parameters and return type or without; `None` when it is none.
pub fn cpp(symbol: &str, parameters: bool) -> Option<String> {
    if symbol.len() > LONGEST {
        return None;
    }
    let options = DemangleOptions::new();
    let options = if parameters { options } else { options.no_params().no_return_type() };
    Symbol::new(symbol).ok()?.demangle(&options).ok()
}

fn carried_cpp(symbol: &str, parameters: bool) -> Option<String> {
    match carried::carried().cpp {
        Some(cpp) => cpp(symbol, parameters),
        None => {
            carried::ask();
            None
        }
    }
}

/// The library recurses over the name; its own limit is low enough for wasm's stack, names of this length are not symbols.
const LONGEST: usize = 4096;

fn is_mangled(name: &str) -> bool {
    name.starts_with("_Z") || name.starts_with("__Z") || name.starts_with("_R")
}

/// A demangled name, or `None` if the text is not a mangled name.
pub fn demangle(name: &str) -> Option<String> {
    // Shared objects carry versions and clones behind a dot or an at sign; the name itself ends there.
    if !is_mangled(name) {
        return None;
    }
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return Some(format!("{rust:#}"));
    }
    Some(remove_templates(&carried_cpp(name, false)?))
}

/// The names of a function whose symbol is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// As people read it.
    pub name: Cow<'a, str>,
    /// With parameters and template arguments, if that differs.
    pub full: Option<String>,
    /// Whether the symbol itself differs from the name.
    pub system: bool,
}

/// A symbol that perf left mangled, or with the hash of Rust's legacy scheme, becomes readable; others stay as they are.
pub fn of_symbol(symbol: &str) -> Named<'_> {
    if let Some(name) = demangle(symbol) {
        let full = Some(full_name(symbol)).filter(|full| *full != name);
        return Named { name: Cow::Owned(name), full, system: true };
    }
    match symbol.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Named { name: Cow::Borrowed(name), full: Some(symbol.to_string()), system: true }
        }
        _ => Named { name: Cow::Borrowed(symbol), full: None, system: false },
    }
}

/// Template arguments go, but not the angle brackets of `operator<` and its kin.
fn remove_templates(name: &str) -> String {
    match name.find("operator") {
        Some(at) if name[at + 8..].starts_with(['<', '>', '-']) => format!("{}{}", remove_matching(&name[..at], '<', '>'), &name[at..]),
        _ => remove_matching(name, '<', '>'),
    }
}

/// A Rust name in the old mangling that a tool took apart without decoding it (`_$LT$T$u20$as$u20$a..B$GT$::f::h0123456789abcdef`),
/// decoded and without its hash; `None` when the text is no such name.
pub fn rust_text(name: &str) -> Option<String> {
    // Clones of LLVM carry a suffix behind the hash.
    let plain = name.split(" (.llvm.").next().unwrap_or(name);
    let plain = plain.split(".llvm.").next().unwrap_or(plain);
    let (path, hash) = plain.rsplit_once("::h")?;
    if hash.len() != 16 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split("::").peekable();
    while let Some(segment) = segments.next() {
        // An underscore only keeps an identifier from beginning with a dollar sign.
        let mut rest = segment.strip_prefix('_').filter(|s| s.starts_with('$')).unwrap_or(segment);
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix("..") {
                out.push_str("::");
                rest = tail;
            } else if let Some((text, tail)) = rust_escape(rest) {
                out.push(text);
                rest = tail;
            } else {
                let end = rest.char_indices().skip(1).find(|(_, c)| matches!(c, '$' | '.')).map_or(rest.len(), |(at, _)| at);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
        if segments.peek().is_some() {
            out.push_str("::");
        }
    }
    Some(out)
}

/// `$LT$` and its kin at the start of a text, and what follows.
fn rust_escape(text: &str) -> Option<(char, &str)> {
    let (code, tail) = text.strip_prefix('$')?.split_once('$')?;
    let c = match code {
        "SP" => '@',
        "BP" => '*',
        "RF" => '&',
        "LT" => '<',
        "GT" => '>',
        "LP" => '(',
        "RP" => ')',
        "C" => ',',
        _ => char::from_u32(u32::from_str_radix(code.strip_prefix('u')?, 16).ok()?).filter(|c| !c.is_control())?,
    };
    Some((c, tail))
}

fn looks_like_cpp(name: &str) -> bool {
    // Java's `class.<init>` and Go's `foo.(*Bar[...]).Method` are neither.
    !name.contains(".<") && !name.contains("]).") && (name.contains(['<', '>', '[', ']']) || name.contains("::"))
}

/// Removes balanced groups; a name whose brackets do not match stays as it is from there on.
fn remove_matching(name: &str, open: char, close: char) -> String {
    let mut out = String::with_capacity(name.len());
    let (mut nesting, mut kept) = (0_u32, 0);
    for (at, c) in name.char_indices() {
        if c == open {
            if nesting == 0 {
                out.push_str(&name[kept..at]);
                kept = at;
            }
            nesting += 1;
        } else if c == close {
            if nesting == 0 {
                break;
            }
            nesting -= 1;
            if nesting == 0 {
                kept = at + c.len_utf8();
            }
        }
    }
    out.push_str(&name[kept..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_names_are_finished() {
        for (text, shown) in [
            ("std::rt::lang_start::_$u7b$$u7b$closure$u7d$$u7d$::h7cd9ec399e9db3f7", Some("std::rt::lang_start::{{closure}}")),
            (
                "_$LT$F$u20$as$u20$alloc..boxed..FnBox$LT$A$GT$$GT$::call_box::h8612a2a83552fc2d",
                Some("<F as alloc::boxed::FnBox<A>>::call_box"),
            ),
            ("a::b::h08ca64c12e8a9bb0 (.llvm.15516475458848885060)", Some("a::b")),
            ("a::_b::h08ca64c12e8a9bb0", Some("a::_b")),
            ("a$b::h08ca64c12e8a9bb0", Some("a$b")),
            ("a::hello", None),
            ("h08ca64c12e8a9bb0", None),
        ] {
            assert_eq!(rust_text(text).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn as_pprof_writes_them() {
        for (system, shown) in [
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector::push_back"),
            ("_ZN4core3ptr13drop_in_place17h0123456789abcdefE", "core::ptr::drop_in_place"),
            ("foo::bar<int>(char const*)", "foo::bar"),
            ("main.(*T[...]).Method", "main.(*T[...]).Method"),
            ("java.util.List.<init>", "java.util.List.<init>"),
            ("<Vec as Drop>::drop", "::drop"),
            ("runtime.mapiternext", "runtime.mapiternext"),
            ("a::b)(c", "a::b)(c"),
        ] {
            assert_eq!(simple_name(system), shown, "{system}");
        }
    }
}
