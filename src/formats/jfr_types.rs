//! Types of a Java Flight Recorder chunk: its metadata event describes every field of every event and constant, and a plan made
//! from it reads the fields that are wanted and passes over the others.

use super::jfr_bytes::{Cursor, Text};
use std::collections::HashMap;

/// A field of a type.
#[derive(Clone, Debug, Default)]
struct Field {
    name: String,
    class: i64,
    constant: bool,
    array: bool,
    unit: Unit,
}

/// What a number counts (`jdk.jfr.Timespan`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Unit {
    /// Ticks of the chunk's clock, or no time at all.
    #[default]
    Ticks,
    /// So many nanoseconds.
    Nanoseconds(i64),
}

fn unit(text: &str) -> Option<Unit> {
    Some(match text {
        "TICKS" => Unit::Ticks,
        "NANOSECONDS" => Unit::Nanoseconds(1),
        "MICROSECONDS" => Unit::Nanoseconds(1_000),
        "MILLISECONDS" => Unit::Nanoseconds(1_000_000),
        "SECONDS" => Unit::Nanoseconds(1_000_000_000),
        _ => return None,
    })
}

/// A class of the metadata.
#[derive(Clone, Debug, Default)]
struct Class {
    id: i64,
    name: String,
    fields: Vec<Field>,
}

/// All classes of a chunk.
#[derive(Clone, Debug, Default)]
pub struct Types {
    classes: Vec<Class>,
    by_id: HashMap<i64, usize>,
}

/// Values in values, at most; recordings have three.
const MAX_NESTING: u32 = 8;
/// Steps of one plan, at most.
const MAX_STEPS: usize = 4096;

/// How one value is read. `usize::MAX` as slot: it is passed over.
#[derive(Clone, Debug)]
enum Step {
    Byte(usize),
    Short(usize),
    Int(usize),
    Long(usize),
    Float,
    Double,
    Text(usize),
    /// As many times as a count says.
    Array(Vec<Step>),
}

/// Reads records of one type into slots.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    /// Per wanted field: the class of its values and their unit; `None` where the type lacks it.
    pub fields: Vec<Option<(i64, Unit)>>,
}

/// What was read: per wanted field its numbers (several inside arrays) or its text.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    numbers: Vec<Vec<i64>>,
    texts: Vec<Option<Text>>,
}

impl Slots {
    /// The number of a field that stands once; `None` if the type lacks it.
    pub fn number(&self, slot: usize) -> Option<i64> {
        self.numbers.get(slot)?.first().copied()
    }
    /// All numbers of a field in an array.
    pub fn numbers(&self, slot: usize) -> &[i64] {
        self.numbers.get(slot).map_or(&[], Vec::as_slice)
    }
    /// The text of a field.
    pub fn text(&self, slot: usize) -> Option<&Text> {
        self.texts.get(slot)?.as_ref()
    }
}

impl Plan {
    /// Reads a record. `None` when it ends early.
    pub fn read(&self, bytes: &mut Cursor<'_>, slots: &mut Slots) -> Option<()> {
        slots.numbers.resize(self.fields.len(), Vec::new());
        slots.numbers.iter_mut().for_each(Vec::clear);
        slots.texts.clear();
        slots.texts.resize(self.fields.len(), None);
        run(&self.steps, bytes, slots)
    }
}

/// Arrays nest no deeper than [`MAX_NESTING`], which plans are checked for.
fn run(steps: &[Step], bytes: &mut Cursor<'_>, slots: &mut Slots) -> Option<()> {
    for step in steps {
        let (slot, value) = match step {
            Step::Byte(slot) => (*slot, i64::from(bytes.byte()?)),
            Step::Short(slot) => (*slot, bytes.short()?),
            Step::Int(slot) => (*slot, bytes.int()?),
            Step::Long(slot) => (*slot, bytes.long()?),
            Step::Float => (usize::MAX, bytes.take(4).map(|_| 0)?),
            Step::Double => (usize::MAX, bytes.take(8).map(|_| 0)?),
            Step::Text(slot) => {
                let text = bytes.text()?;
                if let Some(place) = slots.texts.get_mut(*slot) {
                    *place = Some(text);
                }
                continue;
            }
            Step::Array(inner) => {
                for _ in 0..bytes.count()? {
                    run(inner, bytes, slots)?;
                }
                continue;
            }
        };
        if let Some(place) = slots.numbers.get_mut(slot) {
            place.push(value);
        }
    }
    Some(())
}

impl Types {
    /// The id of a class by its name: `jdk.ExecutionSample`.
    pub fn id(&self, name: &str) -> Option<i64> {
        self.classes.iter().find(|c| c.name == name).map(|c| c.id)
    }

    /// The name of a class.
    pub fn name(&self, id: i64) -> &str {
        self.by_id.get(&id).map_or("", |at| &self.classes[*at].name)
    }

