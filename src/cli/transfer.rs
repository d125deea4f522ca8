//! `portcullis revocations export | import`: all revocations as lines, out and in.
//!
//! Owns the choice of the way: the running gateway, or the file of one that does not run. Says on standard error which
//! it was. Knows nothing of how either keeps them.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::admin_client::{Gateway, json_of};
use super::request_body::Body;
use crate::config::{self, Config, RevocationStore};
use crate::revocation::{Imported, Journal, Ledger, Query, Salvaged, StoreFault, lines, salvage};
use crate::time::Clock;

/// Lines read at a time, of a file.
const PAGE: usize = 10_000;

/// What to do with all revocations.
#[derive(Debug, Subcommand)]
pub(super) enum Transfer {
    /// Print all revocations, one JSON object a line; of a file that is damaged, those that can be read
    Export(ExportArguments),
    /// Take in lines that `export` printed, all or none
    Import(ImportArguments),
}

/// `portcullis revocations export`
#[derive(Args, Debug)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    gateway: Gateway,
}

/// `portcullis revocations import`
#[derive(Args, Debug)]
pub(super) struct ImportArguments {
    #[command(flatten)]
    gateway: Gateway,
    /// The lines; `-` or nothing reads standard input
    file: Option<PathBuf>,
}

/// Does it. Exit code 0, or 1 if it was not done, or not whole.
pub(super) async fn run(
    transfer: Transfer,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<ExitCode> {
    let done = match transfer {
        Transfer::Export(arguments) => export(&arguments, out, errors).await?,
        Transfer::Import(arguments) => import(&arguments, errors).await?,
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(fault) => {
            writeln!(errors, "portcullis: {fault}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// An operation's own failures are texts; those of the terminal are errors.
type Done<T> = io::Result<Result<T, String>>;

async fn export(
    arguments: &ExportArguments,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Done<()> {
    if let Some(config) = &offline_config(&arguments.gateway) {
        let state_dir = &config.server.state_dir;
        if Journal::is_in(state_dir) {
            match open(state_dir).await {
                Ok(ledger) => return export_file(&ledger, out, errors).await,
                Err(StoreFault::InUse { .. }) => {}
                Err(fault @ StoreFault::Damaged { .. }) => {
                    writeln!(errors, "{fault}")?;
                    return export_damaged(state_dir, out, errors);
                }
                Err(fault) => return Ok(Err(fault.to_string())),
            }
        }
    }
    export_running(&arguments.gateway, out, errors).await
}

async fn export_file(ledger: &Ledger, out: &mut dyn Write, errors: &mut dyn Write) -> Done<()> {
    let (mut cursor, mut count) = (None, 0);
    loop {
        let query = Query {
            kind: None,
            wants_issuer: Box::new(|_| true),
            cursor,
            limit: PAGE,
        };
        let page = match ledger.list(query, Clock::system().now()).await {
            Ok(page) => page,
            Err(why) => return Ok(Err(why.to_string())),
        };
        for revocation in &page.revocations {
            writeln!(out, "{}", lines::write(revocation))?;
            count += 1;
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    out.flush()?;
    ledger.close().await;
    writeln!(errors, "{count} revocations from the file; no gateway runs")?;
    Ok(Ok(()))
}

fn export_damaged(state_dir: &Path, out: &mut dyn Write, errors: &mut dyn Write) -> Done<()> {
    let mut written = Ok(());
    let salvaged = salvage(state_dir, &mut |revocation| {
        if written.is_ok() {
            written = writeln!(out, "{}", lines::write(revocation));
        }
    });
    written?;
    out.flush()?;
    let Salvaged {
        read,
        spoiled,
        has_gap,
    } = match salvaged {
        Ok(salvaged) => salvaged,
        Err(fault) => return Ok(Err(fault.to_string())),
    };
    writeln!(errors, "{read} revocations could be read")?;
    Ok(match (spoiled, has_gap) {
        (0, false) => Ok(()),
        (_, true) => Err("parts of the file could not be read: revocations are missing".to_owned()),
        (spoiled, false) => Err(format!("{spoiled} revocations are spoiled and missing")),
    })
}

async fn export_running(
    gateway: &Gateway,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Done<()> {
    let target = match gateway.find() {
        Ok(target) => target,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut cursor: Option<String> = None;
    let mut count = 0;
    loop {
        let query: Vec<_> = cursor
            .iter()
            .map(|cursor| ("cursor", cursor.as_str()))
            .collect();
        let path = "/api/revocations/export";
        let answer = match target.ask(Method::GET, path, &query, Body::None).await {
            Ok(answer) => answer,
            Err(fault) => return Ok(Err(fault)),
        };
        let next = answer.headers().get("x-portcullis-next-cursor");
        let next = next.and_then(|next| next.to_str().ok()).map(str::to_owned);
        let Ok(page) = answer.bytes().await else {
            return Ok(Err("the gateway's answer broke off".to_owned()));
        };
        count += page.split(|byte| *byte == b'\n').count() - 1;
        out.write_all(&page)?;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    out.flush()?;
    writeln!(
        errors,
        "{count} revocations from the gateway at {}",
        target.url()
    )?;
    Ok(Ok(()))
}

async fn import(arguments: &ImportArguments, errors: &mut dyn Write) -> Done<()> {
    let content = match read_input(arguments.file.as_deref()) {
        Ok(content) => content,
        Err(fault) => return Ok(Err(fault)),
    };
    if let Some(config) = &offline_config(&arguments.gateway) {
        match open(&config.server.state_dir).await {
            Ok(ledger) => {
                let done = import_file(config, &ledger, &content).await;
                ledger.close().await;
                return match done {
                    Ok((imported, ended)) => {
                        let Imported { new, known } = imported;
                        let said = said(new, known, ended);
                        writeln!(errors, "{said} into the file; no gateway runs")?;
                        Ok(Ok(()))
                    }
                    Err(fault) => Ok(Err(fault)),
                };
            }
            Err(StoreFault::InUse { .. }) => {}
            Err(fault) => return Ok(Err(fault.to_string())),
        }
    }
    import_running(&arguments.gateway, content, errors).await
}

async fn import_file(
    config: &Config,
    ledger: &Ledger,
    content: &[u8],
) -> Result<(Imported, u64), String> {
    let named = |name: &str| {
        let issuers = &config.issuers;
        let by_name = issuers.iter().find(|issuer| issuer.name == name);
        let issuer = by_name.or_else(|| issuers.iter().find(|it| it.issuer.as_str() == name))?;
        Some(issuer.issuer.as_str().into())
    };
    let lines = lines::read(content, &named, Clock::system().now());
    let lines = lines.map_err(|fault| format!("nothing was imported: {fault}"))?;
    let imported = ledger.import(lines.changes).await;
    Ok((imported.map_err(|why| why.to_string())?, lines.ended))
}

async fn import_running(gateway: &Gateway, content: Vec<u8>, errors: &mut dyn Write) -> Done<()> {
    let outcome = async {
        let target = gateway.find()?;
        let path = "/api/revocations/import";
        let answer = target
            .ask(Method::POST, path, &[], Body::Lines(content))
            .await?;
        let document = json_of(answer).await?;
        let count = |name: &str| document.get(name).and_then(Value::as_u64).unwrap_or(0);
        let said = said(count("new"), count("known"), count("ended"));
        Ok(format!("{said} into the gateway at {}", target.url()))
    };
    match outcome.await {
        Ok(text) => {
            writeln!(errors, "{text}")?;
            Ok(Ok(()))
        }
        Err(fault) => Ok(Err(fault)),
    }
}

fn said(new: u64, known: u64, ended: u64) -> String {
    format!("{new} new revocations, {known} known and {ended} that had ended:")
}

fn read_input(file: Option<&Path>) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    match file.filter(|file| *file != Path::new("-")) {
        None => io::stdin().read_to_end(&mut content),
        Some(file) => {
            File::open(file).and_then(|file| BufReader::new(file).read_to_end(&mut content))
        }
    }
    .map_err(|error| format!("the lines cannot be read: {error}"))?;
    Ok(content)
}

/// The configuration, where it names a file that may be used without a gateway. One that is wrong names none: a gateway
/// may run all the same, with what it said before.
fn offline_config(gateway: &Gateway) -> Option<Config> {
    let loaded = config::load(gateway.config()?).ok()?;
    let is_file = loaded.config.revocation.store == RevocationStore::Embedded;
    is_file.then_some(loaded.config)
}

/// Opens the file, if no gateway has it.
async fn open(state_dir: &Path) -> Result<Arc<Ledger>, StoreFault> {
    let (ledger, opening) = Ledger::embedded(state_dir, Duration::ZERO, Clock::system());
    opening.wait().await?;
    Ok(Arc::new(ledger))
}
