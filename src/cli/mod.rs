//! The command line.

pub mod admin_client;
