//! stub
use super::key::SkipReason;
use super::ring::IssuerKeys;
use crate::config::Issuer;
use crate::time::Clock;
use std::path::Path;
use std::sync::Arc;

/// How a fetch ended: the `result` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshResult {
    Success,
}

/// The background task that keeps one issuer's keys fresh.
#[derive(Debug)]
pub struct Refresher {}

impl Refresher {
    /// Prepares the keys of `issuer`: a secret or a file is read, a snapshot on disk is loaded, nothing is fetched yet.
    pub fn new(
        _issuer: &Issuer,
        _state_dir: Option<&Path>,
        _clock: Clock,
    ) -> (Self, Arc<IssuerKeys>) {
        todo!()
    }
    /// Runs until dropped; cancel-safe.
    pub async fn run(self) {
        todo!()
    }
    /// Fetches once, for `explain`.
    pub async fn fetch_once(&mut self) -> Result<(), String> {
        todo!()
    }
}
impl SkipReason {}
