//! Differences that are decided: each by the name of its D-n in SPEC.md.

use super::said::{Answers, Said};
use bytes::Bytes;
use zabra::wire::client::{ReplyFrame, opcode as op};
use zabra_model::ids::Zxid;

/// A decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its row in SPEC.md.
    pub name: &'static str,
    /// What of it the rest is compared by.
    pub then: Then,
}

/// What a decided difference brings with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Then {
    /// Nothing.
    GoOn,
    /// Zabra has used a zxid more.
    ExtraZxid,
    /// It is one only if the client may not read the node of this path.
    IfHidden(Box<str>),
}

const MARSHALLING_ERROR: i32 = -5;

/// The decision that an answer of Zabra's follows, if it differs by one.
#[must_use]
pub fn wanted(answers: &Answers<'_>) -> Option<Wanted> {
    if let Some(path) = told_by_set_watches(answers.zookeeper) {
        return Some(Wanted {
            name: "D-74",
            then: Then::IfHidden(path),
        });
    }
    let op = answers.op?;
    let (zookeeper, zabra) = (error(answers.zookeeper)?, error(answers.zabra)?);
    let both_torn = zookeeper.0 == MARSHALLING_ERROR && zabra.0 == MARSHALLING_ERROR;
    if both_torn && op.is_write() && zabra.1 == zookeeper.1 + 1 {
        return Some(Wanted {
            name: "D-72",
            then: Then::ExtraZxid,
        });
    }
    // ZooKeeper looks at it late, after other refusals, or never: it takes a watch of no path.
    let of_watches = matches!(
        op.opcode,
        op::ADD_WATCH | op::REMOVE_WATCHES | op::CHECK_WATCHES
    );
    let harmless = zookeeper.0 != 0 || op.opcode == op::MULTI || of_watches;
    if op.has_null && zabra.0 == MARSHALLING_ERROR && harmless {
        return Some(Wanted {
            name: "D-73",
            then: Then::GoOn,
        });
    }
    None
}

/// The path of an event that setWatches has brought about, which is of no transaction.
#[must_use]
pub fn told_by_set_watches(said: Option<&Said>) -> Option<Box<str>> {
    let Said::Event(bytes) = said? else {
        return None;
    };
    let frame = ReplyFrame::split(&Bytes::copy_from_slice(bytes.get(4..)?)).ok()?;
    let event = frame.decode_event().ok()?;
    (frame.header.zxid == Zxid(u64::MAX)).then_some(event.path)
}

/// Error and zxid of a reply.
fn error(said: Option<&Said>) -> Option<(i32, u64)> {
    let Said::Reply(_, bytes) = said? else {
        return None;
    };
    let zxid = bytes.get(8..16)?.try_into().ok()?;
    let error = bytes.get(16..20)?.try_into().ok()?;
    Some((i32::from_be_bytes(error), u64::from_be_bytes(zxid)))
}
