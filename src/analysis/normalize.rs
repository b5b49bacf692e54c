//! One name for calls that differ only in values: SQL statements, URLs and names without their literals (TRACES 3.1 of the
//! project's notes). Total functions: any text gives a result, in one pass.

/// Statements are read up to here; perf-sentinel and OpenTelemetry Java have limits of this order too.
const MAX_SQL: usize = 64 * 1024;

/// A text without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normal {
    /// The text with `?` or `*` in the place of values.
    pub text: String,
    /// The values, in order, joined by a separator that occurs in none; empty if there were none.
    pub values: String,
    /// Values were hidden before they reached us: placeholders, redacted query strings.
    pub hidden: bool,
    /// The text was cut off: it must not decide alone.
    pub truncated: bool,
    /// It names several things at once: a list after IN with more than one value, several rows of VALUES.
    pub listed: bool,
}

impl Normal {
    fn value(&mut self, value: &str) {
        self.values.push_str(value);
        self.values.push('\u{1f}');
    }
}

/// A SQL statement: literals and placeholders become `?`, lists of them one `?`, comments and spaces go, words are upper case.
/// `double_quotes_are_text` is MySQL's rule; elsewhere `"x"` is a name.
pub fn sql(statement: &str, double_quotes_are_text: bool) -> Normal {
    let mut out = Normal::default();
    let mut cut = statement.len().min(MAX_SQL);
    while !statement.is_char_boundary(cut) {
        cut -= 1;
    }
    let statement_end = statement[..cut].trim_end();
    out.truncated = cut < statement.len() || statement_end.ends_with("...") || statement_end.ends_with('…');
    let text = statement_end;
    let bytes = text.as_bytes();
    let mut tokens: Vec<String> = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let rest = &text[i..];
        let c = bytes[i];
        let next = bytes.get(i + 1).copied().unwrap_or(0);
        let after_word = tokens.last().is_some_and(|t| ends_operand(t));
        let length = if c.is_ascii_whitespace() {
            i += 1;
            continue;
        } else if rest.starts_with("--") || c == b'#' && double_quotes_are_text {
            i += rest.find('\n').unwrap_or(rest.len());
            continue;
        } else if let Some(comment) = rest.strip_prefix("/*") {
            i += comment.find("*/").map_or(rest.len(), |at| at + 4);
            continue;
        } else if c == b'\'' || (c == b'"' && double_quotes_are_text) {
            let (length, value) = quoted(rest, c, double_quotes_are_text);
            literal(&mut tokens, &mut out, value);
            length
        } else if c == b'"' || c == b'`' {
            let (length, _) = quoted(rest, c, false);
            tokens.push(rest[..length].to_string());
            length
        } else if c == b'[' && !after_word {
            let length = rest.find(']').map_or(rest.len(), |at| at + 1);
            tokens.push(rest[..length].to_string());
            length
        } else if c == b'$' && dollar_tag(rest).is_some() {
            let tag = dollar_tag(rest).unwrap_or("$$");
            let body = &rest[tag.len()..];
            let length = body.find(tag).map_or(rest.len(), |at| at + 2 * tag.len());
            literal(&mut tokens, &mut out, &rest[..length]);
            length
        } else if rest.starts_with("::") {
            tokens.push("::".into());
            2
        } else if let Some(length) = placeholder(rest, after_word) {
            out.hidden = true;
            tokens.push("?".into());
            length
        } else if c.is_ascii_digit() || (c == b'.' && next.is_ascii_digit()) {
            let length = rest
                .find(|ch: char| !(ch.is_ascii_alphanumeric() || ch == '.'))
                .map(|at| if rest[..at].ends_with(['e', 'E']) && !rest.starts_with("0x") { exponent(rest, at) } else { at })
                .unwrap_or(rest.len());
            // A minus before a number belongs to it unless something stands before the minus.
            if tokens.last().is_some_and(|t| t == "-") && !tokens.iter().rev().nth(1).is_some_and(|t| ends_operand(t)) {
                tokens.pop();
            }
            literal(&mut tokens, &mut out, &rest[..length]);
            length
        } else if c.is_ascii_alphabetic() || c == b'_' || c >= 0x80 {
            let length = rest
                .find(|ch: char| !(ch.is_alphanumeric() || matches!(ch, '_' | '$')))
                .unwrap_or(rest.len())
                .max(rest.chars().next().map_or(1, char::len_utf8));
            let word = rest[..length].to_uppercase();
            if matches!(word.as_str(), "X" | "B" | "E" | "N") && rest[length..].starts_with('\'') {
                let (more, value) = quoted(&rest[length..], b'\'', word == "E");
                literal(&mut tokens, &mut out, value);
                length + more
            } else {
                if matches!(word.as_str(), "TRUE" | "FALSE") {
                    literal(&mut tokens, &mut out, &word);
                } else {
                    tokens.push(word);
                }
                length
            }
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            tokens.push(rest[..length].to_string());
            length
        };
        i += length;
    }
    if out.truncated {
        while tokens.last().is_some_and(|t| t == "." || t == "…") {
            tokens.pop();
        }
    }
    if tokens.last().is_some_and(|t| t == ";") {
        tokens.pop();
    }
    (out.text, out.listed) = join(&tokens);
    out.hidden &= out.values.is_empty();
    out
}

