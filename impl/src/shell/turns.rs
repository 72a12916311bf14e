//! Commands that wait for their turn: a lock, an election, a semaphore.
//!
//! Nodes are named as Curator names them (`_c_GUID-lock-0000000007`), so that its locks and elections stand in the same line.

use super::answer::Answer;
use super::failure::Failure;
use super::held;
use super::path;
use super::session::Session;
use super::words::Given;
use std::time::Duration;
use zookeeper_client::{
    Acls, Client, CreateMode, CreateOptions, Error, LockClient, LockOptions, LockPrefix,
    OneshotWatcher,
};

/// How many digits a sequence has.
const DIGITS: usize = 10;

/// What a program learns of the node that it holds.
fn variables(path: &str, zxid: i64) -> [(&'static str, String); 2] {
    [
        ("ZABRA_NODE", path.to_owned()),
        ("ZABRA_ZXID", zxid.to_string()),
    ]
}

pub(super) async fn lock(
    session: &Session,
    given: &Given,
    usage: String,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (at, command) = (given.argument(0), given.arguments.get(1..));
    let Some(command @ [_, ..]) = command else {
        return Err(Failure::usage(usage));
    };
    let name = format!("process {}", std::process::id());
    let held = hold(session, at, "lock-", &name, wait(given)?).await?;
    let zxid = zxid_of(&session.client, held.lock_path()).await?;
    answer.field("path", held.lock_path());
    answer.field("zxid", zxid);
    let done = held::run(session, command, &variables(held.lock_path(), zxid)).await;
    leave(held).await;
    done
}

pub(super) async fn elect(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    let Some(name) = given.arguments.get(1) else {
        return leader(session, at, answer).await;
    };
    let held = hold(session, at, "latch-", name, wait(given)?).await?;
    let zxid = zxid_of(&session.client, held.lock_path()).await?;
    answer.field("path", held.lock_path());
    answer.field("zxid", zxid);
    answer.field("leader", &**name);
    let command = given.arguments.get(2..).unwrap_or_default();
    let done = if command.is_empty() {
        session
            .events
            .line(&format!("{name} leads since zxid {zxid:#x}\n"));
        stay(session).await
    } else {
        held::run(session, command, &variables(held.lock_path(), zxid)).await
    };
    leave(held).await;
    done
}

/// Until somebody ends it, or the session is over.
async fn stay(session: &Session) -> Result<(), Failure> {
    let mut states = session.client.state_watcher();
    loop {
        tokio::select! {
            () = held::interrupted() => return Ok(()),
            state = states.changed() => if state.is_terminated() {
                return Err(Failure::lost("the session is over, and somebody else may lead"));
            }
        }
    }
}

/// Tells who leads.
async fn leader(session: &Session, at: &str, answer: &mut Answer) -> Result<(), Failure> {
    path::check(at)?;
    let (name, zxid) = first(&session.client, at)
        .await?
        .ok_or_else(|| Failure::refused(format!("nobody leads at {at}")))?;
    answer.line(format!("{name} leads since zxid {zxid:#x}"));
    answer.field("leader", name);
    answer.field("zxid", zxid);
    Ok(())
}

/// The data of the first in line, and when it came.
async fn first(client: &Client, at: &str) -> Result<Option<(String, i64)>, Failure> {
    let children = match client.list_children(at).await {
        Ok(children) => children,
        Err(Error::NoNode) => return Ok(None),
        Err(error) => return Err(Failure::of(&error, at)),
    };
    for child in in_line(children) {
        let node = path::join(at, &child);
        match client.get_data(&node).await {
            Ok((data, stat)) => {
                return Ok(Some((
                    String::from_utf8_lossy(&data).into_owned(),
                    stat.czxid,
                )));
            }
            // It has left meanwhile.
            Err(Error::NoNode) => {}
            Err(error) => return Err(Failure::of(&error, &node)),
        }
    }
    Ok(None)
}

/// Names that end in a sequence, by that.
fn in_line(children: Vec<String>) -> Vec<String> {
    let sequence = |name: &str| -> Option<u64> {
        let at = name.len().checked_sub(DIGITS)?;
        name.get(at..)?.parse().ok()
    };
    let mut all: Vec<_> = children
        .into_iter()
        .filter_map(|name| Some((sequence(&name)?, name)))
        .collect();
    all.sort();
    all.into_iter().map(|(_, name)| name).collect()
}

/// How long to wait for one's turn; for ever where nothing is said.
pub(super) fn wait(given: &Given) -> Result<Option<Duration>, Failure> {
    match given.value("w").map(str::parse) {
        None => Ok(None),
        Some(Ok(ms)) => Ok(Some(Duration::from_millis(ms))),
        Some(Err(_)) => Err(Failure::usage(
            "-w must be followed by milliseconds, the longest time to wait",
        )),
    }
}

/// Stands in line until it is first.
async fn hold<'a>(
    session: &'a Session,
    at: &str,
    kind: &str,
    name: &str,
    wait: Option<Duration>,
) -> Result<LockClient<'a>, Failure> {
    path::check(at)?;
    if at == "/" {
        return Err(Failure::refused(
            "the root is no place for a line; name a node below it",
        ));
    }
    let failed = |e: Error| Failure::of(&e, at);
    let prefix = LockPrefix::new_curator(at, kind).map_err(failed)?;
    let options = LockOptions::new(Acls::anyone_all()).with_ancestor_options(container());
    let options = options.map_err(failed)?;
    let held = session.client.lock(prefix, name.as_bytes(), options);
    tokio::select! {
        held = held => held.map_err(failed),
        () = held::interrupted() => Err(Failure::interrupted(at)),
        () = over(wait) => {
            let holder = first(&session.client, at).await.ok().flatten();
            let holder = holder.map(|(name, zxid)| format!("; first in line is {name}, who came at zxid {zxid:#x}"));
            Err(Failure::late(format!("{at}: not within the time to wait{}", holder.unwrap_or_default())))
        }
    }
}

