//! Detectors on generated systems, each with one planted defect or none (see `tests/generator`). The whole thousand is
//! `cargo xtask bench --detection`; here a part of it keeps the goals.

use crate::generator::judge::{judge, table};
use crate::generator::plants::PLANTS;

#[test]
fn planted_defects_are_found_and_healthy_systems_are_left_alone() {
    let judgement = judge(0..2 * PLANTS.len() as u64 * 4);
    println!("{}", table(&judgement));
    let complaints = judgement.complaints.join("\n");
    for (rule, _) in PLANTS {
        let t = &judgement.rules[*rule];
        assert!(t.recall() >= 0.95, "{rule}: recall {:.3}\n{complaints}", t.recall());
        assert!(t.precision() >= 0.95, "{rule}: precision {:.3}\n{complaints}", t.precision());
        assert!(t.inside() >= 0.9, "{rule}: true saving inside the range in {:.0} %\n{complaints}", t.inside() * 100.0);
    }
    for fact in ["slow-endpoint", "slo-budget"] {
        let t = &judgement.rules[fact];
        assert!(t.found == t.planted && t.wrong == 0 && t.planted > 5, "{fact}: {t:?}\n{complaints}");
    }
    for (rule, t) in &judgement.rules {
        assert_eq!(t.wrong_in_healthy, 0, "{rule} accuses a healthy system\n{complaints}");
    }
}
