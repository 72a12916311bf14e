//! Requests that are encoded once and then stamped out: only the number and the node's digits change.

use crate::wire::client::{Request, opcode};
use bytes::{BufMut, Bytes, BytesMut};
use zabra_model::tree::acl::{AclEntry, Id, perms};
use zabra_model::tree::op::{CreateKind, ReadOp, WriteOp};

/// Digits of a node's number, so that all paths of a run have one length.
const DIGITS: usize = 10;

/// One kind of request, for nodes `<prefix>0000000000` and up.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// A whole frame, for number 0 and node 0.
    frame: Bytes,
    /// Where in it the digits stand.
    digits_at: usize,
    /// How replies are to be read.
    pub(super) opcode: i32,
}

/// The number follows the length.
const XID_AT: usize = 4;

impl Template {
    fn new(prefix: &str, request: impl FnOnce(Box<str>) -> Request) -> Self {
        let path = path(prefix, 0);
        let request = request(path.clone().into_boxed_str());
        let mut frame = BytesMut::new();
        request.put(0, &mut frame);
        // The path is looked for, not computed: where it stands is the codec's business.
        let path_at = frame
            .windows(path.len())
            .position(|window| window == path.as_bytes())
            .unwrap_or(0);
        Self {
            digits_at: path_at + prefix.len(),
            opcode: request.opcode(),
            frame: frame.freeze(),
        }
    }

    pub(super) fn set(prefix: &str, data: &Bytes) -> Self {
        Self::new(prefix, |path| {
            Request::Write(WriteOp::SetData {
                path: Some(path),
                data: Some(data.clone()),
                version: -1,
            })
        })
    }

    pub(super) fn get(prefix: &str) -> Self {
        Self::new(prefix, |path| {
            Request::Read(ReadOp::GetData { path, watch: false })
        })
    }

    pub(super) fn create(prefix: &str, data: &Bytes) -> Self {
        Self::new(prefix, |path| create(&path, data))
    }

    /// Appends the request number `xid` for `node`.
    pub(super) fn put(&self, xid: i32, node: u64, out: &mut BytesMut) {
        let start = out.len();
        out.put_slice(&self.frame);
        let Some(frame) = out.get_mut(start..) else {
            return;
        };
        if let Some(place) = frame.get_mut(XID_AT..XID_AT + 4) {
            place.copy_from_slice(&xid.to_be_bytes());
        }
        if let Some(place) = frame.get_mut(self.digits_at..self.digits_at + DIGITS) {
            let mut rest = node;
            for digit in place.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    /// Whether replies to it carry nodes' data.
    pub(super) const fn is_get(&self) -> bool {
        self.opcode == opcode::GET_DATA
    }
}

/// The path of a node.
fn path(prefix: &str, node: u64) -> String {
    format!("{prefix}{node:0DIGITS$}")
}

/// A create that everybody may read and write.
pub(super) fn create(path: &str, data: &Bytes) -> Request {
    Request::Write(WriteOp::Create {
        kind: CreateKind::Create,
        path: Some(path.into()),
        data: Some(data.clone()),
        acl: Some(vec![AclEntry {
            perms: perms::ALL,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }]),
        flags: 0,
        ttl: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::client::RawRequest;
    use crate::wire::{WireError, frame};

    #[test]
    fn a_stamped_request_is_the_request_encoded_anew() -> Result<(), WireError> {
        let data = Bytes::from_static(b"data");
        for template in [
            Template::set("/bench/k", &data),
            Template::get("/bench/k"),
            Template::create("/bench/k", &data),
        ] {
            let mut out = BytesMut::from(&b""[..]);
            template.put(7, 0, &mut out);
            template.put(i32::MAX, 1_234_567_890, &mut out);
            let mut frames = vec![];
            assert_eq!(frame::split(&mut out, 1000, &mut frames)?, 2);
            for (body, xid, digits) in [
                (&frames[0], 7, "0000000000"),
                (&frames[1], i32::MAX, "1234567890"),
            ] {
                let raw = RawRequest::split(body)?;
                assert_eq!((raw.header.xid, raw.header.opcode), (xid, template.opcode));
                let path = format!("/bench/k{digits}").into_boxed_str();
                let expected = match template.opcode {
                    opcode::CREATE => create(&path, &data),
                    opcode::GET_DATA => Request::Read(ReadOp::GetData { path, watch: false }),
                    _ => Request::Write(WriteOp::SetData {
                        path: Some(path),
                        data: Some(data.clone()),
                        version: -1,
                    }),
                };
                assert_eq!(raw.decode()?, expected);
            }
        }
        Ok(())
    }
}