fn ends_operand(token: &str) -> bool {
    const WORDS: &[&str] = &[
        "SELECT", "WHERE", "AND", "OR", "IN", "LIMIT", "OFFSET", "BETWEEN", "THEN", "ELSE", "WHEN", "BY", "SET", "RETURN", "FROM", "JOIN",
        "INTO", "UPDATE", "AS", "ON",
    ];
    token.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '?' | ')' | ']' | '"' | '`' | '_')) && !WORDS.contains(&token)
}

fn literal(tokens: &mut Vec<String>, out: &mut Normal, value: &str) {
    out.value(value);
    tokens.push("?".into());
}

fn exponent(rest: &str, at: usize) -> usize {
    let tail = &rest[at..];
    if !tail.starts_with(['+', '-']) {
        return at;
    }
    at + 1 + tail[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len() - 1)
}

/// A quoted text from its opening quote on: length with quotes, and the inside. A doubled quote stands for itself, a
/// backslash escapes where `backslash` says so. An open quote ends with the text.
fn quoted(rest: &str, quote: u8, backslash: bool) -> (usize, &str) {
    let bytes = rest.as_bytes();
    let mut i = 1;
    while i < bytes.len() {
        if backslash && bytes[i] == b'\\' {
            i += 2;
        } else if bytes[i] == quote {
            if bytes.get(i + 1) != Some(&quote) {
                return (i + 1, &rest[1..i]);
            }
            i += 2;
        } else {
            i += 1;
        }
    }
    (rest.len(), &rest[1.min(rest.len())..])
}

/// PostgreSQL's `$$` or `$tag$`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let inner = rest.strip_prefix('$')?;
    let end = inner.find('$')?;
    let tag = &inner[..end];
    let name = tag.is_empty() || (!tag.starts_with(|c: char| c.is_ascii_digit()) && tag.chars().all(|c| c.is_alphanumeric() || c == '_'));
    name.then(|| &rest[..end + 2])
}

