//! What is said of a store: which it is, how it does, and why it cannot be used.
//!
//! Owns the words for operators; nothing in them is secret. Knows nothing of how a store works.

use std::time::Duration;

/// Which store keeps the revocations: `store` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Memory,
    Embedded,
    Redis,
}

impl StoreKind {
    /// As in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Embedded => "embedded",
            Self::Redis => "redis",
        }
    }
}

/// How a store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    pub kind: StoreKind,
    /// Whether everything that it holds is in force here: until then the gate cannot decide.
    pub is_loaded: bool,
    /// Whether the gate does not decide: not loaded, or too far behind.
    pub is_stale: bool,
    /// Whether the last write to it worked: `revocation_store_up`.
    pub is_up: bool,
    /// How far what is in force here may be behind: `revocation_lag_seconds`.
    pub lag: Duration,
    /// Why it is not up.
    pub fault: Option<String>,
}

/// Why a revocation cannot be stored or read now; nothing was changed. For operators: it names files and errors, no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);
