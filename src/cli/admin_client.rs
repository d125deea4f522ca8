//! `portcullis revoke | restore | revocations | healthcheck`: what an operator asks a running gateway.
//!
//! Owns the requests to the admin listener and how their answers are printed. Knows nothing of how a gateway works.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::{Client, Method, Response, Url};
use serde_json::{Map, Value, json};

use crate::config::{self, Admin, Fault, Secret};
use crate::time::UnixTime;

/// How long a gateway has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than any token; standard input is not read further.
const MAX_INPUT: u64 = 1 << 20;
/// Where a gateway listens that says nothing else.
const DEFAULT_ADMIN: &str = "http://127.0.0.1:9090";

/// Which gateway is meant.
#[derive(Args, Debug)]
pub(super) struct Gateway {
    /// The admin listener's address [default: loopback, port 9090]
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    admin: Option<String>,
    /// Find address and credential in this configuration; of its faults, only those of [admin] matter
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file with the admin credential
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

/// `portcullis revoke`
#[derive(Args, Debug)]
pub(super) struct RevokeArguments {
    #[command(flatten)]
    gateway: Gateway,
    /// What to revoke
    #[command(flatten)]
    what: What,
    /// The issuer: its configured name, or its `iss` (not needed with --token)
    #[arg(long, required_unless_present = "token")]
    issuer: Option<String>,
    /// With --subject: only tokens issued at or before this moment (Unix seconds or RFC 3339)
    #[arg(long, value_name = "TIME", requires = "subject")]
    issued_before: Option<String>,
    /// When the revocation may be forgotten (Unix seconds or RFC 3339)
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Why, for those who come later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// One token, by its `jti`
    #[arg(long)]
    jti: Option<String>,
    /// All tokens of a subject
    #[arg(long)]
    subject: Option<String>,
    /// All tokens of a session (`sid`)
    #[arg(long)]
    session: Option<String>,
    /// All tokens of a client
    #[arg(long)]
    client: Option<String>,
    /// Everything signed by a key: its kid or RFC 7638 thumbprint
    #[arg(long)]
    key: Option<String>,
    /// The token itself; `-` reads it from standard input, where others on this machine cannot see it
    #[arg(long)]
    token: Option<String>,
}

/// `portcullis restore`
#[derive(Args, Debug)]
pub(super) struct RestoreArguments {
    #[command(flatten)]
    gateway: Gateway,
    /// The revocation's id
    id: String,
}

/// `portcullis revocations`
#[derive(Args, Debug)]
pub(super) struct RevocationsArguments {
    #[command(flatten)]
    gateway: Gateway,
    /// Only of this kind: jti, subject, session, client, key or token
    #[arg(long)]
    kind: Option<String>,
    /// Only of this issuer
    #[arg(long)]
    issuer: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// `portcullis healthcheck`
#[derive(Args, Debug)]
pub(super) struct HealthcheckArguments {
    #[command(flatten)]
    gateway: Gateway,
    /// Ask whether it is ready, not only whether it lives
    #[arg(long)]
    ready: bool,
}

/// Takes something back. Exit code 0, or 1 if the gateway did not.
pub(super) async fn revoke(
    arguments: RevokeArguments,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<ExitCode> {
    let outcome: Result<String, String> = async {
        let target = arguments.gateway.find(errors)?;
        let body = body_of(&arguments)?;
        let answer = target
            .ask(Method::POST, "/api/revocations", &[], Some(body))
            .await?;
        let revocation = json_of(answer).await?;
        Ok(format!("revoked: {}", line_of(&revocation)))
    }
    .await;
    print(outcome, out, errors)
}

/// Takes a revocation back. Exit code 0, or 1 if there is none of that id.
pub(super) async fn restore(
    arguments: RestoreArguments,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<ExitCode> {
    let outcome: Result<String, String> = async {
        let target = arguments.gateway.find(errors)?;
        let is_id = arguments
            .id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_id || arguments.id.is_empty() {
            return Err(format!("{:?} is no id of a revocation", arguments.id));
        }
        let path = format!("/api/revocations/{}", arguments.id);
        target.ask(Method::DELETE, &path, &[], None).await?;
        Ok(format!("restored: {}", arguments.id))
    }
    .await;
    print(outcome, out, errors)
}

/// Lists what is revoked, page by page. Exit code 0, or 1 if the gateway cannot be asked.
pub(super) async fn revocations(
    arguments: RevocationsArguments,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<ExitCode> {
    let target = match arguments.gateway.find_or_guess(errors) {
        Ok(target) => target,
        Err(fault) => return print(Err(fault), out, errors),
    };
    let mut cursor: Option<String> = None;
    loop {
        let page = match page(&target, &arguments, cursor.as_deref()).await {
            Ok(page) => page,
            Err(fault) => return print(Err(fault), out, errors),
        };
        for revocation in page
            .get("revocations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if arguments.json {
                writeln!(out, "{revocation}")?;
            } else {
                writeln!(out, "{}", line_of(revocation))?;
            }
        }
        cursor = match page.get("cursor") {
            Some(Value::String(next)) => Some(next.clone()),
            Some(Value::Number(next)) => Some(next.to_string()),
            _ => return Ok(ExitCode::SUCCESS),
        };
    }
}

async fn page(
    target: &Target,
    arguments: &RevocationsArguments,
    cursor: Option<&str>,
) -> Result<Value, String> {
    let query = [
        ("kind", arguments.kind.as_deref()),
        ("issuer", arguments.issuer.as_deref()),
        ("limit", Some("1000")),
        ("cursor", cursor),
    ];
    let query: Vec<_> = query
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    json_of(
        target
            .ask(Method::GET, "/api/revocations", &query, None)
            .await?,
    )
    .await
}

/// Asks `/healthz` or `/readyz`. Exit code 0, or 1.
pub(super) async fn healthcheck(
    arguments: HealthcheckArguments,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<ExitCode> {
    let path = if arguments.ready {
        "/readyz"
    } else {
        "/healthz"
    };
    let outcome: Result<String, String> = async {
        let target = arguments.gateway.find_or_guess(errors)?;
        target.ask(Method::GET, path, &[], None).await?;
        Ok("ok".to_owned())
    }
    .await;
    print(outcome, out, errors)
}

fn print(
    outcome: Result<String, String>,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<ExitCode> {
    match outcome {
        Ok(text) => {
            writeln!(out, "{text}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            writeln!(errors, "portcullis: {fault}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn body_of(arguments: &RevokeArguments) -> Result<Value, String> {
    let what = &arguments.what;
    let token = match what.token.as_deref() {
        Some("-") => Some(read_token()?),
        token => token.map(str::to_owned),
    };
    let members = [
        ("jti", what.jti.clone()),
        ("subject", what.subject.clone()),
        ("session", what.session.clone()),
        ("client", what.client.clone()),
        ("key", what.key.clone()),
        ("token", token),
        ("issuer", arguments.issuer.clone()),
        ("reason", arguments.reason.clone()),
    ];
    let mut body: Map<String, Value> = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
        .collect();
    let times = [
        ("issued_before", &arguments.issued_before),
        ("expires_at", &arguments.expires_at),
    ];
    for (name, value) in times {
        if let Some(value) = value {
            let moment = value
                .parse::<i64>()
                .map_or_else(|_| json!(value), |seconds| json!(seconds));
            body.insert(name.to_owned(), moment);
        }
    }
    Ok(Value::Object(body))
}

fn read_token() -> Result<String, String> {
    let mut token = String::new();
    io::stdin()
        .take(MAX_INPUT)
        .read_to_string(&mut token)
        .map_err(|error| format!("standard input cannot be read: {error}"))?;
    Ok(token.trim().to_owned())
}

/// One revocation as people read it.
fn line_of(revocation: &Value) -> String {
    let text = |name: &str| match revocation.get(name) {
        Some(Value::String(text)) => text.chars().flat_map(char::escape_debug).collect(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let expires = revocation
        .get("expires_at")
        .and_then(Value::as_i64)
        .map_or_else(
            || "until restored".to_owned(),
            |seconds| format!("until {}", UnixTime::from_seconds(seconds).to_rfc3339()),
        );
    let value = ["jti", "subject", "session", "client", "key", "token_id"]
        .iter()
        .map(|name| text(name));
    let value = value
        .into_iter()
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let line = format!(
        "{}  {:<8} {:<12} {expires}  {value}  {}",
        text("id"),
        text("kind"),
        text("issuer"),
        text("reason")
    );
    line.trim_end().to_owned()
}

/// A gateway, and what it asks of operators.
struct Target {
    url: String,
    credential: Option<Secret>,
    /// The file could not say where its gateway is.
    is_guess: bool,
}

impl Gateway {
    /// The gateway that is meant, for what must reach no other.
    fn find(&self, errors: &mut dyn Write) -> Result<Target, String> {
        match self.find_or_guess(errors)? {
            target if target.is_guess => {
                Err("nothing was asked; name the gateway with --admin URL".to_owned())
            }
            target => Ok(target),
        }
    }

    /// Where the file cannot say where its gateway is, the default listener: a wrong edit makes no running gateway sick.
    fn find_or_guess(&self, errors: &mut dyn Write) -> Result<Target, String> {
        let (mut target, faults) = self.look_up();
        for fault in faults {
            writeln!(errors, "{fault}").map_err(|error| error.to_string())?;
        }
        if target.is_guess {
            writeln!(
                errors,
                "portcullis: the file does not say where its gateway is; by default that is {DEFAULT_ADMIN}"
            )
            .map_err(|error| error.to_string())?;
        }
        if let Some(path) = &self.admin_token_file {
            let content =
                std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            target.credential = Some(Secret::from_file_content(content));
        }
        Ok(target)
    }

    fn look_up(&self) -> (Target, Vec<Fault>) {
        let target = |url: &str, credential, is_guess| Target {
            url: url.to_owned(),
            credential,
            is_guess,
        };
        match (&self.admin, &self.config) {
            (Some(url), _) => (target(url.trim_end_matches('/'), None, false), Vec::new()),
            (None, None) => (target(DEFAULT_ADMIN, None, false), Vec::new()),
            (None, Some(file)) => {
                let loaded = config::load_admin(file);
                let found = match &loaded.admin {
                    Some(admin) => {
                        let (url, credential) = admin_address(admin);
                        target(&url, credential, false)
                    }
                    None => target(DEFAULT_ADMIN, None, true),
                };
                (found, loaded.faults)
            }
        }
    }
}

/// Where the admin listener of a configuration is reached from this machine, and its credential.
pub(super) fn admin_address(admin: &Admin) -> (String, Option<Secret>) {
    let mut address = admin.listen;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    (format!("http://{address}"), admin.token.clone())
}

impl Target {
    /// Asks, and turns every answer but success into words.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Response, String> {
        let absent = |error: reqwest::Error| {
            let why = if error.is_timeout() {
                "it does not answer"
            } else {
                "is it running?"
            };
            format!("no gateway can be asked at {} ({why})", self.url)
        };
        let mut url = Url::parse(&format!("{}{path}", self.url))
            .map_err(|_| format!("{} is no URL", self.url))?;
        for (name, value) in query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let client = Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(absent)?;
        let mut request = client.request(method, url);
        if let Some(credential) = &self.credential {
            request = request.bearer_auth(String::from_utf8_lossy(credential.expose()));
        }
        if let Some(body) = body {
            let json = reqwest::header::HeaderValue::from_static("application/json");
            request = request
                .header(reqwest::header::CONTENT_TYPE, json)
                .body(body.to_string());
        }
        let answer = request.send().await.map_err(absent)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let problem = json_of(answer).await.unwrap_or_default();
        let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail")
            .or_else(|| text("status"))
            .unwrap_or_else(|| "no more was said".to_owned());
        Err(format!("the gateway answered {status}: {detail}"))
    }
}

async fn json_of(answer: Response) -> Result<Value, String> {
    let unreadable = "the gateway's answer cannot be read";
    let body = answer.bytes().await.map_err(|_| unreadable.to_owned())?;
    serde_json::from_slice(&body).map_err(|_| unreadable.to_owned())
}