    /// A plan that reads the wanted fields of a class: `stackTrace`, `frames.method`. `None` when the class is unknown or
    /// describes no finite record. The first wanted field of a text is the text.
    pub fn plan(&self, id: i64, wanted: &[&str]) -> Option<Plan> {
        let mut plan = Plan { steps: Vec::new(), fields: vec![None; wanted.len()] };
        if self.name(id) == "java.lang.String" {
            plan.steps = vec![Step::Text(0)];
            return Some(plan);
        }
        let mut budget = MAX_STEPS;
        plan.steps = self.steps(id, "", wanted, &mut plan.fields, 0, &mut budget)?;
        Some(plan)
    }

    fn steps(
        &self,
        id: i64,
        path: &str,
        wanted: &[&str],
        found: &mut [Option<(i64, Unit)>],
        nesting: u32,
        budget: &mut usize,
    ) -> Option<Vec<Step>> {
        let class = &self.classes[*self.by_id.get(&id)?];
        if nesting > MAX_NESTING {
            return None;
        }
        let mut out = Vec::new();
        for field in &class.fields {
            *budget = budget.checked_sub(1)?;
            let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            let slot = wanted.iter().position(|w| *w == path).unwrap_or(usize::MAX);
            if let Some(found) = found.get_mut(slot) {
                *found = Some((field.class, field.unit));
            }
            let steps = match self.primitive(field, slot) {
                Some(step) => vec![step],
                None => self.steps(field.class, &path, wanted, found, nesting + 1, budget)?,
            };
            match field.array {
                // An element without fields takes no bytes: its number says nothing.
                true if steps.is_empty() => out.push(Step::Int(usize::MAX)),
                true => out.push(Step::Array(steps)),
                false => out.extend(steps),
            }
        }
        Some(out)
    }

    fn primitive(&self, field: &Field, slot: usize) -> Option<Step> {
        if field.constant {
            return Some(Step::Long(slot));
        }
        Some(match self.name(field.class) {
            "boolean" | "byte" => Step::Byte(slot),
            "short" | "char" => Step::Short(slot),
            "int" => Step::Int(slot),
            "long" => Step::Long(slot),
            "float" => Step::Float,
            "double" => Step::Double,
            "java.lang.String" => Step::Text(slot),
            _ => return None,
        })
    }

    /// Reads a metadata event from behind its size and type: times, texts, and a tree of elements.
    pub fn read(bytes: &mut Cursor<'_>) -> Option<Types> {
        for _ in 0..3 {
            bytes.long()?;
        }
        let mut texts = Vec::new();
        for _ in 0..bytes.count()? {
            texts.push(match bytes.text()? {
                Text::Here(text) => text,
                _ => String::new(),
            });
        }
        let text = |at: i64| usize::try_from(at).ok().and_then(|at| texts.get(at)).map_or("", String::as_str);
        let mut types = Types::default();
        // Children that are still to come, per open element, and what it is.
        let mut open: Vec<(usize, Element)> = vec![(1, Element::Other)];
        while let Some((left, outer)) = open.last_mut() {
            if *left == 0 {
                open.pop();
                continue;
            }
            *left -= 1;
            let outer = *outer;
            let name = text(bytes.int()?);
            let mut attributes = Vec::new();
            for _ in 0..bytes.count()? {
                let key = text(bytes.int()?);
                attributes.push((key, text(bytes.int()?)));
            }
            let get = |key: &str| attributes.iter().find(|(k, _)| *k == key).map_or("", |(_, value)| *value);
            let mut element = Element::Other;
            match (outer, name) {
                (Element::Other, "class") => {
                    element = Element::Class;
                    let id = get("id").parse().ok()?;
                    types.by_id.insert(id, types.classes.len());
                    types.classes.push(Class { id, name: get("name").to_string(), fields: Vec::new() });
                }
                (Element::Class, "field") => {
                    element = Element::Field;
                    let field = Field {
                        name: get("name").to_string(),
                        class: get("class").parse().ok()?,
                        constant: get("constantPool") == "true",
                        array: get("dimension").parse::<u32>().is_ok_and(|n| n > 0),
                        unit: Unit::Ticks,
                    };
                    types.classes.last_mut()?.fields.push(field);
                }
                (Element::Field, "annotation") => {
                    let told = unit(get("value")).or_else(|| unit(get("value-0")));
                    if let (Some(told), Some(field)) = (told, types.classes.last_mut().and_then(|c| c.fields.last_mut())) {
                        field.unit = told;
                    }
                }
                _ => {}
            }
            open.push((bytes.count()?, element));
        }
        Some(types)
    }
}

/// An element of the metadata.
#[derive(Clone, Copy, PartialEq)]
enum Element {
    Class,
    Field,
    Other,
}
