//! The list of checks and how it grows.

use serde::Serialize;

use crate::rejection::Rejection;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    Pass,
    Fail,
    Skipped,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The reason that its failure would have.
    pub reason: Rejection,
    pub result: CheckResult,
    /// What was found, or why nothing was looked at.
    pub found: String,
    /// What was wanted.
    pub wanted: String,
    /// What to do about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

/// What to do. Where the hint is for callers, who see a `Retry-After`, something else helps whoever asks here.
const fn advice(reason: Rejection) -> &'static str {
    match reason {
        Rejection::KeysUnavailable => {
            "See that the issuer's keys can be fetched from this machine, then ask again. The token may be good."
        }
        Rejection::RevocationsStale => {
            "See that the gateway reaches its store of revocations, then ask again. The token may be good."
        }
        _ => reason.hint(),
    }
}

/// The checks so far.
#[derive(Default)]
pub(super) struct Checks(pub(super) Vec<Check>);

impl Checks {
    fn add(
        &mut self,
        reason: Rejection,
        result: CheckResult,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        self.0.push(Check {
            reason,
            result,
            found: found.into(),
            wanted: wanted.into(),
            advice: (result == CheckResult::Fail).then(|| advice(reason)),
        });
    }

    /// A check that was made.
    pub(super) fn judge(
        &mut self,
        reason: Rejection,
        passes: bool,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        let result = if passes {
            CheckResult::Pass
        } else {
            CheckResult::Fail
        };
        self.add(reason, result, found, wanted);
    }

    /// Checks that were not made.
    pub(super) fn skip(&mut self, reasons: impl IntoIterator<Item = Rejection>, why: &str) {
        for reason in reasons {
            self.add(reason, CheckResult::Skipped, why, "");
        }
    }

    /// Checks of which at most one fails, and then those behind it are not reached.
    pub(super) fn sequence(
        &mut self,
        reasons: &[(Rejection, &str)],
        failed: Option<Rejection>,
        found: &str,
    ) {
        let mut is_reached = true;
        for (reason, wanted) in reasons {
            if Some(*reason) == failed {
                self.judge(*reason, false, found, *wanted);
                is_reached = false;
            } else if is_reached {
                self.judge(*reason, true, found, *wanted);
            } else {
                self.add(*reason, CheckResult::Skipped, "not reached", *wanted);
            }
        }
    }
}
