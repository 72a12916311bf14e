//! Commands about the ensemble, the session and its watches.

use super::answer::Answer;
use super::failure::Failure;
use super::path;
use super::session::Session;
use super::watch::Kind;
use super::words::Given;
use zookeeper_client::{AddWatchMode, EnsembleUpdate, Error};

/// The node whose data is the configuration.
const CONFIG: &str = "/zookeeper/config";

pub(super) async fn sync(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    path::check(at)?;
    session
        .client
        .sync(at)
        .await
        .map_err(|e| Failure::of(&e, at))?;
    answer.line("Sync is OK");
    answer.field("path", at);
    Ok(())
}

pub(super) async fn config(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (data, stat) = if given.has("w") {
        let got = session.client.get_and_watch_config().await;
        let (data, stat, watcher) = got.map_err(|e| Failure::of(&e, CONFIG))?;
        session.watch_once(CONFIG, Kind::Data, watcher);
        (data, stat)
    } else {
        let got = session.client.get_config().await;
        got.map_err(|e| Failure::of(&e, CONFIG))?
    };
    let text = String::from_utf8_lossy(&data);
    if given.has("c") {
        let (version, addresses) = for_clients(&text);
        answer.line(format!("{version} {}", addresses.join(",")));
        answer.field("version", version);
        answer.field("servers", addresses);
    } else {
        answer.line(&text);
        answer.field("config", &*text);
    }
    if given.has("s") {
        answer.stat(&stat);
    }
    Ok(())
}

/// The version of a configuration, and where its servers are reached by clients; nothing for a server that does not say.
fn for_clients(config: &str) -> (&str, Vec<String>) {
    let lines = config.lines().filter_map(|line| line.split_once('='));
    let mut version = "";
    let mut addresses = Vec::new();
    for (key, value) in lines {
        if key.trim() == "version" {
            version = value.trim();
        } else if key.starts_with("server.") {
            let address = value
                .split_once(';')
                .map_or("", |(_, client)| client.trim());
            addresses.push(match address.parse::<u16>() {
                Ok(port) => format!("0.0.0.0:{port}"),
                Err(_) => address.to_owned(),
            });
        }
    }
    (version, addresses)
}

pub(super) async fn reconfig(
    session: &Session,
    given: &Given,
    usage: String,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let version = match given.value("v").map(|v| i64::from_str_radix(v, 16)) {
        None => None,
        Some(Ok(version)) => Some(version),
        Some(Err(_)) => {
            return Err(Failure::usage(
                "-v must be followed by a long (configuration version)",
            ));
        }
    };
    let (whole, part) = (
        given.given(&["file", "members"]),
        given.given(&["add", "remove"]),
    );
    match (&whole[..], &part[..]) {
        ([], []) => return Err(Failure::usage(usage)),
        ([_, ..], [_, ..]) => {
            return Err(Failure::usage(
                "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes is not allowed)",
            ));
        }
        ([_, _, ..], []) => {
            return Err(Failure::usage(
                "Can't use -file and -members together (conflicting non-incremental modes)",
            ));
        }
        ([_], []) | ([], [_, ..]) => {}
    }
    let lower = |name| given.value(name).unwrap_or_default().to_lowercase();
    let members = match given.value("file") {
        Some(file) => members_of(file)?,
        None => lower("members"),
    };
    let (joining, leaving) = (lower("add"), lower("remove"));
    let one = |text| std::iter::once::<&str>(text);
    let update = if whole.is_empty() {
        EnsembleUpdate::Incremental {
            joinings: one(&joining),
            leavings: one(&leaving),
        }
    } else {
        EnsembleUpdate::New {
            ensemble: one(&members),
        }
    };
    let done = session.client.update_ensemble(update, version).await;
    let (config, stat) = done.map_err(|e| Failure::of(&e, ""))?;
    let text = String::from_utf8_lossy(&config);
    answer.line(format!("Committed new configuration:\n{text}"));
    answer.field("config", &*text);
    if given.has("s") {
        answer.stat(&stat);
    }
    Ok(())
}

/// The servers of a file of members; other lines are not for a request.
fn members_of(file: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::usage(format!("Error processing {file}: {e}")))?;
    let servers = text
        .lines()
        .map(str::trim)
        .filter(|l| l.starts_with("server."));
    let servers: Vec<_> = servers.collect();
    if servers.is_empty() {
        return Err(Failure::usage(format!(
            "Error processing {file}: it has no line server.N=host:port:port;port"
        )));
    }
    Ok(servers.join(","))
}

pub(super) async fn add_watch(
    session: &Session,
    given: &Given,
    usage: String,
) -> Result<(), Failure> {
    let (mode, kind) = match given.value("m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => {
            (AddWatchMode::PersistentRecursive, Kind::PersistentRecursive)
        }
        Some("PERSISTENT") => (AddWatchMode::Persistent, Kind::Persistent),
        Some(_) => return Err(Failure::usage(usage)),
    };
    if given.arguments.len() > 1 {
        return Err(Failure::usage(usage));
    }
    let at = given.argument(0);
    path::check(at)?;
    let watcher = session.client.watch(at, mode).await;
    let watcher = watcher.map_err(|e| Failure::of(&e, at))?;
    session.watch_on(at, kind, watcher);
    Ok(())
}

pub(super) fn remove_watches(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    path::check(at)?;
    let kinds: &[Kind] = match given.given(&["c", "d", "p", "r"]).first() {
        Some(&"c") => &[Kind::Child],
        Some(&"d") => &[Kind::Data],
        Some(&"p") => &[Kind::Persistent],
        Some(&"r") => &[Kind::PersistentRecursive],
        Some(_) | None => &[
            Kind::Child,
            Kind::Data,
            Kind::Persistent,
            Kind::PersistentRecursive,
        ],
    };
    let removed = session.unwatch(at, kinds);
    if removed.is_empty() {
        return Err(Failure::of(&Error::NoWatcher, at));
    }
    answer.field("path", at);
    answer.field("removed", removed.len());
    Ok(())
}

pub(super) async fn ephemerals(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.arguments.first().map_or("/", String::as_str);
    path::check(at)?;
    let got = session.client.list_ephemerals(at).await;
    let nodes = got.map_err(|e| Failure::of(&e, at))?;
    answer.list("ephemerals", nodes);
    Ok(())
}

pub(super) async fn descendants(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    path::check(at)?;
    let got = session.client.count_descendants_number(at).await;
    let count = got.map_err(|e| Failure::of(&e, at))?;
    answer.line(count.to_string());
    answer.field("path", at);
    answer.field("descendants", count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::for_clients;

    #[test]
    fn a_configuration_names_where_clients_go() {
        let text = "server.1=a:2:3:participant;a:2181\nserver.2=b:2:3:observer;2182\nserver.3=c:2:3\nversion=1c";
        let (version, addresses) = for_clients(text);
        assert_eq!(version, "1c");
        assert_eq!(addresses, ["a:2181", "0.0.0.0:2182", ""]);
        assert_eq!(for_clients("").0, "");
    }
}
