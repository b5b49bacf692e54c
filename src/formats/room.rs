//! Room for tables: when there is none left while reading, times are given up, then attributes, and only then reading ends.

use super::{Import, ImportError};
use crate::base::ids::SourceId;
use crate::base::memory::Budget;
use crate::model::fold::GivenUp;
use crate::model::reduce::report_fold;

/// What a reader has gathered besides the session's tables.
pub trait Gathered {
    /// About how many bytes it takes, and will take when it is stored.
    fn bytes(&self) -> u64;
    /// Adds up what agrees in stack, thread and labels and gives up times, here and in all that follows. What is gone the reader
    /// reports when it stores its profiles.
    fn fold(&mut self);
}

/// For readers whose rows are in the tables already.
pub struct Nothing;

impl Gathered for Nothing {
    fn bytes(&self) -> u64 {
        0
    }
    fn fold(&mut self) {}
}

/// Folding must give back this part of the tables to be worth doing it again.
const WORTH: u64 = 8;

impl Import<'_> {
    /// Makes room for more rows where there is none: folds samples, gives up attributes. To be called between records.
    ///
    /// # Errors
    /// `TooLarge` when that is not enough.
    pub fn make_room(&mut self, rows: u64, gathered: &mut dyn Gathered) -> Result<(), ImportError> {
        let budget = self.limits.memory;
        let steps = self.session.reduced.steps;
        let before = self.session.bytes() + gathered.bytes();
        if !budget.pressed(before, steps) {
            return Ok(());
        }
        self.session.reduced.times = true;
        gathered.fold();
        for (source, name, folded) in self.session.fold_profiles() {
            self.report_folded(source, &name, folded);
        }
        let after = self.session.bytes() + gathered.bytes();
        let gave = before.saturating_sub(after);
        if gave >= before / WORTH && !budget.pressed(after, steps) {
            return Ok(());
        }
        let attributes = self.session.give_up_attributes();
        let after = self.session.bytes() + gathered.bytes();
        if gave < before / WORTH && attributes == 0 {
            return Err(ImportError::TooLarge(Budget::ended(rows)));
        }
        if !budget.pressed(after, steps) && before.saturating_sub(after) >= before / WORTH {
            return Ok(());
        }
        // What is given back is used again, so that more may be taken than before; but not for ever.
        self.session.reduced.steps += 1;
        if budget.pressed(after, self.session.reduced.steps) {
            return Err(ImportError::TooLarge(Budget::ended(rows)));
        }
        Ok(())
    }

    fn report_folded(&mut self, source: SourceId, name: &str, folded: GivenUp) {
        let own = source == self.source;
        let ledger = if own { &mut self.ledger } else { &mut self.session.sources[source.index()].ledger };
        report_fold(ledger, folded, name);
    }

    /// As [`Import::tick`], for readers that gather rows of their own.
    ///
    /// # Errors
    /// As [`Import::tick`].
    pub fn tick_with(&mut self, rows: u64, gathered: &mut dyn Gathered) -> Result<(), ImportError> {
        self.make_room(rows, gathered)?;
        self.tell(rows)
    }
}