/// `?`, `$1`, `:name`, `@p0`, `%s`, `%(name)s`: the length of a placeholder.
fn placeholder(rest: &str, after_word: bool) -> Option<usize> {
    let name = |from: usize| rest[from..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(rest.len(), |at| at + from);
    let bytes = rest.as_bytes();
    let second = bytes.get(1).copied().unwrap_or(0);
    match bytes[0] {
        b'?' => Some(1),
        b'$' if second.is_ascii_digit() => Some(name(1)),
        b':' if !after_word && (second.is_ascii_alphanumeric() || second == b'_') => Some(name(1)),
        b'@' if second.is_ascii_alphabetic() => Some(name(1)),
        b'%' if second == b's' => Some(2),
        b'%' if second == b'(' => rest.find(")s").map(|at| at + 2),
        _ => None,
    }
}

/// Joins tokens with single spaces; a list of `?` becomes one, repeated groups `(?), (?)` of a batch insert become one.
/// Whether a list after IN or a group of values was joined.
fn join(tokens: &[String]) -> (String, bool) {
    let mut listed = false;
    let mut kept: Vec<&str> = Vec::with_capacity(tokens.len());
    for token in tokens {
        kept.push(token);
        loop {
            let n = kept.len();
            if n >= 3 && kept[n - 3..] == ["?", ",", "?"] {
                listed |= n >= 5 && kept[n - 5..n - 3] == ["IN", "("];
                kept.truncate(n - 2);
            } else if n >= 7 && kept[n - 7..] == ["(", "?", ")", ",", "(", "?", ")"] {
                listed = true;
                kept.truncate(n - 4);
            } else {
                break;
            }
        }
    }
    let mut out = String::new();
    for token in kept {
        let tight = matches!(token, "," | ")" | "." | ";" | "]") || out.ends_with(['(', '.', '[']) || out.is_empty();
        if !tight {
            out.push(' ');
        }
        out.push_str(token);
    }
    (out, listed)
}

/// Whether a normalised statement only reads, and gives the same answer twice: `SELECT` without lock, clock or sequence.
pub fn sql_reads(normal: &str) -> bool {
    const MOVING: &[&str] = &["FOR UPDATE", "FOR SHARE", "NOW (", "RANDOM (", "RAND (", "NEXTVAL", "CURRENT_TIMESTAMP", "UUID", "INTO"];
    (normal.starts_with("SELECT ") || normal.starts_with("WITH ")) && !MOVING.iter().any(|word| normal.contains(word))
}

/// Whether a normalised statement changes rows.
pub fn sql_writes(normal: &str) -> bool {
    ["INSERT ", "UPDATE ", "DELETE ", "MERGE ", "REPLACE ", "UPSERT ", "TRUNCATE "].iter().any(|word| normal.starts_with(word))
        || (normal.starts_with("WITH ") && ["INSERT INTO", "UPDATE ", "DELETE FROM"].iter().any(|word| normal.contains(word)))
}

/// A URL or path: lower-case host without port, user and IP address, identifier-like segments as `*`, query keys sorted with
/// `*` for their values. Which segments are identifiers follows the behaviour of Sentry's parameteriser, plus long mixed tokens.
pub fn url(address: &str) -> Normal {
    let mut out = Normal::default();
    let (before_query, query) = address.split('#').next().unwrap_or("").split_once('?').map_or((address, None), |(a, q)| (a, Some(q)));
    let before_query = before_query.split('#').next().unwrap_or("");
    let (authority, path) = match before_query.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p)),
        None => ("", before_query.strip_prefix('/').unwrap_or(before_query)),
    };
    let host = authority.rsplit('@').next().unwrap_or("");
    let host = if host.starts_with('[') { "" } else { host.split(':').next().unwrap_or("") };
    if !host.is_empty() && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        out.text.push_str(&host.to_lowercase());
    }
    out.text.push('/');
    for (i, segment) in path.split('/').enumerate() {
        if i > 0 {
            out.text.push('/');
        }
        if is_parameter(segment) {
            out.text.push('*');
            out.value(segment);
        } else {
            out.text.push_str(segment);
        }
    }
    let mut pairs: Vec<(&str, &str)> =
        query.unwrap_or("").split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, ""))).collect();
    if pairs == [("*", "")] {
        out.hidden = true;
        pairs.clear();
    }
    pairs.sort_unstable();
    for (i, (key, value)) in pairs.iter().enumerate() {
        out.text.push(if i == 0 { '?' } else { '&' });
        out.text.push_str(key);
        out.text.push_str("=*");
        if matches!(*value, "*" | "REDACTED" | "[Filtered]") {
            out.hidden = true;
        } else {
            out.value(value);
        }
    }
    out
}

/// Whether a path segment is a value: UUID, hash, number at a word's end, long mixed token, e-mail.
fn is_parameter(segment: &str) -> bool {
    if matches!(segment, "*" | "[Filtered]" | "[number]") || (segment.contains('@') && segment.contains('.')) {
        return true;
    }
    let has = |f: fn(&char) -> bool| segment.chars().any(|c| f(&c));
    if segment.len() >= 20
        && segment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        && segment.bytes().filter(u8::is_ascii_digit).count() >= 3
        && has(|c| c.is_ascii_alphabetic())
    {
        return true;
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let extension = segment.rsplit_once('.').is_some_and(|(_, e)| (2..=5).contains(&e.len()) && e.bytes().all(|b| b.is_ascii_alphabetic()));
    segment.split(|c| !is_word(c)).any(|word| {
        let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        let hash = matches!(word.len(), 10 | 24 | 32 | 40)
            && word.bytes().all(|b| b.is_ascii_hexdigit())
            && word.bytes().any(|b| b.is_ascii_digit());
        (digits && !extension) || hash
    })
}

/// A free name: tokens that are numbers, UUIDs or hashes become `*`.
pub fn name(text: &str) -> Normal {
    let mut out = Normal::default();
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            out.text.push(' ');
        }
        if word.contains('/') {
            let inner = url(word);
            out.text.push_str(if word.starts_with('/') || word.contains("://") { &inner.text } else { inner.text.trim_start_matches('/') });
            out.values.push_str(&inner.values);
        } else if is_parameter(word) {
            out.text.push('*');
            out.value(word);
        } else {
            out.text.push_str(word);
        }
    }
    out
}

