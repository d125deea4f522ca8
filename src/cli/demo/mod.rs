//! `portcullis demo`: an issuer, an API and a gateway between them, on free local ports, with no file at all.
//!
//! Owns the demo's tokens and what it prints. The gateway is the real one, started as `serve` starts it.

mod issuer;
mod upstream;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::app::{self, App};
use crate::config;
use crate::time::Clock;
use issuer::DemoIssuer;

/// How long the demo's tokens live, in seconds.
const LIFETIME: i64 = 24 * 3600;

/// One request that the demo shows.
struct Scene {
    title: &'static str,
    /// What the line after it will show.
    outcome: &'static str,
    token: Option<String>,
}

/// Runs until Ctrl-C.
pub(super) async fn run(out: &mut dyn Write) -> io::Result<ExitCode> {
    let issuer = DemoIssuer::start().await?;
    let api = upstream::start().await?;
    let text = configuration(&issuer.url, api);
    let loaded = config::load_text(&text, Path::new("demo.toml"))
        .map_err(|faults| io::Error::other(faults.to_string()))?;
    let mut settings = loaded.config;
    // What the demo keeps, it keeps in memory: no file is left behind.
    settings.server.listen = vec![free_port()];
    let app = App::start(app::Source::Fixed(Box::new(settings))).await;
    let app = app.map_err(io::Error::other)?;
    let scenes = scenes(&issuer).map_err(io::Error::other)?;
    revoke(&app, &scenes).await?;
    print(&app, &issuer, &scenes, out)?;
    app.run_until_signal().await.map_err(io::Error::other)
}

fn free_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn configuration(issuer: &str, api: SocketAddr) -> String {
    format!(
        r#"[server]
listen = ["127.0.0.1:0"]

[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
access = false

[[issuer]]
name = "demo"
issuer = "{issuer}"
discovery = true
audiences = ["demo-api"]
max_lifetime = "25h"

[[upstream]]
name = "api"
servers = ["http://{api}"]

[[route]]
name = "orders"
path = "/orders/*"
upstream = "api"
scopes = ["orders:read"]
"#
    )
}

fn scenes(issuer: &DemoIssuer) -> Result<Vec<Scene>, jsonwebtoken::errors::Error> {
    let now = Clock::system().now().as_seconds();
    let claims = |name: &str, changes: Value| {
        let mut claims = json!({
            "iss": issuer.url, "sub": "alice", "aud": "demo-api", "client_id": "demo-client",
            "scope": "orders:read profile", "iat": now, "exp": now + LIFETIME, "jti": format!("demo-{name}"),
        });
        if let (Some(claims), Value::Object(changes)) = (claims.as_object_mut(), changes) {
            claims.extend(changes);
        }
        claims
    };
    let sign = |name: &str, changes: Value| issuer.sign(&claims(name, changes));
    let valid = sign("valid", json!({}))?;
    let tampered = tampered(&valid, &claims("valid", json!({ "sub": "mallory" })));
    let scene = |title, outcome, token| Scene {
        title,
        outcome,
        token,
    };
    Ok(vec![
        scene(
            "a valid token",
            "200, and the API sees who calls",
            Some(valid),
        ),
        scene("no token", "401 token_missing", None),
        scene(
            "an expired token",
            "401 token_expired",
            Some(sign(
                "expired",
                json!({ "iat": now - 7200, "exp": now - 3600 }),
            )?),
        ),
        scene(
            "a tampered token (alice became mallory)",
            "401 signature_invalid",
            Some(tampered),
        ),
        scene(
            "a token for another API",
            "401 audience_mismatch",
            Some(sign("audience", json!({ "aud": "another-api" }))?),
        ),
        scene(
            "a token that may read a profile, but no orders",
            "403 scope_insufficient",
            Some(sign("scope", json!({ "scope": "profile" }))?),
        ),
        scene(
            "a revoked token",
            "401 token_revoked",
            Some(sign("revoked", json!({}))?),
        ),
    ])
}

/// The same header and signature around other claims.
fn tampered(token: &str, claims: &Value) -> String {
    let mut parts = token.split('.');
    let header = parts.next().unwrap_or_default();
    let signature = parts.nth(1).unwrap_or_default();
    let payload = data_encoding::BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
    format!("{header}.{payload}.{signature}")
}

/// Takes the last scene's token back, through the admin API as an operator would.
async fn revoke(app: &App, scenes: &[Scene]) -> io::Result<()> {
    let Some(token) = scenes.last().and_then(|scene| scene.token.as_deref()) else {
        return Ok(());
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(io::Error::other)?;
    let answer = client
        .post(format!("http://{}/api/revocations", app.admin_address()))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(json!({ "token": token, "reason": "the demo shows a revoked token" }).to_string())
        .send()
        .await
        .map_err(io::Error::other)?;
    answer.error_for_status().map_err(io::Error::other)?;
    Ok(())
}

fn print(app: &App, issuer: &DemoIssuer, scenes: &[Scene], out: &mut dyn Write) -> io::Result<()> {
    let Some(gateway) = app.public_addresses().first() else {
        return Ok(());
    };
    let admin = app.admin_address();
    writeln!(
        out,
        "Portcullis stands at http://{gateway} in front of a demo API."
    )?;
    writeln!(out, "Issuer {}   admin http://{admin}\n", issuer.url)?;
    writeln!(out, "Copy these lines into another terminal:\n")?;
    for scene in scenes {
        writeln!(out, "# {} -> {}", scene.title, scene.outcome)?;
        match &scene.token {
            Some(token) => writeln!(
                out,
                "curl -i http://{gateway}/orders/1 -H 'Authorization: Bearer {token}'\n"
            )?,
            None => writeln!(out, "curl -i http://{gateway}/orders/1\n")?,
        }
    }
    writeln!(
        out,
        "# what was refused, and why -> one count for each refusal above"
    )?;
    writeln!(
        out,
        "curl -s http://{admin}/metrics | grep rejections_total\n"
    )?;
    writeln!(out, "Ctrl-C ends the demo. Nothing was written to disk.")?;
    out.flush()
}
