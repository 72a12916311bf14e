//! Names, ports and members of an ensemble, as this machine sees them.

use super::finding::Finding;
use crate::config::{Config, ports};
use crate::storage::{Dirs, owner::Owner};
use crate::tools::http::Server;
use crate::tools::status::word;
use jiff::fmt::rfc2822;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime};
use zabra_model::ids::ServerId;
use zabra_model::service::members::Member;

/// How long another machine may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A name that takes longer stops elections: it is asked for whenever a member is dialled.
const SLOW_NAME: Duration = Duration::from_secs(1);
/// Answers to `srvr` are shorter.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Clocks of two members may differ by so much, s. The header that tells has whole seconds.
const DRIFT_MAX: f64 = 2.0;

/// Looks at the names, ports and members of a configuration.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let dirs = Dirs::new(&config.data_dir, &config.data_log_dir);
    let is_running = Owner::look(&dirs).is_err();
    let mut known = Vec::new();
    for (sid, member) in &config.members {
        let (finding, addresses) = name(*sid, member);
        findings.push(finding);
        if *sid == config.me {
            findings.extend(own_name(config, member, &addresses));
        } else if !addresses.is_empty() {
            known.push((*sid, member, addresses));
        }
    }
    let mut all = ports::own(config);
    if let Some(commands) = &config.operation.commands {
        let host = commands.listen.host.as_deref();
        all.push(("admin.serverPort".into(), host, commands.listen.port));
    }
    for (key, host, number) in all.iter().filter(|(.., number)| *number != 0) {
        findings.push(port(key, *host, *number, is_running));
    }
    for (sid, member, addresses) in known {
        findings.push(reach(sid, member, &addresses));
        findings.push(clock(config, sid, member));
    }
    findings
}

fn about(sid: ServerId, member: &Member) -> String {
    format!("server.{sid} {}", member.host)
}

fn name(sid: ServerId, member: &Member) -> (Finding, Vec<IpAddr>) {
    let about = about(sid, member);
    let began = Instant::now();
    let found = (member.host.as_str(), member.election_port).to_socket_addrs();
    let took = began.elapsed();
    let addresses: Vec<IpAddr> = match found {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(error) => {
            let finding = Finding::error(
                "dns-unknown",
                about,
                format!("the name has no address: {error}; this member is dialled by nobody here"),
                "Correct the server.N line, or let the name service or /etc/hosts of this machine know the name.",
            );
            return (finding, Vec::new());
        }
    };
    let shown: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    let told = format!("is {} ({} ms)", shown.join(", "), took.as_millis());
    let finding = if took > SLOW_NAME {
        Finding::warning(
            "dns-slow",
            about,
            format!("{told}: elections wait for that"),
            "Look at /etc/resolv.conf: perhaps its first server does not answer. Addresses, or /etc/hosts, need no server.",
        )
    } else {
        Finding::ok("dns", about, told)
    };
    (finding.measured(took.as_secs_f64() * 1000.0), addresses)
}

/// The own name has to be one of this machine, and one that others can use.
fn own_name(config: &Config, member: &Member, addresses: &[IpAddr]) -> Option<Finding> {
    let about = about(config.me, member);
    if addresses.is_empty() {
        return None;
    }
    let is_ours = |ip: &IpAddr| TcpListener::bind((*ip, 0_u16)).is_ok();
    if !addresses.iter().copied().any(|ip| is_ours(&ip)) {
        let what =
            "is the name of this server (myid), and not an address of this machine".to_owned();
        return Some(if config.listen_on_all {
            Finding::note(
                "dns-not-own",
                about,
                what,
                "It is as it should be where addresses are translated on the way, as in front of a container.",
            )
        } else {
            Finding::error(
                "dns-not-own",
                about,
                what,
                "Correct myid or the server.N line; or write quorumListenOnAllIPs=true, where addresses are translated on the way.",
            )
        });
    }
    let others = config.members.iter().filter(|(sid, _)| **sid != config.me);
    let mut others =
        others.filter_map(|(_, other)| (other.host.as_str(), 0_u16).to_socket_addrs().ok());
    let is_far = others.any(|mut found| found.any(|address| !address.ip().is_loopback()));
    if is_far && addresses.iter().all(IpAddr::is_loopback) {
        return Some(Finding::error(
            "dns-loopback",
            about,
            "is an address of the loopback here, where the other members cannot reach it".into(),
            "Remove the name from the line of 127.0.1.1 in /etc/hosts, or write quorumListenOnAllIPs=true.",
        ));
    }
    Some(Finding::ok("dns-own", about, "is this machine".into()))
}

/// Whether a port can be had, or who has it.
fn port(key: &str, host: Option<&str>, number: u16, is_running: bool) -> Finding {
    let about = format!("{key} {number}");
    let host = host.unwrap_or("0.0.0.0");
    let failed = match TcpListener::bind((host, number)) {
        Ok(_) => return Finding::ok("port-free", about, "is free".into()),
        Err(error) => error,
    };
    match failed.kind() {
        ErrorKind::AddrInUse => taken(about, key, host, number, is_running),
        ErrorKind::PermissionDenied => Finding::error(
            "port-forbidden",
            about,
            "may not be listened on by this user".into(),
            "Take a port above 1023, or give the server the right: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit of systemd.",
        ),
        ErrorKind::AddrNotAvailable => Finding::error(
            "address-not-here",
            about,
            format!("{host} is no address of this machine"),
            "Correct clientPortAddress or the server.N line, or leave the address out.",
        ),
        _ => Finding::error(
            "port-failed",
            about,
            failed.to_string(),
            "Correct the address or the port.",
        ),
    }
}

