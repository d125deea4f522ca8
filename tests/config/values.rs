//! What the keys of a good file become.

use std::time::Duration;

use http::Method;
use portcullis::algorithm::Family;
use portcullis::config::{
    Auth, ClaimPath, ClaimTest, IdentitySource, IssuerPattern, KeySource, PathPattern,
    RevocationStore, Tenants,
};
use portcullis::identity::{ClaimSlot, IssuerId};
use serde_json::json;

use super::{faults, file_with, loaded, warnings};

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn an_almost_empty_file_has_the_defaults_of_the_contract() {
    let config = loaded(&file_with("", ""));
    assert_eq!(config.server.limits.header_bytes, 32 * 1024);
    assert_eq!(config.server.limits.body_bytes, None);
    assert_eq!(config.server.drain, Duration::from_secs(20));
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.token_cache.entries, 100_000);
    assert_eq!(config.revocation.store, RevocationStore::Embedded);
    let issuer = &config.issuers[0];
    assert_eq!(issuer.leeway, Duration::from_secs(30));
    assert_eq!(issuer.algorithms.iter().count(), 11);
    assert!(
        issuer
            .algorithms
            .iter()
            .all(|algorithm| algorithm.family() != Family::Hmac)
    );
    assert_eq!(issuer.jwks.max_stale, Duration::from_hours(24));
    let route = &config.routes[0];
    assert_eq!(
        (route.name.as_str(), route.auth),
        ("/api/*", Auth::Required)
    );
    assert_eq!(route.path, PathPattern::Prefix(strings(&["api"])));
    assert_eq!(
        (route.issuers.as_slice(), &route.methods),
        (&[IssuerId(0)][..], &None)
    );
    assert!(route.forward_token);
    assert_eq!(config.identity.headers.len(), 4);
    assert_eq!(config.claims, []);
}

#[test]
fn claims_of_rules_and_headers_are_listed_once() {
    let route = r#"
        claims = [
          { claim = "tenant", equals = "acme" },
          { claim = "level", one_of = [1, 2.5, true] },
          { claim = ["a.b", "c"], contains = "x" },
        ]
        [identity.headers]
        X-Tenant = "tenant"
        X-App = ["sub"]
        X-Auth-Subject = "sub"
    "#;
    let config = loaded(&file_with("", route));
    let dotted = |name: &str| ClaimPath::Dotted(name.to_owned());
    let exact = |names: &[&str]| ClaimPath::Exact(strings(names));
    assert_eq!(
        config.claims,
        [
            dotted("tenant"),
            dotted("level"),
            exact(&["a.b", "c"]),
            exact(&["sub"])
        ]
    );
    let tests: Vec<&ClaimTest> = config.routes[0]
        .claims
        .iter()
        .map(|rule| &rule.test)
        .collect();
    assert_eq!(tests[0], &ClaimTest::Equals(json!("acme")));
    assert_eq!(
        tests[1],
        &ClaimTest::OneOf(vec![json!(1), json!(2.5), json!(true)])
    );
    assert_eq!(tests[2], &ClaimTest::Contains(json!("x")));
    let headers: Vec<(&str, IdentitySource)> = config
        .identity
        .headers
        .iter()
        .map(|(name, source)| (name.as_str(), *source))
        .collect();
    assert_eq!(
        headers,
        [
            ("x-tenant", IdentitySource::Claim(ClaimSlot(0))),
            ("x-app", IdentitySource::Claim(ClaimSlot(3))),
            ("x-auth-subject", IdentitySource::Subject),
        ]
    );
}

#[test]
fn a_tenanted_issuer_is_taken_apart() {
    let text = file_with("tenants = [\"8D2F0C5E-0000-4000-8000-0123456789AB\"]", "").replace(
        "https://id.example.com/\"",
        "https://login.example.com/{tid}/v2.0\"",
    );
    let IssuerPattern::Tenanted {
        prefix,
        suffix,
        tenants,
        ..
    } = &loaded(&text).issuers[0].issuer
    else {
        panic!()
    };
    assert_eq!(
        (prefix.as_str(), suffix.as_str()),
        ("https://login.example.com/", "/v2.0")
    );
    assert_eq!(
        tenants,
        &Tenants::Only(strings(&["8d2f0c5e-0000-4000-8000-0123456789ab"]))
    );
}

