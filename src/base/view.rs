//! `ViewRef`: a place in the page, as a URL hash. Findings, reports and the address bar use the same text.
//!
//! `#flame?p=0&v=cpu&f=main.main&f=main.busyLoop` is the flame graph of profile 0, value type cpu, zoomed to a path.

use super::labels::LabelFilter;

/// The views of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// Ranked findings.
    #[default]
    Findings,
    /// Flame graph or chart.
    Flame,
    /// Function table.
    Functions,
    /// Trace list, or one trace's waterfall.
    Traces,
    /// Services, operations, call edges.
    Services,
    /// Baseline and candidate.
    Compare,
    /// Files and their ledgers.
    Files,
}

impl View {
    /// Every view in the order of the rail.
    pub const ALL: [View; 7] = [View::Findings, View::Flame, View::Functions, View::Traces, View::Services, View::Compare, View::Files];

    /// The word in the hash.
    pub fn word(self) -> &'static str {
        match self {
            View::Findings => "findings",
            View::Flame => "flame",
            View::Functions => "functions",
            View::Traces => "traces",
            View::Services => "services",
            View::Compare => "compare",
            View::Files => "files",
        }
    }
}

/// A place in the page. Absent parts keep their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ViewRef {
    /// Which view.
    pub view: View,
    /// `p`: profile, position in the session.
    pub profile: Option<u32>,
    /// `v`: value type by name.
    pub value: Option<String>,
    /// `t`: thread, as its position in the profile.
    pub thread: Option<u32>,
    /// `l`, repeated: what the labels of a sample must be, as [`LabelFilter`] writes it.
    pub labels: Vec<LabelFilter>,
    /// `g`: label key whose values are the root frames.
    pub group: Option<String>,
    /// `u`: what the numbers of folded stacks are: `microseconds`.
    pub unit: Option<String>,
    /// `m`: mode of the view, such as `chart`, `inverted`.
    pub mode: Option<String>,
    /// `f`, repeated: call path from the root, by function name.
    pub path: Vec<String>,
    /// `fn`: selected function by name.
    pub function: Option<String>,
    /// `trace`: trace id.
    pub trace: Option<String>,
    /// `span`: span id.
    pub span: Option<String>,
    /// `svc`: service name.
    pub service: Option<String>,
    /// `op`: operation name.
    pub operation: Option<String>,
    /// `q`: search or filter text.
    pub search: Option<String>,
    /// `id`: finding.
    pub finding: Option<String>,
    /// `src`: file, position in the session.
    pub source: Option<u32>,
    /// `sort`: column to sort by, `-` in front for descending.
    pub sort: Option<String>,
    /// `clocks`: `aligned` when a trace is shown with the clocks of its hosts aligned.
    pub clocks: Option<String>,
    /// `rows`: what the rows of the function table stand for, see `engine::protocol::functions::TableForm`.
    pub rows: Option<String>,
    /// `w`, repeated: changes of a trace that are tried out, as `analysis::what_if` reads them.
    pub changes: Vec<String>,
    /// `z`: zoom window of the view, free form of that view.
    pub zoom: Option<String>,
    /// `set`, repeated: what is changed about the rules: `hot-loop.info-share=0.05`, `hot-loop=off`, or a target.
    pub settings: Vec<String>,
}

impl ViewRef {
    /// A view without further parts.
    pub fn of(view: View) -> ViewRef {
        ViewRef { view, ..ViewRef::default() }
    }

    /// Another view of the same samples.
    pub fn same_samples(&self, view: View) -> ViewRef {
        ViewRef {
            profile: self.profile,
            value: self.value.clone(),
            thread: self.thread,
            labels: self.labels.clone(),
            group: self.group.clone(),
            unit: self.unit.clone(),
            settings: self.settings.clone(),
            ..ViewRef::of(view)
        }
    }

