//! Access control lists: what they say, whom they let through, and how a sent list becomes a stored one.

mod entry;
mod index;

use super::error::ErrorCode;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use entry::parse_network;
use index::AclIndex;

pub use entry::{AclEntry, Id, perms};

/// Entries that `auth` may grow a list to: more than a request can spell out.
const ENTRIES_MAX: usize = 1 << 16;

/// A list, shared by all nodes that carry it, with what makes a check of it quick.
#[derive(Clone)]
pub struct Acl {
    entries: Arc<[AclEntry]>,
    /// What it grants to everybody.
    everybody: u32,
    index: Option<Arc<AclIndex>>,
}

/// A list, to be looked at.
#[derive(Clone, Copy)]
pub struct AclView<'t> {
    entries: &'t [AclEntry],
    everybody: u32,
    index: Option<&'t AclIndex>,
}

/// What a list grants to everybody; an empty one grants everything.
fn to_everybody(entries: &[AclEntry]) -> u32 {
    if entries.is_empty() {
        return u32::MAX;
    }
    let open = entries.iter().filter(|entry| entry.is_world());
    open.fold(0, |perms, entry| perms | entry.perms)
}

/// The identities of a connection, as it collected them by authenticating; one of scheme `super` passes every check.
pub type Ids = [Id];

impl Acl {
    /// The list, to be looked at.
    #[must_use]
    pub fn view(&self) -> AclView<'_> {
        AclView {
            entries: &self.entries,
            everybody: self.everybody,
            index: self.index.as_deref(),
        }
    }
}

impl From<Arc<[AclEntry]>> for Acl {
    fn from(entries: Arc<[AclEntry]>) -> Self {
        let index = AclIndex::of(&entries).map(Arc::new);
        let everybody = to_everybody(&entries);
        Self {
            entries,
            everybody,
            index,
        }
    }
}

impl Default for Acl {
    fn default() -> Self {
        Arc::<[AclEntry]>::default().into()
    }
}

impl Default for AclView<'_> {
    fn default() -> Self {
        Self {
            entries: &[],
            everybody: to_everybody(&[]),
            index: None,
        }
    }
}

impl From<&[AclEntry]> for Acl {
    fn from(entries: &[AclEntry]) -> Self {
        Arc::<[AclEntry]>::from(entries).into()
    }
}

impl From<Vec<AclEntry>> for Acl {
    fn from(entries: Vec<AclEntry>) -> Self {
        Arc::<[AclEntry]>::from(entries).into()
    }
}

impl<const N: usize> From<[AclEntry; N]> for Acl {
    fn from(entries: [AclEntry; N]) -> Self {
        Arc::<[AclEntry]>::from(entries).into()
    }
}

impl Deref for Acl {
    type Target = [AclEntry];

    fn deref(&self) -> &[AclEntry] {
        &self.entries
    }
}

/// A list is its entries.
impl PartialEq for Acl {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Acl {}

impl Hash for Acl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

impl Borrow<[AclEntry]> for Acl {
    fn borrow(&self) -> &[AclEntry] {
        &self.entries
    }
}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.fmt(f)
    }
}

impl<'t> AclView<'t> {
    /// The entries.
    #[must_use]
    pub const fn entries(self) -> &'t [AclEntry] {
        self.entries
    }
}

impl Deref for AclView<'_> {
    type Target = [AclEntry];

    fn deref(&self) -> &[AclEntry] {
        self.entries
    }
}

impl PartialEq for AclView<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for AclView<'_> {}

impl fmt::Debug for AclView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.fmt(f)
    }
}

/// Whether `acl` grants one of the bits of `perm` to the holder of `ids`. An empty list grants everything. What it costs is bounded by
/// `ids`, however long the list is.
#[must_use]
pub fn allows(acl: AclView<'_>, perm: u32, ids: &Ids) -> bool {
    // Most lists are open to everybody, and most are looked at for each request.
    if acl.everybody & perm != 0 || ids.iter().any(|id| &*id.scheme == "super") {
        return true;
    }
    let entries = acl.entries;
    match acl.index {
        Some(index) => ids.iter().any(|id| index.granted(entries, id) & perm != 0),
        None => {
            let mut granting = entries.iter().filter(|e| e.perms & perm != 0);
            granting.any(|e| ids.iter().any(|id| matches(id, &e.id)))
        }
    }
}

/// Whether an entry of a list without addresses speaks of `caller`.
fn matches(caller: &Id, entry: &Id) -> bool {
    // Of SASL users, the one with this name is everybody, but no more.
    caller == entry || is_sasl_super(caller) && &*entry.scheme == "sasl"
}

fn is_sasl_super(caller: &Id) -> bool {
    &*caller.scheme == "sasl" && &*caller.id == "super"
}

