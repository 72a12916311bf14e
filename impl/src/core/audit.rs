//! Lines of the audit log: who has changed what, in ZooKeeper's fields and words. They come out in [`Outputs::audit`](super::out::Outputs),
//! on the server whose client asked; where they are written to is the driver's.

use super::service::Submitted;
use crate::client::auth::shown;
use crate::wire::client::Request;
use std::fmt;
use std::net::IpAddr;
use zabra_model::ids::SessionId;
use zabra_model::tree::acl::{AclEntry, Id, perms};
use zabra_model::tree::apply::TxnResult;
use zabra_model::tree::op::WriteOp;
use zabra_model::tree::path::CONFIG;

/// How it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Failure,
    /// It was begun; how it ends, nobody will be left to say.
    Invoked,
}

/// One line. Fields that are absent are left out; the order is ZooKeeper's.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The session that asked, or whose end it is.
    pub session: Option<SessionId>,
    /// The names of the client, with commas between them; of what a server does by itself, the user whose process it is.
    pub user: &'a str,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// What was asked for, by ZooKeeper's name.
    pub operation: &'a str,
    /// The node.
    pub znode: Option<&'a str>,
    /// Of a node that is made: its kind.
    pub znode_type: Option<&'a str>,
    /// Of setAcl: the list.
    pub acl: Option<&'a str>,
    /// How it went.
    pub outcome: Outcome,
}

/// A name or a path without what would end its field or its line.
struct Field<'a>(&'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .split(['\t', '\n', '\r'])
            .try_for_each(|part| f.write_str(part))
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(session) = self.session {
            write!(f, "session={session}\t")?;
        }
        write!(f, "user={}\t", Field(self.user))?;
        if let Some(ip) = self.ip {
            write!(f, "ip={ip}\t")?;
        }
        write!(f, "operation={}\t", self.operation)?;
        let fields = [
            ("znode", self.znode),
            ("znode_type", self.znode_type),
            ("acl", self.acl),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                write!(f, "{name}={}\t", Field(value))?;
            }
        }
        f.write_str(match self.outcome {
            Outcome::Success => "result=success",
            Outcome::Failure => "result=failure",
            Outcome::Invoked => "result=invoked",
        })
    }
}

/// Adds the lines of a request whose client is told this result.
pub(super) fn tell(done: &Submitted, result: &TxnResult<'_>, lines: &mut Vec<String>) {
    let Some(asked) = &done.asked else {
        return;
    };
    let request = Request::decode(done.opcode, &asked.record);
    let user = names(&asked.ids);
    let line = Line {
        session: Some(done.conn.session()),
        user: &user,
        ip: Some(done.conn.from.ip()),
        operation: "",
        znode: None,
        znode_type: None,
        acl: None,
        outcome: Outcome::Failure,
    };
    match (request, result) {
        (Ok(Request::Write(WriteOp::Multi(ops))), TxnResult::Multi(results)) => {
            let is_refused = |result: &TxnResult<'_>| matches!(result, TxnResult::Error(_));
            if results.iter().any(is_refused) {
                lines.push(operation("multiOperation", line));
                return;
            }
            for (op, result) in ops.iter().zip(results) {
                lines.extend(write(op, result, line));
            }
        }
        (Ok(Request::Write(WriteOp::Multi(_))), _) => {
            lines.push(operation("multiOperation", line));
        }
        (Ok(Request::Write(op)), result) => lines.extend(write(&op, result, line)),
        (Ok(Request::Reconfig { .. }), result) => {
            let line = Line {
                znode: Some(CONFIG),
                outcome: outcome(result),
                ..line
            };
            lines.push(operation("reconfig", line));
        }
        // It changes nothing, or cannot be understood.
        _ => {}
    }
}

/// The line of an ephemeral node that went with its session.
pub(super) fn ephemeral(session: SessionId, user: &str, path: &str) -> String {
    let line = Line {
        session: Some(session),
        user,
        ip: None,
        operation: "ephemeralZNodeDeletionOnSessionCloseOrExpire",
        znode: Some(path),
        znode_type: None,
        acl: None,
        outcome: Outcome::Success,
    };
    line.to_string()
}

fn operation(name: &str, line: Line<'_>) -> String {
    let line = Line {
        operation: name,
        ..line
    };
    line.to_string()
}

