//! The values of a TOML tree, each with its place.
//!
//! Owns the types that values can be asked for, and the words for wrong ones. Must not know which keys
//! there are, nor repeat a value in a message: it may be a secret in the wrong place.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::ClaimPath;
use super::quantity::{parse_duration, parse_size, show_duration, show_size};
use super::reader::Section;
use super::report::{Place, Report};

/// A value of the file.
#[derive(Clone)]
pub(super) struct Node<'file> {
    pub(super) report: &'file Report<'file>,
    pub(super) value: &'file Spanned<DeValue<'file>>,
    pub(super) path: String,
}

/// A string of the file.
#[derive(Clone)]
pub(super) struct Text<'file> {
    pub(super) node: Node<'file>,
    pub(super) value: &'file str,
}

impl<'file> Node<'file> {
    pub(super) fn report(&self) -> &'file Report<'file> {
        self.report
    }

    pub(super) fn raw(&self) -> &'file DeValue<'file> {
        self.value.get_ref()
    }

    pub(super) fn place(&self) -> Place {
        Place {
            path: self.path.clone(),
            offset: self.value.span().start,
        }
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.report.fault(self.place(), message);
    }

    pub(super) fn warn(&self, message: impl Into<String>) {
        self.report.warn(self.place(), message);
    }

    /// Reports a value of the wrong type, by its type alone: the value may be a secret in the wrong place.
    pub(super) fn wrong_type(&self, expected: &str) {
        let found = match self.raw() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.fault(format!("found {found}, expected {expected}"));
    }

    /// The table itself.
    pub(super) fn table(&self) -> Option<Section<'file>> {
        if let DeValue::Table(table) = self.raw() {
            return Some(Section::new(self.report, Some(table), self.place()));
        }
        self.wrong_type("a table");
        None
    }

    /// The elements of an array.
    pub(super) fn elements(&self, expected: &str) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.raw() else {
            self.wrong_type(expected);
            return None;
        };
        let element = |(index, value)| Self {
            report: self.report,
            value,
            path: format!("{}[{index}]", self.path),
        };
        Some(array.iter().enumerate().map(element).collect())
    }

    pub(super) fn string(&self, expected: &str) -> Option<&'file str> {
        let found = self.raw().as_str();
        if found.is_none() {
            self.wrong_type(expected);
        }
        found
    }

    pub(super) fn text(self, expected: &str) -> Option<Text<'file>> {
        let value = self.string(expected)?;
        Some(Text { node: self, value })
    }

    pub(super) fn texts(&self) -> Vec<Text<'file>> {
        let nodes = self.elements("an array of strings").unwrap_or_default();
        nodes
            .into_iter()
            .filter_map(|node| node.text("a string"))
            .collect()
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let found = self.raw().as_bool();
        if found.is_none() {
            self.wrong_type("true or false");
        }
        found
    }

    /// An integer of 64 bits.
    pub(super) fn integer(&self, expected: &str) -> Option<i64> {
        let Some(integer) = self.raw().as_integer() else {
            self.wrong_type(expected);
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            self.fault(format!("is out of range, expected {expected}"));
        }
        number
    }

    pub(super) fn duration(&self, least: Duration, most: Duration) -> Option<Duration> {
        let form = "a duration such as \"250ms\", \"30s\", \"10m\" or \"24h\"";
        if let DeValue::Integer(_) = self.raw() {
            self.fault(format!(
                "found an integer, expected {form}: add the unit and quotes"
            ));
            return None;
        }
        let text = self.string(form)?;
        let Some(duration) = parse_duration(text) else {
            self.fault(format!(
                "is not a duration, expected one number and one unit (ms, s, m, h), {form}"
            ));
            return None;
        };
        if (least..=most).contains(&duration) {
            return Some(duration);
        }
        self.fault(format!(
            "is out of range, expected a duration from {} to {}",
            show_duration(least),
            show_duration(most)
        ));
        None
    }

    pub(super) fn size(&self, least: u64, most: u64) -> Option<u64> {
        let form = "a size such as \"512B\", \"32KiB\" or \"1MiB\"";
        if let DeValue::Integer(_) = self.raw() {
            self.fault(format!(
                "found an integer, expected {form}: add the unit and quotes"
            ));
            return None;
        }
        let text = self.string(form)?;
        let Some(size) = parse_size(text) else {
            self.fault(format!(
                "is not a size, expected one number and one unit (B, KiB, MiB, GiB), {form}"
            ));
            return None;
        };
        if (least..=most).contains(&size) {
            return Some(size);
        }
        self.fault(format!(
            "is out of range, expected a size from {} to {}",
            show_size(least),
            show_size(most)
        ));
        None
    }

    /// A claim's name, or its path as a list of members.
    pub(super) fn claim(&self) -> Option<ClaimPath> {
        let expected = "the name of a claim, or its path as a list of names";
        let (path, names) = if let DeValue::Array(_) = self.raw() {
            let texts = self.texts();
            let names: Vec<String> = texts.iter().map(|text| text.value.to_owned()).collect();
            (ClaimPath::Exact(names.clone()), names)
        } else {
            let name = self.string(expected)?.to_owned();
            (ClaimPath::Dotted(name.clone()), vec![name])
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            self.fault(format!("is or holds an empty name, expected {expected}"));
            return None;
        }
        Some(path)
    }
}

/// `"a", "b" or "c"`.
pub(super) fn quote_all(words: &[&str]) -> String {
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => format!("{last:?}"),
        Some((last, rest)) => {
            let rest: Vec<String> = rest.iter().map(|word| format!("{word:?}")).collect();
            format!("{} or {last:?}", rest.join(", "))
        }
    }
}
