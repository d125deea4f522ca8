//! Whom the gateway believes about where a request came from, what it tells upstreams, and which target and Host they see.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Gateway, Request, Server, Stage, configuration, corp, raw};

const OPEN: &str = "path = \"/*\"\nupstream = \"api\"\nauth = \"none\"";

fn stage(server: &str) -> Stage {
    Stage::with_all(
        &format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{server}\n"),
        "",
        OPEN,
    )
}

/// Headers sent, `X-Forwarded-For`, `-Proto` and `-Host` (or `Forwarded`) as the upstream gets them, the client in the log.
type Row = (
    &'static [(&'static str, &'static str)],
    [&'static str; 3],
    &'static str,
);

/// Headers sent, `Forwarded` as the upstream gets it, the client in the log.
type ForwardedRow = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

fn check(stage: &Stage, names: &[&str], rows: &[Row]) {
    for (number, (sent, seen, client)) in rows.iter().enumerate() {
        let id = format!("row-{number}");
        let request = Request::get("/")
            .header("Host", "api.example.com")
            .header("X-Request-Id", &id);
        let request = sent.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        assert_eq!(stage.gateway.send(&request).status, 200);
        let received = stage.upstream.last();
        for (name, value) in names.iter().zip(seen) {
            assert_eq!(received.all(name), [*value], "{name} after {sent:?}");
        }
        assert_eq!(stage.gateway.record(&id)["client"], *client, "{sent:?}");
    }
}

const X_NAMES: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

#[test]
fn nobody_is_believed_by_default() {
    let stage = stage("");
    let own = ["127.0.0.1", "http", "api.example.com"];
    check(
        &stage,
        &X_NAMES,
        &[
            (&[], own, "127.0.0.1"),
            (
                &[
                    ("X-Forwarded-For", "6.6.6.6"),
                    ("X-Forwarded-Proto", "https"),
                ],
                own,
                "127.0.0.1",
            ),
            (
                &[
                    ("X-Forwarded-Host", "evil"),
                    ("Forwarded", "for=6.6.6.6;proto=https"),
                ],
                own,
                "127.0.0.1",
            ),
            (
                &[("X-Real-IP", "6.6.6.6"), ("X_Forwarded_For", "6.6.6.6")],
                own,
                "127.0.0.1",
            ),
        ],
    );
    assert!(
        stage
            .upstream
            .received()
            .iter()
            .all(|request| request.header("forwarded").is_none())
    );
}

const HOST: &str = "api.example.com";

const CHAINS: &[Row] = &[
    (&[], ["127.0.0.1", "http", HOST], "127.0.0.1"),
    (
        &[("X-Forwarded-For", "192.0.2.7")],
        ["192.0.2.7, 127.0.0.1", "http", HOST],
        "192.0.2.7",
    ),
    (
        &[("X-Forwarded-For", "6.6.6.6, 192.0.2.7")],
        ["192.0.2.7, 127.0.0.1", "http", HOST],
        "192.0.2.7",
    ),
    (
        &[
            ("X-Forwarded-For", "6.6.6.6, 192.0.2.7, 10.0.0.5"),
            ("X-Forwarded-Proto", "https"),
        ],
        ["192.0.2.7, 10.0.0.5, 127.0.0.1", "https", HOST],
        "192.0.2.7",
    ),
    (
        &[
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-For", "192.0.2.7"),
        ],
        ["192.0.2.7, 127.0.0.1", "http", HOST],
        "192.0.2.7",
    ),
    (
        &[("X-Forwarded-For", "10.0.0.6, junk, 10.0.0.5")],
        ["10.0.0.5, 127.0.0.1", "http", HOST],
        "10.0.0.5",
    ),
    (
        &[("X-Forwarded-For", "2001:db8::1")],
        ["2001:db8::1, 127.0.0.1", "http", HOST],
        "2001:db8::1",
    ),
    (
        &[
            ("X-Forwarded-For", "192.0.2.7"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "shop.example"),
        ],
        ["192.0.2.7, 127.0.0.1", "https", "shop.example"],
        "192.0.2.7",
    ),
    (
        &[("Forwarded", "for=192.0.2.7;proto=https")],
        ["127.0.0.1", "http", HOST],
        "127.0.0.1",
    ),
];

#[test]
fn x_forwarded_for_is_read_right_to_left_to_the_first_untrusted_hop() {
    let stage = stage("trusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\"]");
    check(&stage, &X_NAMES, CHAINS);
    assert!(
        stage
            .upstream
            .received()
            .iter()
            .all(|request| request.header("forwarded").is_none())
    );
}

#[test]
fn forwarded_is_read_and_written_in_its_own_syntax() {
    let stage = stage("trusted_proxies = [\"127.0.0.1/32\"]\nforwarded = \"forwarded\"");
    let rows: [ForwardedRow; 5] = [
        (
            &[],
            "for=127.0.0.1;proto=http;host=api.example.com",
            "127.0.0.1",
        ),
        (
            &[("Forwarded", "for=6.6.6.6, for=192.0.2.7;proto=https")],
            "for=192.0.2.7;proto=https;host=api.example.com, for=127.0.0.1",
            "192.0.2.7",
        ),
        (
            &[("Forwarded", "FOR=\"[2001:db8::1]:4711\";Proto=https")],
            "for=\"[2001:db8::1]\";proto=https;host=api.example.com, for=127.0.0.1",
            "2001:db8::1",
        ),
        (
            &[("Forwarded", "for=192.0.2.7;host=\"shop.example:8443\"")],
            "for=192.0.2.7;proto=http;host=\"shop.example:8443\", for=127.0.0.1",
            "192.0.2.7",
        ),
        (
            &[("X-Forwarded-For", "6.6.6.6")],
            "for=127.0.0.1;proto=http;host=api.example.com",
            "127.0.0.1",
        ),
    ];
    for (number, (sent, seen, client)) in rows.iter().enumerate() {
        let id = format!("row-{number}");
        let request = Request::get("/")
            .header("Host", "api.example.com")
            .header("X-Request-Id", &id);
        let request = sent.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        assert_eq!(stage.gateway.send(&request).status, 200);
        let received = stage.upstream.last();
        assert_eq!(received.all("forwarded"), [*seen], "{sent:?}");
        for name in X_NAMES {
            assert!(received.header(name).is_none(), "{name} after {sent:?}");
        }
        assert_eq!(stage.gateway.record(&id)["client"], *client, "{sent:?}");
    }
}

#[test]
fn with_no_family_nothing_is_believed_and_nothing_said() {
    let stage = stage("trusted_proxies = [\"127.0.0.1/32\"]\nforwarded = \"none\"");
    let request = Request::get("/")
        .header("X-Request-Id", "one")
        .header("X-Forwarded-For", "192.0.2.7")
        .header("Forwarded", "for=192.0.2.7");
    assert_eq!(stage.gateway.send(&request).status, 200);
    let received = stage.upstream.last();
    for name in X_NAMES.into_iter().chain(["forwarded"]) {
        assert!(received.header(name).is_none(), "{name}: {received:?}");
    }
    assert_eq!(stage.gateway.record("one")["client"], "127.0.0.1");
}

#[test]
fn routing_believes_the_host_header_alone() {
    let routes = "path = \"/*\"\nhost = \"open.example\"\nupstream = \"api\"\nauth = \"none\"";
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let stage = Stage::with_all(top, "", routes);
    let request = Request::get("/")
        .header("X-Forwarded-Host", "open.example")
        .header("Host", "other.example");
    assert_eq!(stage.gateway.send(&request).reason(), "route_unknown");
    let request = Request::get("/")
        .header("X-Original-URL", "/x")
        .header("Host", "open.example");
    assert_eq!(stage.gateway.send(&request).status, 200);
}

#[test]
fn via_is_added_where_it_is_asked_for() {
    let stage = stage("via = true");
    assert_eq!(
        stage
            .gateway
            .send(&Request::get("/").header("Via", "1.0 fred"))
            .status,
        200
    );
    let received = stage.upstream.last();
    let via = received.all("via").join(", ");
    assert!(via.starts_with("1.0 fred, 1.1 "), "{via}");
}

#[test]
fn an_upstream_sees_the_clients_host_or_its_own() {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(support::KID)]));
    let routes = format!(
        "path = \"/preserve/*\"\nupstream = \"api\"\nauth = \"none\"\n[[route]]\npath = \"/upstream/*\"\n\
        upstream = \"own\"\nauth = \"none\"\n[[upstream]]\nname = \"own\"\nservers = [\"{}\"]\nhost = \"upstream\"",
        upstream.url()
    );
    let gateway = Gateway::start(&configuration("", &provider, "", &upstream, &routes));
    let own = upstream.address.to_string();
    for (target, host) in [
        ("/preserve/", "Api.Example.com:8080"),
        ("/upstream/", own.as_str()),
    ] {
        let answer = gateway.send(&Request::get(target).header("Host", "Api.Example.com:8080"));
        assert_eq!(answer.status, 200);
        let received = upstream.last();
        assert_eq!(received.all("host"), [host], "{target}");
        assert_eq!(
            received.header("x-forwarded-host"),
            Some("Api.Example.com:8080"),
            "{target}"
        );
    }
}

