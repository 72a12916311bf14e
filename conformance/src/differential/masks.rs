//! What differs by its nature: session ids, passwords, times, where zxids begin, the order of sets that have none.
//!
//! Each side has a table of its own, filled at the same moments of a script. What is taken out is replaced by what both have in
//! common: the n-th session, the n-th transaction since a known one. Everything else stays as the bytes are.

use super::side::Heard;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use zabra::wire::client::{MultiResult, ReplyFrame, Response, opcode as op, xid};
use zabra_model::ids::Zxid;
use zabra_model::tree::stat::Stat;

/// One side's names for what both have.
#[derive(Debug, Default)]
pub struct Masks {
    sessions: HashMap<i64, i64>,
    /// First zxids of stretches without a gap, in order.
    stretches: Vec<u64>,
    /// zxids that the other side has not used (D-72), in order.
    extra: Vec<u64>,
}

impl Masks {
    /// This session is the next one.
    pub fn session(&mut self, id: i64) {
        let n = i64::try_from(self.sessions.len()).unwrap_or(i64::MAX);
        self.sessions.entry(id).or_insert(n + 1);
    }

    /// From this zxid on, both sides count alike.
    pub fn stretch(&mut self, zxid: u64) {
        self.stretches.push(zxid);
    }

    /// The other side has not used this zxid.
    pub fn extra(&mut self, zxid: u64) {
        self.extra.push(zxid);
    }

    fn zxid(&self, zxid: Zxid) -> Zxid {
        let first = self.stretches.partition_point(|first| *first <= zxid.0);
        // 0 and -1 say that there is none.
        match first.checked_sub(1) {
            Some(n) if zxid.0 < 1 << 63 => {
                let begin = self.stretches[n];
                let extra = self.extra.partition_point(|extra| *extra <= zxid.0)
                    - self.extra.partition_point(|extra| *extra <= begin);
                Zxid(((n as u64 + 1) << 40) + (zxid.0 - begin) - extra as u64)
            }
            _ => zxid,
        }
    }

    fn stat(&self, stat: &mut Stat) {
        for zxid in [&mut stat.czxid, &mut stat.mzxid, &mut stat.pzxid] {
            *zxid = self.zxid(*zxid);
        }
        for time in [&mut stat.ctime, &mut stat.mtime] {
            *time = i64::from(*time != 0);
        }
        if let Some(session) = self.sessions.get(&stat.ephemeral_owner) {
            stat.ephemeral_owner = *session;
        }
    }

    /// The answer to a handshake: the session by its number, the password by its length.
    #[must_use]
    pub fn handshake(&self, heard: &Heard) -> Vec<u8> {
        let Heard::Frame(body) = heard else {
            return format!("{heard:?}").into_bytes();
        };
        let mut out = body.to_vec();
        if let Some((id, password)) = super::side::granted(body)
            && id != 0
        {
            let id = self.sessions.get(&id).copied().unwrap_or(id);
            out[8..16].copy_from_slice(&id.to_be_bytes());
            out[20..36].fill(u8::from(password.iter().any(|b| *b != 0)));
        }
        out
    }

    /// A reply to `opcode`, or an event. What cannot be read again as it was written is left as it is, and compared so.
    #[must_use]
    pub fn reply(&self, body: &Bytes, opcode: i32) -> Vec<u8> {
        let Ok(frame) = ReplyFrame::split(body) else {
            return body.to_vec();
        };
        let mut header = frame.header;
        header.zxid = self.zxid(header.zxid);
        let mut out = BytesMut::new();
        let as_it_is = || {
            let mut out = BytesMut::new();
            Response::Empty.put(header, &mut out);
            out.extend_from_slice(&frame.record);
            out.to_vec()
        };
        if header.xid == xid::EVENT || header.err != 0 || frame.record.is_empty() {
            return as_it_is();
        }
        let Ok(mut response) = frame.decode(opcode) else {
            return as_it_is();
        };
        response.put(frame.header, &mut out);
        if out[4..] != body[..] {
            return as_it_is();
        }
        self.response(&mut response, opcode);
        out.clear();
        response.put(header, &mut out);
        out.to_vec()
    }

    fn response(&self, response: &mut Response, opcode: i32) {
        match response {
            Response::Acl(acl, stat) => {
                // What `auth` stood for is a set; the order of what the client has named stays.
                for run in acl.chunk_by_mut(|a, b| a.perms == b.perms) {
                    run.sort_by(|a, b| (&a.id.scheme, &a.id.id).cmp(&(&b.id.scheme, &b.id.id)));
                }
                self.stat(stat);
            }
            Response::PathStat(_, stat) | Response::Stat(stat) | Response::Data(_, stat) => {
                self.stat(stat);
            }
            Response::Children(names, stat) => {
                names.sort();
                if let Some(stat) = stat {
                    self.stat(stat);
                }
            }
            Response::Multi(results) => {
                for result in results {
                    match result {
                        MultiResult::Create2 { stat, .. }
                        | MultiResult::SetData { stat }
                        | MultiResult::GetData { stat, .. } => self.stat(stat),
                        MultiResult::GetChildren { children } => children.sort(),
                        MultiResult::Create { .. }
                        | MultiResult::Delete
                        | MultiResult::Check
                        | MultiResult::Error { .. } => {}
                    }
                }
            }
            Response::WhoAmI(who) if opcode == op::WHO_AM_I => {
                who.sort_by(|a, b| (&a.scheme, &a.user).cmp(&(&b.scheme, &b.user)));
            }
            Response::WhoAmI(_)
            | Response::Empty
            | Response::Path(_)
            | Response::Int(_)
            | Response::Token(_) => {}
        }
    }
}

/// For people: what a masked reply says.
#[must_use]
pub fn tell(masked: &[u8], opcode: i32) -> String {
    let Some(body) = masked.get(4..) else {
        return format!("{masked:02x?}");
    };
    let body = Bytes::copy_from_slice(body);
    let Ok(frame) = ReplyFrame::split(&body) else {
        return String::from_utf8_lossy(masked).into_owned();
    };
    let said = match frame.header.xid {
        xid::EVENT => frame.decode_event().map(|e| format!("{e:?}")),
        _ => frame.decode(opcode).map(|r| format!("{r:?}")),
    };
    let said = said.unwrap_or_else(|e| format!("{e}: {:02x?}", &frame.record[..]));
    format!("{:?} {said}", frame.header)
}