/// A key-value command (Redis, memcached): the command word, and the key with identifier-like segments as `*`.
pub fn key_value(command: &str) -> Normal {
    let mut words = command.split_whitespace();
    let mut out = Normal { text: words.next().unwrap_or("").to_uppercase(), ..Normal::default() };
    let Some(key) = words.next() else {
        out.hidden = true;
        return out;
    };
    out.hidden = key == "?";
    out.text.push(' ');
    for (i, part) in key.split(':').enumerate() {
        if i > 0 {
            out.text.push(':');
        }
        if part == "?" || is_parameter(part) {
            out.text.push('*');
        } else {
            out.text.push_str(part);
        }
    }
    if !out.hidden {
        out.value(key);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_differ_in_values_are_one() {
        for (statement, expected) in [
            ("SELECT * FROM auth.client WHERE id = 'a''b'", "SELECT * FROM AUTH.CLIENT WHERE ID = ?"),
            ("select  a.b, \"C\" from t -- note\n where x=-1.5e-3 and y in (1, 2,3)", "SELECT A.B, \"C\" FROM T WHERE X = ? AND Y IN (?)"),
            ("INSERT INTO t (a,b) VALUES (1,'x'),(2,'y')", "INSERT INTO T (A, B) VALUES (?)"),
            ("SELECT 1 /* trace */ FROM t WHERE a = $1 AND b=:n AND c = %(k)s;", "SELECT ? FROM T WHERE A = ? AND B = ? AND C = ?"),
            ("SELECT $$it's$$, 0xFF, X'1F', true, null", "SELECT ?, NULL"),
            ("SELECT a::int, b[1] FROM [my table]", "SELECT A :: INT, B [?] FROM [my table]"),
            ("SELECT 'open", "SELECT ?"),
            ("", ""),
        ] {
            assert_eq!(sql(statement, false).text, expected, "{statement}");
        }
        assert_eq!(sql("SELECT \"x\" # c", true).text, "SELECT ?");
        let (a, b) = (sql("SELECT * FROM t WHERE id = 1", false), sql("SELECT * FROM t WHERE id = 2", false));
        assert_eq!(a.text, b.text);
        assert_ne!(a.values, b.values);
        assert!(sql("SELECT * FROM t WHERE id = ?", false).hidden);
        assert!(!sql("SELECT * FROM t WHERE id = ? AND k = 3", false).hidden);
        assert!(sql("SELECT a FROM t WHERE lon...", false).truncated);
        assert!(sql("SELECT * FROM t WHERE id IN ($1, $2)", false).listed && sql("INSERT INTO t VALUES (1, 2), (3, 4)", false).listed);
        assert!(!sql("SELECT f(1, 2) FROM t WHERE id IN (7)", false).listed && !sql("INSERT INTO t VALUES (1, 2)", false).listed);
        assert!(sql_writes("DELETE FROM T WHERE A = ?") && !sql_writes(&a.text));
        assert!(sql_reads(&a.text));
        assert!(!sql_reads(&sql("SELECT * FROM t WHERE a = 1 FOR UPDATE", false).text));
    }

    #[test]
    fn any_text_has_a_result() {
        let text = "é'\"`[$$$a$ :@%(?--/*\\0x1e+-…#\n";
        let chars: Vec<char> = text.chars().collect();
        for from in 0..chars.len() {
            for to in from..=chars.len() {
                let part: String = chars[from..to].iter().collect();
                sql(&part, false);
                sql(&part, true);
                url(&part);
                name(&part);
                key_value(&part);
            }
        }
    }

    #[test]
    fn paths_as_sentry_reads_them() {
        // Rows of the published behaviour; the code there is not ours.
        for (address, expected) in [
            ("https://Service.io:8080/clients/1.2/project/3.4.5", "service.io/clients/*/project/*"),
            ("http://u:p@service.io/1343-turtles/1343turtles/hello-123s", "service.io/*/1343turtles/hello-123s"),
            ("http://10.0.0.7:8083/route?pickup=1%2C2&dropoff=3", "/route?dropoff=*&pickup=*"),
            ("/api/0/organizations/563712f9722fb0996z/", "/api/*/organizations/563712f9722fb0996z/"),
            ("/devices/7c9e6679-7425-40de-944b-e07fc1f90ae7#top", "/devices/*"),
            ("/static/app.1234.js", "/static/app.1234.js"),
        ] {
            assert_eq!(url(address).text, expected, "{address}");
        }
        assert!(url("http://a/b?*").hidden);
        assert_eq!(name("GET /devices/42").text, "GET /devices/*");
        assert_eq!(key_value("GET user:123:cart").text, "GET user:*:cart");
    }
}
