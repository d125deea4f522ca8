//! One revocation as people read it.
//!
//! Owns the line. Knows nothing of where the revocation came from.

use serde_json::Value;

use crate::time::UnixTime;

/// Id, kind, issuer, end, what it is about, and why.
pub(super) fn line_of(revocation: &Value) -> String {
    let text = |name: &str| match revocation.get(name) {
        Some(Value::String(text)) => text.chars().flat_map(char::escape_debug).collect(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let expires = revocation
        .get("expires_at")
        .and_then(Value::as_i64)
        .map_or_else(
            || "until restored".to_owned(),
            |seconds| format!("until {}", UnixTime::from_seconds(seconds).to_rfc3339()),
        );
    let value = ["jti", "subject", "session", "client", "key", "token_id"]
        .iter()
        .map(|name| text(name));
    let value = value
        .into_iter()
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let issued_before = revocation
        .get("issued_before")
        .and_then(Value::as_i64)
        .map(|seconds| UnixTime::from_seconds(seconds).to_rfc3339())
        .map_or_else(String::new, |moment| format!(", issued before {moment}"));
    let line = format!(
        "{}  {:<8} {:<12} {expires}  {value}{issued_before}  {}",
        text("id"),
        text("kind"),
        text("issuer"),
        text("reason")
    );
    line.trim_end().to_owned()
}
