//! Trees as lines of JSON: written, read back, compared. The lines are those of `zabra snapshot -o json --data`, so that a snapshot can be
//! imported, too, which alone knows of containers and of times to live.

use super::acl::{letters, permission};
use super::answer::Answer;
use super::failure::Failure;
use super::path;
use super::session::{Session, Target};
use super::words::Given;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Error};

/// What servers make for themselves, and what stands for the root.
const NOT_MINE: &str = "/zookeeper";
/// The longest line of a file that is read: a node, of at most that many bytes, in Base64, and its ACL.
const LINE_MAX: usize = 64 << 20;

/// A node in a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Line {
    node: String,
    kind: Kind,
    /// In Base64; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    acl: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Persistent,
    Ephemeral,
    Container,
    Ttl,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Entry {
    scheme: String,
    id: String,
    perms: String,
}

impl Entry {
    fn of(entry: &Acl) -> Self {
        Self {
            scheme: entry.scheme().to_owned(),
            id: entry.id().to_owned(),
            perms: letters(entry.permission()),
        }
    }
}

/// Reads one node; `None` if it has gone.
async fn node_of(client: &Client, node: &str) -> Result<Option<Line>, Failure> {
    let failed = |e: Error| match e {
        Error::NoNode => Ok(None),
        e => Err(Failure::of(&e, node)),
    };
    let (data, stat) = match client.get_data(node).await {
        Ok(got) => got,
        Err(error) => return failed(error),
    };
    let (acl, _) = match client.get_acl(node).await {
        Ok(got) => got,
        Err(error) => return failed(error),
    };
    Ok(Some(Line {
        node: node.to_owned(),
        kind: match stat.ephemeral_owner {
            0 => Kind::Persistent,
            _ => Kind::Ephemeral,
        },
        data: Some(STANDARD.encode(&data)),
        acl: acl.iter().map(Entry::of).collect(),
        ttl_ms: None,
    }))
}

/// Calls `each` with all nodes from `root` on, parents first, in the order of names. What servers keep for themselves is left out.
async fn walk(
    client: &Client,
    root: &str,
    mut each: impl FnMut(Line) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let mut waiting = vec![root.to_owned()];
    let mut count = 0;
    while let Some(node) = waiting.pop() {
        if node == NOT_MINE {
            continue;
        }
        let Some(line) = node_of(client, &node).await? else {
            if node == root {
                return Err(Failure::of(&Error::NoNode, root));
            }
            continue;
        };
        let mut children = match client.list_children(&node).await {
            Ok(children) => children,
            Err(Error::NoNode) => continue,
            Err(error) => return Err(Failure::of(&error, &node)),
        };
        children.sort();
        waiting.extend(children.iter().rev().map(|c| path::join(&node, c)));
        each(line)?;
        count += 1;
    }
    Ok(count)
}

/// Writes a line for each node from one on.
pub(super) async fn export(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let root = given.argument(0);
    path::check(root)?;
    let count = walk(&session.client, root, |line| {
        // The server hides hashes from whoever has no ADMIN on the node, and what is hidden cannot be written back.
        if line
            .acl
            .iter()
            .any(|e| e.scheme == "digest" && e.id.ends_with(":x"))
        {
            let right = "only who has the right ADMIN there is told the whole ACL; addauth first";
            return Err(Failure::refused(format!("{}: {right}", line.node)));
        }
        let text = serde_json::to_string(&line).unwrap_or_default();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").map_err(|e| Failure::refused(format!("standard output: {e}")))
    })
    .await?;
    answer.field("exported", count);
    Ok(())
}

