//! What is told of an ensemble: its connect string, or a line of JSON for each event.

use super::chaos::Fault;
use super::ensemble::Process;
use super::layout::{Member, data};
use super::ports::HOST;
use crate::config::join;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// How it is told.
#[derive(Clone, Copy)]
pub(super) struct Teller {
    /// All of it as JSON on standard output; else the connect string there, and the rest for people on standard error.
    pub(super) is_json: bool,
}

impl Teller {
    fn event(self, value: &Value, for_people: &str) {
        if self.is_json {
            println!("{value}");
            let _ = std::io::stdout().flush();
        } else if !for_people.is_empty() {
            eprintln!("{for_people}");
        }
    }

    /// The ensemble serves.
    pub(super) fn serving(
        self,
        dir: &Path,
        members: &[Member],
        processes: &[Process],
        seed: Option<u64>,
    ) {
        let at = |port: u16| join(HOST, port);
        let connect: Vec<String> = members.iter().map(|member| at(member.client)).collect();
        let connect = connect.join(",");
        let servers = (1..).zip(members).zip(processes);
        let servers = servers.map(|((id, member), process)| {
            let data = data(dir, id);
            json!({
                "id": id,
                "client": at(member.client),
                "client_port": member.client,
                "admin": member.admin.map(at),
                "admin_port": member.admin,
                "quorum_port": member.quorum,
                "election_port": member.election,
                "pid": process.pid(),
                "config": data.join("zoo.cfg"),
                "data": data,
            })
        });
        let servers: Vec<Value> = servers.collect();
        let told =
            json!({ "event": "serving", "connect": connect, "seed": seed, "servers": servers });
        if self.is_json {
            self.event(&told, "");
        } else {
            println!("{connect}");
            let _ = std::io::stdout().flush();
        }
    }

    /// A server has ended by itself.
    pub(super) fn ended(self, server: usize, how: ExitStatus) {
        let told = json!({ "event": "ended", "server": server, "code": how.code(), "signal": how.signal() });
        self.event(
            &told,
            &format!("server {server} has ended by itself ({how}); its own line above says why"),
        );
    }

    /// A fault begins.
    pub(super) fn fault(self, number: u64, fault: &Fault) {
        let (kind, server, ms) = (fault.kind.name(), fault.server, fault.lasts.as_millis());
        self.event(
            &json!({ "event": "fault", "number": number, "kind": kind, "server": server, "ms": ms }),
            &format!("fault {number}: {kind} server {server}, for {ms} ms"),
        );
    }

    /// It is over, and the server serves again.
    pub(super) fn mended(self, number: u64, server: usize, pid: Option<u32>, ms: u128) {
        self.event(
            &json!({ "event": "mended", "number": number, "server": server, "pid": pid, "ms": ms }),
            &format!("fault {number} is over: server {server} serves again after {ms} ms"),
        );
    }

    /// All servers have ended.
    pub(super) fn stopped(self) {
        self.event(&json!({ "event": "stopped" }), "");
    }
}
