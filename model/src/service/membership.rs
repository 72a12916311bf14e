//! Who is let in on the ports between the servers.
//!
//! An id is a claim, and nothing proves it; so it is worth no more than what the list of members says of it, and it is not
//! worth another server's place. Without reconfiguration the list is the whole ensemble: nobody else has anything to learn. With
//! reconfiguration others are led as guests, who have no vote.

use crate::ids::{ServerId, Zxid};

/// What the list of members says of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listed {
    /// It votes.
    Participant,
    /// It only learns.
    Observer,
}

/// What a learner says of itself: FOLLOWERINFO or OBSERVERINFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Who it is.
    pub sid: ServerId,
    /// Whether it is an observer.
    pub observer: bool,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// No member has this id.
    NoMember,
    /// It is this server's own id.
    Myself,
    /// The member with this id has the other role.
    OtherRole,
    /// The member with this id is here already, and answers.
    Present,
    /// Others from as many addresses as may wait claim this id, too.
    Crowded,
    /// It goes by a list of members that this server does not have.
    Ahead,
}

impl core::fmt::Display for Turned {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoMember => {
                "no server line names this id; add one for it on every server if it is to be a member"
            }
            Self::Myself => "this is the id of this server itself; correct the other server's myid",
            Self::OtherRole => {
                "its server line gives it the other role, participant or observer; make the lines of all servers agree"
            }
            Self::Present => {
                "a server with this id is connected and answers; if there are two, correct the myid of one"
            }
            Self::Crowded => {
                "connections from many addresses claim this id; look who they are, and guard the quorum port"
            }
            Self::Ahead => {
                "it goes by a newer list of members than this server has; if one of them has another ensemble's data, correct its dataDir"
            }
        })
    }
}

/// So many ids that no list has may be led, or wait for it, at once.
pub const GUESTS_MAX: usize = 16;

/// Whether an id may speak here at all: on the election port this is all that is asked.
///
/// # Errors
/// [`Turned::NoMember`], [`Turned::Myself`].
pub fn is_member(me: ServerId, sid: ServerId, listed: Option<Listed>) -> Result<Listed, Turned> {
    match listed {
        _ if sid == me => Err(Turned::Myself),
        Some(listed) => Ok(listed),
        None => Err(Turned::NoMember),
    }
}

/// Whether a learner is led: it is a member, in the role that it claims.
///
/// Where `members_change` while the servers run, everybody else is led, too, without a vote: who is to become a member has the history
/// before, who has ceased to be one may stay, and who has another role by now has to hear of it. How many may come so is bounded
/// ([`GUESTS_MAX`]).
///
/// # Errors
/// [`Turned`], all but [`Turned::Present`] and [`Turned::Crowded`].
pub fn may_be_led(
    me: ServerId,
    claim: Claim,
    listed: Option<Listed>,
    members_change: bool,
) -> Result<(), Turned> {
    if members_change && claim.sid != me {
        return Ok(());
    }
    let listed = is_member(me, claim.sid, listed)?;
    if claim.observer == (listed == Listed::Observer) {
        Ok(())
    } else {
        Err(Turned::OtherRole)
    }
}

/// Whether a learner that goes by the list of version `active` may be led by a leader whose newest list has the version `newest`, committed
/// or not. What a reconfiguration brings has the zxid of its transaction; ZooKeeper's servers also name the list that their ensemble began with, by
/// the epoch in which it was first led and the counter zero, and that tells nothing of who its members are.
///
/// # Errors
/// [`Turned::Ahead`].
pub fn has_its_list(active: Zxid, newest: Zxid) -> Result<(), Turned> {
    if active.counter() == 0 || active <= newest {
        Ok(())
    } else {
        Err(Turned::Ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    /// C-80: of all claims, those of members in their role, and no others.
    #[test]
    fn c_80_a_claim_is_worth_what_the_list_says_of_it() {
        let me = ServerId(1);
        for sid in [1, 2, 3, u64::MAX].map(ServerId) {
            for observer in [false, true] {
                for listed in [None, Some(Listed::Participant), Some(Listed::Observer)] {
                    let right = match listed {
                        _ if sid == me => Err(Turned::Myself),
                        None => Err(Turned::NoMember),
                        Some(Listed::Participant) if observer => Err(Turned::OtherRole),
                        Some(Listed::Observer) if !observer => Err(Turned::OtherRole),
                        Some(_) => Ok(()),
                    };
                    let claim = Claim { sid, observer };
                    assert_eq!(may_be_led(me, claim, listed, false), right);
                    // Where members change, everybody but this server itself may learn.
                    assert_eq!(may_be_led(me, claim, listed, true).is_ok(), sid != me);
                    let mail = is_member(me, sid, listed).map(drop);
                    assert_eq!(mail.is_ok(), sid != me && listed.is_some());
                }
            }
        }
    }

    #[test]
    fn a_learner_with_a_list_that_the_leader_lacks_is_not_led() {
        let at = |epoch, counter| Zxid::new(Epoch(epoch), counter);
        for (active, newest, is_led) in [
            (Zxid::ZERO, Zxid::ZERO, true),
            (at(1, 0), Zxid::ZERO, true),
            (at(7, 0), at(2, 3), true),
            (at(2, 3), at(2, 3), true),
            (at(2, 3), at(3, 1), true),
            (at(2, 4), at(2, 3), false),
            (at(1, 1), Zxid::ZERO, false),
            (Zxid(u64::MAX), at(9, 9), false),
        ] {
            let said = has_its_list(active, newest);
            assert_eq!(said.is_ok(), is_led, "{active} {newest}");
        }
    }
}
