//! Which hops are believed, and what is told.

use super::*;

fn forwarding(family: Forwarded) -> Forwarding {
    Forwarding {
        family,
        trusted: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        via: false,
    }
}

fn peer(address: &str) -> Peer {
    Peer::new(
        SocketAddr::new(address.parse().unwrap(), 4711),
        Channel::Plain,
    )
}

fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(name.clone(), HeaderValue::from_static(value));
    }
    map
}

/// Written header lines.
fn read(out: &[u8]) -> HeaderMap {
    let text = str::from_utf8(out).unwrap();
    text.lines()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect::<Vec<(HeaderName, HeaderValue)>>()
        .into_iter()
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

/// What an upstream is told: `Forwarded`, or the three of the other family joined by `|`.
fn told(family: Forwarded, peer_address: &str, lines: &[(HeaderName, &'static str)]) -> String {
    let (forwarding, peer) = (forwarding(family), peer(peer_address));
    let origin = forwarding.origin(&peer, &headers(lines));
    let mut out = Vec::new();
    let host = HeaderValue::from_static("api.example:8080");
    forwarding.write(&mut out, &origin, &peer, Some(&host));
    let out = read(&out);
    [
        FORWARDED,
        X_FORWARDED_FOR,
        X_FORWARDED_PROTO,
        X_FORWARDED_HOST,
    ]
    .iter()
    .filter_map(|name| Some(out.get(name)?.to_str().unwrap().to_owned()))
    .collect::<Vec<_>>()
    .join("|")
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_says() {
    let spoofed = [
        (X_FORWARDED_FOR, "1.1.1.1"),
        (X_FORWARDED_PROTO, "https"),
        (X_FORWARDED_HOST, "evil.example"),
    ];
    assert_eq!(
        told(Forwarded::XForwarded, "192.0.2.1", &spoofed),
        "192.0.2.1|http|api.example:8080"
    );
}

#[test]
fn the_chain_is_read_right_to_left_to_the_first_untrusted_hop() {
    for (chain, written) in [
        ("203.0.113.9", "203.0.113.9, 10.0.0.1"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9, 10.0.0.1"),
        (
            "6.6.6.6, 203.0.113.9, 10.0.0.2, 10.0.0.3",
            "203.0.113.9, 10.0.0.2, 10.0.0.3, 10.0.0.1",
        ),
        ("10.0.0.7, 10.0.0.2", "10.0.0.7, 10.0.0.2, 10.0.0.1"),
        ("203.0.113.9:4711", "203.0.113.9, 10.0.0.1"),
        ("::ffff:203.0.113.9", "203.0.113.9, 10.0.0.1"),
        ("[2001:db8::1]:443", "2001:db8::1, 10.0.0.1"),
        ("203.0.113.9, unknown, 10.0.0.2", "10.0.0.2, 10.0.0.1"),
        ("garbage", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
    ] {
        let told = told(
            Forwarded::XForwarded,
            "10.0.0.1",
            &[(X_FORWARDED_FOR, chain)],
        );
        let (addresses, _) = told.split_once('|').unwrap();
        assert_eq!(addresses, written, "{chain}");
    }
}

#[test]
fn several_lines_are_one_chain() {
    let lines = [
        (X_FORWARDED_FOR, "6.6.6.6"),
        (X_FORWARDED_FOR, "203.0.113.9, 10.0.0.2"),
    ];
    let origin =
        forwarding(Forwarded::XForwarded).origin(&peer("::ffff:10.0.0.1"), &headers(&lines));
    assert_eq!(origin.client, "203.0.113.9".parse::<IpAddr>().unwrap());
    assert_eq!(origin.between, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn protocol_and_host_of_a_trusted_peer_are_believed() {
    let lines = [
        (X_FORWARDED_FOR, "203.0.113.9, 10.0.0.2"),
        (X_FORWARDED_PROTO, "https, http"),
        (X_FORWARDED_HOST, "shop.example"),
    ];
    assert_eq!(
        told(Forwarded::XForwarded, "10.0.0.1", &lines),
        "203.0.113.9, 10.0.0.2, 10.0.0.1|https|shop.example"
    );
    let odd = [
        (X_FORWARDED_FOR, "203.0.113.9"),
        (X_FORWARDED_PROTO, "gopher"),
        (X_FORWARDED_HOST, "a b\";x=\""),
    ];
    assert_eq!(
        told(Forwarded::XForwarded, "10.0.0.1", &odd),
        "203.0.113.9, 10.0.0.1|http|api.example:8080"
    );
}

#[test]
fn a_trusted_peer_may_tell_the_protocol_alone() {
    let lines = [(X_FORWARDED_PROTO, "https")];
    assert_eq!(
        told(Forwarded::XForwarded, "10.0.0.1", &lines),
        "10.0.0.1|https|api.example:8080"
    );
}

#[test]
fn rfc_7239_is_read_and_written() {
    let lines = [(
        FORWARDED,
        "for=6.6.6.6, for=\"[2001:db8::9]:80\";proto=https;host=\"a.example:1\", For=10.0.0.2",
    )];
    assert_eq!(
        told(Forwarded::Forwarded, "fd00::1", &lines),
        "for=\"[2001:db8::9]\";proto=https;host=\"a.example:1\", for=10.0.0.2, for=\"[fd00::1]\""
    );
    assert_eq!(
        told(Forwarded::Forwarded, "192.0.2.1", &lines),
        "for=192.0.2.1;proto=http;host=\"api.example:8080\""
    );
}

#[test]
fn the_other_family_is_not_believed() {
    let lines = [(FORWARDED, "for=203.0.113.9;proto=https")];
    assert_eq!(
        told(Forwarded::XForwarded, "10.0.0.1", &lines),
        "10.0.0.1|http|api.example:8080"
    );
    assert_eq!(told(Forwarded::None, "10.0.0.1", &lines), "");
}

#[test]
fn a_peer_over_tls_is_https_unless_a_trusted_one_says_otherwise() {
    let forwarding = forwarding(Forwarded::XForwarded);
    for (address, lines, proto) in [
        ("192.0.2.1", vec![], "https"),
        ("192.0.2.1", vec![(X_FORWARDED_PROTO, "http")], "https"),
        ("10.0.0.1", vec![], "https"),
        ("10.0.0.1", vec![(X_FORWARDED_FOR, "192.0.2.9")], "https"),
        ("10.0.0.1", vec![(X_FORWARDED_PROTO, "http")], "http"),
    ] {
        let peer = Peer::new(SocketAddr::new(address.parse().unwrap(), 1), Channel::Tls);
        let origin = forwarding.origin(&peer, &headers(&lines));
        assert_eq!(origin.proto(), proto, "{address} {lines:?}");
    }
}

#[test]
fn via_is_appended_only_when_asked_for() {
    let mut forwarding = forwarding(Forwarded::None);
    for (asked, version, written) in [
        (false, Version::HTTP_11, vec![]),
        (true, Version::HTTP_11, vec!["1.1 portcullis"]),
        (true, Version::HTTP_2, vec!["2.0 portcullis"]),
    ] {
        forwarding.via = asked;
        let mut out = Vec::new();
        forwarding.write_via(&mut out, version);
        let out = read(&out);
        let told: Vec<_> = out.get_all(VIA).iter().collect();
        assert_eq!(told, written);
    }
}
