//! The invariants of states.
//!
//! They are written down for every sequence of transactions, also for those that only a bug brings about. Where they
//! compare sequences pair by pair, the usual case is decided first, so that long histories of running servers cost
//! little: one of two sequences begins with the other, and nothing occurs twice.

use super::past::Violation;
use super::verdict::{Broken, Verdict};
use super::view::{Connection, Doing, Server, View};
use crate::election::Ballot;
use crate::ids::{Epoch, ServerId, Zxid};
use crate::switch::Switches;
use crate::vote::ServerState;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// `Ok` if it holds; else what is wrong.
pub(super) fn ensure(holds: bool, wrong: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Broken(wrong())) }
}

/// Sequences of transactions that servers have applied, with the epoch that these serve.
fn serving<'a>(v: &View<'a>) -> impl Iterator<Item = (ServerId, Epoch, &'a [Zxid])> + Clone {
    let servers = v.servers.iter();
    servers.filter_map(|s| {
        let (epoch, tree) = s.serving.as_ref()?;
        Some((s.id, *epoch, tree.as_slice()))
    })
}

/// Nothing was seen in a step that must never happen.
pub(super) fn never(v: &View<'_>, violation: Violation) -> Verdict {
    ensure(!v.past.violations.has(violation), || {
        format!("{violation:?} in a step before")
    })
}

/// I-1: at most one server leads a formed quorum of an epoch.
pub(super) fn one_leader_now(v: &View<'_>) -> Verdict {
    for (i, server) in v.servers.iter().enumerate() {
        let Some(epoch) = server.primary else {
            continue;
        };
        let other = v.servers[..i].iter().find(|s| s.primary == Some(epoch));
        if let Some(other) = other {
            let (a, b) = (other.id, server.id);
            return Err(Broken(format!(
                "servers {a} and {b} lead epoch {}",
                epoch.0
            )));
        }
    }
    Ok(())
}

/// I-2: at no two times.
pub(super) fn one_leader_ever(v: &View<'_>) -> Verdict {
    let pairs = v.past.primaries.windows(2);
    let two = pairs.into_iter().find(|pair| pair[0].0 == pair[1].0);
    ensure(two.is_none(), || {
        format!("of one epoch, at one time or another: {two:?}")
    })
}

/// I-3: what is delivered was proposed by somebody, or stood on a disk when the observation began.
pub(super) fn integrity(v: &View<'_>) -> Verdict {
    let known = |z: &Zxid| v.past.proposed.binary_search(z).is_ok();
    for (id, _, tree) in serving(v) {
        let unknown = tree.iter().find(|z| !known(z));
        if let Some(unknown) = unknown {
            return Err(Broken(format!(
                "server {id} has applied {unknown}, which nobody has proposed"
            )));
        }
    }
    Ok(())
}

/// Whether one begins with the other.
pub(super) fn comparable(a: &[Zxid], b: &[Zxid]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Every two serving servers.
fn pairs_hold(v: &View<'_>, holds: impl Fn(&[Zxid], &[Zxid]) -> bool) -> Verdict {
    for (a, _, first) in serving(v) {
        for (b, _, second) in serving(v) {
            if !holds(first, second) {
                return Err(Broken(format!(
                    "server {a} has applied {first:?}, server {b} {second:?}"
                )));
            }
        }
    }
    Ok(())
}

/// I-4: of two deliveries at two servers, one server has delivered both.
pub(super) fn agreement(v: &View<'_>) -> Verdict {
    let within = |a: &[Zxid], b: &[Zxid]| a.iter().all(|x| b.contains(x));
    pairs_hold(v, |a, b| comparable(a, b) || within(a, b) || within(b, a))?;
    never(v, Violation::Diverged)
}

/// I-5: whoever delivers b has delivered before it everything that anyone delivered before b.
pub(super) fn total_order(v: &View<'_>) -> Verdict {
    pairs_hold(v, |a, b| {
        if comparable(a, b) && a.is_sorted_by(|x, y| x < y) {
            return true;
        }
        let shared = |(i, x): (usize, &Zxid)| match b.iter().position(|y| y == x) {
            Some(j) => i == j && a[..i] == b[..j],
            None => true,
        };
        a.iter().enumerate().all(shared)
    })
}

/// I-6: for all proposals of one epoch, whoever delivers the later one has delivered the earlier one before it.
pub(super) fn local_primary_order(v: &View<'_>) -> Verdict {
    for (id, _, tree) in serving(v) {
        let in_order = tree.is_sorted_by(|x, y| x < y);
        let position = |z: &Zxid| {
            if in_order {
                tree.binary_search(z).ok()
            } else {
                tree.iter().position(|x| x == z)
            }
        };
        // From the last proposal to the first: what holds of neighbours holds of all.
        let mut next: Option<(Zxid, usize)> = None;
        for earlier in v.past.proposed.iter().rev() {
            let at = position(earlier);
            let of_epoch = next.filter(|(later, _)| later.epoch() == earlier.epoch());
            if let Some((later, before)) = of_epoch
                && at.is_none_or(|at| at >= before)
            {
                return Err(Broken(format!(
                    "server {id} has applied {later} without {earlier} before it"
                )));
            }
            next = at.map(|at| (*earlier, at));
        }
    }
    Ok(())
}

/// I-7: epochs are delivered in increasing order.
pub(super) fn global_primary_order(v: &View<'_>) -> Verdict {
    let mut wrong = serving(v).filter(|(_, _, tree)| !tree.is_sorted_by_key(|z| z.epoch()));
    match wrong.next() {
        Some((id, _, tree)) => Err(Broken(format!("server {id} has applied {tree:?}"))),
        None => Ok(()),
    }
}

/// The initial histories of an epoch. With a bug there may be several.
pub(super) fn initial<'a>(v: &View<'a>, epoch: Epoch) -> impl Iterator<Item = &'a [Zxid]> {
    let all = v.past.initial.iter();
    all.filter(move |(e, _)| *e == epoch)
        .map(|(_, history)| history.as_slice())
}

