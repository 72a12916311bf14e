//! Commands that make, change, read and list nodes.

use super::acl;
use super::answer::{Answer, Form};
use super::failure::Failure;
use super::path;
use super::session::Session;
use super::tree;
use super::watch::Kind;
use super::words::Given;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::VecDeque;
use std::time::Duration;
use zookeeper_client::{Acls, CreateMode, Error};

/// The longest life of a node with one, in milliseconds: what five bytes hold.
const TTL_MAX_MS: i64 = (1 << 40) - 1;
/// How many nodes `deleteall` deletes by one request.
const BATCH: usize = 1000;

pub(super) async fn create(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (mode, ttl) = mode(given)?;
    let at = given.argument(0);
    let sequential = given.has("s");
    path::check_sequential(at, sequential)?;
    let entries = given.arguments.get(2);
    let entries = entries.map(|text| acl::parse(text, answer));
    let acls = match &entries {
        Some(list) if list.is_empty() => return Err(invalid_acl(answer, None)),
        Some(list) => Acls::new(list),
        None => Acls::anyone_all(),
    };
    let mut options = mode.with_acls(acls);
    if let Some(ttl) = ttl {
        options = options.with_ttl(ttl);
    }
    if at == "/" && !sequential {
        return Err(Failure::of(&Error::NodeExists, at));
    }
    let data = given.argument(1).as_bytes();
    let (stat, sequence) = match session.client.create(at, data, &options).await {
        Ok(done) => done,
        Err(Error::InvalidAcl) => return Err(invalid_acl(answer, Some(at))),
        Err(error) => {
            if error == Error::UnexpectedErrorCode(-120) {
                answer.note("Unable to create ephemeral node on a local session");
            }
            return Err(Failure::of(&error, at));
        }
    };
    let made = if sequential {
        format!("{at}{sequence}")
    } else {
        at.to_owned()
    };
    answer.note(format!("Created {made}"));
    answer.field("path", made);
    let mut hidden = Answer::default();
    hidden.stat(&stat);
    answer.json.extend(hidden.json);
    Ok(())
}

/// What kind of node the options ask for, and its time to live.
fn mode(given: &Given) -> Result<(CreateMode, Option<Duration>), Failure> {
    let has = |name| given.has(name);
    if has("c") && (has("e") || has("s")) {
        return Err(Failure::usage(
            "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
        ));
    }
    let ttl = match given.value("t").map(str::parse::<i64>) {
        None => None,
        Some(Err(_)) => return Err(Failure::usage("-t argument must be a long value")),
        Some(Ok(ttl)) => Some(ttl),
    };
    if ttl.is_some() && has("e") {
        return Err(Failure::usage("TTLs cannot be used with Ephemeral znodes"));
    }
    if ttl.is_some() && has("c") {
        return Err(Failure::usage("TTLs cannot be used with Container znodes"));
    }
    let ttl = match ttl.map(u64::try_from) {
        None => None,
        Some(Ok(ms)) if (1..=TTL_MAX_MS.unsigned_abs()).contains(&ms) => {
            Some(Duration::from_millis(ms))
        }
        Some(_) => {
            return Err(Failure::usage(format!(
                "ttl must be positive and cannot be larger than: {TTL_MAX_MS}"
            )));
        }
    };
    let mode = match (has("e"), has("s")) {
        (true, true) => CreateMode::EphemeralSequential,
        (true, false) => CreateMode::Ephemeral,
        (false, true) => CreateMode::PersistentSequential,
        (false, false) if has("c") => CreateMode::Container,
        (false, false) => CreateMode::Persistent,
    };
    Ok((mode, ttl))
}

/// ZooKeeper's shell says it twice.
fn invalid_acl(answer: &mut Answer, at: Option<&str>) -> Failure {
    let place = at.map(|at| format!(" for {at}")).unwrap_or_default();
    answer.note(format!("KeeperErrorCode = InvalidACL{place}"));
    Failure::of(&Error::InvalidAcl, at.unwrap_or("null"))
}

