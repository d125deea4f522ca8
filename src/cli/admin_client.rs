//! stub
use std::io::{self, Write};
use std::process::ExitCode;
use crate::config::{Config, Secret};
#[derive(clap::Args, Debug)]
pub struct RevokeArguments {}
#[derive(clap::Args, Debug)]
pub struct RestoreArguments {}
#[derive(clap::Args, Debug)]
pub struct RevocationsArguments {}
#[derive(clap::Args, Debug)]
pub struct HealthcheckArguments {}
pub async fn revoke(_a: RevokeArguments, _o: &mut dyn Write, _e: &mut dyn Write) -> io::Result<ExitCode> { Ok(ExitCode::FAILURE) }
pub async fn restore(_a: RestoreArguments, _o: &mut dyn Write, _e: &mut dyn Write) -> io::Result<ExitCode> { Ok(ExitCode::FAILURE) }
pub async fn revocations(_a: RevocationsArguments, _o: &mut dyn Write, _e: &mut dyn Write) -> io::Result<ExitCode> { Ok(ExitCode::FAILURE) }
pub async fn healthcheck(_a: HealthcheckArguments, _o: &mut dyn Write, _e: &mut dyn Write) -> io::Result<ExitCode> { Ok(ExitCode::FAILURE) }
pub fn admin_address(config: &Config) -> (String, Option<Secret>) { (format!("http://{}", config.admin.listen), config.admin.token.clone()) }
