//! The function table and the surroundings of one function.

use super::Failure;
use crate::base::slabs::{Slab, Slabs, Texts};
use serde::{Deserialize, Serialize};

/// What one row stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rows {
    /// Functions by name.
    #[default]
    Functions,
    /// Functions by name and file.
    FileFunctions,
    /// Source files.
    Files,
    /// Source lines.
    Lines,
    /// Instruction addresses.
    Addresses,
}

impl Rows {
    /// All, with the words of the address bar and names for people.
    pub const ALL: [(Rows, &'static str, &'static str); 5] = [
        (Rows::Functions, "functions", "by function"),
        (Rows::FileFunctions, "filefunctions", "by function and file"),
        (Rows::Files, "files", "by file"),
        (Rows::Lines, "lines", "by line"),
        (Rows::Addresses, "addresses", "by address"),
    ];
}

/// How the table is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableForm {
    /// What one row stands for.
    pub rows: Rows,
    /// Charge inlined functions to the function they were compiled into.
    pub no_inlines: bool,
    /// Names with parameters and template arguments, instead of those that `go tool pprof` writes.
    pub full_names: bool,
}

impl TableForm {
    /// Reads the text of the address bar: words with commas between, `lines,no-inlines,full`. Unknown words are passed over.
    pub fn parse(text: &str) -> TableForm {
        let mut out = TableForm::default();
        for word in text.split(',') {
            match word {
                "no-inlines" => out.no_inlines = true,
                "full" => out.full_names = true,
                word => out.rows = Rows::ALL.iter().find(|(_, w, _)| *w == word).map_or(out.rows, |r| r.0),
            }
        }
        out
    }

    /// The text of the address bar; `None` for the default.
    pub fn text(self) -> Option<String> {
        let rows = Rows::ALL.iter().find(|(rows, ..)| *rows == self.rows && self.rows != Rows::Functions).map(|r| r.1);
        let words: Vec<&str> =
            [rows, self.no_inlines.then_some("no-inlines"), self.full_names.then_some("full")].into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join(","))
    }
}

/// What holds for the table as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionsHead {
    /// Value type.
    pub value: String,
    /// Unit of the weights.
    pub unit: String,
    /// Sum over all samples of the query.
    pub total: f64,
    /// The whole of which shares are taken: the sum of magnitudes. Equals `total` unless weights are negative.
    pub whole: f64,
    /// Rows.
    pub rows: u32,
    /// Names of the categories; the first (`""`) is the program's own code.
    pub categories: Vec<String>,
}

/// The answer to [`super::Request::Functions`]: the whole table, largest self weight first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionsData {
    /// The table as a whole.
    pub head: FunctionsHead,
    /// Name per row: the function, or the file where rows are files.
    pub names: Texts,
    /// Module per row, position in `places`.
    pub module: Vec<u32>,
    /// Function per row as it is selected by, position in `places`; where rows are files the empty text.
    pub function: Vec<u32>,
    /// Source file per row, position in `places`.
    pub file: Vec<u32>,
    /// Line per row; 0 if unknown or not part of the row.
    pub line: Vec<u32>,
    /// Weight of samples that end here.
    pub self_weight: Vec<f64>,
    /// Weight of samples that hold it anywhere; recursion counts once.
    pub total: Vec<f64>,
    /// Category per row, see [`FunctionsHead::categories`].
    pub category: Vec<u8>,
    /// Modules and files; position 0 is `""`.
    pub places: Texts,
    /// Addresses or offsets per row as text; empty unless rows are addresses.
    pub addresses: Texts,
}

