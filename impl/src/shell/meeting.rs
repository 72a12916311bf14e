//! Commands by which programs meet: a barrier, a queue, and events that start programs.

use super::answer::{Answer, Form, event_json, event_text, parts};
use super::args::Output;
use super::failure::Failure;
use super::held;
use super::path;
use super::session::Session;
use super::turns::{self, again, over};
use super::words::Given;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use zookeeper_client::{
    Acls, AddWatchMode, Client, CreateMode, CreateOptions, Error, EventType, WatchedEvent,
};

/// The name under which an element of a queue stands, as in ZooKeeper's own recipe.
const ELEMENT: &str = "qn-";
/// The node that says that all have come.
const READY: &str = "ready";
/// Who has come to a barrier.
const MEMBER: &str = "member-";

/// Waits until so many have come, runs a program, and waits until all of them have done theirs.
pub(super) async fn barrier(
    session: &Session,
    given: &Given,
    usage: String,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    let Ok(count @ 1..) = given.argument(1).parse::<usize>() else {
        return Err(Failure::usage(usage));
    };
    path::check(at)?;
    let wait = turns::wait(given)?;
    let command = given.arguments.get(2..).unwrap_or_default();
    let client = &session.client;
    let node = turns::enter(session, at, MEMBER).await?;
    let come = tokio::select! {
        come = all_come(client, at, count) => come,
        () = held::interrupted() => Err(Failure::interrupted(at)),
        () = over(wait) => Err(Failure::late(format!("{at}: fewer than {count} have come within the time to wait"))),
    };
    answer.field("path", at);
    answer.field("count", count);
    let done = match come {
        Ok(()) if command.is_empty() => Ok(()),
        Ok(()) => held::run(session, command, &[("ZABRA_NODE", node.clone())]).await,
        Err(failure) => {
            let _ = again(|| client.delete(&node, None)).await;
            return Err(failure);
        }
    };
    let _ = again(|| client.delete(&node, None)).await;
    tokio::select! {
        gone = all_gone(client, at) => gone.and(done),
        () = held::interrupted() => Err(Failure::interrupted(at)),
    }
}

fn members(children: &[String]) -> usize {
    children.iter().filter(|c| c.starts_with(MEMBER)).count()
}

/// Whoever sees that all are there says so by a node, because some may have left before the others look.
async fn all_come(client: &Client, at: &str, count: usize) -> Result<(), Failure> {
    let ready = path::join(at, READY);
    loop {
        let (children, changed) = turns::watched(client, at).await?;
        if children.iter().any(|c| c == READY) {
            return Ok(());
        }
        if members(&children) >= count {
            let mode = CreateMode::Persistent.with_acls(Acls::anyone_all());
            return match again(|| client.create(&ready, b"", &mode)).await {
                Ok(_) | Err(Error::NodeExists) => Ok(()),
                Err(error) => Err(Failure::of(&error, &ready)),
            };
        }
        changed.changed().await;
    }
}

/// The last one to leave opens the barrier for the next round.
async fn all_gone(client: &Client, at: &str) -> Result<(), Failure> {
    let ready = path::join(at, READY);
    loop {
        let (children, changed) = match again(|| client.list_and_watch_children(at)).await {
            Ok(got) => got,
            // The container goes when it is empty.
            Err(Error::NoNode) => return Ok(()),
            Err(error) => return Err(Failure::of(&error, at)),
        };
        if members(&children) == 0 {
            return match again(|| client.delete(&ready, None)).await {
                Ok(()) | Err(Error::NoNode) => Ok(()),
                Err(error) => Err(Failure::of(&error, &ready)),
            };
        }
        changed.changed().await;
    }
}

/// A queue: elements are taken in the order in which they were put, each by one.
pub(super) async fn queue(
    session: &Session,
    given: &Given,
    usage: String,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    path::check(at)?;
    answer.field("path", at);
    match (given.argument(1), given.arguments.len()) {
        ("put", 3) => put(&session.client, at, given.argument(2).as_bytes(), answer).await,
        ("take", 2) => {
            let wait = turns::wait(given)?.unwrap_or_default();
            take(&session.client, at, wait, answer).await
        }
        ("size", 2) => {
            let size = elements(&session.client, at).await?.len();
            answer.line(size.to_string());
            answer.field("size", size);
            Ok(())
        }
        _ => Err(Failure::usage(usage)),
    }
}

async fn put(client: &Client, at: &str, data: &[u8], answer: &mut Answer) -> Result<(), Failure> {
    let begin = path::join(at, ELEMENT);
    let mode = CreateMode::PersistentSequential.with_acls(Acls::anyone_all());
    let sequence = loop {
        match client.create(&begin, data, &mode).await {
            Ok((_, sequence)) => break sequence,
            Err(Error::NoNode) => {
                turns::make(client, at, &queue_of()).await?;
            }
            // Put twice or not at all: who puts decides.
            Err(error) => return Err(Failure::of(&error, at)),
        }
    };
    answer.field("element", format!("{begin}{sequence}"));
    Ok(())
}