#[test]
fn an_absolute_target_becomes_a_path_and_its_host() {
    let stage = stage("");
    for (target, sent) in [
        ("http://api.example.com/orders/1?x=2", "/orders/1?x=2"),
        ("http://api.example.com", "/"),
        ("http://api.example.com?x", "/?x"),
    ] {
        let answer = raw(
            stage.gateway.public,
            format!("GET {target} HTTP/1.1\r\nHost: api.example.com\r\n\r\n").as_bytes(),
        );
        assert_eq!(answer.unwrap().status, 200, "{target}");
        let received = stage.upstream.last();
        assert_eq!(received.target, sent, "{target}");
        assert_eq!(received.all("host"), ["api.example.com"], "{target}");
    }
}

#[test]
fn a_prefix_is_stripped_in_whole_segments_and_the_query_never_touched() {
    let routes = "path = \"/api/v1/*\"\nupstream = \"api\"\nauth = \"none\"\nstrip_prefix = \"/api\"\n[[route]]\n\
        path = \"/api/*\"\nupstream = \"api\"\nauth = \"none\"\nstrip_prefix = \"/api\"\n[[route]]\npath = \"/*\"\n\
        upstream = \"api\"\nauth = \"none\"";
    let stage = Stage::with("", routes);
    for (target, sent) in [
        ("/api/orders/1", "/orders/1"),
        ("/api/v1/orders", "/v1/orders"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?a=/api/b", "/?a=/api/b"),
        ("/%61pi/x%20y?z=%2F", "/x%20y?z=%2F"),
        ("/apis/1", "/apis/1"),
        ("/x?", "/x?"),
        (
            "/x?a=%2F%2e%2e/..//;b&&c=%00%zz&access_token=t",
            "/x?a=%2F%2e%2e/..//;b&&c=%00%zz&access_token=t",
        ),
        ("/x?a={|}&b=^`'", "/x?a={|}&b=^`'"),
        ("/x?q=a?b=c", "/x?q=a?b=c"),
    ] {
        assert_eq!(
            stage.gateway.send(&Request::get(target)).status,
            200,
            "{target}"
        );
        assert_eq!(stage.upstream.last().target, sent, "{target}");
    }
}
