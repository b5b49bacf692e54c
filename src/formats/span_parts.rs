//! The part reader of span formats: everything they gather is in the session's tables already.

use super::parts::{Part, PartReader};
use super::room::{Gathered, Nothing};
use super::{Import, ImportError};
use crate::base::pack::Packer;
use crate::model::join::Landed;
use std::any::Any;
use std::io::BufRead;

/// Reads the spans of one part. The context is `None` when the part is the whole file.
pub type ReadSpans = fn(Option<&str>, &mut dyn BufRead, &mut Part, &mut Import<'_>) -> Result<(), ImportError>;

/// A format's reading function with what it has to know.
pub struct SpanReader {
    read: ReadSpans,
    context: Option<String>,
    nothing: Nothing,
}

impl SpanReader {
    /// For one part.
    pub fn boxed(read: ReadSpans, context: Option<&str>) -> Box<dyn PartReader> {
        Box::new(SpanReader { read, context: context.map(str::to_string), nothing: Nothing })
    }
}

impl PartReader for SpanReader {
    fn read(&mut self, input: &mut dyn BufRead, part: &mut Part, import: &mut Import<'_>) -> Result<(), ImportError> {
        import.has_spans = true;
        (self.read)(self.context.as_deref(), input, part, import)
    }
    fn join(&mut self, _: Box<dyn Any>, _: &Landed, _: &mut Import<'_>) {}
    fn finish(&mut self, import: &mut Import<'_>) {
        import.has_spans = true;
    }
    fn gathered(&mut self) -> &mut dyn Gathered {
        &mut self.nothing
    }
    fn pack(&self, _: &mut Packer) {}
}
