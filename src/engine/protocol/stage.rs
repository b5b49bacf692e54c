//! The stages of opening a file, for those who show how far it is.

/// A step of the work behind reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Bytes become tables.
    #[default]
    Reading,
    /// Addresses get names.
    Naming,
    /// Spans become traces.
    Linking,
    /// The rules look at all of it.
    Rules,
}
