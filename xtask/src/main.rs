//! Everything that building, serving and checking hotspan needs beyond `cargo build`. Run it as `cargo xtask`.

mod build;
mod bundle;
mod checks;
mod serve;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  serve [--open] [--port N]  build the page in release mode and serve it on 127.0.0.1
  test [NAME…]               every check, or only those named: fmt lints unit it doc page browser
  build [--quick] [--no-simd]  leave a static folder dist/ for any host
  bundle [--quick] [--no-simd] leave dist/hotspan.html: the whole page in one file, for file://
  bench [--browser] [FILE…]  time import, call tree and layout on generated input
  bench --wasm [FILE…]       processor time of the page's workers, as wasm in Node.js
  bench --detection [N]      judge the rules on N generated systems (1000)
  shot OUT.png [OPTION…]     take a picture of the page (see tests/browser/shot.rs)
  help                       this text
";

/// What every command returns: a sentence that says what is wrong and what to do.
type Result<T = ()> = std::result::Result<T, String>;

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args.split_first().map_or(("help", &[][..]), |(c, r)| (c.as_str(), r));
    let quick = rest.iter().any(|a| a == "--quick");
    let simd = !rest.iter().any(|a| a == "--no-simd");
    let result = match command {
        "serve" => serve::run(rest),
        "test" => checks::all(rest),
        "build" => build::build(quick, simd).map(|folder| println!("\n{} is ready for any static host.", folder.display())),
        "bundle" => build::build(quick, simd).and_then(|_| bundle::bundle()).map(|file| {
            println!("\n{} is the whole page in one file: open it with a double click.", file.display());
        }),
        "bench" => checks::bench(rest),
        "shot" => checks::shot(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no command {other}\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}
