//! Profiles drawn by hand, for unit tests here and in the layers above.

use crate::base::ids::{SourceId, StackId};
use crate::model::Session;
use crate::model::profile::{Profile, ValueKind, ValueType};
use crate::model::symbols::{FrameKey, FuncKey};

/// A session drawn as folded lines: `a;b;c 3`.
pub fn drawn(text: &str) -> Session {
    let mut session = Session::default();
    let value = ValueType { name: "samples".into(), unit: "count".into(), kind: ValueKind::Samples };
    let mut p = Profile::new(SourceId(0), "folded", vec![value]);
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        let id = push_stack(&mut session, stack);
        p.samples.stack.push(id);
        p.samples.values[0].push(weight.parse().unwrap());
    }
    session.profiles.push(p);
    session
}

/// Interns `a;b;c`.
pub fn push_stack(session: &mut Session, stack: &str) -> StackId {
    let mut id = StackId::NONE;
    for name in stack.split(';').filter(|n| !n.is_empty()) {
        let name = session.strings.intern(name);
        let func = session.symbols.funcs.intern(FuncKey::named(name));
        let frame = session.symbols.frames.intern(FrameKey::of(func));
        id = session.symbols.stacks.push(id, frame);
    }
    id
}
