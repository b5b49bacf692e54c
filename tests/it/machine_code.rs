//! The decoder of machine code against objdump: every boundary of every instruction, every branch and its target.

use hotspan::engine::Engine;
use hotspan::formats::code_flow::{FlowGraph, flow_graph};
use hotspan::formats::code_insn::{Flow, decode};
use hotspan::formats::code_loops::loops_of;
use hotspan::model::code::{Code, CodeLoop};
use hotspan::model::copied_stacks::Machine;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// The machine code of an ELF file, as it is kept.
fn code(path: &Path) -> Option<Arc<Code>> {
    let bytes = std::fs::read(path).ok()?;
    let mut engine = Engine::default();
    engine.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    engine.session.symbol_files.first()?.code.clone()
}

/// An instruction by objdump: address, mnemonic, target of a direct branch.
type Line = (u64, String, Option<u64>);

fn listing(objdump: &str, path: &Path) -> Option<Vec<Line>> {
    let out = Command::new(objdump).args(["-d", "-w", "--no-show-raw-insn"]).arg(path).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8_lossy(&out.stdout);
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("Disassembly") || line.trim() == "..." {
            lines.push((0, String::new(), None));
        }
        let Some((address, rest)) = line.trim_start().split_once(":\t") else { continue };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        // Prefixes stand before the mnemonic.
        let prefixes = [
            "bnd", "notrack", "data16", "rep", "repz", "repnz", "lock", "cs", "ds", "es", "ss", "fs", "gs", "addr32", "rex", "xacquire",
            "xrelease",
        ];
        let mut words = rest.split_whitespace().skip_while(|w| prefixes.contains(w) || w.starts_with("rex."));
        let mnemonic = words.next().unwrap_or("").trim_end_matches(",pt").trim_end_matches(",pn").to_string();
        // The target is the last operand before its name.
        let operands = rest.split(" <").next().unwrap_or("");
        let target = operands.rsplit([' ', ',', '\t']).next().and_then(|t| u64::from_str_radix(t.trim_start_matches("0x"), 16).ok());
        lines.push((address, mnemonic, target.filter(|_| rest.contains(" <") && !operands.contains('*'))));
    }
    Some(lines)
}

/// Compares one file; gives how many instructions and branches agreed.
fn compare(objdump: &str, path: &Path) -> Option<(u64, u64)> {
    let (code, lines) = (code(path)?, listing(objdump, path)?);
    let (mut instructions, mut branches, mut wrong) = (0, 0, Vec::new());
    for (i, (address, mnemonic, target)) in lines.iter().enumerate() {
        let bytes = code.bytes(*address, address + 15);
        let Some(next) = lines.get(i + 1).map(|l| l.0).filter(|next| *next > *address && next - address <= 15) else { continue };
        let found = decode(code.machine, bytes, *address);
        if mnemonic.starts_with("(bad)") || mnemonic.starts_with('.') || mnemonic == "udf" {
            continue;
        }
        let Some(insn) = found else {
            wrong.push(format!("{address:x} {mnemonic}: not decoded {:02x?}", &bytes[..bytes.len().min(12)]));
            continue;
        };
        let arm = mnemonic.starts_with("b.") || matches!(mnemonic.as_str(), "b" | "cbz" | "cbnz" | "tbz" | "tbnz");
        let x86 = mnemonic.starts_with('j') || mnemonic.starts_with("loop");
        let flow = match mnemonic.as_str() {
            "jmp" | "jmpq" | "b" | "ljmp" if target.is_some() => target.map(Flow::Jump),
            "jmp" | "jmpq" | "ljmp" | "rex.W" | "br" | "braa" | "braaz" | "brab" | "brabz" => Some(Flow::Indirect),
            "call" | "callq" | "lcall" | "bl" | "blr" | "blraa" | "blraaz" | "blrab" | "blrabz" => Some(Flow::Call),
            "ret" | "retq" | "lret" | "iret" | "iretq" | "hlt" | "ud2" | "ud1" | "ud0" | "int3" | "sysret" | "sysretl" | "sysretq"
            | "sysexit" | "retaa" | "retab" | "eret" | "eretaa" | "eretab" | "drps" | "brk" => Some(Flow::End),
            _ if arm || x86 => target.map(Flow::Branch),
            _ => Some(Flow::Next),
        };
        instructions += 1;
        branches += u64::from(arm || x86);
        // objdump writes WAIT and what it waits with as one.
        let length = u64::from(insn.len) == next - address || bytes[0] == 0x9b;
        if !length || flow.is_some_and(|flow| flow != insn.flow) {
            wrong.push(format!(
                "{address:x} {mnemonic}: {} bytes and {flow:x?}, got {insn:x?} {:02x?}",
                next - address,
                &bytes[..bytes.len().min(12)]
            ));
        }
    }
    println!("{}: {instructions} instructions, {branches} branches, {} differ", path.display(), wrong.len());
    assert!(wrong.is_empty(), "{}: {} differ:\n{}", path.display(), wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    Some((instructions, branches))
}

#[test]
fn instructions_equal_objdump() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/elf");
    let mut compared = 0;
    for (objdump, file) in [
        ("objdump", own.join("trips")),
        ("objdump", own.join("fix")),
        ("objdump", own.join("flow")),
        ("aarch64-linux-gnu-objdump", own.join("trips-aarch64")),
        ("objdump", "/lib/x86_64-linux-gnu/libc.so.6".into()),
        ("objdump", "/lib/x86_64-linux-gnu/libm.so.6".into()),
        ("aarch64-linux-gnu-objdump", "/usr/aarch64-linux-gnu/lib/libc.so.6".into()),
    ] {
        match compare(objdump, &file) {
            Some((instructions, branches)) => {
                assert!(instructions > 60 && branches > 10, "{}", file.display());
                compared += 1;
            }
            None => println!("SKIPPED: {objdump} or {} is absent", file.display()),
        }
    }
    // More files for a thorough look: `HOTSPAN_DECODE=/usr/bin/go:/usr/lib/x.so`.
    for file in std::env::var("HOTSPAN_DECODE").unwrap_or_default().split(':').filter(|f| !f.is_empty()) {
        let arm = file.contains("aarch64");
        let objdump = if arm { "aarch64-linux-gnu-objdump" } else { "objdump" };
        compare(objdump, Path::new(file)).unwrap_or_else(|| panic!("{file} cannot be compared"));
    }
    println!("{compared} files compared");
}

