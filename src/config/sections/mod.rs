//! From the file to the typed configuration, one section per file.
//!
//! Owns the rules of every key. A rule that is broken is reported and reading goes on with the default,
//! so that all faults are found at once; only the whole, without faults, becomes a [`Config`].

use toml::de::DeTable;

use super::report::Report;
use super::{Admin, ClaimPath, Config};
use crate::identity::ClaimSlot;

mod address;
mod admin;
mod audience;
mod backchannel_logout;
mod claim_rule;
mod exposure;
mod identity;
mod issuer;
mod issuer_pattern;
mod jwks;
mod key_source;
mod label;
mod log;
mod overlap;
mod path;
mod redis;
mod revocation;
mod route;
mod server;
mod tls;
mod upstream;

use super::reader::Section;

/// Whole sections that are reserved.
const LATER: [&str; 3] = ["audit", "telemetry", "throttle"];

/// Reads the whole file. `None` only if something was reported.
pub(super) fn read(report: &Report<'_>, table: &DeTable<'_>) -> Option<Config> {
    let mut root = Section::root(report, table);
    let mut server_section = root.section("server");
    let mut admin_section = root.section("admin");
    let server = server::read(&mut server_section);
    let admin = admin::read(&mut admin_section);
    if let (Some(server), Some(admin)) = (&server, &admin) {
        address::compare(&admin_section, server, admin);
    }
    server_section.finish(&server::LATER);
    let log = log::read(root.section("log"));
    let token_cache = log::read_token_cache(root.section("token_cache"));
    let mut claims = ClaimTable::default();
    let mut logout_endpoints = Vec::new();
    let issuers = issuer::read_all(root.sections("issuer"), &mut logout_endpoints);
    let operators = admin::read_operators(&mut admin_section, &issuers.names());
    admin_section.finish(&[]);
    let upstreams = upstream::read_all(root.sections("upstream"));
    let route_sections = root.sections("route");
    if route_sections.is_empty() && root.value("route").is_none() {
        root.missing(
            "route",
            "at least one [[route]]: without one, nothing is let through",
        );
    }
    let mut identity_section = root.section("identity");
    let forward_token = identity_section.boolean("forward_token", true);
    let names = route::Surroundings {
        issuers: issuers.names(),
        upstreams: upstreams.names(),
        forward_token,
    };
    let routes = route::read_all(route_sections, &names, &mut claims);
    backchannel_logout::compare(&logout_endpoints, routes.as_deref().unwrap_or_default());
    let identity = identity::read(identity_section, &mut claims);
    let revocation = revocation::read(root.section("revocation"));
    root.finish(&LATER);
    Some(Config {
        server: server?,
        admin: Admin {
            operators,
            ..admin?
        },
        log,
        token_cache,
        issuers: issuers.whole()?,
        upstreams: upstreams.whole()?,
        routes: routes?,
        identity,
        revocation,
        claims: claims.0,
    })
}

/// Reads `[admin]` alone. `None` only if something was reported.
pub(super) fn read_admin(report: &Report<'_>, table: &DeTable<'_>) -> Option<Admin> {
    admin::read(&mut Section::root(report, table).section("admin"))
}

/// The entries of an array of tables: the names are known even where the rest is wrong, so that a
/// reference to a faulty entry is not a second fault.
pub(super) struct Named<T> {
    entries: Vec<(Option<String>, Option<T>)>,
}

impl<T> Named<T> {
    /// In the order of the file; a nameless entry keeps its place.
    fn names(&self) -> Vec<Option<&str>> {
        self.entries
            .iter()
            .map(|(name, _)| name.as_deref())
            .collect()
    }

    /// The entries, if none of them is faulty.
    fn whole(self) -> Option<Vec<T>> {
        self.entries.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// The claims that routes and identity headers refer to, each once.
#[derive(Default)]
pub(super) struct ClaimTable(Vec<ClaimPath>);

impl ClaimTable {
    fn slot(&mut self, path: ClaimPath) -> ClaimSlot {
        let place = self.0.iter().position(|known| *known == path);
        let place = place.unwrap_or_else(|| {
            self.0.push(path);
            self.0.len() - 1
        });
        // A file of at most 4 MiB holds fewer claims than a u32 can count.
        ClaimSlot(u32::try_from(place).unwrap_or(u32::MAX))
    }
}
