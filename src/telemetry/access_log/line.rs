//! How a line of the log is written without a formatter: the two formats, their quoting, and numbers.
//!
//! Owns that no value can end a line, forge a field, move a terminal's cursor or turn text around. Knows no fields.

use super::super::logging::is_harmful;

/// What follows a value that was cut.
const ELLIPSIS: &str = "…";

/// The value and what follows it: an ellipsis where the value is longer than `most` bytes.
pub(super) fn cut(value: &str, most: usize) -> (&str, &'static str) {
    if value.len() <= most {
        return (value, "");
    }
    let end = value.floor_char_boundary(most);
    (value.get(..end).unwrap_or_default(), ELLIPSIS)
}

/// A line under way.
pub(super) trait Line {
    /// A text, quoted; `value.1` follows `value.0`.
    fn text(&mut self, name: &str, value: (&str, &str));
    /// A text that needs neither quotes in the text format nor escapes.
    fn plain(&mut self, name: &str, value: &str);
    fn number(&mut self, name: &str, value: u64);
}

/// One flat JSON object.
pub(super) struct JsonLine<'out>(&'out mut Vec<u8>);

impl<'out> JsonLine<'out> {
    pub(super) fn open(
        out: &'out mut Vec<u8>,
        timestamp: &str,
        target: &str,
        message: &str,
    ) -> Self {
        for part in [
            "{\"timestamp\":\"",
            timestamp,
            "\",\"level\":\"INFO\",\"target\":\"",
            target,
            "\",\"message\":\"",
            message,
            "\"",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        Self(out)
    }

    pub(super) fn close(out: &mut Vec<u8>, suppressed: Option<u64>) {
        if let Some(suppressed) = suppressed {
            JsonLine(out).number("suppressed", suppressed);
        }
        out.extend_from_slice(b"}\n");
    }

    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

impl Line for JsonLine<'_> {
    fn text(&mut self, name: &str, value: (&str, &str)) {
        self.name(name);
        self.0.push(b'"');
        push_json(self.0, value.0);
        self.0.extend_from_slice(value.1.as_bytes());
        self.0.push(b'"');
    }

    fn plain(&mut self, name: &str, value: &str) {
        self.text(name, (value, ""));
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_decimal(self.0, value);
    }
}

/// `name=value` after the message.
pub(super) struct TextLine<'out>(&'out mut Vec<u8>);

impl<'out> TextLine<'out> {
    pub(super) fn open(
        out: &'out mut Vec<u8>,
        timestamp: &str,
        target: &str,
        message: &str,
    ) -> Self {
        for part in [timestamp, "  INFO ", target, ": ", message] {
            out.extend_from_slice(part.as_bytes());
        }
        Self(out)
    }

    pub(super) fn close(out: &mut Vec<u8>, suppressed: Option<u64>) {
        if let Some(suppressed) = suppressed {
            TextLine(out).number("suppressed", suppressed);
        }
        out.push(b'\n');
    }

    fn name(&mut self, name: &str) {
        self.0.push(b' ');
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
    }
}

impl Line for TextLine<'_> {
    fn text(&mut self, name: &str, value: (&str, &str)) {
        self.name(name);
        self.0.push(b'"');
        push_quoted(self.0, value.0);
        self.0.extend_from_slice(value.1.as_bytes());
        self.0.push(b'"');
    }

    fn plain(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_decimal(self.0, value);
    }
}

/// Whether the text can stand between quotes as it is, in either format.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\')
}

/// RFC 8259 §7, and what is harmful escaped as well.
fn push_json(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            _ if is_harmful(character) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            _ => push_character(out, character),
        }
    }
}

fn push_quoted(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            _ if is_harmful(character) => {
                out.extend(character.escape_default().map(|escaped| escaped as u8));
            }
            _ => push_character(out, character),
        }
    }
}

fn push_character(out: &mut Vec<u8>, character: char) {
    let mut bytes = [0; 4];
    out.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
}

fn push_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\nb\u{1b}[2J\u{2028}\u{202e}\u{7f}\u{9b}é\"\\\u{1f600}\u{e0001}";

    #[test]
    fn json_is_read_back_as_it_was() {
        let mut out = Vec::new();
        JsonLine::open(&mut out, "t", "x", "request").text("path", (EVIL, "…"));
        JsonLine::close(&mut out, Some(7));
        let text = String::from_utf8(out).unwrap();
        assert!(!text.trim_end().contains(is_harmful), "{text}");
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["path"], format!("{EVIL}…"));
        assert_eq!(object["suppressed"], 7);
        assert_eq!(object["level"], "INFO");
    }

    #[test]
    fn text_cannot_be_forged_by_a_value() {
        let mut out = Vec::new();
        TextLine::open(&mut out, "t", "x", "request").text("path", (EVIL, ""));
        TextLine::close(&mut out, None);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.trim_end().contains(is_harmful), "{text}");
        assert!(
            text.contains("é\\\"\\\\") && text.ends_with("\"\n"),
            "{text}"
        );
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let (kept, end) = cut("ééé", 3);
        assert_eq!((kept, end), ("é", ELLIPSIS));
        assert_eq!(cut("abc", 3), ("abc", ""));
    }
}