/// No container: where that is made anew, numbers begin anew, and an element could be taken for another.
fn queue_of() -> CreateOptions<'static> {
    CreateMode::Persistent.with_acls(Acls::anyone_all())
}

async fn elements(client: &Client, at: &str) -> Result<Vec<String>, Failure> {
    match again(|| client.list_children(at)).await {
        Ok(children) => Ok(in_order(children)),
        Err(Error::NoNode) => Ok(Vec::new()),
        Err(error) => Err(Failure::of(&error, at)),
    }
}

fn in_order(mut children: Vec<String>) -> Vec<String> {
    children.retain(|c| c.starts_with(ELEMENT));
    children.sort();
    children
}

/// The first element that nobody else takes. It is removed before it is told: who ends in between has lost it.
async fn take(
    client: &Client,
    at: &str,
    wait: Duration,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let until = Instant::now() + wait;
    loop {
        let changed = match again(|| client.list_and_watch_children(at)).await {
            Ok((children, changed)) => {
                for child in in_order(children) {
                    let node = path::join(at, &child);
                    let data = match again(|| client.get_data(&node)).await {
                        Ok((data, _)) => data,
                        Err(Error::NoNode) => continue,
                        Err(error) => return Err(Failure::of(&error, &node)),
                    };
                    match client.delete(&node, None).await {
                        Ok(()) => {
                            answer.data(&data, Form::Text);
                            answer.field("element", node);
                            return Ok(());
                        }
                        Err(Error::NoNode) => {}
                        Err(error) => return Err(Failure::of(&error, &node)),
                    }
                }
                Some(changed)
            }
            Err(Error::NoNode) => None,
            Err(error) => return Err(Failure::of(&error, at)),
        };
        let Some(changed) = changed else {
            if wait.is_zero() {
                return Err(Failure::late(format!("{at}: nothing is there")));
            }
            turns::make(client, at, &queue_of()).await?;
            continue;
        };
        // Nothing is given up while an element is being taken, which would be nobody's then.
        tokio::select! {
            _ = changed.changed() => {}
            () = held::interrupted() => return Err(Failure::interrupted(at)),
            () = tokio::time::sleep_until(until) => {
                return Err(Failure::late(format!("{at}: nothing is there")));
            }
        }
    }
}

/// Tells each change of a node, or of all below it, or runs a program for each.
pub(super) async fn watch(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
    output: Output,
) -> Result<(), Failure> {
    let (at, command) = (
        given.argument(0),
        given.arguments.get(1..).unwrap_or_default(),
    );
    path::check(at)?;
    let mut left = match given.value("n").map(str::parse::<u64>) {
        None => u64::MAX,
        Some(Ok(count @ 1..)) => count,
        Some(_) => return Err(Failure::usage("-n must be followed by a number of events")),
    };
    let wait = turns::wait(given)?;
    let mode = if given.has("r") {
        AddWatchMode::PersistentRecursive
    } else {
        AddWatchMode::Persistent
    };
    let watcher = session.client.watch(at, mode).await;
    let mut watcher = watcher.map_err(|e| Failure::of(&e, at))?;
    let mut told = 0;
    while left > 0 {
        let event = tokio::select! {
            event = watcher.changed() => event,
            () = held::interrupted() => break,
            () = over(wait) => return Err(Failure::late(format!("{at}: no event within the time to wait"))),
        };
        if event.event_type == EventType::Session {
            if event.session_state.is_terminated() {
                return Err(Failure::lost("the session is over, and its watch with it"));
            }
            continue;
        }
        (left, told) = (left - 1, told + 1);
        tell(session, &event, command, output).await?;
    }
    answer.field("path", at);
    answer.field("events", json!(told));
    Ok(())
}

async fn tell(
    session: &Session,
    event: &WatchedEvent,
    command: &[String],
    output: Output,
) -> Result<(), Failure> {
    let (kind, path, zxid) = parts(event);
    if command.is_empty() {
        let line = match output {
            Output::Raw => event_text("SyncConnected", &kind, Some(path), zxid),
            Output::Json => event_json("SyncConnected", &kind, Some(path), zxid),
        };
        session.events.line(&line);
        return Ok(());
    }
    let variables = [
        ("ZABRA_EVENT", kind.clone()),
        ("ZABRA_NODE", path.to_owned()),
        ("ZABRA_ZXID", zxid.to_string()),
    ];
    held::run(session, command, &variables).await
}
