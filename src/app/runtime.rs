//! stub
use super::state::State;
use crate::proxy::Listeners;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;

pub(super) fn serve_admin(
    admin: Listeners,
    state: Arc<State>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let address = admin
        .addresses()
        .first()
        .copied()
        .ok_or_else(|| io::Error::other("no"))?;
    Ok((
        address,
        tokio::spawn(async move {
            let _keep = (admin, state);
            std::future::pending::<()>().await
        }),
    ))
}
