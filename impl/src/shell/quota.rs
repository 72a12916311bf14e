//! Quotas: nodes below `/zookeeper/quota`, one with limits and one with what is used, whose text servers read.

use super::answer::Answer;
use super::failure::Failure;
use super::path;
use super::session::Session;
use super::words::Given;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use zookeeper_client::{Acls, Client, CreateMode, Error};

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// The options, and what each limits: nodes or bytes, told or enforced.
const LIMITED: [(&str, &str); 4] = [
    ("n", "count"),
    ("b", "bytes"),
    ("N", "countHardLimit"),
    ("B", "byteHardLimit"),
];

/// The text of such a node: `count=10,bytes=-1=;byteHardLimit=-1;countHardLimit=5`; −1 for what is not limited.
#[derive(Debug, Default, PartialEq, Eq)]
struct Track(BTreeMap<String, i64>);

impl Track {
    /// What has another form counts as not limited.
    fn read(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data);
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut parts = pair.split('=');
            let (name, value) = (parts.next()?, parts.next()?);
            Some((name.to_owned(), value.parse().unwrap_or(-1)))
        });
        Self(pairs.collect())
    }

    fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    fn set(&mut self, name: &str, value: i64) {
        self.0.insert(name.to_owned(), value);
    }

    fn json(&self) -> Value {
        let fields = self.0.iter();
        Value::Object(
            fields
                .map(|(k, v)| (k.clone(), (*v).into()))
                .collect::<Map<_, _>>(),
        )
    }

    /// What is used already, where it is more than these limits.
    fn warnings(&self, used: &Self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (what, soft, hard) in [
            ("count", "count", "countHardLimit"),
            ("bytes", "bytes", "byteHardLimit"),
        ] {
            let used = used.get(what);
            if [soft, hard]
                .iter()
                .any(|limit| (0..used).contains(&self.get(limit)))
            {
                warnings.push(format!(
                    "[Warning]: the {what} quota you create is less than the existing {what}:{used}"
                ));
            }
        }
        warnings
    }
}

impl fmt::Display for Track {
    /// The first two are what the oldest servers read; the sign behind them makes those stop there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={},bytes={}", self.get("count"), self.get("bytes"))?;
        let mut further = self
            .0
            .iter()
            .filter(|(k, _)| *k != "count" && *k != "bytes");
        if let Some((name, value)) = further.next() {
            write!(f, "=;{name}={value}")?;
        }
        further.try_for_each(|(name, value)| write!(f, ";{name}={value}"))
    }
}

fn limits_of(at: &str) -> String {
    format!("{ROOT}{at}/{LIMITS}")
}

fn stats_of(at: &str) -> String {
    format!("{ROOT}{at}/{STATS}")
}

pub(super) async fn set(
    session: &Session,
    given: &Given,
    usage: String,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let names = given.given(&LIMITED.map(|(option, _)| option));
    match names[..] {
        [] => {
            return Err(Failure::usage(
                "Missing required option: [-n num soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]",
            ));
        }
        [_] => {}
        [first, second, ..] => {
            return Err(Failure::usage(format!(
                "The option '{second}' was specified but an option from this group has already been selected: '{first}'"
            )));
        }
    }
    if given.arguments.is_empty() {
        return Err(Failure::usage(usage));
    }
    let at = given.argument(0);
    if at.starts_with(ROOT) {
        return Err(Failure::refused(format!(
            "cannot set a quota under the path: {ROOT}"
        )));
    }
    let mut asked = Track::default();
    for (option, name) in LIMITED {
        asked.set(name, -1);
        if let Some(text) = given.value(option) {
            asked.set(name, limit(text, option.eq_ignore_ascii_case("n"))?);
        }
    }
    path::check(at)?;
    answer.field("path", at);
    store(&session.client, at, asked, answer).await
}

/// A limit of nodes or of bytes.
fn limit(text: &str, of_nodes: bool) -> Result<i64, Failure> {
    let not_a_number = "NumberFormatException happens when parsing the option value";
    let value: i64 = text.parse().map_err(|_| Failure::usage(not_a_number))?;
    match (of_nodes, value) {
        (true, i64::MIN..=0) => Err(Failure::usage("the num quota must be greater than zero")),
        (true, 0x8000_0000..) => Err(Failure::usage(not_a_number)),
        (false, i64::MIN..0) => Err(Failure::usage(
            "the bytes quota must be greater than or equal to zero",
        )),
        (true | false, _) => Ok(value),
    }
}

/// Writes the limits, unless another quota stands above or below.
async fn store(
    client: &Client,
    at: &str,
    asked: Track,
    answer: &mut Answer,
) -> Result<(), Failure> {
    if client
        .check_stat(at)
        .await
        .map_err(|e| Failure::of(&e, at))?
        .is_none()
    {
        return Err(Failure::refused(format!("{at} does not exist.")));
    }
    // The nodes of its limits have no name that a server would take.
    path::check(&format!("{ROOT}{at}"))?;
    no_quota_below(client, at).await?;
    no_quota_above(client, at).await?;
    let (limits, stats) = (limits_of(at), stats_of(at));
    let failed = |e: &Error| Failure::of(e, &limits);
    let written = match client.get_data(&limits).await {
        Ok((data, _)) => {
            let mut track = Track::read(&data);
            asked
                .0
                .into_iter()
                .filter(|(_, v)| *v > -1)
                .for_each(|(name, value)| track.set(&name, value));
            let done = client
                .set_data(&limits, track.to_string().as_bytes(), None)
                .await;
            done.map_err(|e| failed(&e))?;
            track
        }
        Err(Error::NoNode) => {
            let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
            let directory = format!("{ROOT}{at}");
            let made = client
                .mkdir(directory.trim_end_matches('/'), &options)
                .await;
            made.map_err(|e| Failure::of(&e, &directory))?;
            let text = asked.to_string();
            let made = client.create(&limits, text.as_bytes(), &options).await;
            made.map_err(|e| failed(&e))?;
            let made = client.create(&stats, b"count=0,bytes=0", &options).await;
            made.map_err(|e| Failure::of(&e, &stats))?;
            asked
        }
        Err(error) => return Err(failed(&error)),
    };
    let used = client.get_data(&stats).await;
    let (used, _) = used.map_err(|e| Failure::of(&e, &stats))?;
    let warnings = written.warnings(&Track::read(&used));
    warnings.iter().for_each(|w| answer.line(w));
    answer.field("limits", written.json());
    answer.field("warnings", warnings);
    Ok(())
}