/// Whether this can be a SASL user: a plain name, or a Kerberos principal of at most two components and one realm.
///
/// Source: ZooKeeper `KerberosName`.
fn is_principal(text: &str) -> bool {
    match text.split_once('@') {
        None => true,
        Some((name, realm)) => !realm.contains(['@', '/']) && name.matches('/').count() <= 1,
    }
}

/// Whether this can be the subject of a certificate: `CN=alice,O=Example`, whose types are words or numbers with dots. An id is
/// compared letter by letter, so one that is written otherwise than Java writes subjects lets nobody in.
fn is_subject(text: &str) -> bool {
    let mut is_escaped = false;
    let part_ends = |c: char| {
        let ends = !is_escaped && matches!(c, ',' | '+' | ';');
        is_escaped = c == '\\' && !is_escaped;
        ends
    };
    text.split(part_ends).all(|part| {
        part.split_once('=').is_some_and(|(kind, _)| {
            let kind = kind.trim();
            !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
        })
    })
}

/// The list that is stored for what a client sent: duplicates removed, `auth` replaced by the caller's own ids.
///
/// Errors: [`ErrorCode::InvalidAcl`] for an empty or null list, an unknown scheme, a malformed id, and `auth` from a caller
/// without authenticated id (an address is no such id). Source: ZooKeeper `PrepRequestProcessor.fixupACL`.
pub fn fix_up(acl: Option<Vec<AclEntry>>, ids: &Ids) -> Result<Vec<AclEntry>, ErrorCode> {
    let sent = acl.filter(|a| !a.is_empty()).ok_or(ErrorCode::InvalidAcl)?;
    if let [only] = sent.as_slice()
        && only.is_world()
    {
        return Ok(sent);
    }
    let mut stored = Vec::with_capacity(sent.len());
    // A request has room for tens of thousands of entries: comparing each with each would take seconds, and so would a table of
    // entries whose hashes were made to be equal.
    let mut seen = BTreeSet::new();
    for entry in &sent {
        if !seen.insert(entry) {
            continue;
        }
        match &*entry.id.scheme {
            "world" if entry.is_world() => stored.push(entry.clone()),
            "auth" => {
                let before = stored.len();
                stored.extend(
                    ids.iter()
                        .filter(|id| matches!(&*id.scheme, "digest" | "sasl" | "x509"))
                        .map(|id| AclEntry {
                            perms: entry.perms,
                            id: id.clone(),
                        }),
                );
                if stored.len() == before || stored.len() > ENTRIES_MAX {
                    return Err(ErrorCode::InvalidAcl);
                }
            }
            "digest" if is_digest(&entry.id.id) => stored.push(entry.clone()),
            "sasl" if is_principal(&entry.id.id) => stored.push(entry.clone()),
            "ip" if parse_network(&entry.id.id).is_some() => stored.push(entry.clone()),
            "x509" if is_subject(&entry.id.id) => stored.push(entry.clone()),
            _ => return Err(ErrorCode::InvalidAcl),
        }
    }
    Ok(stored)
}

/// `user:hash`. Colons at the end count for nothing, as in a Java `split`: `user:` lacks its hash, `user:hash:` does not.
fn is_digest(id: &str) -> bool {
    let colons = id.trim_end_matches(':').bytes().filter(|&b| b == b':');
    colons.count() == 1
}

