//! The commands that talk to a running gateway: `revoke`, `restore`, `revocations`, `healthcheck`.
//!
//! Owns their arguments, the requests to the admin listener and the form of what is printed. Must not know
//! how configuration is loaded: the caller hands in an [`AdminTarget`].

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::config::{Config, Secret};

mod table;

const TIMEOUT: Duration = Duration::from_secs(10);
const PAGE: u32 = 1000;

/// Where the gateway is found; common to all commands.
#[derive(Args, Clone, Debug, Default)]
pub struct AdminArgs {
    /// Address of the admin listener, http://HOST:PORT
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub admin: Option<String>,
    /// Configuration of the running gateway, to find the admin listener and its credential
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the admin credential; default: the one that the configuration names
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// Takes a token, a session, a subject, a client or a key back before it expires.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["jti", "subject", "session", "client", "key", "token"])))]
pub struct RevokeArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The token with this jti
    #[arg(long, value_name = "JTI")]
    pub jti: Option<String>,
    /// All tokens of this subject, future ones too unless --issued-before is given
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// With --subject: only tokens issued up to this time (Unix seconds or RFC 3339)
    #[arg(long, value_name = "TIME", requires = "subject", conflicts_with_all = ["jti", "session", "client", "key", "token"])]
    pub issued_before: Option<String>,
    /// All tokens of this session (sid)
    #[arg(long, value_name = "SID")]
    pub session: Option<String>,
    /// All tokens of this client
    #[arg(long, value_name = "CLIENT")]
    pub client: Option<String>,
    /// All tokens signed with this key (kid or RFC 7638 thumbprint)
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// This very token; "-" reads it from standard input, which is better: other users of this machine can see command lines
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Name or iss value of the issuer; not needed with --token
    #[arg(long, value_name = "NAME", required_unless_present = "token")]
    pub issuer: Option<String>,
    /// When the revocation ends (Unix seconds or RFC 3339); default: when no such token can be valid any more
    #[arg(long, value_name = "TIME")]
    pub expires_at: Option<String>,
    /// Why, for the list and the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Ends a revocation.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The id, as revoke and revocations print it
    pub id: String,
}

/// Lists what is revoked.
#[derive(Args, Clone, Debug)]
pub struct RevocationsArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Only this kind: jti, subject, session, client, key or token
    #[arg(long)]
    pub kind: Option<String>,
    /// Only this issuer, by name or iss value
    #[arg(long)]
    pub issuer: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// Asks whether the gateway lives, or is ready.
#[derive(Args, Clone, Debug)]
pub struct HealthcheckArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Ask whether it is ready for traffic
    #[arg(long)]
    pub ready: bool,
}

/// The admin listener, and the credential for it.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminTarget {
    /// `http://HOST:PORT`, without a slash at the end.
    pub url: String,
    pub token: Option<Secret>,
}

impl AdminTarget {
    /// The listener of a gateway that runs under `config` on this machine. An address that means "any" is called by loopback.
    pub fn of_config(config: &Config) -> Self {
        let mut address = config.admin.listen;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Self {
            url: format!("http://{address}"),
            token: config.admin.token.clone(),
        }
    }

    /// The one that `args` mean; `config` is what `args.config` names, already loaded. Without either, the default address.
    pub fn resolve(args: &AdminArgs, config: Option<&Config>) -> Result<Self, ClientError> {
        let mut target = match (&args.admin, config) {
            (Some(url), _) => Self {
                url: url.trim_end_matches('/').to_owned(),
                token: None,
            },
            (None, Some(config)) => Self::of_config(config),
            (None, None) => Self {
                url: "http://127.0.0.1:9090".to_owned(),
                token: None,
            },
        };
        if let Some(path) = &args.admin_token_file {
            target.token = Some(read_secret(path)?);
        }
        Ok(target)
    }
}

fn read_secret(path: &Path) -> Result<Secret, ClientError> {
    let content = std::fs::read(path).map_err(|source| ClientError::TokenFile {
        path: path.to_owned(),
        source,
    })?;
    Ok(Secret::from_file_content(content))
}

/// Why a command failed; the text is for the user.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot read the admin token from {path}: {source}", path = path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("cannot read the token from standard input: {0}")]
    Input(io::Error),
    #[error(
        "no gateway answers at {url} ({reason}); is it running, and is --admin or --config right?"
    )]
    Unreachable { url: String, reason: String },
    #[error("the gateway refused: {0}")]
    Refused(String),
    #[error("the answer of {0} is not that of a Portcullis admin listener")]
    NotPortcullis(String),
}

/// Runs `revoke`; the text is for standard output.
pub async fn revoke(args: &RevokeArgs, target: &AdminTarget) -> Result<String, ClientError> {
    let body = revoke_body(args, io::stdin())?;
    let answer = call(target, Method::POST, "/api/revocations", Some(&body)).await?;
    let is_new = answer.status() == StatusCode::CREATED;
    let document = document(target, answer).await?;
    let field = |name: &str| table::cell(document.get(name).unwrap_or(&Value::Null));
    let change = if is_new {
        "revoked"
    } else {
        "was revoked already"
    };
    let end = match field("expires_at") {
        end if end.is_empty() => "until restored".to_owned(),
        end => format!("until {end}"),
    };
    let (kind, issuer, id) = (field("kind"), field("issuer"), field("id"));
    Ok(format!("{id}  {kind} of {issuer} {change}, {end}\n"))
}

