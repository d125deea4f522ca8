//! The demo's issuer: a key, the tokens it signs, and the documents that lead to the key.

use std::convert::Infallible;
use std::net::SocketAddr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The name of the demo's key.
const KEY_ID: &str = "demo-key";

/// An issuer that listens.
pub(super) struct DemoIssuer {
    /// Its `iss`.
    pub(super) url: String,
    key: EncodingKey,
}

impl DemoIssuer {
    /// Makes a key, and serves discovery and the key set on a free local port until the runtime ends.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let failed = |_| std::io::Error::other("the demo's signing key could not be made");
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())
            .map_err(|_| std::io::Error::other("the demo's signing key could not be read"))?;
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") }).to_string();
        let jwks = json!({ "keys": [public_key(pair.public_key().as_ref())] }).to_string();
        tokio::spawn(serve(listener, discovery, jwks));
        Ok(Self {
            url,
            key: EncodingKey::from_ec_der(document.as_ref()),
        })
    }

    /// Signs those claims.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(KEY_ID.to_owned());
        jsonwebtoken::encode(&header, claims, &self.key)
    }
}

/// RFC 7518 §6.2.1, from an uncompressed point.
fn public_key(point: &[u8]) -> Value {
    let coordinate = |range: std::ops::Range<usize>| {
        BASE64URL_NOPAD.encode(point.get(range).unwrap_or_default())
    };
    json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
        "x": coordinate(1..33), "y": coordinate(33..65) })
}

async fn serve(listener: TcpListener, discovery: String, jwks: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (discovery, jwks) = (discovery.clone(), jwks.clone());
        let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let body = match request.uri().path() {
                "/.well-known/openid-configuration" => Some(discovery.clone()),
                "/jwks" => Some(jwks.clone()),
                _ => None,
            };
            async move { Ok::<_, Infallible>(document(body)) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer),
        );
    }
}

fn document(body: Option<String>) -> Response<Full<bytes::Bytes>> {
    let status = if body.is_some() {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    };
    let mut response = Response::new(Full::from(body.unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
