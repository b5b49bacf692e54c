//! A small client of the Chrome DevTools Protocol.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running Chromium with one page.
pub struct Browser {
    child: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    session: String,
    next: u64,
    /// Errors and warnings of the console, uncaught exceptions, violations of the policy.
    pub complaints: Vec<String>,
    /// Addresses requested.
    pub requests: Vec<String>,
}

const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
];

impl Browser {
    /// Starts the Chromium that the environment names; `None` (said aloud) without one.
    pub fn start() -> Option<Browser> {
        let Some(program) = std::env::var_os("HOTSPAN_CHROMIUM").filter(|p| !p.is_empty()) else {
            assert!(std::env::var_os("HOTSPAN_REQUIRE_BROWSER").is_none(), "HOTSPAN_CHROMIUM is not set");
            println!("SKIPPED: HOTSPAN_CHROMIUM is not set; `cargo xtask test browser` finds or installs a Chromium");
            return None;
        };
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("hotspan-browser-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&profile).unwrap();
        let mut child = Command::new(program)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|l| l.split("listening on ").nth(1).map(str::to_string))
            .expect("Chromium gave no address");
        // The rest of its chatter must be read, or it blocks.
        std::thread::spawn(move || lines.for_each(drop));
        let host = address.trim_start_matches("ws://").split('/').next().unwrap().to_string();
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(address.as_str(), stream).unwrap();
        let mut browser = Browser { child, profile, socket, session: String::new(), next: 1, complaints: Vec::new(), requests: Vec::new() };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().unwrap().to_string();
        for domain in ["Page", "Runtime", "Network", "Log", "DOM"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1280, 800);
        Some(browser)
    }

    /// Process id of the browser.
    #[allow(dead_code, reason = "the benchmarks measure its memory")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Calls a method and waits for its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let answer = self.receive();
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    fn receive(&mut self) -> Value {
        loop {
            let Message::Text(text) = self.socket.read().expect("the browser went away") else { continue };
            let value: Value = serde_json::from_str(&text).unwrap();
            self.note(&value);
            return value;
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.consoleAPICalled") if matches!(params["type"].as_str(), Some("error" | "warning" | "assert")) => {
                self.complaints.push(params["args"].to_string());
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Log.entryAdded") if matches!(params["entry"]["level"].as_str(), Some("error" | "warning")) => {
                self.complaints.push(params["entry"].to_string());
            }
            Some("Network.requestWillBeSent") => self.requests.push(params["request"]["url"].as_str().unwrap_or("").to_string()),
            _ => {}
        }
    }

    /// Sets the size of the page in CSS pixels.
    pub fn size(&mut self, width: u32, height: u32) {
        self.call("Emulation.setDeviceMetricsOverride", json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}));
    }

    /// Sets the preferred colour scheme.
    pub fn scheme(&mut self, scheme: &str) {
        self.call("Emulation.setEmulatedMedia", json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}));
    }

    /// Opens any page and waits until it is loaded.
    #[allow(dead_code, reason = "the benchmarks open other pages than ours")]
    pub fn visit(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address}));
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// Goes to an address and waits until the page has started.
    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address}));
        self.wait("document.readyState === 'complete' && !!document.querySelector('.home, .findings, .empty')");
    }

    /// Evaluates an expression in the page.
    pub fn eval(&mut self, expression: &str) -> Value {
        let result = self.call("Runtime.evaluate", json!({"expression": expression, "awaitPromise": true, "returnByValue": true}));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn wait(&mut self, expression: &str) {
        let begin = Instant::now();
        while self.eval(&format!("!!({expression})")) != json!(true) {
            if begin.elapsed() > PATIENCE {
                let page = self.eval("document.body.innerText.slice(0, 2000)");
                panic!("waited in vain for {expression}; complaints: {:?}; page: {page}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Text of the first element that matches; empty if none does.
    pub fn text(&mut self, selector: &str) -> String {
        self.eval(&format!("document.querySelector({selector:?})?.innerText ?? ''")).as_str().unwrap_or("").to_string()
    }

    /// Clicks the middle of the first element that matches.
    pub fn click(&mut self, selector: &str) {
        self.wait(&format!("document.querySelector({selector:?})"));
        let place = self.eval(&format!("(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"));
        self.click_at(place[0].as_f64().unwrap(), place[1].as_f64().unwrap(), 1);
    }

    /// Clicks a point, once or twice.
    pub fn click_at(&mut self, x: f64, y: f64, count: u32) {
        self.call("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": x, "y": y}));
        for n in 1..=count {
            for kind in ["mousePressed", "mouseReleased"] {
                self.call("Input.dispatchMouseEvent", json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": n}));
            }
        }
    }

    /// Presses and releases a key.
    pub fn key(&mut self, key: &str) {
        // Enter acts on controls only with its character and code.
        let text = if key == "Enter" { "\r" } else { Some(key).filter(|k| k.chars().count() == 1).unwrap_or("") };
        let code = if key == "Enter" { 13 } else { 0 };
        self.call("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code}));
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key}));
    }

    /// Presses and releases a key together with Ctrl.
    pub fn control_key(&mut self, key: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({"type": kind, "key": key, "modifiers": 2}));
        }
    }

    /// Writes into the focused field, as a keyboard would.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Drops files on the middle of the page, as a person would.
    pub fn drop_files(&mut self, files: &[PathBuf]) {
        let files: Vec<String> = files.iter().map(|f| f.canonicalize().unwrap().display().to_string()).collect();
        let data = json!({"items": [], "files": files, "dragOperationsMask": 1});
        for kind in ["dragEnter", "dragOver", "drop"] {
            self.call("Input.dispatchDragEvent", json!({"type": kind, "x": 500, "y": 400, "data": data}));
        }
    }

    /// Gives files to a file input.
    pub fn choose(&mut self, selector: &str, files: &[PathBuf]) {
        self.wait(&format!("document.querySelector({selector:?})"));
        let files: Vec<String> = files.iter().map(|f| f.canonicalize().unwrap().display().to_string()).collect();
        let document = self.call("DOM.getDocument", json!({}));
        let node = self.call("DOM.querySelector", json!({"nodeId": document["root"]["nodeId"], "selector": selector}));
        self.call("DOM.setFileInputFiles", json!({"files": files, "nodeId": node["nodeId"]}));
    }

    /// Waits for the end of a load.
    pub fn loaded(&mut self) {
        self.wait("['ready', 'error'].includes(document.documentElement.dataset.state)");
    }

    /// A picture of the page as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let data = self.call("Page.captureScreenshot", json!({"format": "png"}));
        decode_base64(data["data"].as_str().unwrap())
    }

    /// Fails if the page complained.
    pub fn is_quiet(&self) {
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for b in text.bytes().filter(|b| *b != b'=') {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
