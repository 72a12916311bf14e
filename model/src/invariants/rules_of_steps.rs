//! The invariants of steps: what may not change, whatever happens.

use super::rules::{comparable, ensure, initial};
use super::verdict::{Broken, Verdict};
use super::view::View;
use alloc::format;

/// I-22: no disk has less than before, or than its server has told others.
pub(super) fn promises_are_kept(before: &View<'_>, after: &View<'_>) -> Verdict {
    let servers = before.servers.iter().zip(after.servers);
    let conducts = before.conducts.iter().zip(after.conducts);
    for ((server, kept), (told, is)) in servers.zip(conducts) {
        for (what, was, is) in [
            (
                "acceptedEpoch",
                told.accepted.max(told.promised),
                is.accepted,
            ),
            (
                "currentEpoch",
                server.kept.current.max(told.joined),
                kept.kept.current,
            ),
        ] {
            ensure(was <= is, || {
                let (id, was, is) = (kept.id, was.0, is.0);
                format!("the disk of server {id} has {what} {is}, and {was} was told or there")
            })?;
        }
    }
    Ok(())
}

/// I-23: what was committed stays, and nobody who serves on takes back what it has applied.
pub(super) fn commits_stay(before: &View<'_>, after: &View<'_>) -> Verdict {
    let (old, new) = (&before.past.committed, &after.past.committed);
    ensure(new.starts_with(old), || {
        format!("committed was {old:?} and is {new:?}")
    })?;
    for (was, is) in before.servers.iter().zip(after.servers) {
        let (Some((epoch, old)), Some((now, new))) = (&was.serving, &is.serving) else {
            continue;
        };
        if epoch == now && !new.starts_with(old) {
            return Err(Broken(format!(
                "server {} goes back from {old:?} to {new:?} in epoch {}",
                is.id, epoch.0
            )));
        }
        // Whoever begins to serve anew contradicts nobody who served before.
        ensure(comparable(&before.past.committed, new), || {
            format!(
                "server {} has applied {new:?}; committed was {:?}",
                is.id, before.past.committed
            )
        })?;
    }
    Ok(())
}

/// I-24: an established epoch keeps its leader and its initial history.
pub(super) fn epochs_are_established_once(before: &View<'_>, after: &View<'_>) -> Verdict {
    for (epoch, id) in &before.past.primaries {
        let other = after
            .past
            .primaries
            .iter()
            .find(|(e, other)| e == epoch && other != id);
        if let Some((_, other)) = other {
            return Err(Broken(format!(
                "epoch {} was led by server {id}, and is by server {other}",
                epoch.0
            )));
        }
    }
    for (epoch, history) in &before.past.initial {
        if let Some(other) = initial(after, *epoch).find(|other| other != history) {
            return Err(Broken(format!(
                "epoch {} began with {history:?}, and begins with {other:?}",
                epoch.0
            )));
        }
    }
    Ok(())
}