impl FunctionsData {
    /// The message.
    ///
    /// # Errors
    /// Never in practice; a number in the head that JSON does not know would be one.
    pub fn encode(self) -> Result<Slabs, Failure> {
        let head = serde_json::to_string(&self.head).map_err(|e| Failure::new(e.to_string()))?;
        let mut slabs: Vec<Slab> = self.names.into_slabs().into();
        slabs.extend([
            Slab::U32(self.module),
            Slab::U32(self.function),
            Slab::U32(self.file),
            Slab::U32(self.line),
            Slab::F64(self.self_weight),
            Slab::F64(self.total),
            Slab::U8(self.category),
        ]);
        slabs.extend(self.places.into_slabs());
        slabs.extend(self.addresses.into_slabs());
        Ok(Slabs { head, slabs })
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Failure`] when the head is not that of a function table or columns have different lengths.
    pub fn decode(slabs: Slabs) -> Result<FunctionsData, Failure> {
        let head: FunctionsHead = serde_json::from_str(&slabs.head).map_err(|e| Failure::new(format!("not a function table: {e}")))?;
        let mut r = slabs.reader();
        let out = FunctionsData {
            head,
            names: r.texts(),
            module: r.u32(),
            function: r.u32(),
            file: r.u32(),
            line: r.u32(),
            self_weight: r.f64(),
            total: r.f64(),
            category: r.u8(),
            places: r.texts(),
            addresses: r.texts(),
        };
        let n = out.head.rows as usize;
        let equal = [out.names.len(), out.module.len(), out.file.len(), out.line.len(), out.self_weight.len(), out.total.len()];
        if equal.iter().any(|len| *len != n) || out.category.len() != n || out.function.len() != n {
            return Err(Failure::new("a function table with columns of different lengths"));
        }
        Ok(out)
    }

    /// Module of a row; `""` if unknown.
    pub fn module_of(&self, row: u32) -> &str {
        self.module.get(row as usize).map_or("", |p| self.places.get(*p))
    }

    /// Function of a row as it is selected by; `""` where rows are files.
    pub fn function_of(&self, row: u32) -> &str {
        self.function.get(row as usize).map_or("", |p| self.places.get(*p))
    }

    /// Source file of a row; `""` if unknown.
    pub fn file_of(&self, row: u32) -> &str {
        self.file.get(row as usize).map_or("", |p| self.places.get(*p))
    }
}

/// The answer to [`super::Request::FunctionDetail`]: all in the head.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionDetail {
    /// Function name.
    pub name: String,
    /// Base name of its binary; may be empty.
    pub module: String,
    /// Source file; may be empty.
    pub file: String,
    /// Its category; empty for the program's own code.
    pub category: String,
    /// Unit of the weights.
    pub unit: String,
    /// The whole of which shares are taken.
    pub whole: f64,
    /// Weight of samples that end in it.
    pub self_weight: f64,
    /// Weight of samples that hold it anywhere, once each.
    pub total: f64,
    /// Weight of samples whose outermost frame it is.
    pub as_root: f64,
    /// Functions that call it, heaviest first; a pair counts once per sample.
    pub callers: Vec<Neighbour>,
    /// Functions that it calls, heaviest first.
    pub callees: Vec<Neighbour>,
    /// Its hottest source lines by self weight, at most [`PLACES`]; empty where the data have no lines.
    pub lines: Vec<Place>,
    /// Its hottest addresses by self weight, at most [`PLACES`]; empty where the data have none.
    pub addresses: Vec<Place>,
    /// The heaviest path from the root to it, for a link to the flame graph.
    pub path: Vec<String>,
}

/// How many lines and addresses of a function are listed.
pub const PLACES: usize = 200;

/// A caller or callee.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Function name.
    pub name: String,
    /// Base name of its binary; may be empty.
    pub module: String,
    /// Weight of the samples with this call.
    pub weight: f64,
}

/// A line or an instruction of a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Source file; may be empty.
    pub file: String,
    /// Line; 0 if unknown.
    pub line: u32,
    /// `0x4a3f10`, or `+0x1f` for an offset in the symbol; empty for lines.
    pub address: String,
    /// Weight of samples that end here.
    pub self_weight: f64,
    /// Weight of samples that pass here, once each.
    pub total: f64,
}

impl FunctionDetail {
    /// The message.
    ///
    /// # Errors
    /// Never in practice; a number that JSON does not know would be one.
    pub fn encode(&self) -> Result<Slabs, Failure> {
        serde_json::to_string(self).map(Slabs::json).map_err(|e| Failure::new(e.to_string()))
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Failure`] when the head is something else.
    pub fn decode(slabs: &Slabs) -> Result<FunctionDetail, Failure> {
        serde_json::from_str(&slabs.head).map_err(|e| Failure::new(format!("not a function: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_survive_the_address_bar() {
        for (rows, ..) in Rows::ALL {
            for (no_inlines, full_names) in [(false, false), (true, false), (false, true), (true, true)] {
                let form = TableForm { rows, no_inlines, full_names };
                assert_eq!(TableForm::parse(&form.text().unwrap_or_default()), form);
            }
        }
        assert_eq!(TableForm::default().text(), None);
        assert_eq!(TableForm::parse("lines,nonsense,full"), TableForm { rows: Rows::Lines, no_inlines: false, full_names: true });
    }
}