/// The line of one write; `None` if nothing is written of it.
fn write(op: &WriteOp, result: &TxnResult<'_>, line: Line<'_>) -> Option<String> {
    let list;
    let (name, path, znode_type, acl) = match op {
        WriteOp::Create { path, flags, .. } => ("create", path, mode(*flags), None),
        WriteOp::Delete { path, .. } => ("delete", path, None, None),
        WriteOp::SetData { path, .. } => ("setData", path, None, None),
        WriteOp::SetAcl { path, acl, .. } => {
            list = spelled(acl.as_deref().unwrap_or_default());
            ("setAcl", path, None, Some(list.as_str()))
        }
        WriteOp::Check { .. }
        | WriteOp::Multi(_)
        | WriteOp::CreateSession { .. }
        | WriteOp::CloseSession => return None,
    };
    // Of a sequential node, the result has the number.
    let made = match result {
        TxnResult::Created { path, .. } => Some(*path),
        _ => None,
    };
    let line = Line {
        znode: made.or(path.as_deref()),
        znode_type,
        acl,
        outcome: outcome(result),
        ..line
    };
    Some(operation(name, line))
}

const fn outcome(result: &TxnResult<'_>) -> Outcome {
    match result {
        TxnResult::Error(_) => Outcome::Failure,
        _ => Outcome::Success,
    }
}

/// The names of a client, as whoAmI shows them: no digests. That somebody passes every check is no name.
fn names(ids: &[Id]) -> String {
    let names: Vec<&str> = ids
        .iter()
        .filter(|id| &*id.scheme != "super")
        .map(shown)
        .collect();
    names.join(",")
}

/// The name of what the flags of a create request ask for.
const fn mode(flags: i32) -> Option<&'static str> {
    Some(match flags {
        0 => "persistent",
        1 => "ephemeral",
        2 => "persistent_sequential",
        3 => "ephemeral_sequential",
        4 => "container",
        5 => "persistent_with_ttl",
        6 => "persistent_sequential_with_ttl",
        _ => return None,
    })
}

/// A list of ACL entries as ZooKeeper's audit log spells it: one behind the other, `scheme:id:cdrwa`.
fn spelled(acl: &[AclEntry]) -> String {
    const LETTERS: [(u32, char); 5] = [
        (perms::CREATE, 'c'),
        (perms::DELETE, 'd'),
        (perms::READ, 'r'),
        (perms::WRITE, 'w'),
        (perms::ADMIN, 'a'),
    ];
    let mut text = String::new();
    for entry in acl {
        let granted = LETTERS.iter().filter(|(bit, _)| entry.perms & bit != 0);
        text.extend([&*entry.id.scheme, ":", shown(&entry.id), ":"]);
        text.extend(granted.map(|(_, letter)| letter));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_zookeepers_fields_in_its_order_and_none_that_is_absent() {
        let line = Line {
            session: Some(SessionId(0x10ab)),
            user: "127.0.0.1,alice",
            ip: Some([127, 0, 0, 1].into()),
            operation: "create",
            znode: Some("/a"),
            znode_type: Some("ephemeral"),
            acl: None,
            outcome: Outcome::Success,
        };
        assert_eq!(
            line.to_string(),
            "session=0x10ab\tuser=127.0.0.1,alice\tip=127.0.0.1\toperation=create\tznode=/a\tznode_type=ephemeral\tresult=success"
        );
        let line = Line {
            session: None,
            ip: None,
            znode: None,
            znode_type: None,
            operation: "serverStop",
            outcome: Outcome::Invoked,
            ..line
        };
        assert_eq!(
            line.to_string(),
            "user=127.0.0.1,alice\toperation=serverStop\tresult=invoked"
        );
    }

    #[test]
    fn no_name_can_end_its_field_or_its_line() {
        let forged = "a\tresult=success\nsession=0x1\r";
        assert_eq!(Field(forged).to_string(), "aresult=successsession=0x1");
    }

    #[test]
    fn a_list_is_spelled_without_digests() {
        let entry = |perms, scheme: &str, id: &str| AclEntry {
            perms,
            id: Id {
                scheme: scheme.into(),
                id: id.into(),
            },
        };
        let acl = [
            entry(31, "world", "anyone"),
            entry(5, "digest", "bob:x1y2="),
        ];
        assert_eq!(spelled(&acl), "world:anyone:cdrwadigest:bob:cr");
    }
}
