//! Portcullis: a reverse-proxy authentication gateway.

pub mod admin;
pub mod algorithm;
pub mod cli;
pub mod config;
pub mod gate;
pub mod identity;
pub mod keys;
pub mod rejection;
pub mod revocation;
pub mod telemetry;
pub mod time;
