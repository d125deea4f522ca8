//! No text makes `load` panic.

use std::path::Path;

use portcullis::config;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../config/portcullis.example.toml");
const MANY_FAULTS: &str = include_str!("rejects/many_faults.toml");
/// What mistakes are made of.
const FRAGMENTS: [&str; 22] = [
    "[[route]]\n",
    "[issuer]\n",
    "[server.limits]\n",
    "= 3\n",
    "\"\"",
    "[]",
    "{}",
    "[[]]",
    "-1",
    "1e400",
    "nan",
    "\u{feff}",
    "1979-05-27",
    "99999999999999999999",
    "\"{tid}{tid}\"",
    "\"/*\"",
    "\"/%\"",
    "\"http://[::\"",
    "\"ü€\"",
    "\\u0000",
    "'''",
    "\r\n",
];

/// The text with pieces cut out and others put in.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let cut = (
        any::<prop::sample::Index>(),
        0_usize..40,
        prop::sample::select(&FRAGMENTS[..]),
    );
    prop::collection::vec(cut, 1..6).prop_map(move |cuts| {
        let mut characters: Vec<char> = text.chars().collect();
        for (start, length, fragment) in cuts {
            let start = start.index(characters.len() + 1);
            let end = (start + length).min(characters.len());
            characters.splice(start..end, fragment.chars());
        }
        characters.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_example_is_loaded_or_refused(text in prop_oneof![mutated(EXAMPLE), mutated(MANY_FAULTS)]) {
        if let Err(faults) = config::load_text(&text, Path::new("x.toml")) {
            prop_assert!(!faults.faults.is_empty());
            for fault in &faults.faults {
                prop_assert!(fault.0.line >= 1 && fault.0.column >= 1 && !fault.0.key.is_empty());
            }
        }
    }

    #[test]
    fn any_text_is_loaded_or_refused(text in any::<String>()) {
        prop_assert!(config::load_text(&text, Path::new("x.toml")).is_err());
    }
}
