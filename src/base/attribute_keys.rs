//! Which attributes of spans rules and lists look at. The others are shown beside a span and nowhere else: where memory is short
//! they are given up first. `tests/it/reduction.rs` compares findings with and without them.

/// Beginnings of keys: the semantic conventions of OpenTelemetry and OpenTracing, and what agents call the same.
const BEGINNINGS: &[&str] = &[
    "db.",
    "sql",
    "cassandra.",
    "redis.",
    "mongodb.",
    "http.",
    "url.",
    "rpc.",
    "grpc.",
    "messaging.",
    "kafka.",
    "message_bus.",
    "net.",
    "network.",
    "server.",
    "client.",
    "peer.",
    "error",
    "exception",
    "cloud.",
    "host.",
    "ip",
    "hostname",
    "thread.",
    "process.",
    "code.",
    "otel.",
    "faas.",
    "span.",
    "component",
    "param",
    "pool",
    "cache",
    "retry",
    "rows",
    "result",
    "aws.",
    "k8s.pod",
    "container.id",
    "service.",
    "timeout",
    "deadline",
    "queue",
    "profile",
    "graphql.",
];

/// Ends of keys that tell what a call was about.
const ENDS: &[&str] = &["id", "key", "param", "params", "result", "response.body", "message", "sql", "rows", "count", "size", "bytes"];

/// Long texts under such beginnings that nothing looks at.
const NOT: &[&str] = &["http.user_agent", "http.request.header", "http.response.header", "http.request.body", "http.response.body"];

/// Whether a rule or a list looks at attributes of this key.
pub fn is_looked_at(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    let known = BEGINNINGS.iter().any(|b| lower.starts_with(b)) || ENDS.iter().any(|e| lower.ends_with(e)) || lower.contains("idempotency");
    known && !NOT.iter().any(|n| lower.starts_with(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventions_are_looked_at_and_long_texts_are_not() {
        for key in ["db.query.text", "http.request.method", "user.id", "Idempotency-Key", "messaging.system", "error"] {
            assert!(is_looked_at(key), "{key}");
        }
        for key in ["http.user_agent", "http.request.header.cookie", "app.theme", "user_agent.original", "log.text"] {
            assert!(!is_looked_at(key), "{key}");
        }
    }
}
