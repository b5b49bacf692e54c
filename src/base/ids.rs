//! Row ids that do not mix.
//!
//! Each table is addressed by its own `u32` newtype; `NONE` (`u32::MAX`) is the sentinel in columns, so that a column
//! stays a plain array of integers. Signatures use `Option`, columns use `NONE`.

/// Declares `u32` row ids.
#[macro_export]
macro_rules! define_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub struct $name(pub u32);
        impl $name {
            /// No row.
            pub const NONE: $name = $name(u32::MAX);
            /// The row as an index into a column. Must not be called on `NONE`.
            #[inline]
            pub fn index(self) -> usize { self.0 as usize }
            /// Whether this is the sentinel.
            #[inline]
            pub fn is_none(self) -> bool { self.0 == u32::MAX }
            /// `None` for the sentinel.
            #[inline]
            pub fn get(self) -> Option<$name> { if self.is_none() { None } else { Some(self) } }
            /// The id of a column position. Tables refuse rows beyond `u32::MAX - 1` before this is reached.
            #[inline]
            pub fn from_index(index: usize) -> $name { $name(index as u32) }
        }
        impl $crate::base::pack::Word for $name {
            const SIZE: usize = 4;
            #[inline]
            fn write(self, out: &mut [u8]) { self.0.write(out); }
            #[inline]
            fn read(bytes: &[u8]) -> $name { $name(<u32 as $crate::base::pack::Word>::read(bytes)) }
        }
        impl Default for $name {
            fn default() -> $name { $name::NONE }
        }
    )*};
}

define_id! {
    /// A text in the session's `StringTable`.
    StringId;
    /// A function: name, file, mapping.
    FuncId;
    /// A frame: function, line, address.
    FrameId;
    /// A stack: a frame on top of a prefix stack.
    StackId;
    /// A binary or library.
    MappingId;
    /// A thread of one profile.
    ThreadId;
    /// A set of labels of one profile.
    LabelSetId;
    /// A profile of the session.
    ProfileId;
    /// A file of the session.
    SourceId;
    /// A span.
    SpanRow;
    /// A trace.
    TraceRow;
    /// A service.
    ServiceId;
    /// An operation: service, name, kind.
    OperationId;
    /// The block of attributes that spans of one process share.
    ResourceId;
}
