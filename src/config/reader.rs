//! Reading a TOML tree leniently: every question is answered, and everything wrong is reported in its place.
//!
//! Owns the tables and the refusal of keys that nobody asked for. Must not know which keys there are: the sections ask for them by name.

use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::ClaimPath;
use super::node::{Node, Text, quote_all};
use super::report::{Place, Report};
use super::suggestion::did_you_mean;

/// Said of every key that is reserved for a later version.
pub(super) const NOT_YET: &str =
    "is not available yet in this version, expected this key to be left out";

/// A table of the file, or the empty one that an absent table stands for.
pub(super) struct Section<'file> {
    report: &'file Report<'file>,
    table: Option<&'file DeTable<'file>>,
    place: Place,
    /// The keys that were asked for, which are those that exist.
    known: Vec<&'static str>,
}

impl<'file> Section<'file> {
    pub(super) fn root(report: &'file Report<'file>, table: &'file DeTable<'file>) -> Self {
        let place = Place {
            path: String::new(),
            offset: 0,
        };
        Self::new(report, Some(table), place)
    }

    pub(super) fn new(
        report: &'file Report<'file>,
        table: Option<&'file DeTable<'file>>,
        place: Place,
    ) -> Self {
        Self {
            report,
            table,
            place,
            known: Vec::new(),
        }
    }

