//! Sound requests about few nodes: paths, ACLs, watches and quotas in every order, which bytes of records hardly ever come to. The server
//! keeps quotas (`enforceQuota=true`), and whatever is asked of it, another client is served.

use super::server::{HEARD_BYTES_MAX, introduction, must, somebody_else};
use crate::sim::alone::Alone;
use crate::sim::config_alone_with;
use crate::sim::net::StreamId;
use bytes::{Bytes, BytesMut};
use std::sync::OnceLock;
use zabra::config::Config;
use zabra::wire::client::{AddWatchMode, PersistentWatches, Request, SetWatches, xid};
use zabra_model::ids::Zxid;
use zabra_model::tree::acl::{AclEntry, Id};
use zabra_model::tree::op::{CreateKind, ReadOp, WriteOp};

/// Sessions at one time.
const SESSIONS: usize = 3;
/// Requests of all of them, at most.
const REQUESTS_MAX: usize = 96;
/// Requests within a multi, at most.
const MULTI_MAX: u8 = 4;

const PATHS: [&str; 24] = [
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/n-",
    "/b",
    "/",
    "/zookeeper",
    "/zookeeper/config",
    "/zookeeper/quota",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/zookeeper/quota/a/b",
    "/zookeeper/quota/a/b/zookeeper_limits",
    "/zookeeper/quota/a/b/zookeeper_stats",
    "/zookeeper/quota/zookeeper_limits",
    "/zookeeper/quota/zookeeper_stats",
    "/zookeeper/quota/a/zookeeper_limits/c",
    "/a/",
    "/a//b",
    "/a/../b",
    "a",
    "",
    "/a/\0",
];
/// Of the limits and the stats of a quota.
const FIGURES: [&str; 10] = [
    "count=1,bytes=5",
    "count=-1,bytes=-1=;byteHardLimit=4;countHardLimit=2",
    "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=0",
    "count=0,bytes=0",
    "count=9223372036854775807,bytes=9223372036854775807",
    "count=-9223372036854775808,bytes=1",
    "count=,bytes",
    "bytes=3,count=4;byteHardLimit=x",
    "=,;=",
    "",
];
const IDS: [(&str, &str); 14] = [
    ("world", "anyone"),
    ("world", "nobody"),
    ("auth", ""),
    ("digest", "a:b"),
    ("digest", "super:x"),
    ("ip", "127.0.0.1"),
    ("ip", "10.0.0.0/8"),
    ("ip", "::1/129"),
    ("ip", "/"),
    ("x509", "CN=a"),
    ("sasl", "a"),
    ("super", ""),
    ("ensemble", ""),
    ("", ""),
];

fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| match config_alone_with("enforceQuota=true\n") {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    })
}