/// Runs `restore`; the text is for standard output.
pub async fn restore(args: &RestoreArgs, target: &AdminTarget) -> Result<String, ClientError> {
    if args.id.is_empty() || !args.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let text = "an id is 32 hexadecimal digits, as revocations prints them";
        return Err(ClientError::Refused(text.to_owned()));
    }
    let path = format!("/api/revocations/{}", args.id);
    call(target, Method::DELETE, &path, None).await?;
    Ok(format!("{}  restored\n", args.id))
}

/// Runs `revocations`; the text is for standard output.
pub async fn revocations(
    args: &RevocationsArgs,
    target: &AdminTarget,
) -> Result<String, ClientError> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("kind", args.kind.as_deref().unwrap_or_default())
            .append_pair("issuer", args.issuer.as_deref().unwrap_or_default())
            .append_pair("limit", &PAGE.to_string())
            .append_pair("cursor", &cursor)
            .finish();
        let path = format!("/api/revocations?{query}");
        let answer = call(target, Method::GET, &path, None).await?;
        let mut page = document(target, answer).await?;
        match page.remove("revocations") {
            Some(Value::Array(revocations)) => all.extend(revocations),
            _ => return Err(ClientError::NotPortcullis(target.url.clone())),
        }
        match page.remove("cursor") {
            Some(Value::String(next)) if next != cursor => cursor = next,
            _ => break,
        }
    }
    if args.json {
        return Ok(format!("{:#}\n", Value::Array(all)));
    }
    Ok(table::render(&all))
}

/// Runs `healthcheck`; the text is for standard output.
pub async fn healthcheck(
    args: &HealthcheckArgs,
    target: &AdminTarget,
) -> Result<String, ClientError> {
    if !args.ready {
        call(target, Method::GET, "/healthz", None).await?;
        return Ok("ok\n".to_owned());
    }
    let answer = call(target, Method::GET, "/readyz", None).await?;
    let status = document(target, answer).await?.remove("status");
    let status = status.as_ref().and_then(Value::as_str).unwrap_or("ready");
    Ok(format!("{status}\n"))
}

fn revoke_body(args: &RevokeArgs, mut input: impl Read) -> Result<Value, ClientError> {
    let mut token = args.token.clone();
    if token.as_deref() == Some("-") {
        let mut text = String::new();
        input
            .read_to_string(&mut text)
            .map_err(ClientError::Input)?;
        token = Some(text.trim().to_owned());
    }
    let mut body = Map::new();
    for (name, value) in [
        ("jti", &args.jti),
        ("subject", &args.subject),
        ("session", &args.session),
        ("client", &args.client),
        ("key", &args.key),
        ("token", &token),
        ("issuer", &args.issuer),
        ("reason", &args.reason),
    ] {
        if let Some(value) = value {
            body.insert(name.to_owned(), json!(value));
        }
    }
    for (name, time) in [
        ("issued_before", &args.issued_before),
        ("expires_at", &args.expires_at),
    ] {
        if let Some(time) = time {
            // The gateway judges it; a number is one of Unix seconds.
            let seconds = time.parse::<i64>().map(Value::from);
            body.insert(name.to_owned(), seconds.unwrap_or_else(|_| json!(time)));
        }
    }
    Ok(Value::Object(body))
}

async fn call(
    target: &AdminTarget,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Response, ClientError> {
    let unreachable = |error: reqwest::Error| ClientError::Unreachable {
        url: target.url.clone(),
        reason: innermost(&error.without_url()),
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(unreachable)?;
    let mut request = client.request(method, format!("{}{path}", target.url));
    if let Some(token) = &target.token {
        request = request.bearer_auth(String::from_utf8_lossy(token.expose()));
    }
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await.map_err(unreachable)?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(ClientError::Refused(refusal(answer).await))
}

/// What a problem document says, or a health answer, or at least the status.
async fn refusal(answer: Response) -> String {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let text_of = |name: &str| document.get(name).and_then(Value::as_str);
    let mut refusal = String::new();
    if let Some(member) = text_of("member") {
        write!(refusal, "{member}: ").ok();
    }
    match text_of("detail").or_else(|| text_of("status")) {
        Some(detail) => refusal.push_str(detail),
        None => refusal.push_str(status.as_str()),
    }
    refusal
}

async fn document(
    target: &AdminTarget,
    answer: Response,
) -> Result<Map<String, Value>, ClientError> {
    let text = answer.text().await.unwrap_or_default();
    serde_json::from_str(&text).map_err(|_| ClientError::NotPortcullis(target.url.clone()))
}

/// The last cause: "Connection refused" rather than what led there.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Prints what a command gave; whether it succeeded. Errors go to standard error.
pub fn report(outcome: &Result<String, ClientError>) -> bool {
    match outcome {
        Ok(text) => io::stdout().write_all(text.as_bytes()).is_ok(),
        Err(error) => {
            writeln!(io::stderr(), "portcullis: {error}").ok();
            false
        }
    }
}

#[cfg(test)]
mod tests;
