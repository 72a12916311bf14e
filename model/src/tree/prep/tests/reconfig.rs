//! A new list of members, among other requests at the configuration node.

use super::*;
use crate::tree::path::CONFIG;

const LIST: &str = "server.1=a:1:2:participant\nversion=7";

fn of(scheme: &str, id: &str) -> Id {
    Id {
        scheme: scheme.into(),
        id: id.into(),
    }
}

impl Leader {
    fn reconfig(&mut self, ids: &Ids) -> Txn {
        let header = self.header(S);
        let request = Request {
            header,
            ids,
            session: Ok(()),
            ephemerals: Ok(()),
        };
        let txn = self.prep.reconfig(&self.tree, &request, LIST.into());
        self.history.push((header, txn.clone()));
        txn
    }
}

/// Whoever may write the node may bring a list, as the node will be: the grant need not be applied yet.
#[test]
fn whoever_may_write_the_configuration_node_may_bring_a_list() {
    let mut leader = Leader::new();
    let no_auth = refusal(ErrorCode::NoAuth);
    let (alice, operator) = ([of("digest", "alice:x")], [of("super", "")]);
    let list = Txn::SetData {
        path: CONFIG.into(),
        data: Some(LIST.into()),
        version: -1,
        reconfig: true,
    };
    assert_eq!(leader.reconfig(&[]), no_auth);
    assert_eq!(leader.reconfig(&alice), no_auth);
    assert_eq!(leader.reconfig(&operator), list);
    let grant = set_acl(CONFIG, acl(perms::WRITE, "digest", "alice:x"), -1);
    assert!(matches!(
        leader.ask_as(S, &operator, grant),
        Txn::SetAcl { .. }
    ));
    assert_eq!(leader.reconfig(&alice), list);
    assert_eq!(leader.reconfig(&[]), no_auth);
    leader.apply_all();
    assert_eq!(leader.reconfig(&alice), list);
}

/// The node has one version for ever, in what is judged ahead and in what is applied, and the client gets the list with its Stat.
#[test]
fn the_version_of_the_configuration_node_stays_as_it_is() {
    let mut leader = Leader::new();
    let operator = [of("super", "")];
    leader.reconfig(&operator);
    let ahead = leader.prep.record(&leader.tree, Key::of(CONFIG)).unwrap();
    let (header, txn) = leader.history[0].clone();
    let mut events = 0;
    let result = leader.tree.apply(&header, &txn, &mut |_| events += 1);
    let TxnResult::MembersSet { text, stat } = result else {
        panic!("a list was set");
    };
    assert_eq!(text, LIST.as_bytes());
    assert_eq!((stat.version, stat.mzxid), (-1, header.zxid));
    assert_eq!(stat.data_length, LIST.len() as i32);
    assert_eq!((ahead.stat.version, ahead.stat.mzxid), (-1, header.zxid));
    assert_eq!((ahead.stat.mtime, ahead.data_len), (stat.mtime, LIST.len()));
    assert_eq!(events, 1, "who watches the node hears of it");
}

#[test]
fn where_acls_are_skipped_everybody_may_bring_a_list() {
    let mut leader = Leader::new();
    leader.prep = Prep::new(Rules {
        skip_acl: true,
        ..Rules::default()
    });
    assert!(matches!(
        leader.reconfig(&[]),
        Txn::SetData { reconfig: true, .. }
    ));
}
