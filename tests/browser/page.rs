//! Where the page under test lies, and what the native command says about the same files.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One of our own files.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// Serves `dist/` on a free port until the process ends, and gives the address.
pub fn serve() -> String {
    let dist = root().join("dist");
    assert!(dist.join("index.html").exists(), "dist/ is missing: run `cargo xtask build` first");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let dist = dist.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                let _ = reader.read_line(&mut line);
                let mut header = String::new();
                while reader.read_line(&mut header).is_ok_and(|n| n > 2) {
                    header.clear();
                }
                let path = line.split_whitespace().nth(1).unwrap_or("/").trim_start_matches('/');
                let name = if path.is_empty() { "index.html" } else { path };
                let kind = match name.rsplit('.').next() {
                    Some("html") => "text/html",
                    Some("js") => "text/javascript",
                    Some("css") => "text/css",
                    Some("wasm") => "application/wasm",
                    _ => "application/octet-stream",
                };
                let (status, body) = std::fs::read(dist.join(name)).map_or(("404 Not Found", Vec::new()), |b| ("200 OK", b));
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&body);
            });
        }
    });
    address
}

/// Address of the single file.
pub fn single_file() -> String {
    let file = root().join("dist/hotspan.html");
    assert!(file.exists(), "dist/hotspan.html is missing: run `cargo xtask bundle` first");
    format!("file://{}", file.canonicalize().unwrap().display())
}

/// What `hotspan inspect --json` says about a file.
pub fn inspect(file: &Path) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_hotspan")).args(["inspect", "--json"]).arg(file).output().unwrap();
    serde_json::from_slice::<Value>(&out.stdout).unwrap()["sources"][0].take()
}
