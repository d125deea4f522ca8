//! Reads JSON bodies and forms: capped, in time, with repeated members and parameters refused.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tokio::time::timeout;

use super::answer::Problem;

const MAX_BODY_BYTES: usize = 64 * 1024;
/// Each is compared with all before it.
const MAX_PARAMETERS: usize = 32;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_DRAINED_BYTES: usize = 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The members of a JSON object; each is taken once by whoever knows it, and none may be left.
#[derive(Debug)]
pub(super) struct Members(Vec<(String, Value)>);

impl Members {
    /// Takes the member of that name.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(member, _)| member == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Takes the member of that name, which must be a string and not empty.
    pub(super) fn take_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(Problem::member(
                name,
                format!("{name} must be a string that is not empty."),
            )),
        }
    }

    /// Refuses what nobody took: unknown or repeated members.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::member(
                name,
                "There is no such member here, or it is given twice.",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The parameters of a form, of which none may be given twice (RFC 6749 §3.2).
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The parameter of that name; an empty one is as if it were not there (RFC 6749 §3.2).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(parameter, _)| parameter == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// Refuses a body that says it is something else: a form can be posted by any page, JSON cannot.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_of_type(headers, "application/json") {
        Ok(())
    } else {
        Err(Problem::NotJson)
    }
}

fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(content_type), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = content_type
        .to_str()
        .ok()
        .and_then(|content_type| content_type.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected))
}

/// Reads a JSON object.
pub(super) async fn read(headers: &HeaderMap, body: &mut Incoming) -> Result<Members, Problem> {
    check_json(headers)?;
    let bytes = collect(body).await?;
    serde_json::from_slice(&bytes)
        .map_err(|_| Problem::member("body", "The body must be one JSON object."))
}

/// Reads a form.
pub(super) async fn read_form(headers: &HeaderMap, body: &mut Incoming) -> Result<Form, Problem> {
    if !is_of_type(headers, "application/x-www-form-urlencoded") {
        return Err(Problem::NotForm);
    }
    let bytes = collect(body).await?;
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(&bytes) {
        if parameters.iter().any(|(given, _)| *given == name) {
            return Err(Problem::member("body", "A parameter is given twice."));
        }
        if parameters.len() == MAX_PARAMETERS {
            return Err(Problem::member("body", "The form has too many parameters."));
        }
        parameters.push((name.into_owned(), value.into_owned()));
    }
    Ok(Form(parameters))
}

async fn collect(body: &mut Incoming) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(Problem::BodyTooLarge);
    }
    let limited = Limited::new(body, MAX_BODY_BYTES);
    match timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::BodyTooLarge),
        Ok(Err(_)) | Err(_) => Err(Problem::BodyIncomplete),
    }
}

/// Takes in what a refused caller is still sending, within bounds: a connection closed on unread bytes loses the answer.
pub(super) async fn drain(body: &mut Incoming) {
    let all = async {
        let mut left = MAX_DRAINED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    timeout(DRAIN_TIMEOUT, all).await.ok();
}
