//! What page and worker say to each other. Heads are JSON, bulk data are typed arrays (see [`crate::base::slabs`]).
//!
//! Indices of profiles and sources are stable while a session lives; functions, spans and call paths are named, never indexed.

pub mod summary;

use serde::{Deserialize, Serialize};

/// A question of the page. `Open` is not among them: it carries `File`s and is handled by the worker itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Everything the frame and the findings view need: [`summary::Summary`] as head.
    Summary,
}

/// Which samples: the part that every profile query shares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleQuery {
    /// Profile, position in the session.
    pub profile: u32,
    /// Value type, position in the profile.
    pub value: u32,
    /// Thread, position in the profile; `None` for all.
    pub thread: Option<u32>,
}

/// Why a request could not be answered: a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with this sentence.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into() }
    }
}
