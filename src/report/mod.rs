//! Reports: bytes for people and machines. An exporter is one file.

pub mod analyze;
pub mod csv;
pub mod diff_svg;
pub mod folded;
pub mod histogram;
pub mod html;
pub mod inspect;
pub mod markdown;
mod markup;
pub mod otlp_json;
pub mod pprof;
pub mod sarif;
pub mod speedscope;
pub mod svg;
