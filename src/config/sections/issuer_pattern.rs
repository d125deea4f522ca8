//! `issuer` and `tenants`: which `iss` a token must have.

use super::super::issuer_pattern::is_guid;
use super::super::node::Text;
use super::super::reader::Section;
use super::super::{IssuerPattern, Tenants};

/// Stands for the tenant in `issuer`.
pub(super) const PLACEHOLDER: &str = "{tid}";

pub(super) fn read(section: &mut Section<'_>) -> Option<IssuerPattern> {
    let issuer = section.required_text(
        "issuer",
        "the `iss` of its tokens, byte for byte, such as \"https://id.example.com/\"",
    );
    let tenants = section.value("tenants");
    let has_tenants = tenants.is_some();
    let tenants = tenants.map(|node| (node.texts(), node));
    let text = issuer?;
    let odd = |character: char| character.is_control();
    if text.value.trim() != text.value || text.value.contains(odd) {
        text.node
            .fault("holds blanks around it or control characters, expected the `iss` of its tokens, byte for byte");
        return None;
    }
    let Some((prefix, suffix)) = text.value.split_once(PLACEHOLDER) else {
        if let Some((_, node)) = tenants {
            node.fault(
                "has no use without {tid} in `issuer`, expected it only beside such a template",
            );
        }
        return Some(IssuerPattern::Exact(text.value.to_owned()));
    };
    if suffix.contains(PLACEHOLDER) {
        text.node
            .fault("holds {tid} more than once, expected it at most once");
    }
    if !has_tenants {
        section.missing(
            "tenants",
            "the tenants let in, as GUIDs, or [\"*\"] for any, because `issuer` holds {tid}",
        );
    }
    let (texts, node) = tenants?;
    if !section.is_filled("tenants") {
        node.fault("is empty, expected the tenants let in, as GUIDs, or [\"*\"] for any");
    }
    Some(IssuerPattern::Tenanted {
        template: text.value.to_owned(),
        prefix: prefix.to_owned(),
        suffix: suffix.to_owned(),
        tenants: read_tenants(&texts),
    })
}

fn read_tenants(texts: &[Text<'_>]) -> Tenants {
    if let [only] = texts
        && only.value == "*"
    {
        return Tenants::Any;
    }
    for text in texts {
        if text.value == "*" {
            text.node
                .fault("stands for any tenant, expected it alone: [\"*\"]");
        } else if !is_guid(text.value) {
            text.node.fault(
                "is not a GUID, expected a tenant's id such as \"8d2f0c5e-0000-4000-8000-0123456789ab\"",
            );
        }
    }
    Tenants::Only(
        texts
            .iter()
            .map(|text| text.value.to_ascii_lowercase())
            .collect(),
    )
}

/// Whether one `iss` could belong to both.
pub(super) fn collide(one: &IssuerPattern, other: &IssuerPattern) -> bool {
    match (one, other) {
        (IssuerPattern::Exact(issuer), template @ IssuerPattern::Tenanted { .. })
        | (template @ IssuerPattern::Tenanted { .. }, IssuerPattern::Exact(issuer)) => {
            template.tenant_of(issuer).is_some()
        }
        _ => one.as_str() == other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_that_a_template_accepts_collides_with_it() {
        let tenant = "8d2f0c5e-0000-4000-8000-0123456789ab";
        let template = |tenants| IssuerPattern::Tenanted {
            template: "https://id/{tid}/v2".to_owned(),
            prefix: "https://id/".to_owned(),
            suffix: "/v2".to_owned(),
            tenants,
        };
        let exact = IssuerPattern::Exact(format!("https://id/{tenant}/v2"));
        let other = IssuerPattern::Exact("https://id/common/v2".to_owned());
        assert!(collide(&template(Tenants::Any), &exact));
        assert!(!collide(&template(Tenants::Any), &other));
        assert!(collide(
            &exact,
            &template(Tenants::Only(vec![tenant.to_owned()]))
        ));
        assert!(!collide(&exact, &template(Tenants::Only(Vec::new()))));
        assert!(collide(
            &template(Tenants::Any),
            &template(Tenants::Only(Vec::new()))
        ));
    }

    #[test]
    fn a_guid_has_five_groups_of_hexadecimal_digits() {
        assert!(is_guid("8D2F0C5E-0000-4000-8000-0123456789ab"));
        for wrong in [
            "",
            "8d2f",
            "8d2f0c5e-0000-4000-8000-0123456789ag",
            "8d2f0c5e-0000-4000-8000-0123456789ab-",
        ] {
            assert!(!is_guid(wrong), "{wrong:?}");
        }
    }
}
