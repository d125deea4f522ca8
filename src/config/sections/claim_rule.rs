//! `claims` of a route.

use serde_json::Value;
use toml::de::DeValue;

use super::super::node::Node;
use super::super::reader::Section;
use super::super::{ClaimRule, ClaimTest};
use super::ClaimTable;

const SCALAR: &str = "a string, a number or a boolean";

pub(super) fn read(section: &mut Section<'_>, table: &mut ClaimTable) -> Vec<ClaimRule> {
    let Some(node) = section.value("claims") else {
        return Vec::new();
    };
    let nodes =
        node.elements("an array of rules such as [{ claim = \"tenant\", equals = \"acme\" }]");
    let sections = nodes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|node| node.table());
    sections.filter_map(|rule| read_rule(rule, table)).collect()
}

fn read_rule(mut section: Section<'_>, table: &mut ClaimTable) -> Option<ClaimRule> {
    let claim = section.value("claim");
    if claim.is_none() {
        section.missing(
            "claim",
            "the name of a claim, or its path as a list of names",
        );
    }
    let claim = claim.and_then(|node| node.claim());
    let equals = section.value("equals");
    let contains = section.value("contains");
    let one_of = section.value("one_of");
    let test = match (equals, contains, one_of) {
        (Some(node), None, None) => scalar(&node).map(ClaimTest::Equals),
        (None, Some(node), None) => scalar(&node).map(ClaimTest::Contains),
        (None, None, Some(node)) => scalars(&node).map(ClaimTest::OneOf),
        _ => {
            section.report().fault(
                section.place(),
                "is not a rule, expected exactly one of equals, contains, one_of",
            );
            None
        }
    };
    section.finish(&[]);
    Some(ClaimRule {
        claim: table.slot(claim?),
        test: test?,
    })
}

fn scalars(node: &Node<'_>) -> Option<Vec<Value>> {
    let nodes = node.elements("an array of strings, numbers or booleans")?;
    if nodes.is_empty() {
        node.fault(format!(
            "is empty and nothing could pass, expected at least one value, each {SCALAR}"
        ));
        return None;
    }
    Some(nodes.iter().filter_map(scalar).collect())
}

fn scalar(node: &Node<'_>) -> Option<Value> {
    match node.raw() {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(boolean) => Some(Value::from(*boolean)),
        DeValue::Integer(_) => node.integer("a number of 64 bits").map(Value::from),
        DeValue::Float(float) => {
            let finite = float
                .as_str()
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64);
            if finite.is_none() {
                node.fault("is not a number that JSON knows, expected a finite number");
            }
            finite.map(Value::Number)
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            node.wrong_type(SCALAR);
            None
        }
    }
}
