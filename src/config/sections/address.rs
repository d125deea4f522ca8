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
    use super::collide;

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
