//! `[log]` and `[token_cache]`.

use tracing_subscriber::EnvFilter;

use super::super::node::Text;
use super::super::reader::Section;
use super::super::suggestion::did_you_mean;
use super::super::{Log, LogFormat, TokenCache};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const MOST_ENTRIES: u32 = 100_000_000;

pub(super) fn read(mut section: Section<'_>) -> Log {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let log = Log {
        format: section.choice("format", &formats, LogFormat::Text),
        level: section
            .text("level")
            .map_or_else(|| "info".to_owned(), |text| read_level(&text)),
        access: section.boolean("access", true),
    };
    section.finish(&[]);
    log
}

/// A lone word that is no level would be taken for a target by the filter, and everything else would go silent.
fn read_level(text: &Text<'_>) -> String {
    let expected = "a level (off, error, warn, info, debug, trace) or a filter such as \"info,portcullis=debug\"";
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    for directive in text.value.split(',').map(str::trim) {
        if !directive.contains(['=', '[']) && !is_level(directive) {
            text.node.fault(format!(
                "holds a word that is not a level, expected {expected}{}",
                did_you_mean(directive, LEVELS)
            ));
            return text.value.to_owned();
        }
    }
    if EnvFilter::try_new(text.value).is_err() {
        text.node
            .fault(format!("is not a filter, expected {expected}"));
    }
    text.value.to_owned()
}

pub(super) fn read_token_cache(mut section: Section<'_>) -> TokenCache {
    let entries = section.count("entries", 100_000, 0, MOST_ENTRIES) as usize;
    section.finish(&[]);
    TokenCache { entries }
}
