//! TLS as clients and servers speak it, with certificates made for a test.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "each suite takes what it needs, and a test fails by panicking"
)]

pub mod certificates;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion, WantsVerifier,
};

use crate::support::Connection;
use crate::support::http::connect;

pub use certificates::{Authority, Pair};

pub type TlsConnection = Connection<StreamOwned<ClientConnection, TcpStream>>;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn client_builder(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("versions")
}

/// A client that believes `authority`.
pub fn client(authority: &Authority) -> Arc<ClientConfig> {
    client_of(authority, rustls::ALL_VERSIONS, None)
}

pub fn client_of(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    shown: Option<&Pair>,
) -> Arc<ClientConfig> {
    let builder = client_builder(versions).with_root_certificates(authority.roots());
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => builder
            .with_client_auth_cert(pair.chain(), pair.private_key())
            .expect("a client certificate"),
    })
}

/// TLS with whoever listens there, under that name.
pub fn open(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> TlsConnection {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    Connection::over(StreamOwned::new(session, connect(address)))
}

/// The certificate that is shown to a client that asks for `name`.
pub fn shown(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Option<CertificateDer<'static>> {
    let mut connection = open(address, config, name);
    let stream = connection.stream_mut();
    stream.conn.complete_io(&mut stream.sock).ok()?;
    stream.conn.peer_certificates()?.first().cloned()
}

/// What a server makes of each connection. `clients`: whose certificates it asks for.
pub fn acceptor(
    pair: &Pair,
    clients: Option<&Authority>,
) -> impl Fn(TcpStream) -> Option<StreamOwned<ServerConnection, TcpStream>> + Send + Sync + 'static
{
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authority.roots(), provider()).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let config = builder
        .with_single_cert(pair.chain(), pair.private_key())
        .expect("a certificate");
    let config = Arc::new(config);
    move |mut stream| {
        let mut session = ServerConnection::new(Arc::clone(&config)).ok()?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).ok()?;
        }
        Some(StreamOwned::new(session, stream))
    }
}
