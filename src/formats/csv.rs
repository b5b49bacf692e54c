//! One line of comma separated values (RFC 4180, without line ends inside of fields).

/// The separator that a header uses most.
pub fn separator(header: &str) -> char {
    [',', '\t', ';'].into_iter().max_by_key(|c| (header.matches(*c).count(), *c == ',')).unwrap_or(',')
}

/// The fields of a line; quotes around a field are removed, doubled ones inside are one.
pub fn fields(line: &str, separator: char) -> Vec<String> {
    let mut out = Vec::new();
    let mut field = String::new();
    let mut chars = line.chars().peekable();
    let (mut quoted, mut fresh) = (false, true);
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if fresh || field.trim().is_empty() => quoted = true,
            c if c == separator && !quoted => {
                out.push(std::mem::take(&mut field));
                fresh = true;
                continue;
            }
            c => field.push(c),
        }
        fresh = false;
    }
    out.push(field);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_separators_and_blanks_before_them() {
        assert_eq!(fields("1,\"a,b\"\"c\",,d", ','), ["1", "a,b\"c", "", "d"]);
        assert_eq!(fields("   \"f<A, B>\",0.5", ','), ["   f<A, B>", "0.5"]);
        assert_eq!(fields("a \"b\";c", ';'), ["a \"b\"", "c"]);
        assert_eq!(fields("open \"x", ','), ["open \"x"]);
        assert_eq!(fields("\"open, x", ','), ["open, x"]);
        assert_eq!((separator("a;b;c"), separator("a\tb"), separator("a,b")), (';', '\t', ','));
    }
}