async fn no_quota_above(client: &Client, at: &str) -> Result<(), Failure> {
    for (slash, _) in at.match_indices('/').filter(|(slash, _)| *slash > 0) {
        let above = &at[..slash];
        let limits = limits_of(above);
        let there = client.check_stat(&limits).await;
        if there.map_err(|e| Failure::of(&e, &limits))?.is_some() {
            return Err(Failure::refused(format!(
                "{at} has a parent {above} which has a quota"
            )));
        }
    }
    Ok(())
}

async fn no_quota_below(client: &Client, at: &str) -> Result<(), Failure> {
    let top = format!("{ROOT}{}", at.trim_end_matches('/'));
    let mut waiting = vec![top.clone()];
    while let Some(node) = waiting.pop() {
        let children = match client.list_children(&node).await {
            Ok(children) => children,
            Err(Error::NoNode) => continue,
            Err(error) => return Err(Failure::of(&error, &node)),
        };
        if node != top && children.iter().any(|c| c == LIMITS) {
            let below = &node[ROOT.len()..];
            return Err(Failure::refused(format!(
                "{at} has a child {below} which has a quota"
            )));
        }
        waiting.extend(children.iter().map(|c| path::join(&node, c)));
    }
    Ok(())
}

pub(super) async fn list(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    path::check(at)?;
    answer.note(format!("absolute path is {}", limits_of(at)));
    answer.field("path", at);
    for (what, field, node) in [
        ("quota", "limits", limits_of(at)),
        ("stat", "used", stats_of(at)),
    ] {
        match session.client.get_data(&node).await {
            Ok((data, _)) => {
                let track = Track::read(&data);
                answer.line(format!("Output {what} for {at} {track}"));
                answer.field(field, track.json());
            }
            Err(Error::NoNode) => {
                return Err(Failure::refused(format!("quota for {at} does not exist.")));
            }
            Err(error) => return Err(Failure::of(&error, &node)),
        }
    }
    Ok(())
}

pub(super) async fn delete(
    session: &Session,
    given: &Given,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let at = given.argument(0);
    path::check(at)?;
    answer.field("path", at);
    let client = &session.client;
    let limits = limits_of(at);
    let data = match client.get_data(&limits).await {
        Ok((data, _)) => data,
        Err(Error::NoNode) => {
            answer.line(format!("Quota does not exist for {at}"));
            return Ok(());
        }
        Err(error) => return Err(Failure::of(&error, &limits)),
    };
    let asked: Vec<_> = LIMITED
        .iter()
        .filter(|(option, _)| given.has(option))
        .collect();
    if !asked.is_empty() {
        let mut track = Track::read(&data);
        asked.iter().for_each(|(_, name)| track.set(name, -1));
        let done = client
            .set_data(&limits, track.to_string().as_bytes(), None)
            .await;
        return done.map(drop).map_err(|e| Failure::of(&e, &limits));
    }
    for node in [limits, stats_of(at)] {
        match client.delete(&node, None).await {
            Ok(()) | Err(Error::NoNode) => {}
            Err(error) => return Err(Failure::of(&error, &node)),
        }
    }
    trim(client, format!("{ROOT}{}", at.trim_end_matches('/'))).await
}

/// Deletes the nodes above that hold no other quota.
async fn trim(client: &Client, mut node: String) -> Result<(), Failure> {
    while node.len() > ROOT.len() {
        match client.delete(&node, None).await {
            Ok(()) | Err(Error::NoNode) => {}
            Err(Error::NotEmpty) => return Ok(()),
            Err(error) => return Err(Failure::of(&error, &node)),
        }
        node.truncate(node.rfind('/').unwrap_or(0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Track, limit};

    #[test]
    fn the_text_of_limits_is_read_and_written_as_servers_do() {
        for text in [
            "count=10,bytes=-1=;byteHardLimit=-1;countHardLimit=5",
            "count=9,bytes=21",
        ] {
            assert_eq!(Track::read(text.as_bytes()).to_string(), text);
        }
        assert_eq!(
            Track::read(b"count=,bytes").to_string(),
            "count=-1,bytes=-1"
        );
    }

    #[test]
    fn a_limit_below_what_is_used_is_told() {
        let used = Track::read(b"count=9,bytes=21");
        let told = |text: &str| Track::read(text.as_bytes()).warnings(&used);
        assert!(told("count=9,bytes=-1").is_empty());
        assert_eq!(
            told("count=-1,bytes=20=;countHardLimit=8"),
            [
                "[Warning]: the count quota you create is less than the existing count:9",
                "[Warning]: the bytes quota you create is less than the existing bytes:21",
            ]
        );
    }

    #[test]
    fn a_limit_is_a_number_of_its_kind() {
        assert_eq!(limit("5", true).unwrap(), 5);
        assert_eq!(limit("0", false).unwrap(), 0);
        for (text, of_nodes) in [
            ("0", true),
            ("2147483648", true),
            ("-1", false),
            ("x", false),
        ] {
            limit(text, of_nodes).unwrap_err();
        }
    }
}
