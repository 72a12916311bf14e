//! The mail of elections as bytes: notifications of the model to messages, and back.

use super::cursor::WireError;
use super::election::{self as wire, NotificationForm};
use super::frame::{ELECTION_FRAME_BYTES_MAX, split};
use bytes::{Bytes, BytesMut};
use zabra_model::ids::{Epoch, ServerId, Zxid};
use zabra_model::vote::{Notification, ServerState, Vote};

/// Who writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender<'a> {
    /// Its id.
    pub me: ServerId,
    /// Whether nobody can vote for it.
    pub is_observer: bool,
    /// Its configuration, as in a file of members.
    pub members_text: &'a str,
}

/// Appends a notification in its frame.
pub fn put(n: Notification, from: &Sender<'_>, out: &mut BytesMut) {
    let form = NotificationForm::Config {
        version: wire::NOTIFICATION_VERSION,
        text: from.members_text.into(),
    };
    let state = match n.state {
        ServerState::Looking => wire::ServerState::Looking,
        ServerState::Following => wire::ServerState::Following,
        ServerState::Leading => wire::ServerState::Leading,
        ServerState::Observing => wire::ServerState::Observing,
    };
    let mut message = wire::Notification {
        state,
        leader: n.vote.leader,
        zxid: n.vote.zxid,
        round: n.round,
        peer_epoch: i64::from(n.vote.epoch.0),
        form,
    };
    if from.is_observer && n.vote.leader == from.me {
        // It can be elected by nobody, and says so with the smallest numbers there are.
        let least = i64::MIN;
        message.leader = ServerId(least.cast_unsigned());
        message.zxid = Zxid(least.cast_unsigned());
        message.peer_epoch = least;
    }
    message.put(out);
}

/// Takes every complete message out of `buf`, in order: a notification, or the size of one that cannot be understood and is
/// skipped.
///
/// # Errors
/// [`WireError`], if nothing that follows can be understood; what came before it has been given.
pub fn read(
    buf: &mut BytesMut,
    mut hear: impl FnMut(Result<Notification, usize>),
) -> Result<(), WireError> {
    read_all(buf, |said| hear(said.map(|(notification, _)| notification)))
}

/// As [`read`], each with the text of its sender's list of members, if it has one.
///
/// # Errors
/// As [`read`].
pub fn read_all(
    buf: &mut BytesMut,
    mut hear: impl FnMut(Result<(Notification, Option<Box<str>>), usize>),
) -> Result<(), WireError> {
    let mut frames = Vec::new();
    let wrong = split(buf, ELECTION_FRAME_BYTES_MAX, &mut frames).err();
    for body in frames {
        if body.is_empty() {
            return Err(WireError::Length {
                what: "election message",
                offset: 0,
                length: 0,
                max: ELECTION_FRAME_BYTES_MAX,
            });
        }
        hear(understood(&body).ok_or(body.len()));
    }
    wrong.map_or(Ok(()), Err)
}

fn understood(body: &Bytes) -> Option<(Notification, Option<Box<str>>)> {
    let n = wire::Notification::decode(body).ok()?;
    let state = match n.state {
        wire::ServerState::Looking => ServerState::Looking,
        wire::ServerState::Following => ServerState::Following,
        wire::ServerState::Leading => ServerState::Leading,
        wire::ServerState::Observing => ServerState::Observing,
    };
    // An observer's own vote is the smallest number everywhere, which is no epoch: it is for nobody.
    let epoch = u32::try_from(n.peer_epoch).map_or(Epoch(0), Epoch);
    let notification = Notification {
        state,
        vote: Vote {
            epoch,
            zxid: n.zxid,
            leader: n.leader,
        },
        round: n.round,
    };
    let text = match n.form {
        NotificationForm::Config { text, .. } => Some(text),
        NotificationForm::NoEpoch
        | NotificationForm::NoConfig
        | NotificationForm::Versioned { .. } => None,
    };
    Some((notification, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zabra_model::ids::Round;

    #[test]
    fn a_notification_reads_back_and_an_observer_s_own_vote_is_for_nobody() {
        let notification = Notification {
            state: ServerState::Looking,
            vote: Vote {
                epoch: Epoch(4),
                zxid: Zxid((4 << 32) + 7),
                leader: ServerId(2),
            },
            round: Round(5),
        };
        let mut from = Sender {
            me: ServerId(2),
            is_observer: false,
            members_text: "",
        };
        let (mut buf, mut heard) = (BytesMut::new(), Vec::new());
        put(notification, &from, &mut buf);
        from.is_observer = true;
        put(notification, &from, &mut buf);
        read(&mut buf, |said| heard.push(said)).unwrap();
        let [Ok(first), Ok(second)] = heard[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(first, notification);
        assert_eq!(second.vote.epoch, Epoch(0));
        assert_ne!(second.vote.leader, ServerId(2));
    }
}