/// A digest identity as shown to a caller without ADMIN: `user:x`.
#[must_use]
pub fn masked(entry: &AclEntry) -> AclEntry {
    let mut shown = entry.clone();
    if &*entry.id.scheme == "digest" {
        let user = entry.id.id.split_once(':').map_or("", |(user, _)| user);
        shown.id.id = alloc::format!("{user}:x").into_boxed_str();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use core::net::IpAddr;
    use proptest::prelude::*;

    fn allows(acl: &[AclEntry], perm: u32, ids: &Ids) -> bool {
        super::allows(Acl::from(acl).view(), perm, ids)
    }

    fn id(scheme: &str, id: &str) -> Id {
        Id {
            scheme: scheme.into(),
            id: id.into(),
        }
    }
    fn entry(perms: u32, scheme: &str, name: &str) -> AclEntry {
        AclEntry {
            perms,
            id: id(scheme, name),
        }
    }

    #[test]
    fn an_entry_grants_its_own_bits_to_its_own_holder() {
        let acl = [
            entry(perms::READ, "world", "anyone"),
            entry(perms::ALL, "digest", "u:h"),
        ];
        assert!(allows(&acl, perms::READ, &[]));
        assert!(!allows(&acl, perms::WRITE, &[id("digest", "v:h")]));
        assert!(allows(
            &acl,
            perms::WRITE,
            &[id("ip", "1.2.3.4"), id("digest", "u:h")]
        ));
        assert!(allows(&acl, perms::WRITE, &[id("super", "")]));
    }

    #[test]
    fn a_list_as_long_as_a_request_is_cleared_of_duplicates_and_does_not_grow_without_end() {
        let sent: Vec<AclEntry> = (0..60_000).map(|p| entry(p, "world", "anyone")).collect();
        let twice: Vec<AclEntry> = sent.iter().chain(&sent).cloned().collect();
        assert_eq!(fix_up(Some(twice), &[]), Ok(sent));
        let auth = (0..10_000).map(|p| entry(p, "auth", "")).collect();
        let ids: Vec<Id> = (0..10)
            .map(|n| id("digest", &alloc::format!("{n}:h")))
            .collect();
        assert_eq!(fix_up(Some(auth), &ids), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn addresses_match_by_their_prefix_and_families_do_not_mix() {
        for (net, addr, expected) in [
            ("10.0.0.0/8", "10.9.8.7", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("0.0.0.0/0", "9.9.9.9", true),
            ("fe80::/16", "fe80::1", true),
            ("::/0", "1.2.3.4", false),
            ("10.0.0.0/33", "10.0.0.0", false),
        ] {
            assert_eq!(
                allows(&[entry(1, "ip", net)], 1, &[id("ip", addr)]),
                expected,
                "{net} {addr}"
            );
        }
    }

    /// The codes of golden `error_replies`, xids 21 to 26.
    #[test]
    fn lists_that_cannot_be_stored_are_invalid() {
        for bad in [
            None,
            Some(vec![]),
            Some(vec![entry(31, "nosuch", "x")]),
            Some(vec![entry(31, "auth", "")]),
            Some(vec![entry(31, "digest", "nocolon")]),
            Some(vec![entry(31, "digest", "nohash:")]),
            Some(vec![entry(31, "digest", ":")]),
            Some(vec![entry(31, "digest", "two:colons:here")]),
            Some(vec![entry(31, "ip", "999.1.1.1")]),
            Some(vec![entry(31, "world", "somebody")]),
            Some(vec![entry(31, "sasl", "a@b@c")]),
            Some(vec![entry(31, "sasl", "a/b/c@d")]),
            Some(vec![entry(31, "sasl", "a@b/c")]),
            Some(vec![entry(31, "x509", "alice")]),
            Some(vec![entry(31, "x509", "CN=alice,")]),
            Some(vec![entry(31, "x509", "=alice")]),
        ] {
            assert_eq!(
                fix_up(bad, &[id("ip", "127.0.0.1")]),
                Err(ErrorCode::InvalidAcl)
            );
        }
    }

    /// Which ids ZooKeeper 3.9.5 takes was asked of it (`cargo xtask differential`).
    #[test]
    fn colons_at_the_end_of_a_digest_count_for_nothing() {
        for good in ["user:hash", "user:hash:", "user:hash::", ":hash"] {
            let acl = vec![entry(31, "digest", good)];
            assert_eq!(fix_up(Some(acl.clone()), &[]), Ok(acl), "{good}");
        }
    }

    #[test]
    fn addresses_are_read_as_zookeeper_reads_them() {
        for good in [
            "10.0.0.1",
            "010.000.000.001",
            "10.0.0.1/08",
            "::1",
            "1:2:3:4:5:6:7::/64",
        ] {
            let acl = vec![entry(31, "ip", good)];
            assert_eq!(fix_up(Some(acl.clone()), &[]), Ok(acl), "{good}");
        }
        for bad in [
            "10.0.0",
            "10.0.0.1.",
            "10.0.0.1/",
            "::ffff:10.0.0.1",
            "::1%1",
        ] {
            let acl = vec![entry(31, "ip", bad)];
            assert_eq!(fix_up(Some(acl), &[]), Err(ErrorCode::InvalidAcl), "{bad}");
        }
        let acl = [entry(perms::READ, "ip", "010.000.000.001")];
        assert!(allows(&acl, perms::READ, &[id("ip", "10.0.0.1")]));
    }

    #[test]
    fn subjects_of_certificates_are_stored_as_they_are() {
        for subject in ["CN=alice", "CN=a\\,b+UID=7,2.5.4.5=#0c0161,O=Zabra"] {
            let list = vec![entry(31, "x509", subject)];
            assert_eq!(fix_up(Some(list.clone()), &[]), Ok(list));
        }
    }

    #[test]
    fn auth_becomes_every_authenticated_id_of_the_caller() {
        let ids = [
            id("ip", "127.0.0.1"),
            id("digest", "a:1"),
            id("digest", "b:2"),
        ];
        let sent = vec![
            entry(31, "auth", ""),
            entry(1, "world", "anyone"),
            entry(31, "auth", ""),
        ];
        assert_eq!(
            fix_up(Some(sent), &ids),
            Ok(vec![
                entry(31, "digest", "a:1"),
                entry(31, "digest", "b:2"),
                entry(1, "world", "anyone")
            ])
        );
    }

    #[test]
    fn sasl_users_are_known_by_their_names_and_super_is_all_of_them() {
        for name in ["bob", "zk/host@REALM", "bob@REALM", "a/b/c", "@", ""] {
            let list = vec![entry(31, "sasl", name)];
            assert_eq!(fix_up(Some(list.clone()), &[]), Ok(list.clone()), "{name}");
            assert!(allows(&list, perms::READ, &[id("sasl", name)]));
            assert!(allows(&list, perms::READ, &[id("sasl", "super")]));
            for other in [id("sasl", "eve"), id("digest", name), id("digest", "super")] {
                assert!(!allows(&list, perms::READ, &[other]), "{name}");
            }
        }
        let digest = [entry(31, "digest", "u:h")];
        assert!(!allows(&digest, perms::READ, &[id("sasl", "super")]));
    }

    #[test]
    fn only_the_digest_is_masked() {
        assert_eq!(
            masked(&entry(1, "digest", "u:secret")),
            entry(1, "digest", "u:x")
        );
        assert_eq!(
            masked(&entry(1, "ip", "1.2.3.4")),
            entry(1, "ip", "1.2.3.4")
        );
    }

    /// The first bit in which two addresses of one family differ; their width if they are equal.
    fn differs_at(a: IpAddr, b: IpAddr) -> u32 {
        match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => 0,
        }
    }

    /// The list gone through entry by entry: obviously right, and slow.
    fn scan(acl: &[AclEntry], perm: u32, ids: &[Id]) -> bool {
        let matches = |caller: &Id, entry: &Id| {
            if caller.scheme != entry.scheme {
                return false;
            }
            if &*entry.scheme == "sasl" && &*caller.id == "super" {
                return true;
            }
            if &*entry.scheme != "ip" {
                return caller.id == entry.id;
            }
            match (caller.id.parse::<IpAddr>(), parse_network(&entry.id)) {
                (Ok(a), Some((net, bits))) if a.is_ipv4() == net.is_ipv4() => {
                    bits == 0 || differs_at(a, net) >= bits
                }
                _ => false,
            }
        };
        acl.is_empty()
            || ids.iter().any(|id| &*id.scheme == "super")
            || acl.iter().any(|e| {
                let is_meant = e.is_world() || ids.iter().any(|id| matches(id, &e.id));
                e.perms & perm != 0 && is_meant
            })
    }

    fn an_id() -> impl Strategy<Value = Id> {
        let digest = (0..40_u8).prop_map(|n| ("digest", format!("u{n}:h")));
        let sasl = prop_oneof![Just("super".to_owned()), "[a-c]"].prop_map(|n| ("sasl", n));
        let v4 = (8..12_u8, any::<bool>(), 0..=33_u8).prop_map(|(n, short, bits)| match short {
            true => ("ip", format!("0{n}.1.2.{n}")),
            false => ("ip", format!("{n}.0.0.0/{bits}")),
        });
        let v6 = (0..3_u8, 0..=128_u8).prop_map(|(n, bits)| ("ip", format!("fe8{n}::1/{bits}")));
        let plain = prop_oneof![
            Just(("ip", "9.1.2.9".to_owned())),
            Just(("ip", "fe81::1".to_owned())),
            Just(("world", "anyone".to_owned())),
            Just(("super", String::new())),
            Just(("x509", "CN=a".to_owned())),
        ];
        let named = prop_oneof![6 => digest, 2 => sasl, 3 => v4, 2 => v6, 1 => plain];
        named.prop_map(|(scheme, id)| Id {
            scheme: scheme.into(),
            id: id.into(),
        })
    }

    fn entries(max: usize) -> impl Strategy<Value = Vec<AclEntry>> {
        let entry = (0..32_u32, an_id()).prop_map(|(perms, id)| AclEntry { perms, id });
        proptest::collection::vec(entry, 0..max)
    }

    proptest! {
        /// C-48: a check of a long list answers what going through it would.
        #[test]
        fn c_48_a_list_grants_with_its_index_what_it_grants_without(
            list in prop_oneof![entries(4), entries(80)],
            ids in proptest::collection::vec(an_id(), 0..5),
        ) {
            let acl = &*list;
            for perm in [1, 2, 4, 8, 16, 17] {
                prop_assert_eq!(allows(acl, perm, &ids), scan(&list, perm, &ids), "{:?} {:?}", &list, &ids);
            }
        }
    }
}
