//! What a client may not know, and who may not ask at all: events of watches, and clients that have to authenticate first.

use super::*;
use crate::wire::client::EventType;
use crate::wire::client::EventType::{
    NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted,
};

fn acl(scheme: &str, id: &str) -> Vec<AclEntry> {
    vec![AclEntry {
        perms: perms::ALL,
        id: Id {
            scheme: scheme.into(),
            id: id.into(),
        },
    }]
}

/// Only user `u` with password `p` reads it.
fn private() -> Vec<AclEntry> {
    acl("digest", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=")
}

fn make(path: &str, acl: Vec<AclEntry>) -> Txn {
    Txn::Create {
        path: path.into(),
        data: None,
        acl,
        created: Created::Node {
            ephemeral: false,
            with_stat: false,
        },
        parent_cversion: -1,
    }
}

fn change(path: &str) -> Txn {
    Txn::SetData {
        path: path.into(),
        data: None,
        version: 1,
        reconfig: false,
    }
}

fn remove(path: &str) -> Txn {
    Txn::Delete {
        path: path.into(),
        container: false,
    }
}

fn user(shared: &Arc<Shared>) -> Client {
    let mut user = Client::open(shared);
    user.asks(1, &[auth("digest", Some(b"u:p"))]);
    assert_eq!(user.heard(), [(1, 0)]);
    user
}

fn watch(path: &str, mode: AddWatchMode) -> Request {
    let path = path.into();
    Request::AddWatch { path, mode }
}

/// Events that have come, as what happened and where.
fn events(client: &mut Client) -> Vec<(EventType, String)> {
    client.go();
    let replies = client.replies();
    let events = replies.iter().filter(|r| r.header.xid == xid::EVENT);
    events
        .map(|r| r.decode_event().unwrap())
        .map(|event| (event.kind, event.path.to_string()))
        .collect()
}

/// CVE-2024-23944: a persistent watch, on a node or on all below it, told everybody the names of what they may not read.
#[test]
fn watches_of_every_kind_name_only_what_their_watcher_may_read() {
    let shared = server();
    let mut clients = [user(&shared), Client::open(&shared)];
    let set = |paths: &[&str]| paths.iter().map(|path| Box::from(*path)).collect();
    for client in &mut clients {
        let asked = [
            watch("/", AddWatchMode::PersistentRecursive),
            watch("/private", AddWatchMode::Persistent),
            watch("/private/name", AddWatchMode::PersistentRecursive),
            Request::SetWatches(SetWatches {
                relative_zxid: LAST,
                data: set(&[]),
                exist: set(&["/private", "/private/name", "/open"]),
                child: set(&["/"]),
                persistent: None,
            }),
        ];
        client.asks(10, &asked);
        client.heard();
    }
    let open = || acl("world", "anyone");
    for (txn, public, hidden) in [
        (
            make("/private", private()),
            &[(NodeChildrenChanged, "/")][..],
            &[(NodeCreated, "/private")][..],
        ),
        (change("/private"), &[], &[(NodeDataChanged, "/private")]),
        (
            make("/private/name", private()),
            &[],
            &[
                (NodeCreated, "/private/name"),
                (NodeChildrenChanged, "/private"),
            ],
        ),
        (
            change("/private/name"),
            &[],
            &[(NodeDataChanged, "/private/name")],
        ),
        // Each node's own list counts, for its list of children that of the parent.
        (
            make("/private/open", open()),
            &[(NodeCreated, "/private/open")],
            &[(NodeChildrenChanged, "/private")],
        ),
        (
            remove("/private/name"),
            &[],
            &[
                (NodeDeleted, "/private/name"),
                (NodeChildrenChanged, "/private"),
            ],
        ),
        (make("/open", open()), &[(NodeCreated, "/open")], &[]),
    ] {
        commit(&shared, &txn);
        let mut all: Vec<_> = public.iter().chain(hidden).copied().collect();
        all.sort_unstable_by_key(|(kind, path)| (*kind as u8, *path));
        let [reader, stranger] = &mut clients;
        for (client, expected) in [(reader, &*all), (stranger, public)] {
            let mut heard = events(client);
            heard.sort_unstable_by_key(|(kind, path)| (*kind as u8, path.clone()));
            let heard: Vec<_> = heard.iter().map(|(kind, path)| (*kind, &**path)).collect();
            assert_eq!(heard, expected, "{txn:?}");
        }
    }
}

/// Watches that are set again tell at once what was missed, by the same rule.
#[test]
fn what_was_missed_is_told_to_whoever_may_read_it() {
    let shared = server();
    commit(&shared, &make("/private", private()));
    let again = Request::SetWatches(SetWatches {
        relative_zxid: Zxid::ZERO,
        data: vec!["/private".into()],
        exist: vec!["/private".into()],
        child: vec!["/private".into()],
        persistent: None,
    });
    let (mut reader, mut stranger) = (user(&shared), Client::open(&shared));
    for client in [&mut reader, &mut stranger] {
        client.asks(10, std::slice::from_ref(&again));
    }
    assert_eq!(events(&mut reader).len(), 3);
    assert_eq!(events(&mut stranger), []);
}

#[test]
fn who_has_to_authenticate_gets_an_error_and_the_end_for_anything_else() {
    let lines = "enforce.auth.enabled=true\nenforce.auth.schemes=digest\n";
    let shared = server_with(lines);
    let closed = ErrorCode::SessionClosedRequireSaslAuth.code();
    assert_eq!(closed, -124);
    for first in [exists("/", false), Request::Ping, write(), Request::WhoAmI] {
        let mut client = Client::open(&shared);
        let asked = [first, exists("/", false)];
        assert_eq!(client.asks(1, &asked), Rest::Finish);
        assert_eq!(client.heard(), [(1, closed)], "{:?}", asked[0]);
        assert!(client.submits.is_empty());
    }
    let mut client = user(&shared);
    let asked = [exists("/", false), write(), Request::Ping];
    assert!(client.asks(2, &asked).may_read());
    assert_eq!(client.heard(), [(2, 0)]);
    assert_eq!(client.submits.len(), 1);
}

/// As ZooKeeper does it: a client that gets no answer looks for another server, one that gets an error gives up.
#[test]
fn a_client_of_another_ensemble_hears_nothing_and_one_of_this_is_nobody_more() {
    let shared = server_with("ensembleAuthName=east,all\n");
    for name in [Some(&b"west"[..]), Some(b"east,all")] {
        let mut client = Client::open(&shared);
        let asked = [auth("ensemble", name), exists("/", false)];
        assert_eq!(client.asks(1, &asked), Rest::Finish);
        assert_eq!(client.heard(), []);
    }
    for name in [None, Some(&b""[..]), Some(b"all")] {
        let mut client = Client::open(&shared);
        let asked = [auth("ensemble", name), exists("/", false)];
        assert!(client.asks(1, &asked).may_read());
        assert_eq!(client.heard(), [(1, 0), (2, 0)]);
        assert_eq!(client.conn().state().ids.len(), 1, "its address");
    }
    let mut client = Client::open(&server());
    let asked = [auth("ensemble", Some(b"east"))];
    assert_eq!(client.asks(1, &asked), Rest::Finish);
    assert_eq!(client.heard(), [(1, ErrorCode::AuthFailed.code())]);
}

/// Everybody reads everything, digests too, and hears of everything; and stays who he is.
#[test]
fn where_acls_are_skipped_everybody_reads_and_hears_as_the_super_user() {
    for (lines, err) in [("", ErrorCode::NoAuth.code()), ("skipACL=yes\n", 0)] {
        let shared = server_with(lines);
        commit(&shared, &make("/private", private()));
        let mut client = Client::open(&shared);
        let path = || "/private".into();
        let list = Request::Read(ReadOp::GetChildren {
            path: path(),
            watch: false,
        });
        let asked = [
            Request::Read(ReadOp::GetAcl { path: path() }),
            list,
            watch("/private", AddWatchMode::Persistent),
        ];
        client.asks(1, &asked);
        let replies = client.replies();
        let errors: Vec<_> = replies.iter().map(|r| r.header.err).collect();
        assert_eq!(errors, [err, err, 0], "{lines}");
        let shows = |word: &[u8]| replies[0].record.windows(word.len()).any(|w| w == word);
        assert_eq!(shows(b"u:Jq7wMyA"), err == 0, "{lines}");
        commit(&shared, &change("/private"));
        assert_eq!(events(&mut client).len(), usize::from(err == 0), "{lines}");
        assert_eq!(client.conn().state().ids.len(), 1, "its address");
    }
}
