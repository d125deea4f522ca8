//! When the configuration is read again, what a new one asks less than the old, and what of it has to wait.
//!
//! Owns the watch on the files and the comparison of routes. Does not apply anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Auth, Config, ContentDigest, Issuer, Loaded, Route};
use crate::tls::ClientCertificates;

/// Two equal reads this far apart make a change: an editor has finished by then.
const SETTLE: Duration = Duration::from_secs(2);

/// A watch on the configuration and the files that belong to it, by their content, so that renames and symlink swaps count.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    followed: Vec<PathBuf>,
    applied: Contents,
    seen: Contents,
}

/// What the files hold, the configuration first; `None`: it cannot be read.
type Contents = Vec<Option<ContentDigest>>;

impl Watch {
    /// Watches from the contents that are in force; the files may have changed since they were read.
    pub(super) fn new(path: PathBuf, loaded: &Loaded) -> Self {
        let mut watch = Self {
            path,
            followed: Vec::new(),
            applied: Vec::new(),
            seen: Vec::new(),
        };
        watch.follow(loaded);
        watch
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// That configuration is in force now.
    pub(super) fn follow(&mut self, loaded: &Loaded) {
        self.followed = loaded
            .followed
            .iter()
            .map(|file| file.path.clone())
            .collect();
        let contents = loaded.followed.iter().map(|file| file.digest);
        self.applied = [loaded.digest]
            .into_iter()
            .chain(contents)
            .map(Some)
            .collect();
        self.seen.clone_from(&self.applied);
    }

    /// Waits until a content has changed, and has settled. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(SETTLE).await;
            let read = self.read().await;
            let is_settled = read == self.seen;
            self.seen = read;
            let is_readable = self.seen.first().is_some_and(Option::is_some);
            if is_settled && is_readable && self.seen != self.applied {
                self.applied.clone_from(&self.seen);
                return;
            }
        }
    }

    /// Takes the contents as they are now for known.
    pub(super) async fn acknowledge(&mut self) {
        self.applied = self.read().await;
        self.seen.clone_from(&self.applied);
    }

    async fn read(&self) -> Contents {
        let mut contents = Vec::with_capacity(self.followed.len() + 1);
        for path in [&self.path].into_iter().chain(&self.followed) {
            let content = tokio::fs::read(path).await.ok();
            contents.push(content.map(|content| ContentDigest::of(&content)));
        }
        contents
    }
}

/// The keys in which `new` differs from what the process was `started` with, and cannot change before the next start.
pub(super) fn fixed_at_start(started: &Config, new: &Config) -> Vec<&'static str> {
    let (server, next) = (&started.server, &new.server);
    let keys = [
        ("server.listen", server.listen != next.listen),
        ("server.workers", server.workers != next.workers),
        ("server.state_dir", server.state_dir != next.state_dir),
        ("admin.listen", started.admin.listen != new.admin.listen),
        (
            "revocation.store",
            started.revocation.store != new.revocation.store,
        ),
        (
            "revocation.on_stale",
            started.revocation.on_stale != new.revocation.on_stale,
        ),
        (
            "revocation.max_stale",
            started.revocation.max_stale != new.revocation.max_stale,
        ),
        ("log.format", started.log.format != new.log.format),
        ("log.level", started.log.level != new.log.level),
    ];
    keys.into_iter()
        .filter(|(_, is_changed)| *is_changed)
        .map(|(key, _)| key)
        .collect()
}

/// What guards less under `new` than under `old`, a sentence each.
pub(super) fn weakenings(old: &Config, new: &Config) -> Vec<String> {
    let mut found: Vec<_> = lost_encryption(old, new)
        .map(str::to_owned)
        .into_iter()
        .collect();
    for before in &old.routes {
        match new.routes.iter().find(|route| route.name == before.name) {
            None => found.push(format!("route {} is gone", before.name)),
            Some(after) => {
                let what = lost_demands(old, before, new, after);
                let trusted = trusted_less(old, new, after);
                found.extend(
                    what.iter()
                        .chain(&trusted)
                        .map(|what| format!("route {}: {what}", before.name)),
                );
            }
        }
    }
    found
}

fn lost_encryption(old: &Config, new: &Config) -> Option<&'static str> {
    let strictness = |clients: Option<ClientCertificates>| match clients {
        None => 0,
        Some(ClientCertificates::Optional) => 1,
        Some(ClientCertificates::Required) => 2,
    };
    let before = old.server.tls.as_ref()?;
    let Some(after) = &new.server.tls else {
        return Some("clients are spoken to without TLS");
    };
    (strictness(after.clients()) < strictness(before.clients()))
        .then_some("client certificates are asked for less")
}