fn taken(about: String, key: &str, host: &str, number: u16, is_running: bool) -> Finding {
    let here = if host == "0.0.0.0" || host == "::" {
        "127.0.0.1"
    } else {
        host
    };
    let said = word(here, number, "srvr", PATIENCE, ANSWER_BYTES_MAX).unwrap_or_default();
    let mode = said.lines().find_map(|line| line.strip_prefix("Mode: "));
    if is_running {
        let as_what = mode.map_or(String::new(), |mode| format!(", as {mode}"));
        let what = format!("is this server's, which runs{as_what}");
        return Finding::ok("port-ours", about, what);
    }
    let remedy = "End the other program (ss -ltnp tells which it is), or write another port.";
    match (key, mode) {
        ("admin.serverPort", _) => Finding::warning(
            "port-taken",
            about,
            "is taken: the server serves without its commands over HTTP".into(),
            remedy,
        ),
        (_, Some(mode)) => Finding::error(
            "port-of-zookeeper",
            about,
            format!("is taken by another ZooKeeper or Zabra, which serves as {mode}"),
            remedy,
        ),
        (_, None) => Finding::error(
            "port-taken",
            about,
            "is taken by another program".into(),
            remedy,
        ),
    }
}

/// Whether a member takes connections where members vote: every one of them does as long as it runs.
fn reach(sid: ServerId, member: &Member, addresses: &[IpAddr]) -> Finding {
    let about = about(sid, member);
    let port = member.election_port;
    let mut failed = String::new();
    for address in addresses.iter().map(|ip| SocketAddr::new(*ip, port)) {
        match connect(&address) {
            Ok(took) => {
                let ms = took.as_secs_f64() * 1000.0;
                let what = format!(
                    "takes connections at its port for elections, {port}, within {ms:.1} ms"
                );
                return Finding::ok("member", about, what).measured(ms);
            }
            Err(error) => failed = format!("{address}: {error}"),
        }
    }
    Finding::warning(
        "member-unreachable",
        about,
        format!("cannot be reached: {failed}; it does not run, or a firewall is between"),
        "Start it; let both of its ports through (those of its server.N line, in both directions), and those of clients.",
    )
}

fn connect(address: &SocketAddr) -> std::io::Result<Duration> {
    let began = Instant::now();
    TcpStream::connect_timeout(address, PATIENCE)?;
    Ok(began.elapsed())
}

/// How far the clock of a member is from ours, by the date of an answer over HTTP.
fn clock(config: &Config, sid: ServerId, member: &Member) -> Finding {
    let about = about(sid, member);
    let port = config
        .operation
        .commands
        .as_ref()
        .map_or(8080, |commands| commands.listen.port);
    let address = zabra_model::service::members::join(&member.host, port);
    let mut server = Server::new(&address, None);
    server.silence = PATIENCE;
    let began = SystemTime::now();
    let asked = Instant::now();
    let head = server.get("ruok", &mut |_, _| Ok(()));
    let half = asked.elapsed() / 2;
    let date = head.ok().and_then(|head| head.date);
    let theirs = date.and_then(|date| rfc2822::parse(&date).ok());
    let ours = began + half;
    let ours = ours
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let Some(theirs) = theirs else {
        return Finding::note(
            "clock-unknown",
            about,
            format!("its clock is not told: nobody answers at {address} over HTTP"),
            "Sessions and elections do not go by it; times of nodes and of backups do. Compare it by hand, or open admin.serverPort to this machine.",
        );
    };
    let theirs = theirs.timestamp().as_millisecond() as f64 / 1000.0;
    judge_drift(about, theirs - ours.as_secs_f64())
}

/// The date has no parts of a second: it is up to one second behind.
fn judge_drift(about: String, seconds: f64) -> Finding {
    let seconds = seconds + 0.5;
    if seconds.abs() > DRIFT_MAX {
        return Finding::warning(
            "clock-drift",
            about,
            format!("its clock is {seconds:.1} s from that of this machine"),
            "Let all members follow one source of time (chrony, systemd-timesyncd): times of nodes, TTLs and points in time of backups go by the leader's clock.",
        )
        .measured(seconds);
    }
    let what = format!("its clock is within {DRIFT_MAX} s of that of this machine");
    Finding::ok("clock-equal", about, what).measured(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_by_a_date_of_whole_seconds() {
        for (seconds, code) in [
            (-0.9, "clock-equal"),
            (0.9, "clock-equal"),
            (-3.0, "clock-drift"),
            (3600.0, "clock-drift"),
        ] {
            assert_eq!(judge_drift("m".into(), seconds).code, code, "{seconds}");
        }
        let date = rfc2822::parse("Sun, 29 Nov 2026 20:47:17 GMT").unwrap();
        assert_eq!(date.timestamp().as_second(), 1_795_985_237);
    }

    #[test]
    fn a_port_is_free_or_somebody_has_it() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = held.local_addr().unwrap().port();
        let code = |key, is_running| port(key, Some("127.0.0.1"), number, is_running).code;
        // It says nothing: whoever asks it waits as long as it is patient.
        let answers = std::thread::spawn(move || {
            for _ in 0..3 {
                drop(held.accept());
            }
            drop(held);
        });
        assert_eq!(code("clientPort", false), "port-taken");
        assert_eq!(code("admin.serverPort", false), "port-taken");
        assert_eq!(code("clientPort", true), "port-ours");
        answers.join().unwrap();
        assert_eq!(
            port("clientPort", Some("127.0.0.1"), number, false).code,
            "port-free"
        );
        let elsewhere = port("clientPort", Some("192.0.2.1"), number, false);
        assert_eq!(elsewhere.code, "address-not-here");
    }
}
