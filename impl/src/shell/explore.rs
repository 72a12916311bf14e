//! Commands that look around: a tree drawn, nodes found, and who may do what.

use super::acl::letters;
use super::answer::Answer;
use super::failure::Failure;
use super::path;
use super::session::Session;
use super::words::Given;
use serde_json::json;
use std::net::IpAddr;
use zookeeper_client::{Acl, Error, Permission};

/// Draws what is below a node, by names in their order.
pub(super) async fn tree(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let root = given.argument(0);
    path::check(root)?;
    let depth = match given.value("d").map(str::parse::<usize>) {
        None => usize::MAX,
        Some(Ok(depth)) => depth,
        Some(Err(_)) => return Err(Failure::usage("-d must be followed by a number of levels")),
    };
    let mut nodes = Vec::new();
    // What is still to be drawn: the last one first. Each has what stands before its name.
    let mut waiting = vec![(
        root.to_owned(),
        root.to_owned(),
        String::new(),
        String::new(),
        0,
    )];
    while let Some((node, name, before, below, level)) = waiting.pop() {
        let (children, stat, hidden) = match session.client.get_children(&node).await {
            Ok((mut children, stat)) => {
                children.sort();
                (children, Some(stat), "")
            }
            // It was there when its parent was listed.
            Err(Error::NoNode) if level > 0 => continue,
            Err(Error::NoAuth) if level > 0 => (Vec::new(), None, " (may not be read)"),
            Err(error) => return Err(Failure::of(&error, &node)),
        };
        let size = match &stat {
            Some(stat) if given.has("s") => format!(" ({} bytes)", stat.data_length),
            Some(stat) if level == depth && !children.is_empty() => {
                format!(" ({} below)", stat.num_children)
            }
            _ => String::new(),
        };
        let kind = match &stat {
            Some(stat) if stat.ephemeral_owner != 0 => " ephemeral",
            _ => "",
        };
        answer.line(format!("{before}{name}{kind}{size}{hidden}"));
        nodes.push(json!({"path": node, "level": level, "bytes": stat.map(|s| s.data_length)}));
        if level == depth {
            continue;
        }
        let last = children.len().saturating_sub(1);
        for (n, child) in children.into_iter().enumerate().rev() {
            let (branch, trunk) = if n == last {
                ("└── ", "    ")
            } else {
                ("├── ", "│   ")
            };
            waiting.push((
                path::join(&node, &child),
                child,
                format!("{below}{branch}"),
                format!("{below}{trunk}"),
                level + 1,
            ));
        }
    }
    answer.field("nodes", nodes);
    Ok(())
}

/// Nodes that are like what is asked for, in the order of a walk.
pub(super) async fn find(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let root = given.argument(0);
    path::check(root)?;
    let ephemeral = match given.value("kind") {
        None => None,
        Some("ephemeral") => Some(true),
        Some("persistent") => Some(false),
        Some(other) => {
            return Err(Failure::usage(format!(
                "-kind {other}: persistent or ephemeral; a server tells clients of no other kinds"
            )));
        }
    };
    let client = &session.client;
    let (mut found, mut hidden) = (Vec::new(), Vec::new());
    let mut waiting = vec![root.to_owned()];
    while let Some(node) = waiting.pop() {
        let (mut children, stat) = match client.get_children(&node).await {
            Ok(got) => got,
            Err(Error::NoNode) if node != root => continue,
            Err(Error::NoAuth) if node != root => {
                hidden.push(node);
                continue;
            }
            Err(error) => return Err(Failure::of(&error, &node)),
        };
        children.sort();
        waiting.extend(children.iter().rev().map(|c| path::join(&node, c)));
        let name = node.rsplit('/').next().unwrap_or_default();
        let mut is = given
            .value("name")
            .is_none_or(|pattern| is_like(pattern, name))
            && ephemeral.is_none_or(|ephemeral| ephemeral == (stat.ephemeral_owner != 0));
        if is && let Some(text) = given.value("data") {
            let data = client.get_data(&node).await.map(|(data, _)| data);
            is = String::from_utf8_lossy(&data.unwrap_or_default()).contains(text);
        }
        if is && let Some(who) = given.value("acl") {
            let acl = client.get_acl(&node).await.map(|(acl, _)| acl);
            is = acl
                .unwrap_or_default()
                .iter()
                .any(|entry| is_entry_of(entry, who));
        }
        if is {
            answer.line(&node);
            found.push(node);
        }
    }
    for node in &hidden {
        answer.note(Failure::of(&Error::NoAuth, node).line);
    }
    answer.field("paths", found);
    answer.field("hidden", hidden);
    Ok(())
}

