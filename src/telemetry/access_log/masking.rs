//! Tokens in a path, where they have no place and still turn up.
//!
//! Owns what of a path is not written.

use std::borrow::Cow;

/// How every JSON object of one line begins, in base64url: `{"`.
const OBJECT: &str = "eyJ";
/// What stands for a token.
const MASK: &str = "[token]";

/// `path` without what looks like a JWT: three or more parts of base64url, one of which begins as a JSON object does.
pub(super) fn masked(path: &str) -> Cow<'_, str> {
    if !path.contains(OBJECT) {
        return Cow::Borrowed(path);
    }
    let mut text = String::with_capacity(path.len());
    let is_other =
        |letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '-' | '_' | '.');
    for piece in path.split_inclusive(is_other) {
        let word = piece.trim_end_matches(is_other);
        if is_token(word) {
            text.push_str(MASK);
            text.push_str(piece.get(word.len()..).unwrap_or_default());
        } else {
            text.push_str(piece);
        }
    }
    Cow::Owned(text)
}

fn is_token(word: &str) -> bool {
    let mut parts = word.split('.');
    parts.clone().count() >= 3 && parts.any(|part| part.starts_with(OBJECT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_jwt_is_not_written() {
        for (path, written) in [
            ("/orders/5", "/orders/5"),
            ("/eyJhbGciOiJ9", "/eyJhbGciOiJ9"),
            ("/v1.2.3/eyJ.x", "/v1.2.3/eyJ.x"),
            ("/a/eyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln", "/a/[token]"),
            ("/a/eyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln/b", "/a/[token]/b"),
            ("/a/eyJhbGciOiJ9.eyJzdWIiOiJ9.", "/a/[token]"),
            ("/eyJh.k.i.c.t", "/[token]"),
            ("/token=eyJh.eyJz.c2ln&x", "/token=[token]&x"),
        ] {
            assert_eq!(masked(path), written, "{path}");
        }
    }
}
