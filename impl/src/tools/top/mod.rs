//! `zabra top`: an ensemble at a glance, again and again: its members, who is busy, and what happens.

mod gather;
mod state;
mod view;

use super::arguments::{Output, config_file};
use super::error::{FAILED, ToolError};
use super::out::Out;
use super::status::split;
use crate::config::{Config, check};
use clap::Args;
use gather::{Client, Look, Seen, Target, look};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde::Serialize;
use state::{Sort, State, sorted};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// So many events are remembered.
const EVENTS_MAX: usize = 500;
/// So many clients are told by `--once`.
const CLIENTS_TOLD: usize = 20;

/// Whom to look at, and how.
#[derive(Args)]
pub struct TopArgs {
    /// The servers, HOST:PORT,HOST:PORT,... of their client ports, or a zoo.cfg that names them; without it, the one that ZOOCFGDIR and ZOOCFG name
    #[arg(value_name = "SERVERS|CONFIG")]
    servers: Option<String>,
    /// How often to look, in milliseconds
    #[arg(long, default_value_t = 2000, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    every: u64,
    /// How long to wait for a server, in milliseconds
    #[arg(long, default_value_t = 2000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout: u64,
    /// Where servers take commands over HTTP, for what their four-letter words do not tell: a port, or PORT/PATH
    #[arg(long, default_value = "8080", value_name = "PORT")]
    commands: String,
    /// Look twice, a moment apart, print what was seen, and end
    #[arg(long)]
    once: bool,
    /// How it is printed by --once
    #[arg(short, long, value_enum, default_value_t = Output::Text, requires = "once")]
    output: Output,
}

/// The exit code: 0, and by `--once` 1 where no server serves.
pub(super) fn run(args: &TopArgs) -> Result<u8, ToolError> {
    let targets = targets(args)?;
    let patience = Duration::from_millis(args.timeout);
    let every = Duration::from_millis(args.every);
    if args.once {
        let first = look(&targets, patience, None);
        std::thread::sleep(every.min(Duration::from_secs(1)));
        return once(&look(&targets, patience, Some(&first)).servers, args.output);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let what = "zabra top draws on a terminal, and this is none; write --once for what it shows as text, --once -o json for programs";
        return Err(ToolError::Refused(what.into()));
    }
    let mut terminal = ratatui::try_init().map_err(ToolError::Output)?;
    let ended = watch(&mut terminal, &targets, patience, every);
    ratatui::try_restore().map_err(ToolError::Output)?;
    ended.map_err(ToolError::Output)?;
    Ok(0)
}

/// Whom the arguments name.
fn targets(args: &TopArgs) -> Result<Vec<Target>, ToolError> {
    let named = args.servers.as_deref();
    let is_list = |text: &str| text.contains(':') && !Path::new(text).exists();
    if let Some(list) = named.filter(|text| is_list(text)) {
        // A path behind the servers is that of a client.
        let list = list.split_once('/').map_or(list, |(servers, _)| servers);
        let of = |server: &str| {
            let (host, port) = split(server.trim())?;
            let commands = Some(commands_at(&host, &args.commands));
            Ok(Target {
                host,
                port,
                commands,
            })
        };
        return list
            .split(',')
            .filter(|server| !server.is_empty())
            .map(of)
            .collect();
    }
    let file = config_file(named.map(Into::into).as_ref())?;
    let config = check::load(&file)?;
    of_config(&config)
}

fn commands_at(host: &str, commands: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{commands}"),
        false => format!("{host}:{commands}"),
    }
}

