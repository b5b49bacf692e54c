//! How often what is read so far is shown: early, and then seldom enough to cost a few per cent of the time that reading takes.

/// Milliseconds before the first look: what is read within it is shown whole.
const FIRST_MS: f64 = 1000.0;
/// A look may cost one such part of the time until the next one.
const SHARE: f64 = 25.0;

/// When to show what is read so far.
pub struct Pace {
    next: f64,
    /// Milliseconds that the last look took, with the questions that it brought.
    pub cost: f64,
    last: f64,
}

impl Pace {
    /// Reading begins now.
    pub fn new(now: f64) -> Pace {
        Pace { next: now + FIRST_MS, cost: 0.0, last: now }
    }

    /// Whether it is time for a look.
    pub fn due(&self, now: f64) -> bool {
        now >= self.next && now >= self.last + self.cost * SHARE
    }

    /// A look was taken.
    pub fn shown(&mut self, begun: f64, now: f64) {
        self.last = now;
        self.next = now + FIRST_MS;
        self.cost = now - begun;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearer_a_look_the_longer_until_the_next() {
        let mut pace = Pace::new(0.0);
        assert!(!pace.due(999.0) && pace.due(1000.0));
        pace.shown(1000.0, 1100.0);
        pace.cost += 100.0;
        assert!(!pace.due(6099.0) && pace.due(6100.0));
        pace.shown(6100.0, 6101.0);
        assert!(!pace.due(7100.0) && pace.due(7101.0));
    }
}
