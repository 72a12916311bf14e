//! The mail of elections as bytes: notifications of the model to messages, and back.

use super::cursor::WireError;
use super::election::{self as wire, NotificationForm};
use super::frame::{ELECTION_FRAME_BYTES_MAX, split};
use bytes::{Bytes, BytesMut};
use zabra_model::ids::{Epoch, ServerId, Zxid};
use zabra_model::vote::{Notification, ServerState, Vote};

/// Appends a notification in its frame. `members_text` is the writer's configuration, as in a file of members.
pub fn put(n: Notification, members_text: &str, out: &mut BytesMut) {
    let form = NotificationForm::Config {
        version: wire::NOTIFICATION_VERSION,
        text: members_text.into(),
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
    if n.vote.leader == ServerId::NOBODY {
        // Who votes for nobody says so with the smallest numbers there are.
        let least = i64::MIN;
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
    fn a_notification_reads_back_and_a_vote_for_nobody_has_the_smallest_numbers() {
        let mut notification = Notification {
            state: ServerState::Looking,
            vote: Vote {
                epoch: Epoch(4),
                zxid: Zxid((4 << 32) + 7),
                leader: ServerId(2),
            },
            round: Round(5),
        };
        let (mut buf, mut heard) = (BytesMut::new(), Vec::new());
        put(notification, "", &mut buf);
        notification.vote.leader = ServerId::NOBODY;
        put(notification, "", &mut buf);
        read(&mut buf, |said| heard.push(said)).unwrap();
        let [Ok(first), Ok(second)] = heard[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(first.vote.leader, ServerId(2));
        assert_eq!(second.vote.epoch, Epoch(0));
        assert_eq!(second.vote.leader, ServerId::NOBODY);
    }
}