/// Reads such lines; what is no node, as the last line of a snapshot, is left out.
fn read(name: &str) -> Result<Vec<Line>, Failure> {
    let failed = |e: std::io::Error| Failure::usage(format!("{name}: {e}"));
    let source: Box<dyn Read> = match name {
        "-" => Box::new(std::io::stdin()),
        file => Box::new(std::fs::File::open(file).map_err(failed)?),
    };
    let mut source = BufReader::new(source);
    let mut all = Vec::new();
    for n in 1.. {
        let mut text = Vec::new();
        let got = (&mut source)
            .take(LINE_MAX as u64)
            .read_until(b'\n', &mut text)
            .map_err(failed)?;
        if got == 0 {
            break;
        }
        let wrong = |why: String| Failure::usage(format!("{name}:{n}: {why}"));
        if got == LINE_MAX {
            return Err(wrong(format!("longer than {LINE_MAX} bytes")));
        }
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|e| wrong(format!("not a line of JSON as export writes it: {e}")))?;
        if value.get("node").is_none() {
            continue;
        }
        let line: Line = serde_json::from_value(value)
            .map_err(|e| wrong(format!("not a node as export writes it: {e}")))?;
        path::check(&line.node).map_err(|f| wrong(f.line))?;
        data_of(&line).map_err(wrong)?;
        all.push(line);
    }
    Ok(all)
}

fn data_of(line: &Line) -> Result<Vec<u8>, String> {
    let text = line.data.as_deref().unwrap_or_default();
    STANDARD.decode(text).map_err(|e| {
        format!("the data is not Base64, as `zabra snapshot -o json --data` writes it: {e}")
    })
}

fn acl_of(line: &Line) -> Vec<Acl> {
    let entries = line.acl.iter();
    entries
        .map(|e| Acl::new(permission(&e.perms), AuthId::new(&e.scheme, &e.id)))
        .collect()
}

/// Makes the nodes of a file, each with its ACL from the first moment on.
pub(super) async fn import(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let file = given.argument(0);
    let below = given.arguments.get(1).map_or("/", String::as_str);
    path::check(below)?;
    if session.reads_lines && file == "-" {
        return Err(Failure::usage(
            "standard input has the lines of the shell; name a file",
        ));
    }
    let lines = read(file)?;
    let mine = |line: &&Line| {
        line.node != "/" && line.node != NOT_MINE && !line.node.starts_with("/zookeeper/")
    };
    let mine: Vec<&Line> = lines.iter().filter(mine).collect();
    let named: BTreeSet<&str> = mine.iter().map(|l| &*l.node).collect();
    let client = &session.client;
    // Nothing is begun that would end in the middle: the topmost nodes are looked at first.
    for line in mine.iter().filter(|_| !given.has("f")) {
        let parent = line.node.rsplit_once('/').map_or("", |(parent, _)| parent);
        let node = moved(below, &line.node);
        let there = named.contains(parent)
            || client
                .check_stat(&node)
                .await
                .map_err(|e| Failure::of(&e, &node))?
                .is_none();
        if !there {
            let what = "is there already, and nothing was changed; -f writes over what is there";
            return Err(Failure::refused(format!("{node} {what}")));
        }
    }
    if below != "/" && !given.has("n") {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        client
            .mkdir(below, &options)
            .await
            .map_err(|e| Failure::of(&e, below))?;
    }
    let (mut made, mut changed, mut left) = (0, 0, 0);
    for line in mine {
        let node = moved(below, &line.node);
        if line.kind == Kind::Ephemeral {
            left += 1;
        } else if given.has("n") {
            answer.line(&node);
        } else if make(client, &node, line, given.has("f")).await? {
            made += 1;
        } else {
            changed += 1;
        }
    }
    if !given.has("n") {
        answer.note(format!(
            "{made} created, {changed} written over, {left} ephemeral ones left out"
        ));
    }
    answer.field("created", made);
    answer.field("written_over", changed);
    answer.field("left_out", left);
    Ok(())
}

fn moved(below: &str, node: &str) -> String {
    path::join(below, node.trim_start_matches('/'))
}

