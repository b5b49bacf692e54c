//! A static file server for the built page, on 127.0.0.1 only.

use crate::Result;
use crate::build::{build, dist};
use crate::tools::say;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// Builds the page and serves it until interrupted.
pub fn run(args: &[String]) -> Result {
    let port = match args.iter().position(|a| a == "--port") {
        Some(at) => args.get(at + 1).and_then(|n| n.parse().ok()).ok_or("--port needs a number")?,
        None => 8217,
    };
    build(args.iter().any(|a| a == "--quick"), !args.iter().any(|a| a == "--no-simd"))?;
    // Another hotspan may be running: then any free port serves as well.
    let listener = TcpListener::bind(("127.0.0.1", port))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .map_err(|e| format!("no port can be opened on 127.0.0.1: {e}"))?;
    let address = format!("http://{}/", listener.local_addr().map_err(|e| e.to_string())?);
    say(&format!("hotspan is ready: {address}   (stop with Ctrl+C)"));
    if args.iter().any(|a| a == "--open") {
        let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        if Command::new(opener).arg(&address).status().is_err() {
            println!("    no `{opener}` here: open the address by hand");
        }
    }
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // A browser that closes its connection early is not an error of ours.
            let _ = answer(stream);
        });
    }
    Ok(())
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split_whitespace().nth(1).unwrap_or("/").split(['?', '#']).next().unwrap_or("/");
    let name = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
    let safe = !name.split('/').any(|part| part == ".." || part.is_empty()) && !name.contains('\\');
    let body = safe.then(|| std::fs::read(dist().join(name)).ok()).flatten();
    let (status, kind, body) = match body {
        Some(body) => ("200 OK", mime(name), body),
        None => ("404 Not Found", "text/plain", b"not found".to_vec()),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

fn mime(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}
