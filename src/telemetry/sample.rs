//! A small configuration for tests: open routes of these names, one upstream, no issuer.

use std::time::Duration;

use crate::config::{
    self, Config, ErrorDetail, Forwarded, IdentityHeaders, Limits, LogFormat, OnStale,
    RevocationStore, Upstream, UpstreamHost, UpstreamId,
};

fn route(name: &str) -> config::Route {
    config::Route {
        name: name.to_owned(),
        host: None,
        path: config::PathPattern::Prefix(vec![]),
        methods: None,
        upstream: UpstreamId(0),
        auth: config::Auth::Open,
        issuers: vec![],
        audiences: vec![],
        scopes: vec![],
        any_scope: vec![],
        claims: vec![],
        forward_preflight: false,
        report_only: false,
        strip_prefix: vec![],
        forward_token: true,
    }
}

fn limits(second: Duration) -> Limits {
    Limits {
        header_bytes: 1,
        token_bytes: 1,
        body_bytes: None,
        connections: 1,
        streams: 1,
        header_timeout: second,
        body_timeout: second,
        idle_timeout: second,
    }
}

pub(crate) fn config(routes: &[&str]) -> Config {
    let second = Duration::from_secs(1);
    Config {
        server: config::Server {
            listen: vec![],
            workers: 0,
            realm: "r".to_owned(),
            state_dir: "state".into(),
            trusted_proxies: vec![],
            forwarded: Forwarded::None,
            via: false,
            h2c: false,
            keep_encoded_slash: false,
            keep_path_parameters: false,
            error_detail: ErrorDetail::Full,
            docs_url: None,
            drain_delay: second,
            drain: second,
            tls: None,
            limits: limits(second),
        },
        admin: config::Admin {
            listen: ([127, 0, 0, 1], 0).into(),
            token: None,
            hosts: vec![],
            operators: None,
        },
        log: config::Log {
            format: LogFormat::Text,
            level: "info".to_owned(),
            access: true,
        },
        token_cache: config::TokenCache { entries: 0 },
        issuers: vec![],
        upstreams: vec![Upstream {
            name: "api".to_owned(),
            servers: vec![],
            connect_timeout: second,
            response_timeout: second,
            keep_alive: second,
            retries: 0,
            host: UpstreamHost::Preserve,
            tls: None,
            server_name: None,
        }],
        routes: routes.iter().map(|name| route(name)).collect(),
        identity: IdentityHeaders { headers: vec![] },
        revocation: config::Revocation {
            store: RevocationStore::Memory,
            on_stale: OnStale::Serve,
            max_stale: second,
        },
        claims: vec![],
    }
}