/// I-8: the leader of an epoch has, before its first proposal, what any of its followers delivered of earlier epochs.
pub(super) fn primary_integrity(v: &View<'_>) -> Verdict {
    for (id, epoch, tree) in serving(v) {
        for history in initial(v, epoch) {
            let begun = tree.iter().zip(history).take_while(|(a, b)| a == b).count();
            let missing = tree[begun..]
                .iter()
                .find(|z| z.epoch() < epoch && !history.contains(z));
            if let Some(missing) = missing {
                return Err(Broken(format!(
                    "server {id} has applied {missing}, which the leader of its epoch {} lacked",
                    epoch.0
                )));
            }
        }
    }
    Ok(())
}

/// I-9: the initial history of an established epoch holds everything committed of earlier epochs, in order.
pub(super) fn leader_log_completeness(v: &View<'_>) -> Verdict {
    for (epoch, history) in &v.past.initial {
        let earlier = v.past.committed.iter().filter(|z| z.epoch() < *epoch);
        let mut held = history.iter();
        for z in earlier {
            if held.next() != Some(z) {
                return Err(Broken(format!(
                    "epoch {} began without {z}: {history:?}",
                    epoch.0
                )));
            }
        }
    }
    Ok(())
}

/// I-10: whichever quorum of disks elects, the best of its votes is that of a server with everything committed.
///
/// A quorum is one by the configurations that bind the server which it elects. More than "nothing committed is ever
/// truncated" would be asked too much: a server that still follows a deposed leader may drop its copy of what a quorum of
/// others has just committed without it.
pub(super) fn committed_is_durable(v: &View<'_>) -> Verdict {
    if v.past.committed.is_empty() {
        return Ok(());
    }
    let vote = |s: &Server| {
        let last = s.kept.history.last().copied().unwrap_or_default();
        (s.kept.current, last)
    };
    for best in v.servers {
        let ensemble = &best.kept.binds;
        let voters = v.servers.iter().filter(|s| vote(s) <= vote(best));
        let electable = ensemble.may_lead(best.id)
            && ensemble.decides(voters.map(|s| s.id), Switches::default());
        if electable && !best.kept.history.starts_with(&v.past.committed) {
            return Err(Broken(format!(
                "server {} could be elected with {:?}; committed is {:?}",
                best.id, best.kept.history, v.past.committed
            )));
        }
    }
    Ok(())
}

/// I-11: after NEWLEADER, participants of one epoch have comparable histories.
pub(super) fn history_consistency(v: &View<'_>) -> Verdict {
    for (i, one) in v.servers.iter().enumerate() {
        for other in &v.servers[..i] {
            let (Some((e, a)), Some((f, b))) = (&one.participant, &other.participant) else {
                continue;
            };
            if e == f && !comparable(a, b) {
                return Err(Broken(format!(
                    "in epoch {}, server {} has {a:?}, server {} {b:?}",
                    e.0, one.id, other.id
                )));
            }
        }
    }
    Ok(())
}

/// I-14: whenever a server ends, whatever prefix of the writes that were not synced survives, it can start.
pub(super) fn every_image_boots(v: &View<'_>) -> Verdict {
    if let Some(stuck) = v.servers.iter().find(|s| !s.kept.boots) {
        return Err(Broken(format!(
            "server {} could not start after a crash",
            stuck.id
        )));
    }
    never(v, Violation::NoBoot)
}

/// I-15: whoever serves in an epoch has applied the initial history of it.
pub(super) fn commit_consistency(v: &View<'_>) -> Verdict {
    for (id, epoch, tree) in serving(v) {
        if let Some(history) = initial(v, epoch).find(|history| !tree.starts_with(history)) {
            return Err(Broken(format!(
                "server {id} serves epoch {} with {tree:?}; it began with {history:?}",
                epoch.0
            )));
        }
    }
    Ok(())
}