/// Takes what a request is made of from the input; at its end there are only zeros.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// Small ones, and the ends of what there is.
    fn number(&mut self) -> i32 {
        match self.byte() {
            251 => i32::MIN,
            252 => i32::MAX,
            253 => -2,
            254 => i32::from(self.byte()) << 24,
            small => i32::from(small) - 1,
        }
    }

    fn bytes(&mut self) -> Bytes {
        let length = usize::from(self.byte() % 64).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Bytes::copy_from_slice(taken)
    }

    fn text(&mut self) -> Box<str> {
        String::from_utf8_lossy(&self.bytes()).into()
    }

    /// A known one, one below it, any text, or none.
    fn path(&mut self) -> Option<Box<str>> {
        let byte = self.byte();
        let known = PATHS.get(usize::from(byte & 31)).copied();
        match (known, byte >> 5) {
            (Some(known), 0..6) => Some(known.into()),
            (Some(known), _) => Some(format!("{known}/{}", self.text()).into()),
            (None, 0) => None,
            (None, _) => Some(self.text()),
        }
    }

    fn named(&mut self) -> Box<str> {
        self.path().unwrap_or_default()
    }

    fn data(&mut self) -> Option<Bytes> {
        let byte = self.byte();
        match FIGURES.get(usize::from(byte & 15)) {
            Some(figures) => Some(Bytes::from_static(figures.as_bytes())),
            None if byte & 15 == 15 => None,
            None => Some(self.bytes()),
        }
    }

    fn id(&mut self) -> Id {
        let (scheme, id) = match IDS.get(usize::from(self.byte() & 15)) {
            Some((scheme, id)) => ((*scheme).into(), (*id).into()),
            None => (self.text(), self.text()),
        };
        Id { scheme, id }
    }

    fn acl(&mut self) -> Option<Vec<AclEntry>> {
        let count = match self.byte() & 7 {
            7 => return None,
            // Mostly that of everybody, or nothing would come of the rest.
            4.. => {
                let perms = 31;
                let (scheme, id) = ("world".into(), "anyone".into());
                return Some(vec![AclEntry {
                    perms,
                    id: Id { scheme, id },
                }]);
            }
            count => count,
        };
        let one = |_| AclEntry {
            perms: self.number().cast_unsigned(),
            id: self.id(),
        };
        Some((0..count).map(one).collect())
    }

    fn write(&mut self, depth: u8) -> WriteOp {
        match self.byte() % 8 {
            0..3 => WriteOp::Create {
                kind: [
                    CreateKind::Create,
                    CreateKind::Create2,
                    CreateKind::Container,
                    CreateKind::Ttl,
                ][usize::from(self.byte() & 3)],
                path: self.path(),
                data: self.data(),
                acl: self.acl(),
                flags: self.number(),
                ttl: i64::from(self.number()) * 1000,
            },
            3 => WriteOp::Delete {
                path: self.path(),
                version: self.number(),
            },
            4 => WriteOp::SetData {
                path: self.path(),
                data: self.data(),
                version: self.number(),
            },
            5 => WriteOp::SetAcl {
                path: self.path(),
                acl: self.acl(),
                version: self.number(),
            },
            _ if depth > 0 => WriteOp::Check {
                path: self.path(),
                version: self.number(),
            },
            _ => {
                let count = self.byte() % (MULTI_MAX + 1);
                WriteOp::Multi((0..count).map(|_| self.write(depth + 1)).collect())
            }
        }
    }

    fn read(&mut self) -> ReadOp {
        let (what, path, watch) = (self.byte() % 8, self.named(), self.flag());
        match what {
            0 => ReadOp::Exists { path, watch },
            1 => ReadOp::GetData { path, watch },
            2 => ReadOp::GetAcl { path },
            3 => ReadOp::GetChildren { path, watch },
            4 => ReadOp::GetChildren2 { path, watch },
            5 => ReadOp::GetEphemerals {
                prefix: watch.then_some(path),
            },
            6 => ReadOp::GetAllChildrenNumber { path },
            _ => ReadOp::MultiRead(vec![
                ReadOp::GetData {
                    path: path.clone(),
                    watch: false,
                },
                ReadOp::GetChildren { path, watch: false },
            ]),
        }
    }

    fn watches(&mut self) -> SetWatches {
        let mut some = || -> Vec<Box<str>> {
            let count = self.byte() & 3;
            (0..count).map(|_| self.named()).collect()
        };
        let (data, exist, child) = (some(), some(), some());
        let (exact, recursive) = (some(), some());
        let persistent = PersistentWatches { exact, recursive };
        SetWatches {
            relative_zxid: Zxid(self.byte().into()),
            data,
            exist,
            child,
            persistent: self.flag().then_some(persistent),
        }
    }

    fn request(&mut self) -> Request {
        match self.byte() % 12 {
            0..4 => Request::Write(self.write(0)),
            4..7 => Request::Read(self.read()),
            7 => Request::SetWatches(self.watches()),
            8 => Request::AddWatch {
                path: self.named(),
                mode: if self.flag() {
                    AddWatchMode::Persistent
                } else {
                    AddWatchMode::PersistentRecursive
                },
            },
            9 => {
                let (path, kind) = (self.named(), self.number());
                if self.flag() {
                    Request::CheckWatches { path, kind }
                } else {
                    Request::RemoveWatches { path, kind }
                }
            }
            10 => Request::Auth {
                kind: 0,
                scheme: Some(self.id().scheme),
                data: self.data(),
            },
            _ => match self.byte() & 3 {
                0 => Request::Sync { path: self.path() },
                1 => Request::DeleteContainer { path: self.path() },
                2 => Request::WhoAmI,
                _ => Request::Reconfig {
                    joining: Some(self.text()),
                    leaving: Some(self.text()),
                    new_members: self.flag().then(|| self.text()),
                    config_id: self.number().into(),
                },
            },
        }
    }
}