pub(super) async fn delete(
    session: &Session,
    given: &mut Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    // D-135: ZooKeeper's shell takes it and does not look at it.
    if let Some(version) = given.arguments.get(1).cloned() {
        answer.note("'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.");
        given.set("v", &version);
    }
    let at = given.argument(0);
    path::check(at)?;
    if at == "/" {
        return Err(Failure::of(&Error::BadArguments(&"the root"), at));
    }
    let version = given.version()?;
    let done = session.client.delete(at, version).await;
    answer.field("path", at);
    done.map_err(|e| Failure::of(&e, at))
}

pub(super) async fn delete_all(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let batch = match given.value("b").map(str::parse::<i32>) {
        None => BATCH,
        Some(Ok(size)) => usize::try_from(size).unwrap_or(0).max(1),
        Some(Err(_)) => return Err(Failure::usage("-b argument must be an int value")),
    };
    let at = given.argument(0);
    path::check(at)?;
    let failed = || Failure::partly("Failed to delete some node(s) in the subtree!");
    let tree = tree::breadth_first(&session.client, at).await?;
    // A parent is listed before its children, so each batch deletes from the end.
    let leaves_first: Vec<&String> = tree.iter().rev().collect();
    for batch in leaves_first.chunks(batch) {
        let mut writer = session.client.new_multi_writer();
        for node in batch {
            writer.add_delete(node, None).map_err(|_| failed())?;
        }
        writer.commit().await.map_err(|_| failed())?;
    }
    answer.field("deleted", tree.len());
    Ok(())
}

/// `get`, `ls` and `stat` used to have a second argument for `-w`.
fn old_watch(given: &mut Given, answer: &mut Answer, old: &str, new: &str) {
    if given.arguments.len() > 1 {
        answer.note(format!(
            "'{old} path [watch]' has been deprecated. Please use '{new} path' instead."
        ));
        given.set("w", "");
    }
}

pub(super) async fn get(
    session: &Session,
    given: &mut Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    old_watch(given, answer, "get", "get [-s] [-w]");
    let at = given.argument(0);
    path::check(at)?;
    let client = &session.client;
    let (data, stat) = if given.has("w") {
        let got = client.get_and_watch_data(at).await;
        let (data, stat, watcher) = got.map_err(|e| Failure::of(&e, at))?;
        session.watch_once(at, Kind::Data, watcher);
        (data, stat)
    } else {
        let got = client.get_data(at).await;
        got.map_err(|e| Failure::of(&e, at))?
    };
    let form = match (given.has("x"), given.has("b")) {
        (true, _) => Form::Hex,
        (false, true) => Form::Base64,
        (false, false) => Form::Text,
    };
    answer.field("path", at);
    answer.data(&data, form);
    if given.has("s") {
        answer.stat(&stat);
    }
    Ok(())
}

pub(super) async fn set(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (at, text) = (given.argument(0), given.argument(1));
    let data = if given.has("b") {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|e| Failure::usage(format!("-b: the data is not base64: {e}")))?
    } else {
        text.as_bytes().to_vec()
    };
    let version = given.version()?;
    path::check(at)?;
    let done = session.client.set_data(at, &data, version).await;
    let stat = done.map_err(|e| Failure::of(&e, at))?;
    answer.field("path", at);
    if given.has("s") {
        answer.stat(&stat);
    }
    Ok(())
}

pub(super) async fn ls(
    session: &Session,
    given: &mut Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    old_watch(given, answer, "ls", "ls [-w]");
    if given.has("?") {
        answer.line("usage: ls [options] path\n -?   help\n -R   recurse\n -s   stat\n -w   watch");
    }
    let at = given.argument(0);
    path::check(at)?;
    let (watched, client) = (given.has("w"), &session.client);
    answer.field("path", at);
    if given.has("R") {
        return ls_recursive(session, at, watched, answer).await;
    }
    let (children, stat) = if watched {
        let got = client.get_and_watch_children(at).await;
        let (children, stat, watcher) = got.map_err(|e| Failure::of(&e, at))?;
        session.watch_once(at, Kind::Child, watcher);
        (children, stat)
    } else {
        let got = client.get_children(at).await;
        got.map_err(|e| Failure::of(&e, at))?
    };
    answer.list("children", children);
    if given.has("s") {
        answer.stat(&stat);
    }
    Ok(())
}