/// I-16: a learner that serves and has nothing more to hear has the leader's log and its commits; and when nothing is
/// on the way between a leader and a serving quorum, nor to their disks, nothing waits to be committed. Both have
/// applied what they know to be committed.
pub(super) fn quiescence_is_agreement(v: &View<'_>) -> Verdict {
    for (at, leader) in v.conducts.iter().enumerate() {
        let Doing::Leading {
            serves: Some(_),
            committed,
            waits,
            ensemble,
            ..
        } = leader.doing
        else {
            continue;
        };
        let id = v.servers[at].id;
        ensure(leader.applied == committed, || {
            format!(
                "leader {id} has applied {} and committed {committed}",
                leader.applied
            )
        })?;
        let mut quiet = leader.quiet;
        let of_it = |l: &&Connection| l.leader == at && l.live;
        for link in v.links.iter().filter(of_it) {
            let learner = &v.conducts[link.learner];
            quiet &= link.leader_heard_all && link.learner_heard_all && learner.quiet;
            let Doing::Following {
                observer,
                serves: Some(_),
                link: Some(its),
                committed: told,
                ..
            } = learner.doing
            else {
                continue;
            };
            // An observer is told only what is committed.
            let same = told == committed
                && learner.applied == told
                && (observer || learner.logged == leader.logged);
            ensure(its != link.id || !link.learner_heard_all || same, || {
                let learner = v.servers[link.learner].id;
                format!("server {learner} has heard all of leader {id} and differs from it")
            })?;
        }
        let serving = || {
            let links = v.links.iter().filter(of_it);
            let serving = links.filter(|l| serves_on(v, l));
            serving.map(|l| v.servers[l.learner].id).chain([id])
        };
        ensure(
            !quiet || !waits || !ensemble.decides(serving(), Switches::default()),
            || format!("leader {id} waits for a commit, and nothing is on the way"),
        )?;
    }
    Ok(())
}

/// Whether the learner of a connection serves on it.
fn serves_on(v: &View<'_>, link: &Connection) -> bool {
    matches!(v.conducts[link.learner].doing, Doing::Following { serves: Some(_), link: Some(its), .. } if its == link.id)
}

/// I-17: a looking server that has heard every member of a formed ensemble, as they are now, has joined it. The members are those that its
/// own lists know, and the leader; and they have to be a quorum by one of these lists.
pub(super) fn formed_ensemble_is_joined(v: &View<'_>) -> Verdict {
    for (at, looking) in v.conducts.iter().enumerate() {
        let Doing::Looking { settled, ensemble } = looking.doing else {
            continue;
        };
        for (leader, conduct) in v.conducts.iter().enumerate() {
            let Doing::Leading {
                serves: Some(epoch),
                ..
            } = conduct.doing
            else {
                continue;
            };
            let leads = v.servers[leader].id;
            let known = |(id, _): &(ServerId, Ballot)| *id == leads || ensemble.has_vote(*id);
            let members: Vec<(ServerId, Ballot)> = members(v, epoch).filter(known).collect();
            let heard = members.iter().all(|(id, b)| settled.get(id) == Some(b));
            let ids = ensemble.set(members.into_iter().map(|(id, _)| id));
            let is_quorum = ensemble.is_quorum_of_one(ids, Switches::default());
            ensure(!heard || !is_quorum, || {
                let at = v.servers[at].id;
                format!("server {at} has heard all who serve under {leads}, and looks")
            })?;
        }
    }
    Ok(())
}

/// The servers with a vote that serve an epoch, with what they tell.
fn members(v: &View<'_>, epoch: Epoch) -> impl Iterator<Item = (ServerId, Ballot)> {
    let conducts = v.servers.iter().zip(v.conducts);
    conducts.filter_map(move |(server, conduct)| {
        let (vote, state) = match conduct.doing {
            Doing::Leading { vote, serves, .. } if serves == Some(epoch) => {
                (vote, ServerState::Leading)
            }
            // An observer tells nobody.
            Doing::Following {
                vote,
                observer: false,
                serves,
                ..
            } if serves == Some(epoch) => (vote, ServerState::Following),
            _ => return None,
        };
        Some((server.id, Ballot { vote, state }))
    })
}

/// I-19: what a serving observer has applied is the beginning of what the voters have committed.
pub(super) fn observers_learn(v: &View<'_>) -> Verdict {
    let observers = v.servers.iter().filter(|s| s.observer);
    for observer in observers {
        if let Some((_, tree)) = &observer.serving
            && !v.past.committed.starts_with(tree)
        {
            return Err(Broken(format!(
                "observer {} has applied {tree:?}; committed is {:?}",
                observer.id, v.past.committed
            )));
        }
    }
    Ok(())
}

/// I-20: a configuration that some server takes for active is committed.
pub(super) fn active_is_committed(v: &View<'_>) -> Verdict {
    let begun = |z: Zxid| z == Zxid::ZERO || v.past.committed.contains(&z);
    let early = v.servers.iter().find(|s| !begun(s.active));
    match early {
        Some(early) => Err(Broken(format!(
            "server {} takes configuration {} for active",
            early.id, early.active
        ))),
        None => Ok(()),
    }
}
