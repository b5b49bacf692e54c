//! Paths of source files.

/// A path without the folder of Bazel's sandbox, and with `.`, `..` and double slashes resolved, as `go tool pprof` shows it
/// (Go's `path.Clean`). An empty path stays empty.
pub fn clean(path: &str) -> String {
    let path = ["/proc/self/cwd/./", "/proc/self/cwd/"].iter().find_map(|p| path.strip_prefix(p)).unwrap_or(path);
    let rooted = path.starts_with('/');
    let odd = |part: &str| matches!(part, "" | "." | "..");
    if path.is_empty() || path != "/" && !path.split('/').skip(usize::from(rooted)).any(odd) {
        return path.to_string();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_string(),
        (false, rest) => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_cleans_them() {
        // The cases of Go's path_test.go, and Bazel's sandbox.
        for (path, cleaned) in [
            ("", ""),
            ("abc/def", "abc/def"),
            ("a/b/../../..", ".."),
            ("/", "/"),
            ("/abc//./../def/", "/def"),
            ("abc/../..", ".."),
            ("./a", "a"),
            ("/../abc", "/abc"),
            ("abc/..", "."),
            ("/proc/self/cwd/./src/main.c", "src/main.c"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