fn lost_demands(old: &Config, before: &Route, new: &Config, after: &Route) -> Vec<&'static str> {
    let strictness = |auth: Auth| match auth {
        Auth::Open => 0,
        Auth::Optional => 1,
        Auth::Required => 2,
    };
    let has_more =
        |before: &[String], after: &[String]| after.iter().any(|one| !before.contains(one));
    let any_scope_widened = !before.any_scope.is_empty()
        && (after.any_scope.is_empty() || has_more(&before.any_scope, &after.any_scope));
    let audiences_widened = has_more(&audiences(old, before), &audiences(new, after));
    if before.auth == Auth::Open {
        // It asked for a path and a method, and for nothing that could be lost besides.
        return methods_widened(before, after)
            .then_some("more methods pass")
            .into_iter()
            .collect();
    }
    let checks = [
        (
            strictness(after.auth) < strictness(before.auth),
            "auth asks less",
        ),
        (
            after.report_only && !before.report_only,
            "it only reports now",
        ),
        (
            has_more(&after.scopes, &before.scopes),
            "a scope is no longer asked for",
        ),
        (any_scope_widened, "any_scope lets more through"),
        (audiences_widened, "more audiences pass"),
        (
            has_more(&issuers(old, before), &issuers(new, after)),
            "more issuers pass",
        ),
        (rules_lost(old, before, new, after), "a claim rule is gone"),
        (
            after.forward_preflight && !before.forward_preflight,
            "preflights pass without a token",
        ),
        (methods_widened(before, after), "more methods pass"),
    ];
    checks
        .into_iter()
        .filter(|(is_lost, _)| *is_lost)
        .map(|(_, what)| what)
        .collect()
}

fn methods_widened(before: &Route, after: &Route) -> bool {
    match (&before.methods, &after.methods) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(after)) => after.iter().any(|method| !before.contains(method)),
    }
}

/// What the issuers that a route goes on to trust are no longer held to.
fn trusted_less(old: &Config, new: &Config, after: &Route) -> Vec<&'static str> {
    let trusted = after.issuers.iter().filter_map(|id| {
        let now = new.issuers.get(id.index())?;
        let before = old.issuers.iter().find(|it| it.issuer == now.issuer)?;
        Some(lost_rules(before, now))
    });
    trusted.flatten().collect()
}

fn lost_rules(before: &Issuer, after: &Issuer) -> Vec<&'static str> {
    let types_widened = !before.token_types.is_empty()
        && (after.token_types.is_empty()
            || after
                .token_types
                .iter()
                .any(|it| !before.token_types.contains(it)));
    let lives_longer = before
        .max_lifetime
        .is_some_and(|most| after.max_lifetime.is_none_or(|now| now > most));
    let checks = [
        (
            after
                .algorithms
                .iter()
                .any(|it| !before.algorithms.contains(it)),
            "its issuer may sign with more algorithms",
        ),
        (types_widened, "more types of token pass"),
        (
            after.accept_id_tokens && !before.accept_id_tokens,
            "ID tokens pass",
        ),
        (after.leeway > before.leeway, "leeway is longer"),
        (lives_longer, "max_lifetime is longer"),
        (
            before
                .required_claims
                .iter()
                .any(|it| !after.required_claims.contains(it)),
            "a claim is no longer required",
        ),
    ];
    checks
        .into_iter()
        .filter(|(is_lost, _)| *is_lost)
        .map(|(_, what)| what)
        .collect()
}

/// The names of the issuers that a route lets in.
fn issuers(config: &Config, route: &Route) -> Vec<String> {
    route
        .issuers
        .iter()
        .filter_map(|id| config.issuers.get(id.index()))
        .map(|issuer| issuer.issuer.as_str().to_owned())
        .collect()
}

fn audiences(config: &Config, route: &Route) -> Vec<String> {
    if !route.audiences.is_empty() {
        return route.audiences.clone();
    }
    route
        .issuers
        .iter()
        .filter_map(|id| config.issuers.get(id.index()))
        .flat_map(|issuer| issuer.audiences.clone())
        .collect()
}

/// Rules are compared by what they say: the slots of two configurations differ.
fn rules_lost(old: &Config, before: &Route, new: &Config, after: &Route) -> bool {
    let said = |config: &Config, route: &Route| -> Vec<String> {
        let claim = |rule: &crate::config::ClaimRule| {
            let path = config
                .claims
                .get(rule.claim.index())
                .map(ToString::to_string);
            format!("{path:?} {:?}", rule.test)
        };
        route.claims.iter().map(claim).collect()
    };
    let kept = said(new, after);
    said(old, before).iter().any(|rule| !kept.contains(rule))
}
