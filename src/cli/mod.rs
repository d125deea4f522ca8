//! The command line: what the user typed, and the exit code that answers it.
//!
//! Owns the commands. Knows the composition root; nothing knows it.

mod admin_client;
pub mod check;
mod demo;
mod explain;
mod request_body;
mod revocation_line;
pub mod schema;
mod transfer;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::app::{self, App};
use crate::config;

/// A reverse-proxy authentication gateway: checks every bearer token, and says exactly what is wrong with the bad ones.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true
)]
pub struct Arguments {
    /// Run the gateway with this configuration (the same as `serve --config FILE`)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground
    Serve {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say everything that is wrong with a configuration, without running it
    Check {
        /// The configuration; `-` reads it from standard input
        #[arg(required_unless_present = "config")]
        file: Option<PathBuf>,
        /// The same, as other commands name it
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
        /// Warnings are faults
        #[arg(long)]
        strict: bool,
    },
    /// Say what every check finds on a token, and what to do about it
    Explain(explain::ExplainArguments),
    /// Show it working, with no file at all: a demo issuer, a demo API and a gateway between them
    Demo,
    /// Take back a token, or what a person, session, client or key vouches for
    Revoke(admin_client::RevokeArguments),
    /// Take a revocation back
    Restore(admin_client::RestoreArguments),
    /// List the revocations of a running gateway, or carry all of them out and in
    Revocations(admin_client::RevocationsArguments),
    /// Ask a running gateway whether it lives, or is ready
    Healthcheck(admin_client::HealthcheckArguments),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages, one for each command
    Man {
        /// Where to
        folder: PathBuf,
    },
}

/// Does what the arguments ask.
pub async fn run(arguments: Arguments) -> ExitCode {
    let (mut out, mut errors) = (io::stdout(), io::stderr());
    let outcome = match (arguments.command, arguments.config) {
        (Some(command), _) => dispatch(command, &mut out, &mut errors).await,
        (None, Some(config)) => serve(config, &mut errors).await,
        (None, None) => Ok(ExitCode::from(2)),
    };
    outcome.unwrap_or_else(|error| report(&error, &mut errors))
}

/// A closed pipe is no fault: the reader has seen enough.
fn report(error: &io::Error, errors: &mut dyn Write) -> ExitCode {
    if error.kind() != io::ErrorKind::BrokenPipe && writeln!(errors, "portcullis: {error}").is_err()
    {
        return ExitCode::FAILURE;
    }
    ExitCode::FAILURE
}

async fn dispatch(
    command: Command,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<ExitCode> {
    match command {
        Command::Serve { config } => serve(config, errors).await,
        Command::Check {
            file,
            config,
            strict,
        } => {
            // One of them is there: the parser saw to it.
            let file = file.or(config).unwrap_or_default();
            Ok(check::check(&file, strict, out, errors))
        }
        Command::Explain(arguments) => explain::run(arguments, out, errors).await,
        Command::Demo => demo::run(out).await,
        Command::Revoke(arguments) => admin_client::revoke(arguments, out, errors).await,
        Command::Restore(arguments) => admin_client::restore(arguments, out, errors).await,
        Command::Revocations(mut arguments) => match arguments.take_transfer() {
            Some(transfer) => transfer::run(transfer, out, errors).await,
            None => admin_client::revocations(arguments, out, errors).await,
        },
        Command::Healthcheck(arguments) => admin_client::healthcheck(arguments, out, errors).await,
        Command::Schema => Ok(schema::schema(out)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "portcullis", out);
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder } => {
            clap_mangen::generate_to(Arguments::command(), folder).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn cannot_run(why: &dyn std::error::Error, errors: &mut dyn Write) -> io::Result<ExitCode> {
    writeln!(errors, "portcullis: {why}")?;
    Ok(ExitCode::FAILURE)
}

async fn serve(path: PathBuf, errors: &mut dyn Write) -> io::Result<ExitCode> {
    let loaded = match config::load(&path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            writeln!(errors, "{faults}")?;
            return Ok(ExitCode::from(2));
        }
    };
    match App::start(app::Source::File(path, Box::new(loaded))).await {
        Ok(app) => match app.run_until_signal().await {
            Ok(code) => Ok(code),
            Err(fault) => cannot_run(&fault, errors),
        },
        Err(error) => cannot_run(&error, errors),
    }
}
