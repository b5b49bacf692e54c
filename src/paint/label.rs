//! Shortening of names so that the telling part stays.

/// A name in at most `room` characters; `None` if not even three fit. Type arguments go first, then the left of paths
/// (`a::b::c`, `a/b/c`, `a.b.c`), then the end.
pub fn fit(name: &str, room: usize) -> Option<String> {
    let long = |text: &str| text.chars().nth(room).is_some();
    if !long(name) {
        return Some(name.to_string());
    }
    if room < 3 {
        return None;
    }
    let mut text = without_arguments(name);
    if long(&text) {
        // The last separator that leaves a name behind it; what follows is what the function is called.
        let mut rest = text.as_str();
        while let Some(at) = first_separator(rest) {
            let tail = &rest[at..];
            if tail.chars().count() < 3 {
                break;
            }
            rest = tail;
            if !long(&format!("…{rest}")) {
                return Some(format!("…{rest}"));
            }
        }
        text = rest.to_string();
    }
    if !long(&text) {
        return Some(text);
    }
    let mut out: String = text.chars().take(room - 1).collect();
    out.push('…');
    Some(out)
}

/// Position after the first separator of a path.
fn first_separator(text: &str) -> Option<usize> {
    let mut found: Option<usize> = None;
    for separator in ["::", "/", "."] {
        if let Some(at) = text.find(separator).filter(|at| *at > 0) {
            let after = at + separator.len();
            found = Some(found.map_or(after, |f: usize| f.min(after)));
        }
    }
    found.filter(|at| *at < text.len())
}

/// `f<A<B>, C>(int)` as `f<…>(…)`; operators such as `operator<` are left as they are.
fn without_arguments(name: &str) -> String {
    let balanced = name.matches('<').count() == name.matches('>').count() && !name.contains("operator") && !name.contains("->");
    if !balanced {
        return name.to_string();
    }
    let mut out = String::new();
    let mut depth = 0_u32;
    for c in name.chars() {
        match c {
            '<' => {
                if depth == 0 {
                    out.push_str("<…>");
                }
                depth += 1;
            }
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    // `<Vec as Drop>::drop` is all arguments at its front; the trait is then the telling part.
    if out.starts_with("<…>") { name.to_string() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_part_stays() {
        for (name, room, text) in [
            ("main", 4, Some("main")),
            ("main", 3, Some("ma…")),
            ("main", 2, None),
            ("std::vec::Vec<alloc::string::String>::push", 20, Some("…vec::Vec<…>::push")),
            ("github.com/x/y/server.(*Conn).readLoop", 12, Some("…readLoop")),
            ("a.very_long_function_name", 8, Some("very_lo…")),
            ("operator<", 6, Some("opera…")),
            ("x.", 1, None),
            ("ćčž::šđž", 5, Some("…šđž")),
        ] {
            assert_eq!(fit(name, room).as_deref(), text, "{name} in {room}");
        }
    }
}
