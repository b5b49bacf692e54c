//! View columns to display lists: pure, without a canvas.
