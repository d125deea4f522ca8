//! Puts logouts in force that providers vouch for.
//!
//! Owns the way from the data plane to the write side of revocations, and the record of each change. Decides nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::state::State;
use crate::gate::Logout;
use crate::proxy::{Logouts, Unkept};
use crate::revocation::{Act, Actor, Ledger, Unavailable, audit};
use crate::time::Clock;

/// The write side, as the data plane reaches it.
#[derive(Debug)]
pub(super) struct LogoutDesk {
    ledger: Arc<Ledger>,
    clock: Clock,
    /// The control plane does the work: whoever asks may leave, and what is kept shall be on record.
    control_plane: Handle,
}

impl LogoutDesk {
    /// That of `state`; called on the control plane.
    pub(super) fn of(state: &State) -> Self {
        Self {
            ledger: Arc::clone(&state.ledger),
            clock: state.clock.clone(),
            control_plane: Handle::current(),
        }
    }
}

impl Logouts for LogoutDesk {
    fn end<'a>(
        &'a self,
        logout: Logout,
        request_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<(), Unkept>> + Send + 'a>> {
        let (ledger, now) = (Arc::clone(&self.ledger), self.clock.now());
        let request_id = request_id.to_owned();
        let task = self.control_plane.spawn(async move {
            let Logout {
                issuer_name: issuer,
                token,
                revocations,
                ..
            } = logout;
            let kept = ledger.revoke_all(revocations, now).await?;
            let actor = Actor::Provider {
                issuer: &issuer,
                token,
            };
            for revoked in kept {
                let act = Act::of_revoking(revoked.is_new);
                audit(actor, act, &revoked.revocation, &issuer, &request_id);
            }
            Ok::<(), Unavailable>(())
        });
        Box::pin(async move {
            let why = match task.await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(why)) => why,
                Err(_) => Unavailable("the change broke off".to_owned()),
            };
            tracing::warn!(%why, "a logout could not be kept");
            Err(Unkept)
        })
    }
}
