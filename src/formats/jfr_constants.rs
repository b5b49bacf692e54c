//! Constants of a Java Flight Recorder chunk: stacks, methods, threads and names, which events refer to by number.

use super::Import;
use super::jfr_bytes::{Cursor, Text};
use super::jfr_types::{Plan, Slots, Types};
use super::names::simple_name;
use crate::base::ids::{FrameId, FuncId, StackId};
use crate::model::symbols::{FRAME_INLINED, FUNC_KERNEL, FrameKey, FuncKey};
use std::collections::HashMap;

/// Classes of constants that are more than a name, and their fields.
const STACK: (&str, &[&str]) = ("jdk.types.StackTrace", &["truncated", "frames.method", "frames.lineNumber", "frames.type"]);
const METHOD: (&str, &[&str]) = ("jdk.types.Method", &["type", "name"]);
const CLASS: (&str, &[&str]) = ("java.lang.Class", &["name"]);
const THREAD: (&str, &[&str]) = ("java.lang.Thread", &["osName", "osThreadId", "javaName", "javaThreadId"]);
/// What the other classes call their name.
const NAME: &[&str] = &["name", "string", "description", "cause", "type"];

/// A thread as the chunk describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadConstant {
    /// Name in Java, or of the system's thread.
    pub name: String,
    /// The system's number, or Java's; -1 if unknown.
    pub tid: i64,
}

#[derive(Clone, Copy, Debug)]
struct Stack {
    truncated: bool,
    first: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
struct FrameConstant {
    method: i64,
    line: i64,
    kind: i64,
}

#[derive(Clone, Debug)]
struct RawThread {
    os: Text,
    os_id: i64,
    java: Text,
    java_id: i64,
}

/// The constants of a chunk.
#[derive(Default)]
pub struct Constants {
    stacks: HashMap<i64, Stack>,
    frames: Vec<FrameConstant>,
    methods: HashMap<i64, (i64, i64)>,
    classes: HashMap<i64, i64>,
    threads: HashMap<i64, RawThread>,
    /// By class and number.
    names: HashMap<(i64, i64), Text>,
    ids: Ids,
    funcs: HashMap<(i64, bool), FuncId>,
    done: HashMap<i64, (StackId, bool)>,
}

/// Ids of the classes that are looked up.
#[derive(Clone, Copy, Default)]
struct Ids {
    stack: i64,
    method: i64,
    class: i64,
    thread: i64,
    symbol: i64,
    string: i64,
    frame_type: i64,
}

impl Constants {
    /// None yet, for a chunk of these types.
    pub fn new(types: &Types) -> Constants {
        let id = |name: &str| types.id(name).unwrap_or(i64::MIN);
        let ids = Ids {
            stack: id(STACK.0),
            method: id(METHOD.0),
            class: id(CLASS.0),
            thread: id(THREAD.0),
            symbol: id("jdk.types.Symbol"),
            string: id("java.lang.String"),
            frame_type: id("jdk.types.FrameType"),
        };
        Constants { ids, ..Constants::default() }
    }

    /// Reads a checkpoint event from behind its size and type. `None` where it breaks off; what was read stays.
    pub fn read(&mut self, types: &Types, bytes: &mut Cursor<'_>) -> Option<()> {
        for _ in 0..3 {
            bytes.long()?;
        }
        bytes.byte()?;
        let mut slots = Slots::default();
        for _ in 0..bytes.count()? {
            let class = bytes.long()?;
            let ids = self.ids;
            let wanted = match class {
                c if c == ids.stack => STACK.1,
                c if c == ids.method => METHOD.1,
                c if c == ids.class => CLASS.1,
                c if c == ids.thread => THREAD.1,
                _ => NAME,
            };
            let plan = types.plan(class, wanted)?;
            for _ in 0..bytes.count()? {
                let key = bytes.long()?;
                plan.read(bytes, &mut slots)?;
                self.take(class, key, &plan, &slots);
            }
        }
        Some(())
    }

    fn take(&mut self, class: i64, key: i64, plan: &Plan, slots: &Slots) {
        let ids = self.ids;
        let text = |slot: usize| slots.text(slot).cloned().unwrap_or(Text::Null);
        if class == ids.stack {
            let first = self.frames.len();
            let columns = slots.numbers(1).iter().zip(slots.numbers(2)).zip(slots.numbers(3));
            self.frames.extend(columns.map(|((method, line), kind)| FrameConstant { method: *method, line: *line, kind: *kind }));
            self.stacks.insert(key, Stack { truncated: slots.number(0) == Some(1), first, end: self.frames.len() });
        } else if class == ids.method {
            self.methods.insert(key, (slots.number(0).unwrap_or(0), slots.number(1).unwrap_or(0)));
        } else if class == ids.class {
            self.classes.insert(key, slots.number(0).unwrap_or(0));
        } else if class == ids.thread {
            let (os_id, java_id) = (slots.number(1).unwrap_or(-1), slots.number(3).unwrap_or(-1));
            self.threads.insert(key, RawThread { os: text(0), os_id, java: text(2), java_id });
        } else {
            let found = (0..plan.fields.len()).find_map(|slot| slots.text(slot));
            if let Some(found) = found {
                self.names.insert((class, key), found.clone());
            }
        }
    }

