//! `audiences`, of an issuer or of a route.

use super::super::IssuerPattern;
use super::super::node::Text;
use super::super::reader::Section;

/// Audiences that providers put into tokens for just anybody.
const CATCH_ALL: [&str; 7] = [
    "account",
    "*",
    "api",
    "default",
    "api://default",
    "https://graph.microsoft.com",
    "00000003-0000-0000-c000-000000000000",
];

/// An issuer's: at least one.
pub(super) fn read_required(
    section: &mut Section<'_>,
    issuer: Option<&IssuerPattern>,
) -> Vec<String> {
    let expected = "at least one audience that tokens for these APIs carry, such as [\"https://api.example.com\"]";
    let Some(node) = section.value("audiences") else {
        section.missing("audiences", expected);
        return Vec::new();
    };
    let Some(nodes) = node.elements("an array of strings") else {
        return Vec::new();
    };
    if nodes.is_empty() {
        node.fault(format!("is empty, expected {expected}"));
    }
    let texts: Vec<Text<'_>> = nodes
        .into_iter()
        .filter_map(|node| node.text("a string"))
        .collect();
    check(&texts, issuer)
}

/// A route's: may be empty, which stands for the issuer's.
pub(super) fn read(section: &mut Section<'_>) -> Vec<String> {
    check(&section.texts("audiences"), None)
}

fn check(texts: &[Text<'_>], issuer: Option<&IssuerPattern>) -> Vec<String> {
    for text in texts {
        if text.value.is_empty() {
            text.node.fault("is empty, expected an audience");
        } else if CATCH_ALL.contains(&text.value)
            || issuer.is_some_and(|issuer| issuer.as_str() == text.value)
        {
            text.node.warn(
                "is an audience that tokens for other services carry too, let the provider issue one for this API alone",
            );
        }
    }
    texts.iter().map(|text| text.value.to_owned()).collect()
}
