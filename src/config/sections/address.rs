//! Addresses to listen on.

use std::net::{IpAddr, SocketAddr};

use super::super::node::Text;
use super::super::reader::Section;
use super::super::{Admin, Server};

/// Reads `ADDRESS:PORT`.
pub(super) fn parse(text: &Text<'_>) -> Option<SocketAddr> {
    if let Ok(address) = text.value.parse() {
        return Some(address);
    }
    let hint = match text.value.strip_prefix(':') {
        Some(port) if port.parse::<u16>().is_ok() => format!(" (did you mean \"0.0.0.0:{port}\"?)"),
        _ => String::new(),
    };
    text.node.fault(format!(
        "is not an address to listen on, expected an IP address and a port such as \"0.0.0.0:8080\" or \"[::]:8080\"{hint}"
    ));
    None
}

/// Whether the two cannot both be bound. Port 0 is a new port each time.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let covers = |address: IpAddr| same_family && address.is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || covers(one.ip()) || covers(other.ip()))
}

/// Whether a connection to that host and port would come to `listen`, as far as the text tells.
pub(super) fn reaches(host: &str, port: u16, listen: SocketAddr) -> bool {
    if listen.port() != port {
        return false;
    }
    let ours = listen.ip().to_canonical();
    let takes = |address: IpAddr| {
        let local = address.is_loopback() || address.is_unspecified();
        // A connection to no address in particular is one to this machine, and IPv6's takes IPv4 along.
        ours == address
            || (local && (ours.is_unspecified() || address.is_unspecified() && ours.is_loopback()))
    };
    match host.parse::<IpAddr>() {
        Ok(address) => takes(address.to_canonical()),
        Err(_) => {
            host.eq_ignore_ascii_case("localhost") && (ours.is_loopback() || ours.is_unspecified())
        }
    }
}

/// The admin listener needs an address of its own.
pub(super) fn compare(section: &Section<'_>, server: &Server, admin: &Admin) {
    if server
        .listen
        .iter()
        .any(|address| collide(*address, admin.listen))
    {
        section.fault_at(
            "listen",
            "is an address that server.listen takes too, expected another address or port",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{collide, reaches};

    #[test]
    fn a_server_is_ours_when_a_connection_to_it_would_come_to_us() {
        let is_ours = |host: &str, listen: &str| reaches(host, 80, listen.parse().unwrap());
        for (host, listen, ours) in [
            ("127.0.0.1", "127.0.0.1:80", true),
            ("127.0.0.1", "0.0.0.0:80", true),
            ("0.0.0.0", "127.0.0.1:80", true),
            ("::1", "[::]:80", true),
            ("127.0.0.1", "[::]:80", true),
            ("localhost", "127.0.0.1:80", true),
            ("LocalHost", "[::]:80", true),
            ("10.0.0.1", "10.0.0.1:80", true),
            ("127.0.0.1", "127.0.0.1:81", false),
            ("127.0.0.1", "10.0.0.1:80", false),
            ("10.0.0.1", "0.0.0.0:80", false),
            ("api.internal", "0.0.0.0:80", false),
        ] {
            assert_eq!(is_ours(host, listen), ours, "{host} and {listen}");
        }
    }

    #[test]
    fn addresses_collide_when_one_covers_the_other_on_the_same_port() {
        let collides =
            |one: &str, other: &str| collide(one.parse().unwrap(), other.parse().unwrap());
        assert!(collides("127.0.0.1:80", "127.0.0.1:80"));
        assert!(collides("0.0.0.0:80", "127.0.0.1:80"));
        assert!(collides("[::1]:80", "[::]:80"));
        assert!(!collides("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!collides("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!collides("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!collides("0.0.0.0:80", "[::]:80"));
    }
}