/// The members that a configuration names, or the one server that it is of.
fn of_config(config: &Config) -> Result<Vec<Target>, ToolError> {
    let own = config.client.as_ref().map(|client| client.port);
    let commands = config.operation.commands.as_ref();
    let commands = commands.map(|at| format!("{}{}", at.listen.port, at.path));
    let target = |host: &str, port: u16| Target {
        host: host.to_owned(),
        port,
        commands: commands.as_ref().map(|at| commands_at(host, at)),
    };
    let near = config
        .client
        .as_ref()
        .and_then(|client| client.host.clone());
    let near = near.filter(|host| {
        host.parse()
            .is_ok_and(|ip: std::net::IpAddr| !ip.is_unspecified())
    });
    let mut all = Vec::new();
    for (sid, member) in &config.members {
        let listed = member.client.as_ref().map(|client| client.port);
        // Servers of one ensemble have mostly one port for clients.
        let port = listed.or(own);
        let host = match (*sid == config.me, &near) {
            (true, Some(near)) => near,
            _ => &member.host,
        };
        all.extend(port.map(|port| target(host, port)));
    }
    if config.members.is_empty() {
        all.extend(own.map(|port| target(near.as_deref().unwrap_or("localhost"), port)));
    }
    if all.is_empty() {
        let what = format!(
            "{}: clients connect by TLS alone (secureClientPort), and this command speaks plain text",
            config.path.display()
        );
        return Err(ToolError::Refused(what));
    }
    Ok(all)
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Document<'a> {
    Server(&'a Seen),
    Client(&'a Client),
}

fn once(servers: &[Seen], output: Output) -> Result<u8, ToolError> {
    let mut out = Out::new();
    let clients = sorted(servers, Sort::Requests);
    let clients = clients.into_iter().take(CLIENTS_TOLD);
    if output == Output::Json {
        for seen in servers {
            out.json(&Document::Server(seen))?;
        }
        for client in clients {
            out.json(&Document::Client(client))?;
        }
    } else {
        for seen in servers {
            out.line(format_args!("{}", told(seen)))?;
        }
        for client in clients {
            let rate = client.requests_per_second.unwrap_or(0.0);
            out.line(format_args!(
                "client {} at {} session {}: {rate:.1} requests/s, last {}, {} wait, latency {} ms, {} at most",
                client.client,
                client.server,
                client.session.as_deref().unwrap_or("none"),
                client.last_operation.as_deref().unwrap_or("none"),
                client.outstanding,
                client.latency_avg_ms,
                client.latency_max_ms
            ))?;
        }
    }
    out.flush()?;
    let serves = servers.iter().any(|seen| seen.state.is_some());
    Ok(if serves { 0 } else { FAILED })
}

fn told(seen: &Seen) -> String {
    let Some(state) = &seen.state else {
        let why = seen.error.as_deref().unwrap_or("it does not answer");
        return format!("{}: down: {why}", seen.server);
    };
    let mut line = format!("{}: {state}", seen.server);
    if let Some(zxid) = &seen.zxid {
        line.push_str(&format!(", zxid {zxid}"));
    }
    let mut add = |name: &str, value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            let digits = if value.fract() == 0.0 { 0 } else { 1 };
            line.push_str(&format!(", {name} {value:.digits$}{unit}"));
        }
    };
    let whole = |n: Option<u64>| n.map(|n| n as f64);
    add("behind", whole(seen.behind), "");
    add("requests/s", seen.requests_per_second, "");
    add("latency", seen.latency_avg_ms, " ms");
    add("at most", seen.latency_max_ms, " ms");
    add("sync", seen.sync_avg_ms, " ms");
    add("connections", whole(seen.connections), "");
    add("watches", whole(seen.watches), "");
    if let Some(error) = &seen.error {
        line.push_str(&format!(" ({error})"));
    }
    line
}

fn now() -> String {
    let now = TimeZone::system().to_datetime(Timestamp::now());
    format!("{:02}:{:02}:{:02}", now.hour(), now.minute(), now.second())
}

/// Looks again and again, on a thread of its own, so that keys are answered while a server is not.
fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    targets: &[Target],
    patience: Duration,
    every: Duration,
) -> std::io::Result<()> {
    let mut state = State {
        servers: targets
            .iter()
            .map(|target| Seen {
                server: target.name(),
                error: Some("is asked".into()),
                ..Seen::default()
            })
            .collect(),
        events: Vec::new(),
        time: now(),
        sort: Sort::Requests,
        is_paused: false,
    };
    let (send, looks) = mpsc::sync_channel::<Look>(1);
    let (stop, stopped) = mpsc::channel::<()>();
    let targets = targets.to_vec();
    std::thread::spawn(move || {
        let mut before: Option<Look> = None;
        loop {
            let began = Instant::now();
            let now = look(&targets, patience, before.as_ref());
            before = Some(now.clone());
            if send.send(now).is_err() {
                return;
            }
            let pause = every.saturating_sub(began.elapsed());
            if !matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    });
    let ended = keys(terminal, &mut state, &looks);
    drop(stop);
    ended
}

fn keys(
    terminal: &mut ratatui::DefaultTerminal,
    state: &mut State,
    looks: &mpsc::Receiver<Look>,
) -> std::io::Result<()> {
    let mut has_looked = false;
    loop {
        terminal.draw(|frame| view::draw(frame, state))?;
        if event::poll(Duration::from_millis(100))?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match (key.code, key.modifiers) {
                (KeyCode::Char('q') | KeyCode::Esc, _) => return Ok(()),
                (KeyCode::Char('c'), KeyModifiers::CONTROL) => return Ok(()),
                (KeyCode::Char('s'), _) => state.sort = state.sort.next(),
                (KeyCode::Char(' '), _) => state.is_paused = !state.is_paused,
                _ => {}
            }
        }
        while let Ok(look) = looks.try_recv() {
            let time = now();
            if has_looked {
                let events = happened(&state.servers, &look.servers);
                state
                    .events
                    .extend(events.into_iter().map(|what| format!("{time}  {what}")));
                let over = state.events.len().saturating_sub(EVENTS_MAX);
                state.events.drain(..over);
            }
            if !state.is_paused || !has_looked {
                (state.servers, state.time) = (look.servers, time);
            }
            has_looked = true;
        }
    }
}

