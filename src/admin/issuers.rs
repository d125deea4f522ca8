//! Which configured issuer a caller means.

use crate::config::{Config, Issuer};
use crate::identity::IssuerId;

/// An issuer as a caller named it.
#[derive(Debug)]
pub(super) struct Named<'config> {
    pub(super) id: IssuerId,
    pub(super) issuer: &'config Issuer,
    /// What revocations are kept under: the `iss` value, or the configured text of a tenanted issuer.
    pub(super) text: Box<str>,
}

/// By configured name, else by `iss` value, a tenant's included.
pub(super) fn by_name_or_value<'config>(
    config: &'config Config,
    named: &str,
) -> Option<Named<'config>> {
    find(config, |issuer| issuer.name == named)
        .map(|(id, issuer)| Named {
            id,
            issuer,
            text: issuer.issuer.as_str().into(),
        })
        .or_else(|| by_value(config, named))
}

/// By `iss` value, or by the configured text.
pub(super) fn by_value<'config>(config: &'config Config, iss: &str) -> Option<Named<'config>> {
    let (id, issuer) = find(config, |issuer| {
        issuer.issuer.as_str() == iss || issuer.issuer.tenant_of(iss).is_some()
    })?;
    Some(Named {
        id,
        issuer,
        text: iss.into(),
    })
}

fn find(config: &Config, is_it: impl Fn(&Issuer) -> bool) -> Option<(IssuerId, &Issuer)> {
    let (index, issuer) = (0_u32..)
        .zip(&config.issuers)
        .find(|(_, issuer)| is_it(issuer))?;
    Some((IssuerId(index), issuer))
}
