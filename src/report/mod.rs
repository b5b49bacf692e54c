//! Reports: bytes for people and machines. An exporter is one file.

pub mod inspect;