/// Whether it is new.
async fn make(client: &Client, node: &str, line: &Line, over: bool) -> Result<bool, Failure> {
    let failed = |e: Error| Failure::of(&e, node);
    let (acl, data) = (acl_of(line), data_of(line).map_err(Failure::usage)?);
    let mode = match line.kind {
        Kind::Container => CreateMode::Container,
        Kind::Persistent | Kind::Ttl | Kind::Ephemeral => CreateMode::Persistent,
    };
    let mut options = mode.with_acls(Acls::new(&acl));
    if let (Kind::Ttl, Some(ms)) = (line.kind, line.ttl_ms) {
        options = options.with_ttl(Duration::from_millis(ms));
    }
    match client.create(node, &data, &options).await {
        Ok(_) => Ok(true),
        Err(Error::NodeExists) if over => {
            client.set_data(node, &data, None).await.map_err(failed)?;
            client.set_acl(node, &acl, None).await.map_err(failed)?;
            Ok(false)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Tells in what two trees differ: `-` only here, `+` only there, `~` in both and not the same.
pub(super) async fn diff(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (first, second) = (given.argument(0), given.argument(1));
    let (here, there) = if given.has("f") {
        (by_path(read(first)?), by_path(read(second)?))
    } else {
        path::check(first)?;
        let target = Target {
            servers: second.to_owned(),
            timeout: session.client.session_timeout(),
            read_only: true,
            reads_lines: true,
        };
        let other = Session::connect(&target, &session.events).await?;
        let there = tree_of(&other.client, first).await;
        other.close().await;
        (tree_of(&session.client, first).await?, there?)
    };
    let mut differences = Vec::new();
    for (node, line) in &here {
        match there.get(node) {
            None => differences.push(("-", node, String::new())),
            Some(other) if other != line => differences.push(("~", node, in_what(line, other))),
            Some(_) => {}
        }
    }
    let added = there.keys().filter(|node| !here.contains_key(*node));
    differences.extend(added.map(|node| ("+", node, String::new())));
    differences.sort_by_key(|(_, node, _)| *node);
    for (sign, node, what) in &differences {
        answer.line(format!("{sign} {node}{what}"));
    }
    answer.field("differences", differences.len());
    answer.field("nodes", here.len());
    if differences.is_empty() {
        return Ok(());
    }
    Err(Failure::quiet("Differs"))
}

fn in_what(one: &Line, other: &Line) -> String {
    let parts = [
        ("data", one.data != other.data),
        ("acl", one.acl != other.acl),
        ("kind", one.kind != other.kind || one.ttl_ms != other.ttl_ms),
    ];
    let parts = parts
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(part, _)| *part);
    format!(": {}", parts.collect::<Vec<_>>().join(", "))
}

fn by_path(lines: Vec<Line>) -> BTreeMap<String, Line> {
    lines
        .into_iter()
        .map(|line| (line.node.clone(), line))
        .collect()
}

async fn tree_of(client: &Client, root: &str) -> Result<BTreeMap<String, Line>, Failure> {
    let mut all = BTreeMap::new();
    let walked = walk(client, root, |line| {
        all.insert(line.node.clone(), line);
        Ok(())
    });
    match walked.await {
        // Nothing is there: everything of the other side is a difference.
        Err(failure) if failure.kind == "NoNode" => Ok(all),
        done => done.map(|_| all),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Line, in_what, moved};

    #[test]
    fn a_line_is_read_as_the_tool_for_snapshots_writes_it() {
        let text = r#"{"node":"/a","kind":"ttl","bytes":1,"data":"eA==","acl":[{"scheme":"world","id":"anyone","perms":"cdrwa"}],"czxid":"0x1","ttl_ms":500}"#;
        let line: Line = serde_json::from_str(text).unwrap();
        assert_eq!((line.kind, line.ttl_ms), (Kind::Ttl, Some(500)));
        let other = Line {
            data: None,
            kind: Kind::Container,
            ..line.clone()
        };
        assert_eq!(in_what(&line, &other), ": data, kind");
        assert_eq!(moved("/", "/a/b"), "/a/b");
        assert_eq!(moved("/x", "/a/b"), "/x/a/b");
    }
}
