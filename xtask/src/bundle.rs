//! `dist/hotspan.html`: the whole page in one file that works from `file://`.
//!
//! Scripts, style and samples are inline; the modules are gzipped and in base64. The policy names every script by its hash,
//! so nothing else can run, and forbids every connection.

use crate::build::{dist, io};
use crate::tools::say;
use crate::{Result, root};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// Makes the single file from `dist/`.
pub fn bundle() -> Result<PathBuf> {
    say("packing the single file");
    let dist = dist();
    let read = |name: &str| fs::read(dist.join(name)).map_err(io(&dist.join(name)));
    let text = |name: &str| read(name).and_then(|bytes| String::from_utf8(bytes).map_err(|e| format!("{name}: {e}")));
    let (glue, boot, style) = (text("hotspan.js")?, text("boot.js")?, text("app.css")?);
    let glue = format!("\n{glue}\n");
    let boot = format!("\n{boot}\n");
    let style = format!("\n{style}\n");
    for (name, script) in [("hotspan.js", &glue), ("boot.js", &boot)] {
        fits_inline(name, script)?;
    }
    let policy = format!(
        "default-src 'none'; script-src '{}' '{}' 'wasm-unsafe-eval'; style-src '{}'; style-src-attr 'unsafe-inline'; \
         worker-src blob:; img-src data: blob:; connect-src 'none'; base-uri 'none'; form-action 'none'",
        hash(&glue),
        hash(&boot),
        hash(&style)
    );
    // Data, which no policy needs to permit. Workers get the glue of their modules as text.
    let mut data = String::new();
    for name in ["hotspan", "first", "whole"] {
        let mut wasm = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        wasm.write_all(&read(&format!("{name}_bg.wasm"))?).map_err(|e| e.to_string())?;
        let wasm = STANDARD.encode(wasm.finish().map_err(|e| e.to_string())?);
        data.push_str(&format!("<script type=\"application/octet-stream\" id=\"{name}-wasm\">{wasm}</script>\n"));
        if name != "hotspan" {
            let glue = text(&format!("{name}.js"))?;
            fits_inline(name, &glue)?;
            data.push_str(&format!("<script type=\"text/plain\" id=\"{name}-glue\">\n{glue}\n</script>\n"));
        }
    }
    let mut samples: Vec<(String, PathBuf)> = Vec::new();
    let folder = root().join("static/samples");
    for entry in fs::read_dir(&folder).map_err(io(&folder))? {
        let entry = entry.map_err(io(&folder))?;
        samples.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    samples.sort();
    for (name, path) in samples {
        let bytes = STANDARD.encode(fs::read(&path).map_err(io(&path))?);
        data.push_str(&format!("<script type=\"application/octet-stream\" data-sample=\"{name}\">{bytes}</script>\n"));
    }
    let (mut out, mut replaced) = (String::new(), 0);
    for line in text("index.html")?.lines() {
        let l = line.trim();
        let new = if l.starts_with("<meta http-equiv=\"Content-Security-Policy\"") {
            format!("  <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">")
        } else if l.starts_with("<link rel=\"stylesheet\"") {
            format!("<style>{style}</style>")
        } else if l.starts_with("<script src=\"hotspan.js\"") {
            format!("{data}<script id=\"hotspan-glue\">{glue}</script>")
        } else if l.starts_with("<script src=\"boot.js\"") {
            format!("<script data-first=\"first\" data-whole=\"whole\">{boot}</script>")
        } else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        replaced += 1;
        out.push_str(&new);
        out.push('\n');
    }
    if replaced != 4 {
        return Err(format!("index.html has {replaced} of the 4 lines that the single file replaces: policy, style, glue, boot"));
    }
    let file = dist.join("hotspan.html");
    fs::write(&file, &out).map_err(io(&file))?;
    println!("    hotspan.html {:.0} KiB", out.len() as f64 / 1024.0);
    Ok(file)
}

fn fits_inline(name: &str, script: &str) -> Result {
    if script.contains("</script") || script.contains("<!--") {
        return Err(format!("{name} holds `</script` or `<!--`, which would end the inline script"));
    }
    Ok(())
}

/// The source expression of an inline script or style.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}
