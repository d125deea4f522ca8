//! Portcullis: a reverse-proxy authentication gateway.

pub mod algorithm;
pub mod config;
pub mod gate;
pub mod identity;
pub mod keys;
pub mod proxy;
pub mod rejection;
pub mod revocation;
pub mod telemetry;
pub mod time;
