//! The client port.

use super::limits::PerAddress;
use crate::client::connection;
use crate::config::Config;
use crate::error::ServerError;
use crate::host::inbox::Inbox;
use crate::host::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{info, warn};

/// Takes the client port.
///
/// # Errors
/// [`ServerError::Bind`].
pub async fn bind(config: &Config) -> Result<TcpListener, ServerError> {
    let addr = config.client.to_addr();
    let listener = TcpListener::bind(&addr)
        .await
        .map_err(|source| ServerError::Bind {
            addr: addr.clone(),
            what: "client port",
            source,
        })?;
    if let Ok(addr) = listener.local_addr() {
        info!(%addr, "listening for clients");
    }
    Ok(listener)
}

/// Listens for clients; each gets a task.
pub fn listen(listener: TcpListener, shared: Arc<Shared>, inbox: Arc<Inbox>) {
    let all = PerAddress::new(shared.config.max_client_cnxns);
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let Some(counted) = all.admit(from.ip()) else {
                        shared.stats.rejected.fetch_add(1, Ordering::Relaxed);
                        warn!(%from, "too many connections from one address (maxClientCnxns), closing");
                        continue;
                    };
                    let (shared, inbox) = (Arc::clone(&shared), Arc::clone(&inbox));
                    tokio::spawn(async move {
                        connection::run(stream, shared, inbox).await;
                        drop(counted);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept on the client port");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
}
