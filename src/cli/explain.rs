//! `portcullis explain`: why a token is, or is not, good.
//!
//! Owns how the explanation is asked for and printed; every check is the gate's own.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::request::Parts;
use serde_json::Value;

use crate::config::{self, Config, Secret};
use crate::gate::{Check, CheckResult, Explanation, Gate, Inquiry, Outcome, RevocationSource};
use crate::identity::IssuerId;
use crate::keys::Refresher;
use crate::rejection::Rejection;
use crate::revocation::{RevocationSet, Verdict};
use crate::time::Clock;

/// How long the running gateway has to say whether the token was revoked.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// More than any token; standard input is not read further.
const MAX_INPUT: u64 = 1 << 20;

/// Why is this token (not) good?
#[derive(Args, Debug)]
pub(super) struct ExplainArguments {
    /// The configuration whose rules apply
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The request's method, to choose the route by
    #[arg(long, default_value = "GET", value_name = "METHOD")]
    method: String,
    /// The request's URL, or its path alone, to choose the route by; without it audience, scopes and claims are not judged
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A file with the credential of the running gateway's admin listener, which is asked whether the token was revoked
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// The token; read from standard input where it is left out or `-` (others can see command lines)
    token: Option<String>,
}

/// Runs the command. Exit codes: 0 admitted, 1 rejected, 2 wrong usage or configuration, 3 cannot be decided.
pub(super) async fn run(
    arguments: ExplainArguments,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<ExitCode> {
    let config = match config::load(&arguments.config) {
        Ok(loaded) => loaded.config,
        Err(faults) => {
            writeln!(errors, "{faults}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let inputs = inputs(&arguments).and_then(|inputs| Ok((inputs, credential(&arguments)?)));
    let ((token, request), credential) = match inputs {
        Ok(inputs) => inputs,
        Err(fault) => {
            writeln!(errors, "explain: {fault}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let explanation = examine(&config, &token, request.as_ref(), credential).await;
    if arguments.json {
        writeln!(out, "{:#}", serde_json::to_value(&explanation)?)?;
    } else {
        let style = Style {
            colours: io::stdout().is_terminal(),
        };
        print_text(&explanation, &style, out)?;
    }
    Ok(ExitCode::from(match explanation.outcome {
        Outcome::Admitted => 0,
        Outcome::Rejected => 1,
        Outcome::Undecided => 3,
    }))
}

fn inputs(arguments: &ExplainArguments) -> Result<(String, Option<Parts>), String> {
    let token = match &arguments.token {
        Some(token) if token != "-" => token.clone(),
        _ => read_token().map_err(|error| format!("standard input cannot be read: {error}"))?,
    };
    let request = match &arguments.url {
        Some(url) => Some(request_head(&arguments.method, url)?),
        None => None,
    };
    Ok((bare_token(&token).to_owned(), request))
}

/// What the admin listener is to be told instead of the configuration's own token.
fn credential(arguments: &ExplainArguments) -> Result<Option<Secret>, String> {
    let Some(path) = &arguments.admin_token_file else {
        return Ok(None);
    };
    let content = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(Secret::from_file_content(content)))
}

fn read_token() -> io::Result<String> {
    let mut token = String::new();
    io::stdin().take(MAX_INPUT).read_to_string(&mut token)?;
    Ok(token)
}

/// The token itself, where a whole header was pasted.
fn bare_token(pasted: &str) -> &str {
    let mut token = pasted.trim();
    for prefix in ["authorization:", "bearer "] {
        if let Some((start, rest)) = token.split_at_checked(prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            token = rest.trim_start();
        }
    }
    token
}

/// The head that a client would send for that URL. A bare path is one of no particular host.
fn request_head(method: &str, url: &str) -> Result<Parts, String> {
    let expected = "expected http(s)://HOST/PATH, or /PATH alone";
    let uri: http::Uri = url
        .parse()
        .map_err(|_| format!("--url {url:?} is no URL, {expected}"))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http && !url.starts_with('/') {
        return Err(format!(
            "--url {url:?} is no address of a gateway, {expected}"
        ));
    }
    let host = uri
        .authority()
        .map_or("localhost", |authority| authority.as_str());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    http::Request::builder()
        .method(method)
        .uri(target)
        .header(http::header::HOST, host)
        .body(())
        .map(|request| request.into_parts().0)
        .map_err(|_| format!("--method {method:?} or --url {url:?} cannot be sent"))
}

/// Asks a gate built from the configuration, with keys fetched now or else those that the gateway stored.
async fn examine(
    config: &Config,
    token: &str,
    request: Option<&Parts>,
    credential: Option<Secret>,
) -> Explanation {
    let clock = Clock::system();
    let (mut refreshers, keys): (Vec<_>, Vec<_>) = config
        .issuers
        .iter()
        .map(|issuer| Refresher::new(issuer, Some(&config.server.state_dir), clock.clone()))
        .unzip();
    let gate = Gate::new(config, keys.clone(), Arc::new(RevocationSet::new()));
    let mut notes = Vec::new();
    if let Some(IssuerId(id)) = gate.claimed_issuer(token)
        && (id as usize) < refreshers.len()
    {
        let mut refresher = refreshers.swap_remove(id as usize);
        if let Err(fault) = refresher.fetch_once().await {
            notes.push(format!("the issuer's keys cannot be fetched: {fault}"));
            let keys = keys.get(id as usize);
            let status = keys.map(|keys| keys.status(clock.now()));
            let age = status.filter(|status| status.usable).and_then(|it| it.age);
            notes.push(stored_keys(age, &config.server.state_dir));
        }
        tokio::spawn(refresher.run());
    }
    let answer = ask_gateway(config, token, credential).await;
    let revocations = match &answer {
        Ok(verdict) => RevocationSource::Answered(*verdict),
        Err(why) => RevocationSource::Unknown(why),
    };
    let inquiry = Inquiry {
        token,
        request,
        revocations,
    };
    let mut explanation = gate.explain(inquiry, clock.now()).await;
    explanation.notes.splice(0..0, notes);
    explanation
}

/// What the checks are made with where no keys could be fetched.
fn stored_keys(age: Option<Duration>, state_dir: &Path) -> String {
    let place = state_dir.display();
    match age {
        Some(age) => format!(
            "the keys that a gateway stored in {place} {} s ago are used instead",
            age.as_secs()
        ),
        None => format!("no stored keys can be used either (sought in {place})"),
    }
}

/// Whether the token was revoked, as the running gateway says.
async fn ask_gateway(
    config: &Config,
    token: &str,
    given: Option<Secret>,
) -> Result<Verdict, String> {
    let (url, own) = super::admin_client::admin_address(&config.admin);
    let credential = given.or(own);
    let unknown =
        |_| format!("only a running gateway knows what was revoked, and none answers at {url}");
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(ASK_TIMEOUT)
        .build()
        .map_err(unknown)?;
    let mut request = client
        .post(format!("{url}/api/explain"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::json!({ "token": token }).to_string());
    if let Some(credential) = credential {
        request = request.bearer_auth(String::from_utf8_lossy(credential.expose()));
    }
    let answer = request.send().await.map_err(unknown)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!(
            "only a running gateway knows what was revoked, and the one at {url} answered {}: is its credential right (--admin-token-file)?",
            status.as_u16()
        ));
    }
    let body = answer.bytes().await.map_err(unknown)?;
    verdict_of(&body)
        .ok_or_else(|| "the running gateway cannot tell whether the token was revoked".to_owned())
}

fn verdict_of(body: &[u8]) -> Option<Verdict> {
    let explanation: Value = serde_json::from_slice(body).ok()?;
    let result = |reason: Rejection| {
        let checks = explanation.get("checks")?.as_array()?;
        let check = checks
            .iter()
            .find(|check| check.get("reason").and_then(Value::as_str) == Some(reason.code()))?;
        check.get("result")?.as_str()
    };
    match (
        result(Rejection::RevocationsStale)?,
        result(Rejection::TokenRevoked)?,
    ) {
        ("fail", _) => Some(Verdict::Stale),
        (_, "fail") => Some(Verdict::Revoked),
        (_, "pass") => Some(Verdict::Clear),
        _ => None,
    }
}

/// Whether the terminal shows colours.
struct Style {
    colours: bool,
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

fn print_text(explanation: &Explanation, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let name = explanation.token_id.as_deref().unwrap_or("(not a JWT)");
    let issuer = explanation.issuer.as_deref().unwrap_or("(not configured)");
    let route = explanation.route.as_deref().unwrap_or("(none chosen)");
    writeln!(out, "token {name}   issuer {issuer}   route {route}\n")?;
    for note in &explanation.notes {
        writeln!(out, "{}\n", style.paint("33", &format!("note: {note}")))?;
    }
    for check in &explanation.checks {
        print_check(check, style, out)?;
    }
    writeln!(out)?;
    print_outcome(explanation, style, out)
}

fn print_outcome(explanation: &Explanation, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    if let (Some(reason), Some(status)) = (explanation.reason, explanation.status) {
        let word = if explanation.outcome == Outcome::Undecided {
            "cannot be decided"
        } else {
            "rejected"
        };
        let verdict = style.paint("1;31", &format!("{word} ({status} {reason})"));
        return writeln!(out, "{verdict}: {}", reason.detail());
    }
    let unjudged = unjudged(explanation);
    if unjudged.is_empty() {
        return writeln!(out, "{}", style.paint("1;32", "admitted"));
    }
    let verdict = style.paint("1;33", "admitted, as far as it was judged");
    writeln!(out, "{verdict}")?;
    for what in unjudged {
        writeln!(out, "  not judged: {what}")?;
    }
    Ok(())
}

/// What a request would still have to pass.
fn unjudged(explanation: &Explanation) -> Vec<String> {
    let skipped = |reason| {
        let mut checks = explanation.checks.iter();
        checks.find(|check| check.reason == reason && check.result == CheckResult::Skipped)
    };
    let policy = skipped(Rejection::AudienceMismatch)
        .map(|_| "audience, scopes and claims, which are the route's: give --url".to_owned());
    let revocation = skipped(Rejection::TokenRevoked)
        .map(|check| format!("whether it was revoked: {}", check.found));
    policy.into_iter().chain(revocation).collect()
}

fn print_check(check: &Check, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let (mark, colour) = match check.result {
        CheckResult::Pass => ("ok  ", "32"),
        CheckResult::Fail => ("FAIL", "1;31"),
        CheckResult::Skipped => ("-   ", "2"),
    };
    let reason = check.reason.code();
    writeln!(
        out,
        "{} {reason:<24} {}",
        style.paint(colour, mark),
        check.found
    )?;
    if check.result == CheckResult::Fail {
        writeln!(out, "{:29} wanted: {}", "", check.wanted)?;
        if let Some(advice) = check.advice {
            writeln!(out, "{:29} {}", "", style.paint("36", advice))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_header_is_stripped_to_its_token() {
        for pasted in [
            "a.b.c",
            " a.b.c\n",
            "Bearer a.b.c",
            "bearer  a.b.c",
            "Authorization: Bearer a.b.c\n",
        ] {
            assert_eq!(bare_token(pasted), "a.b.c", "{pasted:?}");
        }
    }

    #[test]
    fn the_gateways_answer_is_read() {
        let answer = |stale: &str, revoked: &str| {
            let checks = serde_json::json!({"checks": [
                {"reason": "revocations_stale", "result": stale}, {"reason": "token_revoked", "result": revoked}]});
            verdict_of(checks.to_string().as_bytes())
        };
        assert_eq!(answer("pass", "pass"), Some(Verdict::Clear));
        assert_eq!(answer("pass", "fail"), Some(Verdict::Revoked));
        assert_eq!(answer("fail", "skipped"), Some(Verdict::Stale));
        assert_eq!(answer("skipped", "skipped"), None);
        assert_eq!(verdict_of(b"{}"), None);
    }
}
