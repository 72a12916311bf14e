//! What one client was promised, and whether a tree keeps it.
//!
//! Each client has a directory of its own, in it nodes with names that are never used twice, and one register that it sets
//! to ever new values. A write that was answered must be there for ever after; one without an answer may be there, and once
//! somebody has read it, it must be. What was deleted stays away, and what was never sent is never there.

use std::collections::{BTreeMap, BTreeSet};
use zabra_model::tree::stat::Stat;

/// The name of the register in a client's directory.
pub const REGISTER: &str = "register";

/// What is known of one write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Sent; no answer.
    Perhaps,
    /// Answered, or read: the zxid that it has.
    Promised(u64),
}

/// What is known of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Node {
    created: Known,
    /// Its deletion was sent, and nobody has answered.
    deleting: bool,
}

/// A node that was read: its data and its Stat.
pub type Seen = (Vec<u8>, Stat);

/// What one client was promised.
#[derive(Debug, Default)]
pub struct Ledger {
    client: u64,
    nodes: BTreeMap<u64, Node>,
    /// Values of the register that were sent since the last promised one, oldest first, that one included.
    values: BTreeMap<u64, Known>,
    sets_sent: u64,
    sets_promised: u64,
    /// The zxid of the newest value that was promised.
    register_zxid: u64,
    next: u64,
    deleted: BTreeSet<u64>,
    /// Writes that were answered.
    pub acked: u64,
    /// Writes whose connection ended before an answer.
    pub unanswered: u64,
}

/// One write, as the client sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    /// A node with this number.
    Create(u64),
    /// The register gets this value.
    Set(u64),
    /// The node with this number goes.
    Delete(u64),
}

impl Ledger {
    /// Nothing was written yet.
    #[must_use]
    pub fn new(client: u64) -> Self {
        Self {
            client,
            ..Self::default()
        }
    }

