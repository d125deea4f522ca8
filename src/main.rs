//! The binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use portcullis::cli::{self, Arguments};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The control plane; the data plane has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli::run(arguments)),
        Err(_) => ExitCode::FAILURE,
    }
}
