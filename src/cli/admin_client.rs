//! `portcullis revoke | restore | revocations | healthcheck`: what an operator asks a running gateway.
//!
//! Owns the requests to the admin listener and how their answers are printed. Knows nothing of how a gateway works.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use reqwest::{Client, Method, Response, Url};
use serde_json::{Map, Value, json};

use super::request_body::Body;
use super::revocation_line::line_of;
use super::transfer::Transfer;
use crate::config::{self, Admin, Secret};
use crate::revocation::RevocationKind;

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
#[command(
    override_usage = "portcullis revoke [OPTIONS] --issuer <ISSUER> <--jti <JTI>|--subject <SUBJECT>|--session <SESSION>|--client <CLIENT>|--key <KEY>>\n       portcullis revoke [OPTIONS] --token <TOKEN>"
)]
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
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct RevocationsArguments {
    #[command(subcommand)]
    transfer: Option<Transfer>,
    #[command(flatten)]
    gateway: Gateway,
    /// Only of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(RevocationKind::ALL.map(RevocationKind::name)))]
    kind: Option<String>,
    /// Only of this issuer
    #[arg(long)]
    issuer: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl RevocationsArguments {
    /// What to do with all of them, unless they are to be listed.
    pub(super) fn take_transfer(&mut self) -> Option<Transfer> {
        self.transfer.take()
    }
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
        let target = arguments.gateway.find()?;
        let body = body_of(&arguments)?;
        let answer = target
            .ask(Method::POST, "/api/revocations", &[], Body::Json(body))
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
        let target = arguments.gateway.find()?;
        let is_id = arguments
            .id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_id || arguments.id.is_empty() {
            return Err(format!("{:?} is no id of a revocation", arguments.id));
        }
        let path = format!("/api/revocations/{}", arguments.id);
        target.ask(Method::DELETE, &path, &[], Body::None).await?;
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
    let mut is_empty = true;
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
            is_empty = false;
            if arguments.json {
                writeln!(out, "{revocation}")?;
            } else {
                writeln!(out, "{}", line_of(revocation))?;
            }
        }
        cursor = match page.get("cursor") {
            Some(Value::String(next)) => Some(next.clone()),
            Some(Value::Number(next)) => Some(next.to_string()),
            _ => break,
        };
    }
    if is_empty {
        writeln!(errors, "portcullis: {}", nothing_found(&arguments))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An issuer that is configured no longer may still have revocations, so the gateway refuses no name.
fn nothing_found(arguments: &RevocationsArguments) -> String {
    match &arguments.issuer {
        None if arguments.kind.is_some() => "nothing of this kind is revoked".to_owned(),
        None => "nothing is revoked".to_owned(),
        Some(issuer) => format!(
            "nothing is revoked of the issuer {issuer:?} (its configured name, or its iss to the byte)"
        ),
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
            .ask(Method::GET, "/api/revocations", &query, Body::None)
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
        target.ask(Method::GET, path, &[], Body::None).await?;
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

/// A gateway, and what it asks of operators.
pub(super) struct Target {
    url: String,
    credential: Option<Secret>,
    /// The file could not say where its gateway is.
    is_guess: bool,
    /// What is wrong with what the file says of it, a line each.
    doubts: String,
}

impl Gateway {
    /// The configuration that names it.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The gateway that is meant, for what must reach no other.
    pub(super) fn find(&self) -> Result<Target, String> {
        let target = self.look_up()?;
        if target.is_guess {
            let unknown = "the file does not say where its gateway is, and nothing was asked; name it with --admin URL";
            return Err(format!("{unknown}{}", target.doubts));
        }
        Ok(target)
    }

    /// Where the file cannot say where its gateway is, the default listener: a wrong edit makes no running gateway sick.
    fn find_or_guess(&self, errors: &mut dyn Write) -> Result<Target, String> {
        let target = self.look_up()?;
        if target.is_guess {
            let said = writeln!(
                errors,
                "portcullis: the file does not say where its gateway is; {DEFAULT_ADMIN} is asked{}",
                target.doubts
            );
            said.map_err(|error| error.to_string())?;
        }
        Ok(target)
    }

    fn look_up(&self) -> Result<Target, String> {
        let mut target = match (&self.admin, &self.config) {
            (Some(url), _) => Target::new(url.trim_end_matches('/'), None),
            (None, None) => Target::new(DEFAULT_ADMIN, None),
            (None, Some(file)) => Target::of_file(file),
        };
        if let Some(path) = &self.admin_token_file {
            let content =
                std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            target.credential = Some(Secret::from_file_content(content));
        }
        Ok(target)
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
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn new(url: &str, credential: Option<Secret>) -> Self {
        Self {
            url: url.to_owned(),
            credential,
            is_guess: false,
            doubts: String::new(),
        }
    }

    /// Of the file's faults only those matter that keep its gateway from being found.
    fn of_file(file: &Path) -> Self {
        let loaded = config::load_admin(file);
        let (url, credential) = loaded
            .admin
            .as_ref()
            .map_or_else(|| (DEFAULT_ADMIN.to_owned(), None), admin_address);
        let faults = loaded.faults.iter();
        let doubts: Vec<String> = faults.map(|fault| format!("\n{fault}")).collect();
        Self {
            is_guess: loaded.admin.is_none(),
            doubts: doubts.concat(),
            ..Self::new(&url, credential)
        }
    }

    /// Asks, and turns every answer but success into words.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Body,
    ) -> Result<Response, String> {
        let absent = |error: reqwest::Error| {
            let why = if error.is_timeout() {
                "it does not answer"
            } else {
                "is it running?"
            };
            let doubts = &self.doubts;
            format!("no gateway can be asked at {} ({why}){doubts}", self.url)
        };
        let mut url = Url::parse(&format!("{}{path}", self.url))
            .map_err(|_| format!("{} is no URL", self.url))?;
        for (name, value) in query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let client = Client::builder()
            .no_proxy()
            .timeout(body.timeout())
            .build()
            .map_err(absent)?;
        let mut request = client.request(method, url);
        if let Some(credential) = &self.credential {
            request = request.bearer_auth(String::from_utf8_lossy(credential.expose()));
        }
        if let Some(content) = body.into_content() {
            let json = reqwest::header::HeaderValue::from_static("application/json");
            request = request
                .header(reqwest::header::CONTENT_TYPE, json)
                .body(content);
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
        let doubts = &self.doubts;
        Err(format!("the gateway answered {status}: {detail}{doubts}"))
    }
}

pub(super) async fn json_of(answer: Response) -> Result<Value, String> {
    let unreadable = "the gateway's answer cannot be read";
    let body = answer.bytes().await.map_err(|_| unreadable.to_owned())?;
    serde_json::from_slice(&body).map_err(|_| unreadable.to_owned())
}
