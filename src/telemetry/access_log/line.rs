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

/// A field's name as both formats write it, with what stands before and after it.
pub(super) struct FieldName {
    json: &'static str,
    text: &'static str,
}

impl FieldName {
    pub(super) const fn new(json: &'static str, text: &'static str) -> Self {
        Self { json, text }
    }
}

/// The name of a field, written out once.
macro_rules! field {
    ($name:literal) => {
        const { &FieldName::new(concat!(",\"", $name, "\":"), concat!(" ", $name, "=")) }
    };
}
pub(super) use field;

/// A line under way.
pub(super) trait Line {
    /// A text, quoted; `end` follows it.
    fn text(&mut self, name: &FieldName, value: &str, end: &str);
    /// A text that needs neither quotes in the text format nor escapes.
    fn bare(&mut self, name: &FieldName, value: &str);
    /// A text of ours, quoted, that needs no escapes.
    fn word(&mut self, name: &FieldName, value: &[u8]);
    fn number(&mut self, name: &FieldName, value: u64);
}

/// One flat JSON object.
pub(super) struct JsonLine<'out>(&'out mut Vec<u8>);

impl<'out> JsonLine<'out> {
    pub(super) fn open(out: &'out mut Vec<u8>, timestamp: &[u8], message: &str) -> Self {
        out.extend_from_slice(b"{\"timestamp\":\"");
        out.extend_from_slice(timestamp);
        out.extend_from_slice(b"\",\"level\":\"INFO\",\"message\":\"");
        out.extend_from_slice(message.as_bytes());
        out.push(b'"');
        Self(out)
    }

    pub(super) fn close(out: &mut Vec<u8>, suppressed: Option<u64>) {
        if let Some(suppressed) = suppressed {
            JsonLine(out).number(field!("suppressed"), suppressed);
        }
        // Where the subscriber's records have it.
        out.extend_from_slice(b",\"target\":\"portcullis::access\"}\n");
    }

    fn quoted(&mut self, name: &FieldName, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(name.json.as_bytes());
        self.0.push(b'"');
        write(self.0);
        self.0.push(b'"');
    }
}

impl Line for JsonLine<'_> {
    fn text(&mut self, name: &FieldName, value: &str, end: &str) {
        self.quoted(name, |out| {
            push_json(out, value);
            out.extend_from_slice(end.as_bytes());
        });
    }

    fn bare(&mut self, name: &FieldName, value: &str) {
        self.word(name, value.as_bytes());
    }

    fn word(&mut self, name: &FieldName, value: &[u8]) {
        self.quoted(name, |out| out.extend_from_slice(value));
    }

    fn number(&mut self, name: &FieldName, value: u64) {
        self.0.extend_from_slice(name.json.as_bytes());
        push_decimal(self.0, value);
    }
}

/// `name=value` after the message.
pub(super) struct TextLine<'out>(&'out mut Vec<u8>);

impl<'out> TextLine<'out> {
    pub(super) fn open(out: &'out mut Vec<u8>, timestamp: &[u8], message: &str) -> Self {
        out.extend_from_slice(timestamp);
        out.extend_from_slice(b"  INFO portcullis::access: ");
        out.extend_from_slice(message.as_bytes());
        Self(out)
    }

    pub(super) fn close(out: &mut Vec<u8>, suppressed: Option<u64>) {
        if let Some(suppressed) = suppressed {
            TextLine(out).number(field!("suppressed"), suppressed);
        }
        out.push(b'\n');
    }

    fn name(&mut self, name: &FieldName) {
        self.0.extend_from_slice(name.text.as_bytes());
    }
}

impl Line for TextLine<'_> {
    fn text(&mut self, name: &FieldName, value: &str, end: &str) {
        self.name(name);
        self.0.push(b'"');
        push_quoted(self.0, value);
        self.0.extend_from_slice(end.as_bytes());
        self.0.push(b'"');
    }

    fn bare(&mut self, name: &FieldName, value: &str) {
        self.name(name);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn word(&mut self, name: &FieldName, value: &[u8]) {
        self.name(name);
        self.0.push(b'"');
        self.0.extend_from_slice(value);
        self.0.push(b'"');
    }

    fn number(&mut self, name: &FieldName, value: u64) {
        self.name(name);
        push_decimal(self.0, value);
    }
}

/// Whether the text can stand between quotes as it is, in either format.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a lazy operator would be a way out in the middle"
)]
fn is_plain(text: &str) -> bool {
    // Without a way out in the middle: so the compiler looks at many bytes at a time.
    text.bytes().fold(true, |plain, byte| {
        plain & (byte.wrapping_sub(0x20) < 0x5f) & (byte != b'"') & (byte != b'\\')
    })
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
        JsonLine::open(&mut out, b"t", "request").text(field!("path"), EVIL, "…");
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
        TextLine::open(&mut out, b"t", "request").text(field!("path"), EVIL, "");
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
