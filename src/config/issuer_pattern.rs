//! What a token's `iss` must be: one text, or a template for the tenants of a provider.

/// What a token's `iss` must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerPattern {
    /// Equal to the byte.
    Exact(String),
    /// `{tid}` stands for the token's `tid`, a GUID.
    Tenanted {
        /// As configured, `{tid}` included.
        template: String,
        /// What stands before `{tid}`.
        prefix: String,
        /// What stands after it.
        suffix: String,
        tenants: Tenants,
    },
}

impl IssuerPattern {
    /// The text as configured.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(issuer) => issuer,
            Self::Tenanted { template, .. } => template,
        }
    }

    /// The tenant that `iss` names, if this is a template that lets it in.
    pub fn tenant_of<'iss>(&self, iss: &'iss str) -> Option<&'iss str> {
        let Self::Tenanted {
            prefix,
            suffix,
            tenants,
            ..
        } = self
        else {
            return None;
        };
        let tenant = iss
            .strip_prefix(prefix.as_str())?
            .strip_suffix(suffix.as_str())?;
        (is_guid(tenant) && tenants.let_in(tenant)).then_some(tenant)
    }
}

/// Which tenants of a tenanted issuer are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    Any,
    /// Lower-case GUIDs.
    Only(Vec<String>),
}

impl Tenants {
    fn let_in(&self, tenant: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(tenants) => tenants
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(tenant)),
        }
    }
}

/// Five groups of hexadecimal digits (RFC 9562 §4).
pub(super) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
