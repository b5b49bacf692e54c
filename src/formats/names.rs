//! Function names as `go tool pprof` shows them: demangled without parameters and template arguments.

use cpp_demangle::{DemangleOptions, Symbol};

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
    let symbol = if system_name.len() > LONGEST { None } else { Symbol::new(system_name).ok() };
    symbol.and_then(|s| s.demangle(&DemangleOptions::new()).ok()).unwrap_or_else(|| system_name.to_string())
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
    let options = DemangleOptions::new().no_params().no_return_type();
    if name.len() > LONGEST {
        return None;
    }
    let full = Symbol::new(name).ok()?.demangle(&options).ok()?;
    Some(remove_templates(&full))
}

/// Template arguments go, but not the angle brackets of `operator<` and its kin.
fn remove_templates(name: &str) -> String {
    match name.find("operator") {
        Some(at) if name[at + 8..].starts_with(['<', '>', '-']) => format!("{}{}", remove_matching(&name[..at], '<', '>'), &name[at..]),
        _ => remove_matching(name, '<', '>'),
    }
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
