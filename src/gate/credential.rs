//! Finds exactly one bearer token in a request (RFC 6750 §2.1).
//!
//! Owns the reading of `Authorization`. A token in the query, a cookie or a form is no credential; several
//! are refused, because choosing would be guessing. Knows nothing of what a token holds.

use std::fmt;

use http::{HeaderMap, Uri, header};

use crate::rejection::Rejection;

/// The one bearer token of a request; never shown.
#[derive(Clone, Copy)]
pub(super) struct Credential<'head>(&'head str);

impl<'head> Credential<'head> {
    /// The token's text: `b64token` characters only.
    pub(super) const fn token(self) -> &'head str {
        self.0
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential(…)")
    }
}

/// Finds the credential.
///
/// # Errors
/// `token_missing`, `token_ambiguous`, `header_malformed`, `token_too_large`, in this order.
pub(super) fn extract<'head>(
    headers: &'head HeaderMap,
    uri: &Uri,
    token_bytes: usize,
) -> Result<Credential<'head>, Rejection> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Rejection::TokenMissing)?.as_bytes();
    if values.next().is_some() {
        return Err(Rejection::TokenAmbiguous);
    }
    let credentials = after_bearer(value)?;
    if uri.query().is_some_and(names_access_token) {
        return Err(Rejection::TokenAmbiguous);
    }
    let token = b64token(credentials).ok_or(Rejection::HeaderMalformed)?;
    if token.len() > token_bytes {
        return Err(Rejection::TokenTooLarge);
    }
    Ok(Credential(token))
}

/// What follows the scheme `Bearer`, in any case (RFC 9110 §11.1).
fn after_bearer(value: &[u8]) -> Result<&[u8], Rejection> {
    let end = value
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Ok(rest)
    } else if joins_bearer(rest) {
        Err(Rejection::TokenAmbiguous)
    } else {
        Err(Rejection::TokenMissing)
    }
}

/// Whether another credential was joined behind the first with a comma, as an intermediary joins two headers.
fn joins_bearer(rest: &[u8]) -> bool {
    rest.split(|byte| *byte == b',').skip(1).any(|part| {
        part.trim_ascii_start()
            .get(..7)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "))
    })
}

/// The token of `1*SP b64token`.
fn b64token(credentials: &[u8]) -> Option<&str> {
    let text = str::from_utf8(credentials).ok()?;
    let token = text.trim_start_matches(' ');
    (token.len() < text.len() && is_b64token(token)).then_some(token)
}

/// Whether `token` is `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 §2.1).
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a lazy operator would be a way out in the middle"
)]
pub(super) fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=').as_bytes();
    // Arithmetic without a way out in the middle: the compiler makes it look at sixteen bytes and more at a time.
    let is_allowed = |byte: u8| {
        ((byte | 0x20).wrapping_sub(b'a') < 26)
            | (byte.wrapping_sub(b'-') < 13) // - . / and the digits
            | (byte == b'_')
            | (byte == b'~')
            | (byte == b'+')
    };
    !body.is_empty()
        && body
            .iter()
            .fold(true, |allowed, byte| allowed & is_allowed(*byte))
}

/// Whether a query has a parameter whose decoded name is `access_token`.
fn names_access_token(query: &str) -> bool {
    query.split('&').any(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        name == "access_token" || (name.contains('%') && unescaped_equals(name, b"access_token"))
    })
}

fn unescaped_equals(escaped: &str, expected: &[u8]) -> bool {
    let mut bytes = escaped.bytes();
    let mut next = || match bytes.next() {
        Some(b'%') => {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(high << 4 | low).ok()
        }
        other => other,
    };
    expected.iter().all(|byte| next() == Some(*byte)) && next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_judged_as_the_grammar_says() {
        for character in '\0'..='\u{ff}' {
            let is_allowed = character.is_ascii_alphanumeric() || "-._~+/".contains(character);
            assert_eq!(
                is_b64token(&format!("a{character}b")),
                is_allowed,
                "{character:?}"
            );
        }
    }

    fn read(values: &[&[u8]], target: &str) -> Result<String, Rejection> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = http::HeaderValue::from_bytes(value).expect("a header value");
            headers.append(header::AUTHORIZATION, value);
        }
        extract(&headers, &target.parse().expect("a URI"), 32).map(|found| found.token().to_owned())
    }

    #[test]
    fn one_bearer_token_is_found_in_any_case_and_after_any_spaces() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER    a.b.c"] {
            assert_eq!(
                read(&[value.as_bytes()], "/").as_deref(),
                Ok("a.b.c"),
                "{value}"
            );
        }
        assert_eq!(read(&[b"Bearer a=="], "/?token=x").as_deref(), Ok("a=="));
    }

    #[test]
    fn everything_else_has_its_reason() {
        use Rejection::{HeaderMalformed, TokenAmbiguous, TokenMissing, TokenTooLarge};
        let rows: &[(&[&[u8]], &str, Rejection)] = &[
            (&[], "/", TokenMissing),
            (&[], "/?access_token=x", TokenMissing),
            (&[b"Basic x"], "/", TokenMissing),
            (&[b"Bearertok"], "/", TokenMissing),
            (&[b"Bearer: tok"], "/", TokenMissing),
            (&[b""], "/", TokenMissing),
            (&[b"Bearer a", b"Bearer a"], "/", TokenAmbiguous),
            (&[b"Basic x", b"Bearer a"], "/", TokenAmbiguous),
            (&[b"Basic x, Bearer tok"], "/", TokenAmbiguous),
            (&[b"Bearer a"], "/?access_token=x", TokenAmbiguous),
            (&[b"Bearer a"], "/?b=c&access%5Ftoken", TokenAmbiguous),
            (&[b"Bearer"], "/", HeaderMalformed),
            (&[b"Bearer "], "/", HeaderMalformed),
            (&[b"Bearer\ttok"], "/", HeaderMalformed),
            (&[b"Bearer tok extra"], "/", HeaderMalformed),
            (&[b"Bearer a,b"], "/", HeaderMalformed),
            (&[b"Bearer \"tok\""], "/", HeaderMalformed),
            (&[b"Bearer t\xc3\xb6k"], "/", HeaderMalformed),
            (&[b"Bearer =="], "/", HeaderMalformed),
            (&[b"Bearer a=b"], "/", HeaderMalformed),
            (
                &[b"Bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
                "/",
                TokenTooLarge,
            ),
        ];
        for (values, target, reason) in rows {
            assert_eq!(read(values, target), Err(*reason), "{values:?} {target}");
        }
    }
}