    /// The directory of the client.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("/client-{}", self.client)
    }

    /// The path of a node with this number.
    #[must_use]
    pub fn path(&self, number: u64) -> String {
        format!("{}/{}", self.directory(), Self::name(number))
    }

    /// The data of a node with this number, and the register's with this value.
    #[must_use]
    pub fn data(&self, number: u64) -> Vec<u8> {
        // Some fill a sector and more, most do not.
        let filling = if number.is_multiple_of(7) { 1500 } else { 40 };
        let mut data = format!("client {} wrote {number} ", self.client).into_bytes();
        data.resize(data.len() + filling, b'.');
        data
    }

    fn name(number: u64) -> String {
        format!("node-{number}")
    }

    /// A further node.
    pub fn create(&mut self) -> Write {
        self.next += 1;
        let node = Node {
            created: Known::Perhaps,
            deleting: false,
        };
        self.nodes.insert(self.next, node);
        Write::Create(self.next)
    }

    /// A further value of the register.
    pub fn set(&mut self) -> Write {
        self.next += 1;
        self.values.insert(self.next, Known::Perhaps);
        self.sets_sent += 1;
        Write::Set(self.next)
    }

    /// The oldest node that must be there goes, if there are more than `kept`.
    pub fn delete(&mut self, kept: usize) -> Option<Write> {
        if self.nodes.len() <= kept {
            return None;
        }
        let (number, node) = self
            .nodes
            .iter_mut()
            .find(|(_, node)| matches!(node.created, Known::Promised(_)) && !node.deleting)?;
        node.deleting = true;
        Some(Write::Delete(*number))
    }

    /// The server has answered with success: the write is at `zxid`; of a set the new version.
    ///
    /// # Errors
    /// The answer contradicts an earlier one.
    pub fn answered(&mut self, write: Write, zxid: u64, version: i32) -> Result<(), String> {
        self.acked += 1;
        match write {
            Write::Create(number) => {
                if let Some(node) = self.nodes.get_mut(&number) {
                    node.created = Known::Promised(zxid);
                }
            }
            Write::Set(value) => {
                self.sets_promised += 1;
                let count = u64::try_from(version).unwrap_or(0);
                if zxid <= self.register_zxid
                    || count > self.sets_sent
                    || count < self.sets_promised
                {
                    return Err(format!(
                        "client {}: value {value} was set as version {version} by {zxid:#x}; before it {} sets were sent and {} \
                         answered, the last of them {:#x}",
                        self.client, self.sets_sent, self.sets_promised, self.register_zxid
                    ));
                }
                self.promise_value(value, zxid);
            }
            Write::Delete(number) => {
                self.nodes.remove(&number);
                self.deleted.insert(number);
            }
        }
        Ok(())
    }

    fn promise_value(&mut self, value: u64, zxid: u64) {
        // Older ones without an answer may still come, by a server that has lost its connection: they stay.
        self.values.retain(|_, known| *known == Known::Perhaps);
        self.values.insert(value, Known::Promised(zxid));
        self.register_zxid = zxid;
    }

    /// Holds what was read in the client's directory against what was promised, and takes what was read as promised.
    ///
    /// # Errors
    /// What is missing, twice, or there though nobody wrote it; each with what is known of it.
    pub fn verify(&mut self, seen: &BTreeMap<String, Seen>) -> Result<(), Vec<String>> {
        let mut wrong = vec![];
        let mut gone = vec![];
        for (number, node) in &mut self.nodes {
            let found = seen.get(&Self::name(*number));
            let zxid = found.map(|(_, stat)| stat.czxid.0);
            match (node.created, node.deleting, zxid) {
                (Known::Promised(at), false, None) => wrong.push(format!(
                    "client {}: node {number} was promised at {at:#x} and is lost",
                    self.client
                )),
                (Known::Promised(at), _, Some(zxid)) if zxid != at => wrong.push(format!(
                    "client {}: node {number} was promised at {at:#x} and is of {zxid:#x}",
                    self.client
                )),
                (Known::Promised(_), true, None) => gone.push(*number),
                (_, _, Some(zxid)) => node.created = Known::Promised(zxid),
                (Known::Perhaps, _, None) => {}
            }
        }
        for number in gone {
            // The deletion was seen, so it holds.
            self.nodes.remove(&number);
            self.deleted.insert(number);
        }
        for (name, (data, stat)) in seen.iter().filter(|(name, _)| *name != REGISTER) {
            let number = name.strip_prefix("node-").and_then(|n| n.parse().ok());
            let number: u64 = number.unwrap_or(0);
            if self.deleted.contains(&number) {
                wrong.push(format!(
                    "client {}: {name} was deleted and is there again, of {:#x}",
                    self.client, stat.czxid.0
                ));
            } else if !self.nodes.contains_key(&number) {
                wrong.push(format!("client {}: nobody wrote {name}", self.client));
            } else if *data != self.data(number) || stat.version != 0 {
                wrong.push(format!(
                    "client {}: {name} has other data than it was made with, version {}",
                    self.client, stat.version
                ));
            }
        }
        match seen.get(REGISTER) {
            Some(register) => wrong.extend(self.verify_register(register)),
            None => wrong.push(format!("client {}: the register is lost", self.client)),
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn verify_register(&mut self, (data, stat): &Seen) -> Option<String> {
        let (client, zxid) = (self.client, stat.mzxid.0);
        if zxid < self.register_zxid {
            return Some(format!(
                "client {client}: the register was promised at {:#x} and is of {zxid:#x}, version {}",
                self.register_zxid, stat.version
            ));
        }
        let version = u64::try_from(stat.version).unwrap_or(u64::MAX);
        if version < self.sets_promised || version > self.sets_sent {
            return Some(format!(
                "client {client}: the register has version {version}, after {} sets that were sent and {} that were answered",
                self.sets_sent, self.sets_promised
            ));
        }
        if self.sets_promised == 0 && data.is_empty() {
            return None;
        }
        let values = self.values.iter();
        let value = values
            .map(|(value, _)| *value)
            .find(|v| self.data(*v) == *data);
        let known = value.and_then(|value| Some((value, *self.values.get(&value)?)));
        match known {
            Some((value, Known::Perhaps)) => {
                self.promise_value(value, zxid);
                None
            }
            Some((_, Known::Promised(at))) if at == zxid => None,
            Some(_) | None => Some(format!(
                "client {client}: the register of {zxid:#x} holds {:?}, which is not what was set then",
                String::from_utf8_lossy(&data[..data.len().min(40)])
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zabra_model::ids::Zxid;

    fn stat(zxid: u64, version: i32) -> Stat {
        Stat {
            czxid: Zxid(zxid),
            mzxid: Zxid(zxid),
            version,
            ..Stat::default()
        }
    }

    /// A client with node 1 (zxid 10), and value 2 in the register (zxid 11); node 3 was deleted, value 4 has no answer.
    fn client() -> (Ledger, BTreeMap<String, Seen>) {
        let mut ledger = Ledger::new(1);
        let writes = [ledger.create(), ledger.set(), ledger.create()];
        ledger.answered(writes[0], 10, 0).unwrap();
        ledger.answered(writes[1], 11, 1).unwrap();
        ledger.answered(writes[2], 12, 0).unwrap();
        assert_eq!(ledger.delete(1), Some(Write::Delete(1)));
        ledger.answered(Write::Delete(1), 13, 0).unwrap();
        ledger.set();
        let seen = BTreeMap::from([
            ("node-3".to_owned(), (ledger.data(3), stat(12, 0))),
            (REGISTER.to_owned(), (ledger.data(2), stat(11, 1))),
        ]);
        (ledger, seen)
    }

    #[test]
    fn what_was_promised_passes_with_and_without_what_was_not() {
        let (mut ledger, mut seen) = client();
        assert_eq!(ledger.verify(&seen), Ok(()));
        seen.insert(REGISTER.into(), (ledger.data(4), stat(14, 2)));
        assert_eq!(ledger.verify(&seen), Ok(()), "the value without an answer");
        seen.insert(REGISTER.into(), (ledger.data(2), stat(11, 1)));
        assert!(
            ledger.verify(&seen).is_err(),
            "it was read, so it is promised"
        );
    }

    #[test]
    fn each_broken_promise_is_found() {
        // The complaint, the node, and what it is read as: number, zxid and version.
        type Read = Option<(u64, u64, i32)>;
        let broken: [(&str, &str, Read); 7] = [
            ("is lost", "node-3", None),
            ("is of 0x63", "node-3", Some((3, 99, 0))),
            ("deleted and is there again", "node-1", Some((1, 10, 0))),
            ("nobody wrote", "node-9", Some((9, 20, 0))),
            ("other data", "node-3", Some((4, 12, 0))),
            ("register was promised", REGISTER, Some((2, 9, 1))),
            ("has version 3", REGISTER, Some((2, 11, 3))),
        ];
        for (why, name, node) in broken {
            let (mut ledger, mut seen) = client();
            seen.remove(name);
            if let Some((data, zxid, version)) = node {
                seen.insert(name.into(), (ledger.data(data), stat(zxid, version)));
            }
            let told = ledger.verify(&seen).unwrap_err().join("\n");
            assert!(told.contains(why), "{why}: {told}");
        }
    }

    #[test]
    fn an_answer_that_contradicts_an_earlier_one_is_found() {
        let (mut ledger, _) = client();
        assert!(
            ledger.answered(Write::Set(4), 11, 2).is_err(),
            "a zxid of before"
        );
        let (mut ledger, _) = client();
        assert!(
            ledger.answered(Write::Set(4), 14, 3).is_err(),
            "applied twice"
        );
    }
}
