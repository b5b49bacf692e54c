//! What a call's attributes say beside what is called: how it ended, whether it is a repetition, for how many calls it stands.

use crate::base::intern::StringTable;
use crate::model::trace::AttrValue;

/// How a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// It succeeded, or nothing says otherwise.
    #[default]
    Fine,
    /// It failed in a way that may pass: 5xx, 408, 429, gRPC UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED,
    /// time-outs, refused and reset connections, or a failed span that says no more.
    Transient,
    /// It was turned down, and the same question gets the same answer: other 4xx, other gRPC codes.
    Refused,
    /// 3xx: the next request is another one.
    Redirected,
    /// 202, or 404 as polls get it: the answer is not there yet.
    NotYet,
}

/// What a single attribute is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// HTTP status code.
    HttpStatus,
    /// gRPC status, as number or name.
    RpcStatus,
    /// Class of an error.
    ErrorType,
    /// How often the request was sent before (`http.request.resend_count`); redirects count too.
    Resend,
    /// Calls that a compressed span stands for (Elastic APM, span compression).
    Count,
    /// Whether a cache answered.
    CacheHit,
}

/// Attribute keys, old and new names of the semantic conventions.
pub const FACTS: &[(Fact, &[&str])] = &[
    (Fact::HttpStatus, &["http.response.status_code", "http.status_code"]),
    (Fact::RpcStatus, &["rpc.grpc.status_code", "rpc.response.status_code", "grpc.status_code"]),
    (Fact::ErrorType, &["error.type", "exception.type", "error.kind"]),
    (Fact::Resend, &["http.request.resend_count", "http.resend_count", "http.retry_count"]),
    (Fact::Count, &["composite.count", "span.composite.count"]),
    (Fact::CacheHit, &["cache", "cache.hit", "http.cache"]),
];

/// The facts of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    status: Option<i64>,
    rpc: Option<bool>,
    error: Option<bool>,
    /// It was sent before.
    pub resent: bool,
    /// Calls that the span stands for, less one.
    pub more: u32,
    /// A cache answered.
    pub cached: bool,
}

impl Facts {
    /// Takes note of one attribute; of several on one subject the last counts.
    pub fn note(&mut self, fact: Fact, strings: &StringTable, value: AttrValue) {
        let text = || match value {
            AttrValue::Text(id) => strings.get(id),
            _ => "",
        };
        let number = match value {
            AttrValue::Int(n) => Some(n),
            AttrValue::Double(f) => Some(f as i64),
            AttrValue::Text(id) => strings.get(id).trim().parse().ok(),
            _ => None,
        };
        match fact {
            Fact::HttpStatus => self.status = number,
            Fact::RpcStatus => {
                let passes = |name: &str| {
                    let name = name.trim_start_matches("StatusCode.").to_ascii_uppercase();
                    matches!(name.as_str(), "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "RESOURCE_EXHAUSTED" | "ABORTED")
                };
                self.rpc = match number {
                    Some(0) => None,
                    Some(n) => Some(matches!(n, 4 | 8 | 10 | 14)),
                    None if matches!(text(), "" | "OK" | "ok") => None,
                    None => Some(passes(text())),
                };
            }
            Fact::ErrorType => {
                let lower = text().to_ascii_lowercase();
                self.error = (!lower.is_empty()).then(|| {
                    number.map_or_else(
                        || ["timeout", "timed", "refused", "reset", "unavailable", "exhausted"].iter().any(|w| lower.contains(w)),
                        passing_status,
                    )
                });
            }
            Fact::Resend => self.resent = number.is_some_and(|n| n >= 1),
            Fact::Count => self.more = number.map_or(0, |n| (n - 1).clamp(0, i64::from(u32::MAX)) as u32),
            Fact::CacheHit => self.cached = value == AttrValue::Bool(true) || matches!(text(), "hit" | "HIT" | "true"),
        }
    }

    /// How the call ended; `failed` is the span's own status.
    pub fn ending(&self, failed: bool) -> Ending {
        match (self.status, self.rpc) {
            (Some(status), _) if passing_status(status) => Ending::Transient,
            (Some(300..=399), _) => Ending::Redirected,
            (Some(202 | 404), _) => Ending::NotYet,
            (Some(400..=499), _) | (_, Some(false)) => Ending::Refused,
            (_, Some(true)) => Ending::Transient,
            _ if failed || self.error == Some(true) => Ending::Transient,
            _ => Ending::Fine,
        }
    }
}

/// Status codes after which the same request may succeed.
fn passing_status(status: i64) -> bool {
    matches!(status, 500..=599 | 408 | 429)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(list: &[(Fact, AttrValue)], strings: &StringTable, failed: bool) -> Ending {
        let mut facts = Facts::default();
        for (fact, value) in list {
            facts.note(*fact, strings, *value);
        }
        facts.ending(failed)
    }

    #[test]
    fn endings_follow_the_protocols() {
        let mut strings = StringTable::default();
        let mut text = |t: &str| AttrValue::Text(strings.intern(t));
        let (unavailable, ok, timeout, code) = (text("UNAVAILABLE"), text("OK"), text("java.net.SocketTimeoutException"), text("503"));
        let s = &strings;
        for status in [500, 503, 429, 408] {
            assert_eq!(ending(&[(Fact::HttpStatus, AttrValue::Int(status))], s, false), Ending::Transient, "{status}");
        }
        assert_eq!(ending(&[(Fact::HttpStatus, code)], s, false), Ending::Transient);
        assert_eq!(ending(&[(Fact::HttpStatus, AttrValue::Int(409))], s, true), Ending::Refused);
        assert_eq!(ending(&[(Fact::HttpStatus, AttrValue::Int(302))], s, false), Ending::Redirected);
        assert_eq!(ending(&[(Fact::HttpStatus, AttrValue::Int(202))], s, false), Ending::NotYet);
        assert_eq!(ending(&[(Fact::HttpStatus, AttrValue::Int(200))], s, false), Ending::Fine);
        assert_eq!(ending(&[(Fact::RpcStatus, unavailable)], s, true), Ending::Transient);
        assert_eq!(ending(&[(Fact::RpcStatus, AttrValue::Int(5))], s, true), Ending::Refused);
        assert_eq!(ending(&[(Fact::RpcStatus, ok)], s, false), Ending::Fine);
        assert_eq!(ending(&[(Fact::ErrorType, timeout)], s, false), Ending::Transient);
        assert_eq!(ending(&[], s, true), Ending::Transient);
        assert_eq!(ending(&[], s, false), Ending::Fine);
    }

    #[test]
    fn a_compressed_span_stands_for_several_calls() {
        let (mut facts, strings) = (Facts::default(), StringTable::default());
        facts.note(Fact::Count, &strings, AttrValue::Int(14));
        assert_eq!(facts.more, 13);
        facts.note(Fact::Count, &strings, AttrValue::Int(-4));
        assert_eq!(facts.more, 0);
    }
}