/// Parents of such lines, which go when nobody stands there.
pub(super) fn container() -> CreateOptions<'static> {
    CreateMode::Container.with_acls(Acls::anyone_all())
}

/// Makes a node and those above it, where they are not there.
pub(super) async fn make(
    client: &Client,
    at: &str,
    options: &CreateOptions<'_>,
) -> Result<(), Failure> {
    let made = again(|| client.mkdir(at, options)).await;
    made.map_err(|e| Failure::of(&e, at))
}

pub(super) async fn over(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// When the node was made: who comes later has a larger one.
async fn zxid_of(client: &Client, node: &str) -> Result<i64, Failure> {
    let stat = again(|| client.check_stat(node)).await;
    let stat = stat.map_err(|e| Failure::of(&e, node))?;
    let stat = stat.ok_or_else(|| Failure::lost(format!("{node} was deleted by somebody else")))?;
    Ok(stat.czxid)
}

/// Lets the next one in at once.
async fn leave(held: LockClient<'_>) {
    let (client, node) = (held.client().clone(), held.lock_path().to_owned());
    // What cannot be deleted now goes with the session.
    let _ = again(|| client.delete(&node, None)).await;
}

/// Asks again while the connection changes.
pub(super) async fn again<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match ask().await {
            Err(Error::ConnectionLoss) => tokio::time::sleep(Duration::from_millis(20)).await,
            done => return done,
        }
    }
}

pub(super) async fn semaphore(
    session: &Session,
    given: &Given,
    usage: String,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (at, command) = (given.argument(0), given.arguments.get(2..));
    let (Ok(places @ 1..), Some(command @ [_, ..])) = (given.argument(1).parse::<usize>(), command)
    else {
        return Err(Failure::usage(usage));
    };
    path::check(at)?;
    let wait = wait(given)?;
    let node = enter(session, at, "lease-").await?;
    let (_, name) = node.rsplit_once('/').unwrap_or_default();
    let turn = tokio::select! {
        turn = among(&session.client, at, name, places) => turn,
        () = held::interrupted() => Err(Failure::interrupted(at)),
        () = over(wait) => Err(Failure::late(format!("{at}: all {places} places are taken, and none was free within the time to wait"))),
    };
    let done = match turn {
        Ok(()) => {
            let zxid = zxid_of(&session.client, &node).await?;
            answer.field("path", &*node);
            answer.field("zxid", zxid);
            held::run(session, command, &variables(&node, zxid)).await
        }
        Err(failure) => Err(failure),
    };
    let _ = again(|| session.client.delete(&node, None)).await;
    done
}

/// Makes an ephemeral node with a number behind its name; its path. What an answer that was lost has left behind is removed.
pub(super) async fn enter(session: &Session, at: &str, name: &str) -> Result<String, Failure> {
    let client = &session.client;
    let failed = |e: Error| Failure::of(&e, at);
    make(client, at, &container()).await?;
    let begin = format!("{}{name}", path::join(at, ""));
    let mode = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    loop {
        match client.create(&begin, b"", &mode).await {
            Ok((_, sequence)) => return Ok(format!("{begin}{sequence}")),
            // The container went between the two.
            Err(Error::NoNode) => make(client, at, &container()).await?,
            Err(Error::ConnectionLoss) => {
                for node in again(|| client.list_ephemerals(&begin))
                    .await
                    .map_err(failed)?
                {
                    let _ = again(|| client.delete(&node, None)).await;
                }
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Waits until fewer than `places` stand before this one.
async fn among(client: &Client, at: &str, name: &str, places: usize) -> Result<(), Failure> {
    loop {
        let (children, changed) = watched(client, at).await?;
        let before = in_line(children).iter().position(|child| child == name);
        match before {
            Some(before) if before < places => return Ok(()),
            Some(_) => {
                changed.changed().await;
            }
            None => {
                return Err(Failure::lost(format!(
                    "{at}/{name} was deleted by somebody else"
                )));
            }
        }
    }
}

/// The children, and what tells of their change.
pub(super) async fn watched(
    client: &Client,
    at: &str,
) -> Result<(Vec<String>, OneshotWatcher), Failure> {
    let got = again(|| client.list_and_watch_children(at)).await;
    got.map_err(|e| Failure::of(&e, at))
}

#[cfg(test)]
mod tests {
    use super::in_line;

    #[test]
    fn the_line_goes_by_numbers_and_not_by_names() {
        let names = [
            "_c_b-lock-0000000002",
            "_c_z-lock-0000000001",
            "config",
            "ü0000000003",
            "_c_a-lock-000000000x",
        ];
        let line = in_line(names.map(str::to_owned).to_vec());
        assert_eq!(
            line,
            [
                "_c_z-lock-0000000001",
                "_c_b-lock-0000000002",
                "ü0000000003"
            ]
        );
    }
}