/// What is otherwise than at the look before.
fn happened(before: &[Seen], now: &[Seen]) -> Vec<String> {
    let mut events = Vec::new();
    for (old, new) in before.iter().zip(now) {
        let server = &new.server;
        match (&old.state, &new.state) {
            (old, new) if old == new => {}
            (_, None) => {
                let why = new.error.as_deref().unwrap_or("it does not answer");
                events.push(format!("{server} is down: {why}"));
            }
            (_, Some(state)) => {
                let epoch = new
                    .epoch
                    .map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
                events.push(format!("{server} is {state} now{epoch}"));
            }
        }
        if let (Some(old), Some(new)) = (old.epoch, new.epoch)
            && old < new
        {
            events.push(format!("{server}: epoch {new} begins, behind {old}"));
        }
        if let (Some(old), Some(new)) = (old.elections, new.elections)
            && old < new
        {
            events.push(match new - old {
                1 => format!("{server} was in an election"),
                times => format!("{server} was in {times} elections"),
            });
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: Option<&str>, epoch: u64) -> Seen {
        Seen {
            server: "a:1".into(),
            state: state.map(str::to_owned),
            epoch: Some(epoch),
            ..Seen::default()
        }
    }

    #[test]
    fn an_election_is_told_as_it_comes() {
        let told = |old, new| happened(&[old], &[new]);
        assert_eq!(
            told(seen(Some("follower"), 1), seen(Some("follower"), 1)),
            [""; 0]
        );
        assert_eq!(
            told(seen(Some("follower"), 1), seen(Some("leader"), 2)),
            [
                "a:1 is leader now, epoch 2",
                "a:1: epoch 2 begins, behind 1"
            ]
        );
        let down = Seen {
            error: Some("refused".into()),
            ..seen(None, 1)
        };
        assert_eq!(
            told(seen(Some("leader"), 1), down),
            ["a:1 is down: refused"]
        );
    }

    #[test]
    fn servers_are_named_by_a_list_or_by_a_file() {
        let args = |servers: &str| TopArgs {
            servers: Some(servers.into()),
            every: 1,
            timeout: 1,
            commands: "8081".into(),
            once: true,
            output: Output::Text,
        };
        let names = |servers: &str| -> Vec<(String, Option<String>)> {
            let all = targets(&args(servers)).unwrap();
            all.into_iter()
                .map(|target| (target.name(), target.commands))
                .collect()
        };
        let at = |name: &str, commands: &str| (name.to_owned(), Some(commands.to_owned()));
        assert_eq!(
            names("a:1,[::1]:2/app"),
            [at("a:1", "a:8081"), at("[::1]:2", "[::1]:8081")]
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("myid"), "1").unwrap();
        let file = dir.path().join("zoo.cfg");
        let text = format!(
            "dataDir={}\nclientPort=5\ninitLimit=5\nsyncLimit=2\nadmin.serverPort=81\nserver.1=a:1:2\nserver.2=b:1:2;7\n",
            dir.path().display()
        );
        std::fs::write(&file, text).unwrap();
        assert_eq!(
            names(file.to_str().unwrap()),
            [at("a:5", "a:81/commands"), at("b:7", "b:81/commands")]
        );
        assert!(targets(&args("no.such.file")).is_err());
    }
}
