//! Bytes that must never be shown.

use std::fmt;

/// A secret: no `Display`, and its `Debug` tells nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the content of a secret's file: one final newline is dropped.
    pub fn from_file_content(mut content: Vec<u8>) -> Self {
        if content.last() == Some(&b'\n') {
            content.pop();
        }
        Self(content.into_boxed_slice())
    }

    /// The bytes themselves, for the one that uses them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
