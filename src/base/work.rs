//! A count of steps, so that tests can see how work grows: time cannot be asserted, steps can.
//!
//! Loops that could turn quadratic call [`step`]. Only debug builds count; in release builds nothing remains of it.

#[cfg(debug_assertions)]
thread_local! {
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts so many steps of this thread.
#[inline]
pub fn step(steps: usize) {
    #[cfg(debug_assertions)]
    STEPS.with(|total| total.set(total.get() + steps as u64));
    #[cfg(not(debug_assertions))]
    let _ = steps;
}

/// Steps of this thread so far; 0 in release builds.
pub fn steps() -> u64 {
    #[cfg(debug_assertions)]
    return STEPS.with(std::cell::Cell::get);
    #[cfg(not(debug_assertions))]
    0
}
