//! Commands over HTTP that need rights: who may take a snapshot, put another one in place of the tree, send clients away, or read the flight
//! recorder, and how often.
//!
//! ```text
//! nobody is served              200   as any command that needs a server
//! no Authorization              401
//! it proves nobody              401   "SCHEME", "SCHEME CREDENTIAL": digest user:password, ip
//! not every right on /          403
//! switched off                  503   admin.snapshot.enabled, admin.restore.enabled
//! snapshots do not say their zxid 500 serializeLastProcessedZxid.enabled
//! a restore of a member         503
//! too soon                      429   admin.rateLimiterIntervalInMS
//! ```
//! The order is ZooKeeper's (`Commands.runCommand`), with the fourth row from the end behind it. The last four rows are not for clients that are
//! sent away, and not for what the flight recorder holds, for which the first one is not either.

use super::facts::NOT_SERVING;
use crate::client::auth::{identity, super_user};
use crate::client::lock::lock;
use crate::client::shared::{Mode, Shared};
use crate::core::asked::Refusal;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use zabra_model::tree::acl::{Id, allows, perms};

/// A command that needs rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guarded {
    /// Take a snapshot, and send it.
    Snapshot,
    /// Put another one in place of the tree.
    Restore,
    /// Send some of the clients away.
    Shed,
    /// Send what the flight recorder holds.
    Flight,
    /// Draw the last election that it holds, for the page.
    Election,
}

/// Why it is not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// Of HTTP.
    pub status: u16,
    /// Why not.
    pub what: String,
}

/// When a command was done last, ms since the server's start.
#[derive(Debug, Default)]
pub struct Limit(Mutex<Option<u64>>);

impl Limit {
    /// Whether it may be done now; if so, it is.
    fn take(&self, now_ms: u64, interval_ms: u64) -> bool {
        let mut last = lock(&self.0);
        let may = last.is_none_or(|last| now_ms.saturating_sub(last) >= interval_ms);
        if may {
            *last = Some(now_ms);
        }
        may
    }
}

impl Guarded {
    /// By one of its names.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "snapshot" | "snap" => Some(Self::Snapshot),
            "restore" | "rest" => Some(Self::Restore),
            "shed_connections" | "shed" => Some(Self::Shed),
            "flight_recorder" | "flight" => Some(Self::Flight),
            _ => None,
        }
    }

    /// Its first name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::Shed => "shed_connections",
            Self::Flight => "flight_recorder",
            Self::Election => "election",
        }
    }

    /// Whether it may be done now for who comes from this address, with this header.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn admit(
        self,
        authorization: Option<&str>,
        from: IpAddr,
        limit: Option<&Limit>,
        shared: &Shared,
    ) -> Result<(), Denied> {
        let denied = |status, what: &str| Denied {
            status,
            what: what.to_owned(),
        };
        // Why nobody is served is what the recorder tells.
        let needs_server = !matches!(self, Self::Flight | Self::Election);
        if shared.mode() == Mode::NotServing && needs_server {
            return Err(denied(200, NOT_SERVING));
        }
        may(authorization, from, shared).map_err(|(status, what)| denied(status, what))?;
        let Some(commands) = &shared.config.operation.commands else {
            return Err(denied(503, "no commands"));
        };
        let stats = &shared.stats;
        let (is_on, key, limited) = match self {
            Self::Snapshot => (
                commands.snapshots,
                "admin.snapshot.enabled",
                &stats.snapshots_limited,
            ),
            Self::Restore => (
                commands.restores,
                "admin.restore.enabled",
                &stats.restores_limited,
            ),
            Self::Shed | Self::Flight | Self::Election => return Ok(()),
        };
        if !is_on {
            return Err(denied(503, &format!("{key}=false")));
        }
        if !shared.config.store.says_zxid {
            let what = "serializeLastProcessedZxid.enabled=false: a snapshot would not say its zxid to who restores it";
            return Err(denied(500, what));
        }
        if self == Self::Restore && shared.mode() != Mode::Standalone {
            return Err(denied(503, &Refusal::Member.to_string()));
        }
        if limit.is_some_and(|limit| !limit.take(shared.elapsed_ms(), commands.interval_ms)) {
            limited.fetch_add(1, Relaxed);
            let what = format!(
                "one {} in {} ms (admin.rateLimiterIntervalInMS)",
                self.name(),
                commands.interval_ms
            );
            return Err(denied(429, &what));
        }
        Ok(())
    }
}

/// Whether a header proves somebody who has every right on the root; else the status, and why not.
fn may(
    authorization: Option<&str>,
    from: IpAddr,
    shared: &Shared,
) -> Result<(), (u16, &'static str)> {
    let header = authorization.ok_or((401, "Auth info is missing for the command"))?;
    let ids = proved(header, from, shared).ok_or((401, "Not authenticated"))?;
    let tree = shared.tree();
    let Some(root) = tree.find("/") else {
        return Err((500, "Error occurred during auth"));
    };
    // Bit by bit: who may read does not have every right.
    let mut bits = (0..u32::BITS).map(|bit| 1 << bit);
    let has_all = bits.all(|bit| perms::ALL & bit == 0 || allows(root.acl(), bit, &ids));
    if shared.config.access.skips_acl || has_all {
        return Ok(());
    }
    Err((403, "Not authorized"))
}

/// The identities that a header proves. Of a scheme whose proof is the connection, it is the scheme alone.
pub(super) fn proved(header: &str, from: IpAddr, shared: &Shared) -> Option<Vec<Id>> {
    let mut parts = header.trim_end_matches(' ').split(' ');
    let (scheme, credential) = (parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let config = &shared.config;
    let data = credential.map(str::as_bytes);
    let id = identity(scheme, data, &from.to_string(), config.digest)?;
    let more = super_user(&id, config.super_digest.as_ref());
    Some(std::iter::once(id).chain(more).collect())
}