/// The loops of a function of a fixture.
fn loops(file: &str, function: &str) -> (Vec<CodeLoop>, FlowGraph) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/elf").join(file);
    let bytes = std::fs::read(path).unwrap();
    let mut engine = Engine::default();
    engine.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    let file = &engine.session.symbol_files[0];
    let begin = file.symbols.address_of(function).unwrap();
    let (code, end) = (file.code.as_ref().unwrap(), file.symbols.end_of(begin).unwrap());
    let bytes = code.bytes(begin, end);
    assert_eq!(bytes.len() as u64, end - begin, "{function}");
    (loops_of(code.machine, bytes, begin), flow_graph(code.machine, bytes, begin))
}

/// A loop as text: depth by dashes, header, ranges, `!` if it has several entries.
fn drawn(loops: &[CodeLoop]) -> Vec<String> {
    let text = |l: &CodeLoop| {
        let ranges: Vec<String> = l.ranges.iter().map(|(a, b)| format!("{a:x}..{b:x}")).collect();
        format!("{}{:x}{}: {}", "-".repeat(l.depth as usize - 1), l.header, if l.irreducible { "!" } else { "" }, ranges.join(" "))
    };
    loops.iter().map(text).collect()
}

#[test]
fn loops_equal_those_drawn_by_hand() {
    // By the listings of `objdump -d`; sources are flow.s and trips.c.
    for (file, function, expected) in [
        ("flow", "self_loop", &["5: 5..9"][..]),
        ("flow", "triple", &["2: 2..23", "-4: 4..1c", "--10: 10..17"]),
        ("flow", "irreducible", &["4!: 4..e"]),
        ("flow", "unreached", &["1: 1..5"]),
        ("flow", "tail", &[]),
        ("flow", "switch", &["2: 2..20"]),
        ("flow", "cold", &["2: 2..10 11..16"]),
        ("flow", "odd", &["2: 2..9"]),
        ("trips", "fixed", &["20: 20..3a"]),
        ("trips", "nested", &["10: 10..14 18..51", "-29: 18..44"]),
        ("trips", "calling", &["8: 8..1b"]),
        ("trips", "geometric", &["10: 10..3e"]),
        ("trips", "straight", &[]),
        ("trips", "rnd", &[]),
        ("trips-aarch64", "fixed", &["20: 20..3c"]),
        ("trips-aarch64", "nested", &["10: 10..54", "-28: 18..44"]),
        ("trips-aarch64", "calling", &["10: 10..28"]),
        ("trips-aarch64", "geometric", &["c: c..24"]),
        ("trips-aarch64", "straight", &[]),
    ] {
        assert_eq!(drawn(&loops(file, function).0), expected, "{file} {function}");
    }
}

#[test]
fn what_is_in_a_loop_is_counted() {
    let of = |file: &str, function: &str| {
        let l = loops(file, function).0.remove(0);
        (l.instructions, l.calls, l.packed, l.width)
    };
    // By the listings: fixed has eight instructions and none on vectors; calling has one call.
    assert_eq!([of("trips", "fixed"), of("trips", "calling")], [(8, 0, 0, 0), (6, 1, 0, 0)]);
    assert_eq!([of("trips-aarch64", "fixed"), of("trips-aarch64", "calling")], [(7, 0, 0, 0), (6, 1, 0, 0)]);
    // mulps and addps; fmla or fmul and fadd.
    assert_eq!(of("trips", "scale"), (7, 0, 2, 128));
    let (_, _, packed, width) = of("trips-aarch64", "scale");
    assert!((1..=2).contains(&packed) && width == 128, "{packed} {width}");
    // What is not known is counted and not guessed.
    assert_eq!((loops("flow", "odd").1.unknown, loops("flow", "switch").1.indirect), (3, 1));
    assert_eq!((loops("flow", "cold").1.unknown, loops("flow", "cold").1.indirect), (0, 0));
}

#[test]
fn any_bytes_are_gone_through() {
    let mut state = 11;
    for round in 0..400 {
        let size = 1 + crate::profiles::random(&mut state) as usize % 3000;
        let mut bytes: Vec<u8> = (0..size).map(|_| crate::profiles::random(&mut state) as u8).collect();
        if round % 2 == 0 {
            // Many short jumps: a dense graph.
            bytes.iter_mut().filter(|b| **b % 3 == 0).for_each(|b| *b = 0x74);
        }
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let graph = flow_graph(machine, &bytes, 0x1000);
            let decoded: usize = graph.insns.iter().map(|(_, i)| usize::from(i.len)).sum();
            assert_eq!(decoded + graph.unknown as usize, size, "every byte is an instruction's or unknown");
            for l in loops_of(machine, &bytes, 0x1000) {
                assert!(l.holds(l.header) && l.end() as usize <= size && l.ranges.windows(2).all(|r| r[0].1 < r[1].0));
            }
        }
    }
}
