//! Values that the tests of the edge begin with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    Admin, Auth, Config, ErrorDetail, Forwarded, IdentityHeaders, Limits, Log, LogFormat, OnStale,
    PathPattern, Revocation, RevocationStore, Route, Server, TokenCache, Upstream, UpstreamHost,
    UpstreamId, UpstreamServer,
};
use crate::gate::Rejected;
use crate::identity::{Identity, IssuerId, IssuerLabel, Thumbprint, TokenDigest};
use crate::rejection::Rejection;
use crate::time::UnixTime;

pub(super) fn limits() -> Limits {
    Limits {
        header_bytes: 32 << 10,
        token_bytes: 16 << 10,
        body_bytes: None,
        connections: 100,
        streams: 100,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(75),
    }
}

pub(super) fn config() -> Config {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        server: Server {
            listen: vec![anywhere],
            workers: 1,
            realm: "portcullis".to_owned(),
            state_dir: "state".into(),
            trusted_proxies: Vec::new(),
            forwarded: Forwarded::XForwarded,
            via: false,
            h2c: false,
            keep_encoded_slash: false,
            keep_path_parameters: false,
            error_detail: ErrorDetail::Full,
            docs_url: None,
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(20),
            tls: None,
            limits: limits(),
        },
        admin: Admin {
            listen: anywhere,
            token: None,
            hosts: Vec::new(),
            operators: None,
        },
        log: Log {
            format: LogFormat::Text,
            level: "info".to_owned(),
            access: true,
        },
        token_cache: TokenCache { entries: 10 },
        issuers: Vec::new(),
        upstreams: vec![upstream(&[anywhere])],
        routes: vec![route()],
        identity: IdentityHeaders {
            headers: Vec::new(),
        },
        revocation: Revocation {
            store: RevocationStore::Memory,
            on_stale: OnStale::Serve,
            max_stale: Duration::from_mins(5),
        },
        claims: Vec::new(),
    }
}

pub(super) fn upstream(servers: &[SocketAddr]) -> Upstream {
    Upstream {
        name: "orders".to_owned(),
        servers: servers.iter().map(server).collect(),
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(30),
        keep_alive: Duration::from_secs(4),
        retries: 1,
        host: UpstreamHost::Preserve,
        tls: None,
        server_name: None,
    }
}

fn server(address: &SocketAddr) -> UpstreamServer {
    UpstreamServer {
        host: address.ip().to_string(),
        port: address.port(),
        authority: address.to_string(),
        secure: false,
    }
}

fn route() -> Route {
    Route {
        name: "orders".to_owned(),
        host: None,
        path: PathPattern::Prefix(vec!["orders".to_owned()]),
        methods: None,
        upstream: UpstreamId(0),
        auth: Auth::Required,
        issuers: Vec::new(),
        audiences: Vec::new(),
        scopes: vec!["orders:read".to_owned()],
        any_scope: vec!["orders:any".to_owned()],
        claims: Vec::new(),
        forward_preflight: false,
        report_only: false,
        strip_prefix: Vec::new(),
        forward_token: true,
    }
}

pub(super) fn identity() -> Identity {
    Identity {
        issuer: IssuerId(0),
        iss: "https://id.example/".into(),
        subject: Some("alice".into()),
        client: Some("web".into()),
        session: None,
        jti: None,
        scopes: Arc::new(["orders:read".into()]),
        scopes_are_elements: false,
        audiences: None,
        issued_at: None,
        expires_at: UnixTime::MAX,
        key: Thumbprint([0; 32]),
        digest: TokenDigest([0; 32]),
        claims: Box::new([]),
    }
}

pub(super) fn rejected(reason: Rejection) -> Rejected {
    Rejected {
        reason,
        route: None,
        issuer: IssuerLabel::None,
        token: None,
        identity: None,
        allow: None,
        retry_after: None,
        preflight: false,
    }
}