    /// The value of `key`, if the file has it.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Node<'file>> {
        self.known.push(key);
        let value = self.table?.get(key)?;
        Some(Node {
            report: self.report,
            value,
            path: join(&self.place.path, key),
        })
    }

    /// The table under `key`; an absent one is empty and stands where this one stands.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        self.value(key)
            .and_then(|node| node.table())
            .unwrap_or_else(|| {
                let place = Place {
                    path: join(&self.place.path, key),
                    offset: self.place.offset,
                };
                Self::new(self.report, None, place)
            })
    }

    /// The `[[key]]` tables.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let Some(node) = self.value(key) else {
            return Vec::new();
        };
        if matches!(node.value.get_ref(), DeValue::Table(_)) {
            node.fault(format!(
                "found a table, expected an array of tables: write [[{key}]]"
            ));
            return Vec::new();
        }
        let nodes = node.elements("an array of tables").unwrap_or_default();
        nodes.iter().filter_map(Node::table).collect()
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.optional_boolean(key).unwrap_or(default)
    }

    pub(super) fn optional_boolean(&mut self, key: &'static str) -> Option<bool> {
        self.value(key)?.boolean()
    }

    /// A whole number between `least` and `most`.
    pub(super) fn count(&mut self, key: &'static str, default: u32, least: u32, most: u32) -> u32 {
        let Some(node) = self.value(key) else {
            return default;
        };
        let expected = format!("a whole number from {least} to {most}");
        let Some(number) = node.integer(&expected) else {
            return default;
        };
        match u32::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                node.fault(format!("is out of range, expected {expected}"));
                default
            }
        }
    }

    /// A duration between `least` and `most`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        least: Duration,
        most: Duration,
    ) -> Duration {
        self.value(key)
            .and_then(|node| node.duration(least, most))
            .unwrap_or(default)
    }

    /// A size in bytes between `least` and `most`.
    pub(super) fn size(&mut self, key: &'static str, default: u64, least: u64, most: u64) -> u64 {
        self.value(key)
            .and_then(|node| node.size(least, most))
            .unwrap_or(default)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        default: T,
    ) -> T {
        let Some(node) = self.value(key) else {
            return default;
        };
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let Some(found) = node.string(&format!("one of the words {}", quote_all(&words))) else {
            return default;
        };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == found) {
            return *value;
        }
        node.fault(format!(
            "is none of the known words, expected {}{}",
            quote_all(&words),
            did_you_mean(found, words)
        ));
        default
    }

    /// A string and where it stands.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Text<'file>> {
        self.value(key)?.text("a string")
    }

    /// A string that must be there and may not be empty; `expected` says what it should be.
    pub(super) fn required_text(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<Text<'file>> {
        let Some(node) = self.value(key) else {
            self.missing(key, expected);
            return None;
        };
        let text = node.text(expected)?;
        if text.value.is_empty() {
            text.node.fault(format!("is empty, expected {expected}"));
            return None;
        }
        Some(text)
    }

    /// The strings of an array; absent is empty.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<Text<'file>> {
        self.value(key).map(|node| node.texts()).unwrap_or_default()
    }

    /// One claim path.
    pub(super) fn claim(&mut self, key: &'static str, default: &str) -> ClaimPath {
        self.value(key)
            .and_then(|node| node.claim())
            .unwrap_or_else(|| ClaimPath::Dotted(default.to_owned()))
    }

    /// A list of claim paths.
    pub(super) fn claims(&mut self, key: &'static str, default: &[&str]) -> Vec<ClaimPath> {
        let Some(node) = self.value(key) else {
            let path = |name: &&str| ClaimPath::Dotted((*name).to_owned());
            return default.iter().map(path).collect();
        };
        let nodes = node.elements("an array of claim names").unwrap_or_default();
        nodes.iter().filter_map(Node::claim).collect()
    }

    /// Every key of a table whose keys are free, with its value, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'file str, Place, Node<'file>)> {
        let mut entries: Vec<_> = self
            .table
            .into_iter()
            .flatten()
            .map(|(key, value)| {
                let path = join(&self.place.path, key.get_ref());
                let place = Place {
                    path: path.clone(),
                    offset: key.span().start,
                };
                let node = Node {
                    report: self.report,
                    value,
                    path,
                };
                (key.get_ref().as_ref(), place, node)
            })
            .collect();
        entries.sort_by_key(|(_, place, _)| place.offset);
        entries
    }

    /// Whether the file has this table.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn report(&self) -> &'file Report<'file> {
        self.report
    }

    /// Where the table begins, under its own name.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Where `key` stands or, if it is absent, where the table begins; named `key` in both cases.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let value = self.table.and_then(|table| table.get(key));
        Place {
            path: join(&self.place.path, key),
            offset: value.map_or(self.place.offset, |value| value.span().start),
        }
    }

    /// Whether `key` is there and is more than an empty array.
    pub(super) fn is_filled(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.is_some_and(|value| {
            value
                .get_ref()
                .as_array()
                .is_none_or(|array| !array.is_empty())
        })
    }

    /// Whether `key` is there and is no boolean.
    pub(super) fn is_wrong_boolean(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.is_some_and(|value| !value.get_ref().is_bool())
    }

    pub(super) fn missing(&self, key: &str, expected: &str) {
        self.fault_at(key, format!("is missing, expected {expected}"));
    }

    pub(super) fn fault_at(&self, key: &str, message: impl Into<String>) {
        self.report.fault(self.place_of(key), message);
    }

    pub(super) fn warn_at(&self, key: &str, message: impl Into<String>) {
        self.report.warn(self.place_of(key), message);
    }

    /// Refuses the keys that nobody asked for; those in `later` are reserved for a later version.
    pub(super) fn finish(self, later: &[&str]) {
        let Self {
            report,
            table,
            place,
            mut known,
        } = self;
        known.sort_unstable();
        known.dedup();
        for key in table.into_iter().flatten().map(|(key, _)| key) {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let at = Place {
                path: join(&place.path, name),
                offset: key.span().start,
            };
            if later.contains(&name) {
                report.fault(at, NOT_YET);
            } else {
                let suggestion = did_you_mean(name, known.iter().copied());
                let expected = known.join(", ");
                report.fault(
                    at,
                    format!("is unknown, expected one of {expected}{suggestion}"),
                );
            }
        }
    }
}

/// `parent.key`, the key quoted where TOML would quote it.
fn join(parent: &str, key: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let key = if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    };
    if parent.is_empty() {
        key
    } else {
        format!("{parent}.{key}")
    }
}
