//! How an upstream learns who the caller is.
//!
//! Owns the encoding of claims as header values. What it writes can neither break out of a header nor be read in two ways:
//! everything outside 0x21–0x7E is percent-encoded, and so is what would pass for a separator.

use std::borrow::Cow;

use http::HeaderName;
use serde_json::Value;

use crate::config::IdentitySource;
use crate::identity::Identity;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes the configured headers; what is missing, null or empty sets none.
pub(super) fn write(
    out: &mut Vec<u8>,
    configured: &[(HeaderName, IdentitySource)],
    identity: &Identity,
) {
    for (name, source) in configured {
        let line = out.len();
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        let value = out.len();
        let has_text = push_text(out, identity, *source).is_some();
        if has_text && out.len() > value {
            out.extend_from_slice(b"\r\n");
        } else {
            out.truncate(line);
        }
    }
}

/// `None`: there is no text, whatever was appended.
fn push_text(out: &mut Vec<u8>, identity: &Identity, source: IdentitySource) -> Option<()> {
    match source {
        IdentitySource::Subject => push_encoded(out, identity.subject.as_deref()?, b""),
        IdentitySource::Issuer => push_encoded(out, &identity.iss, b""),
        IdentitySource::Client => push_encoded(out, identity.client.as_deref()?, b""),
        IdentitySource::Scope => push_scopes(out, identity),
        IdentitySource::Audience => push_elements(out, identity.audiences.as_deref()?),
        IdentitySource::Claim(slot) => return push_claim(out, identity.claim(slot)?),
    }
    Some(())
}

fn push_scopes(out: &mut Vec<u8>, identity: &Identity) {
    let encoded: &[u8] = if identity.scopes_are_elements {
        b" ,"
    } else {
        b" "
    };
    for (place, scope) in identity.scopes.iter().enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        push_encoded(out, scope, encoded);
    }
}

fn push_elements(out: &mut Vec<u8>, elements: &[Box<str>]) {
    for (place, element) in elements.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        push_encoded(out, element, b",");
    }
}

/// Objects, and arrays that hold anything but scalars, have no text.
fn push_claim(out: &mut Vec<u8>, claim: &Value) -> Option<()> {
    let Value::Array(elements) = claim else {
        push_encoded(out, &scalar_text(claim)?, b"");
        return Some(());
    };
    for (place, element) in elements.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        push_encoded(out, &scalar_text(element)?, b",");
    }
    Some(())
}

fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Owned(truth.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether nothing in `text` is encoded, separators aside.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a lazy operator would be a way out in the middle"
)]
fn is_plain(text: &str) -> bool {
    // Without a way out in the middle: so the compiler looks at many bytes at a time.
    text.bytes().fold(true, |plain, byte| {
        plain & (byte.wrapping_sub(0x21) < 0x5e) & (byte != b'%') & (byte != b',')
    })
}

/// Appends `text`. A space stays where it stands alone between two other characters; `separators` never stay.
fn push_encoded(out: &mut Vec<u8>, text: &str, separators: &[u8]) {
    if is_plain(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut before = b' ';
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let stays = match byte {
            _ if separators.contains(&byte) => false,
            b'%' => false,
            b' ' => before != b' ' && bytes.peek().is_some_and(|next| *next != b' '),
            0x21..=0x7e => true,
            _ => false,
        };
        if stays {
            out.push(byte);
        } else {
            push_escape(out, byte);
        }
        before = byte;
    }
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    out.push(b'%');
    for nibble in [byte >> 4, byte & 0x0f] {
        let digit = HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
        out.push(digit);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::identity::ClaimSlot;
    use crate::proxy::testing;

    fn written(identity: &Identity, source: IdentitySource) -> Option<String> {
        let name = HeaderName::from_static("x-claim");
        let mut out = Vec::new();
        write(&mut out, &[(name, source)], identity);
        let line = String::from_utf8(out).unwrap();
        let value = line.strip_prefix("x-claim: ")?.strip_suffix("\r\n")?;
        http::HeaderValue::from_str(value).unwrap();
        Some(value.to_owned())
    }

    fn of_claim(claim: Value) -> Option<String> {
        let identity = Identity {
            claims: Box::new([Some(claim)]),
            ..testing::identity()
        };
        written(&identity, IdentitySource::Claim(ClaimSlot(0)))
    }

    #[test]
    fn claims_are_encoded_without_ambiguity() {
        for (claim, text) in [
            (json!("alice"), "alice"),
            (json!("Alice B. Carroll"), "Alice B. Carroll"),
            (json!(" admin"), "%20admin"),
            (json!("admin "), "admin%20"),
            (json!("a  b"), "a%20%20b"),
            (json!(" "), "%20"),
            (json!("100%"), "100%25"),
            (json!("a\r\nX-Admin: 1"), "a%0D%0AX-Admin: 1"),
            (json!("tab\there\u{7f}\u{0}"), "tab%09here%7F%00"),
            (json!("Zoë"), "Zo%C3%AB"),
            (json!("a,b"), "a,b"),
            (json!(["a", "b,admin", "c d"]), "a,b%2Cadmin,c d"),
            (json!(["", "a"]), ",a"),
            (json!([1, true, "x"]), "1,true,x"),
            (json!(42), "42"),
            (json!(1.5), "1.5"),
            (json!(false), "false"),
        ] {
            assert_eq!(of_claim(claim.clone()).as_deref(), Some(text), "{claim}");
        }
    }

    #[test]
    fn what_is_empty_or_no_scalar_sets_no_header() {
        for claim in [
            json!(""),
            json!([]),
            json!(null),
            json!({"a": 1}),
            json!([{"a": 1}]),
            json!([["a"]]),
        ] {
            assert_eq!(of_claim(claim.clone()), None, "{claim}");
        }
        let identity = Identity {
            subject: None,
            ..testing::identity()
        };
        assert_eq!(written(&identity, IdentitySource::Subject), None);
        assert_eq!(
            written(&identity, IdentitySource::Claim(ClaimSlot(7))),
            None
        );
    }

    #[test]
    fn scopes_join_with_spaces_and_audiences_with_commas() {
        let identity = Identity {
            scopes: Arc::new(["a:read".into(), "b c".into(), "d,e".into()]),
            audiences: Some(Arc::new(["one".into(), "two,three".into()])),
            ..testing::identity()
        };
        assert_eq!(
            written(&identity, IdentitySource::Scope).unwrap(),
            "a:read b%20c d,e"
        );
        let of_array = Identity {
            scopes_are_elements: true,
            ..identity
        };
        assert_eq!(
            written(&of_array, IdentitySource::Scope).unwrap(),
            "a:read b%20c d%2Ce"
        );
        let identity = of_array;
        assert_eq!(
            written(&identity, IdentitySource::Audience).unwrap(),
            "one,two%2Cthree"
        );
    }
}