/// One path a line: the children of a node together, then what is below each of them.
async fn ls_recursive(
    session: &Session,
    root: &str,
    watched: bool,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let client = &session.client;
    if watched {
        let got = client.get_and_watch_data(root).await;
        let (_, _, watcher) = got.map_err(|e| Failure::of(&e, root))?;
        session.watch_once(root, Kind::Data, watcher);
    }
    let mut paths = vec![root.to_owned()];
    let mut waiting = VecDeque::from([root.to_owned()]);
    let mut refused = None;
    while let Some(node) = waiting.pop_front() {
        let listed = if watched {
            let got = client.list_and_watch_children(&node).await;
            got.map(|(children, watcher)| {
                session.watch_once(&node, Kind::Child, watcher);
                children
            })
        } else {
            client.list_children(&node).await
        };
        let mut children = match listed {
            Ok(children) => children,
            // It was there when its parent was listed.
            Err(Error::NoNode) if node != root => continue,
            // What was listed before is told.
            Err(error) => {
                refused = Some(Failure::of(&error, &node));
                break;
            }
        };
        children.sort();
        let below: Vec<String> = children.iter().map(|c| path::join(&node, c)).collect();
        paths.extend(below.iter().cloned());
        for child in below.into_iter().rev() {
            waiting.push_front(child);
        }
    }
    if refused.is_none() || paths.len() > 1 {
        paths.iter().for_each(|path| answer.line(path));
    }
    answer.field("paths", paths);
    refused.map_or(Ok(()), Err)
}

pub(super) async fn stat(
    session: &Session,
    given: &mut Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    old_watch(given, answer, "stat", "stat [-w]");
    let at = given.argument(0);
    path::check(at)?;
    let stat = if given.has("w") {
        let got = session.client.check_and_watch_stat(at).await;
        let (stat, watcher) = got.map_err(|e| Failure::of(&e, at))?;
        session.watch_once(at, Kind::Data, watcher);
        stat
    } else {
        let got = session.client.check_stat(at).await;
        got.map_err(|e| Failure::of(&e, at))?
    };
    let stat = stat.ok_or_else(|| Failure::of(&Error::NoNode, at))?;
    answer.field("path", at);
    answer.stat(&stat);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{commands, words};
    use super::mode;
    use std::time::Duration;
    use zookeeper_client::CreateMode;

    fn asked(line: &str) -> Result<(CreateMode, Option<Duration>), String> {
        let given = commands::find("create").unwrap().read(&words::split(line));
        mode(&given.unwrap()).map_err(|f| f.line)
    }

    #[test]
    fn options_of_create_name_a_kind_of_node() {
        let life = Some(Duration::from_millis(100));
        for (line, expected) in [
            ("/a", (CreateMode::Persistent, None)),
            ("-s /a", (CreateMode::PersistentSequential, None)),
            ("-e /a", (CreateMode::Ephemeral, None)),
            ("-es /a", (CreateMode::EphemeralSequential, None)),
            ("-c /a", (CreateMode::Container, None)),
            ("-t 100 /a", (CreateMode::Persistent, life)),
            ("-s -t 100 /a", (CreateMode::PersistentSequential, life)),
        ] {
            assert_eq!(asked(line).unwrap(), expected, "{line}");
        }
        for (line, says) in [
            ("-c -e /a", "-c cannot be combined"),
            ("-c -s /a", "-c cannot be combined"),
            ("-t x /a", "-t argument must be a long value"),
            ("-t 0 /a", "ttl must be positive"),
            ("-t -1 /a", "ttl must be positive"),
            ("-t 1099511627776 /a", "ttl must be positive"),
            ("-t 1 -e /a", "TTLs cannot be used with Ephemeral"),
            ("-t 1 -c /a", "TTLs cannot be used with Container"),
        ] {
            let said = asked(line).unwrap_err();
            assert!(said.starts_with(says), "{line}: {said}");
        }
    }
}
