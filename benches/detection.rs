//! `cargo xtask bench --detection [N]`: precision, recall and the error of the savings over generated systems.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

#[path = "../tests/generator/mod.rs"]
mod generator;

fn main() {
    let n = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(1000);
    let judgement = generator::judge::judge(0..n);
    println!("{n} generated systems, half of them healthy\n\n{}", generator::judge::table(&judgement));
    for line in judgement.complaints.iter().take(40) {
        println!("{line}");
    }
    if judgement.complaints.len() > 40 {
        println!("and {} more", judgement.complaints.len() - 40);
    }
}