    fn resolved(&self, text: &Text) -> String {
        match text {
            Text::Here(text) => text.clone(),
            Text::Null => String::new(),
            // A text refers to a text only once.
            Text::Constant(key) => match self.names.get(&(self.ids.string, *key)) {
                Some(Text::Here(text)) => text.clone(),
                _ => String::new(),
            },
        }
    }

    /// The text of a text field.
    pub fn text(&self, text: Option<&Text>) -> String {
        text.map_or(String::new(), |text| self.resolved(text))
    }

    /// The name of a constant: of a thread's state, a collector, a cause.
    pub fn name(&self, class: i64, key: i64) -> String {
        self.names.get(&(class, key)).map_or(String::new(), |text| self.resolved(text))
    }

    /// The name of a class as Java programmers write it; empty if unknown.
    pub fn class_name(&self, key: i64) -> String {
        let raw = self.classes.get(&key).map_or(String::new(), |symbol| self.name(self.ids.symbol, *symbol));
        readable_class(&raw)
    }

    /// A thread by its number; `None` for an event without one.
    pub fn thread(&self, key: i64) -> Option<ThreadConstant> {
        let raw = self.threads.get(&key)?;
        let java = self.resolved(&raw.java);
        let name = if java.is_empty() { self.resolved(&raw.os) } else { java };
        let tid = [raw.os_id, raw.java_id].into_iter().find(|id| *id > 0).unwrap_or(-1);
        Some(ThreadConstant { name, tid })
    }

    /// A stack in the session, and whether frames at its root are missing. `NONE` for no stack or an unknown one.
    pub fn stack(&mut self, key: i64, import: &mut Import<'_>) -> (StackId, bool) {
        if let Some(done) = self.done.get(&key) {
            return *done;
        }
        let Some(raw) = self.stacks.get(&key).copied() else { return (StackId::NONE, false) };
        let mut stack = StackId::NONE;
        // The leaf is first.
        for at in (raw.first..raw.end).rev() {
            let frame = self.frame(self.frames[at], import);
            stack = import.session.symbols.stacks.push(stack, frame);
        }
        self.done.insert(key, (stack, raw.truncated));
        (stack, raw.truncated)
    }

    fn frame(&mut self, raw: FrameConstant, import: &mut Import<'_>) -> FrameId {
        let kind = self.name(self.ids.frame_type, raw.kind);
        let kernel = kind == "Kernel";
        let func = match self.funcs.get(&(raw.method, kernel)) {
            Some(func) => *func,
            None => {
                let name = self.method_name(raw.method);
                let key = FuncKey { flags: if kernel { FUNC_KERNEL } else { 0 }, ..FuncKey::named(import.session.strings.intern(&name)) };
                let func = import.session.symbols.funcs.intern(key);
                self.funcs.insert((raw.method, kernel), func);
                func
            }
        };
        let flags = if kind == "Inlined" { FRAME_INLINED } else { 0 };
        let line = u32::try_from(raw.line).unwrap_or(0);
        import.session.symbols.frames.intern(FrameKey { line, flags, ..FrameKey::of(func) })
    }

    fn method_name(&self, key: i64) -> String {
        let Some((class, name)) = self.methods.get(&key).copied() else { return "<unknown>".to_string() };
        let (class, name) = (self.class_name(class), self.name(self.ids.symbol, name));
        match (class.is_empty(), name.is_empty()) {
            // Frames of libraries and the kernel have no class.
            (true, false) => simple_name(&name),
            (false, false) => format!("{class}.{name}"),
            (false, true) => class,
            (true, true) => "<unknown>".to_string(),
        }
    }
}

/// `[Ljava/lang/String;` is `java.lang.String[]`.
fn readable_class(raw: &str) -> String {
    let inner = raw.trim_start_matches('[');
    let dimensions = raw.len() - inner.len();
    let name = match inner {
        _ if dimensions == 0 => inner.replace('/', "."),
        "B" => "byte".to_string(),
        "C" => "char".to_string(),
        "D" => "double".to_string(),
        "F" => "float".to_string(),
        "I" => "int".to_string(),
        "J" => "long".to_string(),
        "S" => "short".to_string(),
        "Z" => "boolean".to_string(),
        _ => inner.strip_prefix('L').and_then(|i| i.strip_suffix(';')).unwrap_or(inner).replace('/', "."),
    };
    name + &"[]".repeat(dimensions.min(255))
}

#[cfg(test)]
mod tests {
    use super::readable_class;

    #[test]
    fn classes_as_programmers_write_them() {
        for (raw, shown) in
            [("java/lang/String", "java.lang.String"), ("[[I", "int[][]"), ("[Ljava/util/Map;", "java.util.Map[]"), ("", "")]
        {
            assert_eq!(readable_class(raw), shown);
        }
    }
}
