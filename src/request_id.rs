//! The name of one request, by which caller, upstream and log speak of it.
//!
//! Owns the rule which names of a client are taken over. Knows nothing else of the request, and no other module.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries it, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 128;

/// 1 to 128 of `[A-Za-z0-9._-]`: may stand in a header, a JSON string and a log line as it is.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's, if it sent exactly one good one; else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(X_REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if is_good(id.as_bytes()) => Self(id.clone()),
            _ => Self::new(),
        }
    }

    /// A new one: 32 hexadecimal digits. It is a name, not a secret.
    fn new() -> Self {
        let mut digits = [0; 32];
        let random = fastrand::u128(..).to_le_bytes();
        data_encoding::HEXLOWER.encode_mut(&random, &mut digits);
        Self(HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("0")))
    }

    /// As a header's value.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

fn is_good(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(given: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for id in given {
            headers.append(X_REQUEST_ID, HeaderValue::from_static(id));
        }
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_good_id_of_the_client_is_kept() {
        assert_eq!(id_of(&["Ab9._-"]), "Ab9._-");
    }

    #[test]
    fn missing_repeated_and_odd_ids_are_replaced_by_32_digits() {
        let long = "a".repeat(129);
        let long: &'static str = Box::leak(long.into_boxed_str());
        for given in [&[][..], &["a", "a"], &[""], &["a b"], &["a\"}"], &[long]] {
            let id = id_of(given);
            assert_eq!(id.len(), 32, "{given:?}");
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{given:?}");
        }
    }

    #[test]
    fn two_new_ids_differ() {
        assert_ne!(id_of(&[]), id_of(&[]));
    }
}