#[test]
fn an_issuer_need_not_be_a_url_unless_it_is_asked_for_its_keys() {
    let text = file_with("", "").replace("https://id.example.com/\"", "accounts\"");
    assert_eq!(
        loaded(&text).issuers[0].issuer,
        IssuerPattern::Exact("accounts".to_owned())
    );
    let text = text.replace(
        "jwks_uri = \"https://id.example.com/jwks.json\"",
        "discovery = true",
    );
    assert_eq!(faults(&text).len(), 1);
    let text = text.replace("\"accounts\"", "\"https://accounts.example.com\"");
    assert_eq!(loaded(&text).issuers[0].keys, KeySource::Discovery);
}

#[test]
fn values_are_brought_into_one_form() {
    let route = "host = \"API.Example.com\"\nmethods = [\"GET\", \"HEAD\", \"POST\", \"GET\"]\nstrip_prefix = \"/api\"";
    let config = loaded(&file_with("token_types = [\"application/AT+jwt\"]", route));
    assert_eq!(config.issuers[0].token_types, ["at+jwt"]);
    let route = &config.routes[0];
    assert_eq!(route.host.as_deref(), Some("api.example.com"));
    assert_eq!(route.methods, Some(vec![Method::GET, Method::POST]));
    assert_eq!(route.strip_prefix, ["api"]);
}

#[test]
fn upstream_servers_are_taken_apart() {
    let text = file_with("", "").replace(
        "\"http://127.0.0.1:3000\"",
        "\"http://[::1]:3000/\", \"http://Orders.internal\"",
    );
    let servers = &loaded(&text).upstreams[0].servers;
    assert_eq!(
        (
            servers[0].host.as_str(),
            servers[0].port,
            servers[0].authority.as_str()
        ),
        ("::1", 3000, "[::1]:3000")
    );
    assert_eq!(
        (
            servers[1].host.as_str(),
            servers[1].port,
            servers[1].authority.as_str()
        ),
        ("orders.internal", 80, "orders.internal")
    );
}

#[test]
fn networks_may_be_bare_addresses() {
    let text = file_with("", "").replace(
        "[[issuer]]",
        "trusted_proxies = [\"10.1.2.3/8\", \"192.0.2.1\", \"::1\"]\n[[issuer]]",
    );
    let networks: Vec<String> = loaded(&text)
        .server
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32", "::1/128"]);
}

#[test]
fn paths_begin_beside_the_file() {
    let text = file_with("", "").replace("[[issuer]]", "state_dir = \"kept\"\n[[issuer]]");
    let loaded = portcullis::config::load_text(
        &text,
        std::path::Path::new("/etc/portcullis/portcullis.toml"),
    )
    .unwrap();
    assert_eq!(
        loaded.config.server.state_dir,
        std::path::Path::new("/etc/portcullis/kept")
    );
}

#[test]
fn routes_that_share_a_path_are_told_apart_by_method_or_host() {
    let second = |route: &str| {
        file_with(
            "",
            &format!(
                "methods = [\"GET\"]\n[[route]]\nname = \"second\"\npath = \"/api/*\"\nupstream = \"api\"\n{route}"
            ),
        )
    };
    loaded(&second("methods = [\"POST\"]"));
    loaded(&second("host = \"api.example.com\""));
    assert_eq!(faults(&second("methods = [\"HEAD\"]")).len(), 1);
    assert_eq!(faults(&second("")).len(), 1);
}

#[test]
fn an_open_route_around_a_guarded_one_is_warned_about() {
    let second = |route: &str| {
        file_with(
            "",
            &format!(
                "methods = [\"GET\"]\n[[route]]\nname = \"open\"\nupstream = \"api\"\nauth = \"none\"\n{route}"
            ),
        )
    };
    assert!(
        warnings(&second("path = \"/*\""))[0]
            .contains("warning: route[1].path: is open and covers")
    );
    assert_eq!(
        warnings(&second("path = \"/api/*\"\nhost = \"a.example\"")).len(),
        1
    );
    assert_eq!(
        warnings(&second("path = \"/api/*\"\nmethods = [\"POST\"]")).len(),
        0
    );
    assert_eq!(warnings(&second("path = \"/apix/*\"")).len(), 0);
    assert_eq!(warnings(&second("path = \"/api/health\"")).len(), 0);
}