    /// The hash, with its `#`.
    pub fn to_hash(&self) -> String {
        let mut out = format!("#{}", self.view.word());
        let mut separator = '?';
        let mut add = |key: &str, value: &str| {
            out.push(separator);
            separator = '&';
            out.push_str(key);
            out.push('=');
            encode(value, &mut out);
        };
        if let Some(p) = self.profile {
            add("p", &p.to_string());
        }
        if let Some(t) = self.thread {
            add("t", &t.to_string());
        }
        if let Some(s) = self.source {
            add("src", &s.to_string());
        }
        for filter in &self.labels {
            add("l", &filter.to_string());
        }
        for (key, value) in self.texts() {
            if let Some(value) = value {
                add(key, value);
            }
        }
        for frame in &self.path {
            add("f", frame);
        }
        for change in &self.changes {
            add("w", change);
        }
        for setting in &self.settings {
            add("set", setting);
        }
        out
    }

    fn texts(&self) -> [(&'static str, &Option<String>); 15] {
        [
            ("v", &self.value),
            ("g", &self.group),
            ("u", &self.unit),
            ("m", &self.mode),
            ("fn", &self.function),
            ("trace", &self.trace),
            ("span", &self.span),
            ("svc", &self.service),
            ("op", &self.operation),
            ("q", &self.search),
            ("id", &self.finding),
            ("sort", &self.sort),
            ("rows", &self.rows),
            ("clocks", &self.clocks),
            ("z", &self.zoom),
        ]
    }

    /// Reads a hash, with or without `#`. Unknown keys and views are ignored (the first view).
    pub fn parse(hash: &str) -> ViewRef {
        let hash = hash.strip_prefix('#').unwrap_or(hash);
        let (word, query) = hash.split_once('?').unwrap_or((hash, ""));
        let view = View::ALL.into_iter().find(|v| v.word() == word).unwrap_or_default();
        let mut out = ViewRef::of(view);
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            let slot = match key {
                "p" => {
                    out.profile = value.parse().ok();
                    continue;
                }
                "t" => {
                    out.thread = value.parse().ok();
                    continue;
                }
                "src" => {
                    out.source = value.parse().ok();
                    continue;
                }
                "f" => {
                    out.path.push(value);
                    continue;
                }
                "w" => {
                    out.changes.push(value);
                    continue;
                }
                "set" => {
                    out.settings.push(value);
                    continue;
                }
                "l" => {
                    out.labels.push(LabelFilter::parse(&value));
                    continue;
                }
                "v" => &mut out.value,
                "g" => &mut out.group,
                "u" => &mut out.unit,
                "m" => &mut out.mode,
                "fn" => &mut out.function,
                "trace" => &mut out.trace,
                "span" => &mut out.span,
                "svc" => &mut out.service,
                "op" => &mut out.operation,
                "q" => &mut out.search,
                "id" => &mut out.finding,
                "sort" => &mut out.sort,
                "clocks" => &mut out.clocks,
                "rows" => &mut out.rows,
                "z" => &mut out.zoom,
                _ => continue,
            };
            *slot = Some(value);
        }
        out
    }
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986 and a few that are legal in a fragment.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b':'
            | b'('
            | b')'
            | b'*'
            | b','
            | b';'
            | b'@'
            | b'!'
            | b'$' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_the_address_bar() {
        let place = ViewRef {
            view: View::Flame,
            profile: Some(2),
            value: Some("cpu".into()),
            thread: Some(0),
            labels: vec![LabelFilter::value("user", "a&b"), LabelFilter::parse("!span=id")],
            group: Some("end point".into()),
            unit: Some("microseconds".into()),
            path: vec!["main.main".into(), "operator<<(int&, …)".into(), "a&b=c;d%#".into()],
            search: Some("map iter".into()),
            changes: vec!["batch:1f+siblings,2e".into(), "rtt:2ms".into()],
            settings: vec!["hot-loop.info-share=0.05".into(), "{\"p95_ns\":1}".into()],
            ..ViewRef::default()
        };
        assert_eq!(ViewRef::parse(&place.to_hash()), place);
        assert_eq!(ViewRef::parse("#nonsense?x=1&f"), ViewRef { path: vec!["".into()], ..ViewRef::default() });
        assert_eq!(ViewRef::parse(""), ViewRef::default());
    }
}
