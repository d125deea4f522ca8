//! JSON objects, strictly: no duplicate member at any level, bounded depth, UTF-8 only, nothing behind the end.
//!
//! Owns the one parse of a token's header and claims, and what it gives: values that borrow their texts from the token,
//! so that a token that is refused, or known already, costs few allocations. `serde_json` alone would keep the last of
//! two members of one name, and skip over bad UTF-8 in members that nobody reads.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::config::ClaimPath;

/// How many levels of objects and arrays there may be, the outermost included.
const MAX_DEPTH: u8 = 16;
/// Most tokens have no more claims.
const USUAL_MEMBERS: usize = 12;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'text> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'text, str>),
    Array(Vec<Self>),
    Object(Object<'text>),
}

/// One object: its members in the order of their names, each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object<'text>(Vec<(Cow<'text, str>, Json<'text>)>);

impl<'text> Object<'text> {
    /// The member of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Json<'text>> {
        let place = self.0.binary_search_by(|(member, _)| (**member).cmp(name));
        self.0.get(place.ok()?).map(|(_, value)| value)
    }

    /// Whether there is a member of that name, `null` included.
    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The names of its members.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The claim of that path; `null` counts as absent.
    pub(super) fn at(&self, path: &ClaimPath) -> Option<&Json<'text>> {
        let found = match path {
            ClaimPath::Dotted(name) => match self.get(name) {
                Some(value) => Some(value),
                None => self.walk(name.split('.')),
            },
            ClaimPath::Exact(members) => self.walk(members.iter().map(String::as_str)),
        };
        found.filter(|value| **value != Json::Null)
    }

    fn walk<'name>(&self, mut members: impl Iterator<Item = &'name str>) -> Option<&Json<'text>> {
        let first = self.get(members.next()?)?;
        members.try_fold(first, |value, member| match value {
            Json::Object(object) => object.get(member),
            _ => None,
        })
    }

    /// `None` where two members have one name.
    fn of_members(mut members: Vec<(Cow<'text, str>, Json<'text>)>) -> Option<Self> {
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let is_unique = members
            .iter()
            .zip(members.iter().skip(1))
            .all(|((one, _), (next, _))| one != next);
        is_unique.then_some(Self(members))
    }
}

impl Json<'_> {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The same, owning its texts.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::Array(elements) => elements.iter().map(Self::to_value).collect(),
            Self::Object(Object(members)) => {
                let members = members.iter();
                Value::Object(
                    members
                        .map(|(name, value)| (name.clone().into_owned(), value.to_value()))
                        .collect(),
                )
            }
        }
    }
}

/// The object that `bytes` hold; `None` if they hold anything else.
pub(super) fn object(bytes: &[u8]) -> Option<Object<'_>> {
    let text = str::from_utf8(bytes).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { levels: MAX_DEPTH }
        .deserialize(&mut deserializer)
        .ok()?;
    deserializer.end().ok()?;
    match value {
        Json::Object(members) => Some(members),
        _ => None,
    }
}

/// Parses one value in which `levels` levels are still allowed.
#[derive(Clone, Copy)]
struct Strict {
    levels: u8,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels }),
            None => Err(E::custom("too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without duplicate members")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            array.push(element);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut object = Vec::with_capacity(USUAL_MEMBERS);
        while let Some(name) = members.next_key_seed(Name)? {
            object.push((name, members.next_value_seed(inner)?));
        }
        Object::of_members(object)
            .map(Json::Object)
            .ok_or_else(|| A::Error::custom("duplicate member"))
    }
}

/// The name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        let inner = levels - 1;
        format!("{{\"a\":{}1{}}}", "[".repeat(inner), "]".repeat(inner))
    }

    #[test]
    fn only_plain_objects_are_read() {
        for text in [
            "[1]",
            "1",
            "null",
            "\"a\"",
            "",
            "{",
            "{}x",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"a\":{\"b\":1,\"b\":2}}",
            "{\"a\":[{\"b\":1,\"b\":2}]}",
            "\u{feff}{}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":1e309}",
            "{\"a\":NaN}",
            "{\"a\":01}",
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(object(nested(17).as_bytes()), None);
        assert_eq!(object("[".repeat(5000).as_bytes()), None);
    }

    #[test]
    fn objects_up_to_sixteen_levels_are_read() {
        assert!(object(nested(16).as_bytes()).is_some());
        let members = object(b" {\"a\":[1,-2,1.5,true,null,{\"b\":\"c\"}]} ").expect("an object");
        assert_eq!(
            Json::Object(members).to_value().to_string(),
            "{\"a\":[1,-2,1.5,true,null,{\"b\":\"c\"}]}"
        );
    }

    #[test]
    fn members_are_found_however_many_there_are_and_however_they_are_written() {
        let names = (0..100).map(|number| format!("\"m{number}\":{number}"));
        let text = format!(
            "{{{},\"\\u0061\":\"\\u0062\"}}",
            names.collect::<Vec<_>>().join(",")
        );
        let members = object(text.as_bytes()).expect("an object");
        for number in 0..100_u64 {
            let found = members.get(&format!("m{number}")).and_then(Json::as_number);
            assert_eq!(found.and_then(Number::as_u64), Some(number));
        }
        assert_eq!(members.get("a").and_then(Json::as_str), Some("b"));
        assert!(!members.contains_key("m100"));
        let twice = text.replace("\"m99\"", "\"m0\"");
        assert_eq!(object(twice.as_bytes()), None);
    }

    #[test]
    fn paths_are_tried_whole_and_then_walked() {
        let members =
            object(b"{\"a.b\":1,\"a\":{\"b\":2,\"c\":{\"d\":3}},\"n\":null}").expect("an object");
        let at = |path: ClaimPath| members.at(&path).map(|value| value.to_value().to_string());
        let dotted = |name: &str| ClaimPath::Dotted(name.to_owned());
        assert_eq!(at(dotted("a.b")).as_deref(), Some("1"));
        assert_eq!(at(dotted("a.c.d")).as_deref(), Some("3"));
        assert_eq!(
            at(ClaimPath::Exact(vec!["a".to_owned(), "b".to_owned()])).as_deref(),
            Some("2")
        );
        for name in ["n", "a.x", "a.b.c", "n.x"] {
            assert_eq!(at(dotted(name)), None, "{name}");
        }
    }
}