/// Whether a name is like a pattern: `*` stands for any letters, `?` for one.
fn is_like(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and up to where it stands for letters.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, upto)) => {
                    star = Some((at, upto + 1));
                    (p, n) = (at + 1, upto + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// What may be asked for: its permission, and whether that is the parent's to give.
const RIGHTS: [(&str, Permission, bool); 5] = [
    ("create", Permission::CREATE, true),
    ("delete", Permission::DELETE, true),
    ("read", Permission::READ, false),
    ("write", Permission::WRITE, false),
    ("admin", Permission::ADMIN, false),
];

/// Whether somebody may do something at a node, and which entry of which ACL says so.
pub(super) async fn may(
    session: &Session,
    given: &Given,
    usage: String,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (who, right, at) = (given.argument(0), given.argument(1), given.argument(2));
    let asked: Vec<_> = RIGHTS
        .iter()
        .filter(|(name, ..)| *name == right || right == "all")
        .collect();
    let all: Vec<&str> = who.split(',').collect();
    if asked.is_empty() || all.iter().any(|one| !one.contains(':')) {
        return Err(Failure::usage(usage));
    }
    path::check(at)?;
    let mut refused = Vec::new();
    for (name, permission, by_parent) in asked {
        let above = at.rfind('/').map_or("/", |end| &at[..end.max(1)]);
        let (asks, of) = match by_parent {
            true if at == "/" => {
                answer.line(format!("{name}: no, the root stands by itself"));
                refused.push(*name);
                continue;
            }
            true => ("its parent ", above),
            false => ("", at),
        };
        let (acl, _) = session
            .client
            .get_acl(of)
            .await
            .map_err(|e| Failure::of(&e, of))?;
        let grants = |entry: &&Acl| {
            entry.permission().has(*permission)
                && (is_entry_of(entry, "world:anyone")
                    || all.iter().any(|who| is_entry_of(entry, who)))
        };
        match acl.iter().find(grants) {
            Some(entry) => answer.line(format!(
                "{name}: yes, {asks}{of} has {}:{}:{}",
                entry.scheme(),
                entry.id(),
                letters(entry.permission())
            )),
            None => {
                answer.line(format!(
                    "{name}: no, {asks}{of} has no entry for {who} that allows it"
                ));
                refused.push(*name);
            }
        }
    }
    answer.field("path", at);
    answer.field("may", refused.is_empty());
    answer.field("refused", refused.clone());
    if refused.is_empty() {
        return Ok(());
    }
    Err(Failure::quiet("NoAuth"))
}

/// Whether an entry is about this identity, `scheme:id`. Of `digest` the user is enough; of `ip` the entry may be a network.
fn is_entry_of(entry: &Acl, who: &str) -> bool {
    let Some((scheme, id)) = who.split_once(':') else {
        return false;
    };
    if entry.scheme() != scheme {
        return false;
    }
    match scheme {
        "digest" if !id.contains(':') => entry.id().split(':').next() == Some(id),
        "ip" => is_in(id, entry.id()),
        _ => entry.id() == id,
    }
}

/// Whether an address is in a network, `10.0.0.0/8` or one address.
fn is_in(address: &str, network: &str) -> bool {
    let (begin, bits) = network
        .split_once('/')
        .map_or((network, None), |(a, b)| (a, Some(b)));
    let octets = |text: &str| match text.parse() {
        Ok(IpAddr::V4(v4)) => Some(v4.octets().to_vec()),
        Ok(IpAddr::V6(v6)) => Some(v6.octets().to_vec()),
        Err(_) => None,
    };
    let (Some(address), Some(begin)) = (octets(address), octets(begin)) else {
        return false;
    };
    let all = begin.len() * 8;
    let bits = bits.map_or(Some(all), |bits| bits.parse().ok());
    let Some(bits) = bits.filter(|bits| *bits <= all && address.len() == begin.len()) else {
        return false;
    };
    let bit = |bytes: &[u8], n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
    (0..bits).all(|n| bit(&address, n) == bit(&begin, n))
}

#[cfg(test)]
mod tests {
    use super::{is_entry_of, is_in, is_like};
    use zookeeper_client::{Acl, AuthId, Permission};

    #[test]
    fn a_pattern_has_stars_and_question_marks() {
        for (pattern, name, is) in [
            ("*", "", true),
            ("lock-*", "lock-1", true),
            ("lock-*", "block-1", false),
            ("*-0?", "a-b-07", true),
            ("*-0?", "a-b-0", false),
            ("a*b*c", "axxbxbxc", true),
            ("a*b*c", "axxbxbx", false),
            ("", "x", false),
            ("ü?", "üä", true),
        ] {
            assert_eq!(is_like(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn an_address_is_in_a_network_of_its_kind() {
        for (address, network, is) in [
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4/31", false),
            ("10.1.2.3", "10.1.2.2/31", true),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("::1", "0.0.0.0/0", false),
            ("fe80::1", "fe80::/10", true),
            ("10.1.2.3", "10.0.0.0/33", false),
            ("nobody", "10.0.0.0/8", false),
        ] {
            assert_eq!(is_in(address, network), is, "{address} {network}");
        }
    }

    #[test]
    fn an_entry_of_a_user_is_found_without_the_hash() {
        let entry = |scheme, id| Acl::new(Permission::READ, AuthId::new(scheme, id));
        assert!(is_entry_of(&entry("digest", "bob:x="), "digest:bob"));
        assert!(is_entry_of(&entry("digest", "bob:x="), "digest:bob:x="));
        assert!(!is_entry_of(&entry("digest", "bob:x="), "digest:bo"));
        assert!(!is_entry_of(&entry("digest", "bob:x="), "digest:bob:y="));
        assert!(is_entry_of(&entry("x509", "CN=a"), "x509:CN=a"));
        assert!(!is_entry_of(&entry("x509", "CN=a"), "sasl:CN=a"));
    }
}