/// Requests, each behind a byte that says whose they are and whether time passes, or a session ends.
///
/// # Panics
/// If anything panics, something must not be, or the other client is not answered.
pub fn requests(data: &[u8]) {
    let mut alone = match Alone::begin(config().clone(), 1) {
        Ok(alone) => alone,
        Err(what) => panic!("{what}"),
    };
    let mut sessions: [Option<StreamId>; SESSIONS] = [None; SESSIONS];
    let mut source = Source(data);
    for number in 1..=REQUESTS_MAX {
        if source.0.is_empty() {
            break;
        }
        let head = source.byte();
        let slot = usize::from(head & 3) % SESSIONS;
        let stream = *sessions[slot].get_or_insert_with(|| {
            let stream = alone.dial();
            alone.say(stream, &introduction(0));
            stream
        });
        let request = source.request();
        let mut out = BytesMut::new();
        let number = match request {
            Request::Auth { .. } => xid::AUTH,
            Request::SetWatches(_) => xid::SET_WATCHES,
            _ => number as i32,
        };
        request.put(number, &mut out);
        alone.say(stream, &out);
        match (head >> 2) & 15 {
            0 => must(alone.run(1_000_000)),
            1 => {
                alone.end(stream);
                sessions[slot] = None;
            }
            2..6 => {}
            _ => must(alone.run(2_000)),
        }
    }
    must(alone.run(50_000));
    must(somebody_else(&mut alone));
    let heard = sessions.into_iter().flatten();
    let heard: usize = heard.map(|stream| alone.ear(stream).bytes.len()).sum();
    assert!(heard < HEARD_BYTES_MAX);
}

/// A directory with a quota that is met, watches on it, a multi, and an ACL that shuts everybody out.
#[must_use]
pub fn good() -> Vec<Vec<u8>> {
    // Each: whose, what, which. The places are those of the tables above.
    let make = |path: u8, figures: u8| vec![12 << 2, 0, 0, 0, path, figures, 4, 1, 0];
    let set = |path: u8, figures: u8| vec![12 << 2, 0, 4, path, figures, 0];
    let quota = |figures: u8| [make(0, 9), make(9, 9), make(10, figures), make(11, 3)].concat();
    let mut all = Vec::new();
    for figures in 0..FIGURES.len() as u8 {
        let fill = [make(1, 0), make(2, 1), set(1, 4), set(0, figures)].concat();
        all.push([quota(figures), fill].concat());
    }
    // A recursive watch, and one for each kind of read, then a change of each kind.
    let watch = vec![13 << 2, 8, 0, 0, 13 << 2, 4, 1, 0, 1, 13 << 2, 4, 3, 0, 1];
    let remove = vec![12 << 2, 0, 3, 0, 0, 13 << 2, 9, 0, 4, 0];
    all.push(
        [
            make(0, 9),
            watch.clone(),
            set(0, 0),
            make(1, 0),
            remove.clone(),
        ]
        .concat(),
    );
    all.push(
        [
            make(0, 9),
            vec![12 << 2, 7, 1, 0, 1, 1, 1, 2, 0, 0, 0],
            set(0, 1),
        ]
        .concat(),
    );
    // A multi of a create, a check and a delete.
    all.push(vec![
        12 << 2,
        0,
        7,
        3,
        0,
        0,
        0,
        9,
        4,
        1,
        0,
        6,
        0,
        0,
        3,
        0,
        0,
    ]);
    for id in 0..IDS.len() as u8 {
        let acl = vec![12 << 2, 0, 5, 0, 1, 32, id, 0];
        all.push([make(0, 9), vec![12 << 2, 10, id, 6], acl, set(0, 0)].concat());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use zabra::wire::client::ReplyFrame;
    use zabra::wire::frame::split;

    /// The error codes of the answers to a session that asks for all of it.
    fn answers(data: &[u8]) -> Vec<i32> {
        let mut alone = Alone::begin(config().clone(), 1).unwrap();
        let stream = alone.dial();
        alone.say(stream, &introduction(0));
        let mut source = Source(data);
        let mut number = 0;
        while !source.0.is_empty() {
            source.byte();
            number += 1;
            let mut out = BytesMut::new();
            source.request().put(number, &mut out);
            alone.say(stream, &out);
            alone.run(20_000).unwrap();
        }
        let mut frames = Vec::new();
        split(&mut alone.ear(stream).bytes, 1 << 20, &mut frames).unwrap();
        let replies = frames.iter().skip(1).map(|f| ReplyFrame::split(f).unwrap());
        replies.map(|reply| reply.header.err).collect()
    }

    /// Otherwise the requests would be refused one and all, and nothing would be tried.
    #[test]
    fn the_good_input_meets_quotas_and_watches() {
        const QUOTA_EXCEEDED: i32 = -125;
        let all = good();
        assert_eq!(answers(&all[1])[..4], [0; 4]);
        assert!(
            answers(&all[1]).contains(&QUOTA_EXCEEDED),
            "{:?}",
            answers(&all[1])
        );
        all.iter().for_each(|bytes| requests(bytes));
    }
}
