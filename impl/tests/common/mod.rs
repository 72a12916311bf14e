//! Servers as processes of the real binary, and a small blocking client over the wire codecs.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses a part of it; a test may fail where it stands"
)]

use bytes::{Bytes, BytesMut};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zabra::wire::client::{ConnectRequest, ConnectResponse, ReplyFrame, Request, Response};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::acl::{AclEntry, Id};
use zabra_model::tree::op::{CreateKind, ReadOp, WriteOp};

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Ports that nobody listens on.
pub fn free_ports(n: usize) -> Vec<u16> {
    zabra::dev::ports::free(n).unwrap()
}

/// Waits for a condition.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Some servers with their data in one temporary directory.
pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub ports: Vec<u16>,
    pub quorum_ports: Vec<u16>,
    pub election_ports: Vec<u16>,
    children: Vec<Option<Child>>,
}

impl Cluster {
    /// `n` servers that have not started; `more` are further lines of each configuration.
    pub fn new(n: usize, more: &str) -> Self {
        Self::of(n, 0, more)
    }

    /// Voters, and observers behind them.
    pub fn with_observers(voters: usize, observers: usize) -> Self {
        Self::of(voters + observers, observers, "")
    }

    /// The same, with further lines of each configuration.
    pub fn with_observers_and(voters: usize, observers: usize, more: &str) -> Self {
        Self::of(voters + observers, observers, more)
    }

    fn of(n: usize, observers: usize, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let all = free_ports(3 * n);
        let (ports, rest) = all.split_at(n);
        let (quorum_ports, election_ports) = rest.split_at(n);
        let members: String = (0..n)
            .filter(|_| n > 1)
            .map(|i| {
                let role = if i + observers < n { "" } else { ":observer" };
                format!(
                    "server.{}=127.0.0.1:{}:{}{role}\n",
                    i + 1,
                    quorum_ports[i],
                    election_ports[i]
                )
            })
            .collect();
        for (i, port) in ports.iter().enumerate() {
            let data = dir.path().join(i.to_string());
            std::fs::create_dir_all(&data).unwrap();
            std::fs::write(data.join("myid"), (i + 1).to_string()).unwrap();
            let text = format!(
                "tickTime=500\ninitLimit=20\nsyncLimit=6\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n4lw.commands.whitelist=*\n{}{more}\n{members}",
                data.display(),
                // Many servers of many tests run at once, and there is one port by default.
                if more.contains("admin.") {
                    ""
                } else {
                    "admin.enableServer=false\n"
                }
            );
            std::fs::write(data.join("zoo.cfg"), text).unwrap();
        }
        Self {
            ports: ports.to_vec(),
            quorum_ports: quorum_ports.to_vec(),
            election_ports: election_ports.to_vec(),
            children: (0..n).map(|_| None).collect(),
            dir,
        }
    }

    pub fn data(&self, i: usize) -> PathBuf {
        self.dir.path().join(i.to_string())
    }

    pub fn start(&mut self, i: usize) {
        let child = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .arg("serve")
            .arg(self.data(i).join("zoo.cfg"))
            .env("ZABRA_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.children[i] = Some(child);
    }

    /// Starts it with a log of this level, into a file.
    pub fn start_logging(&mut self, i: usize, level: &str, log: &std::path::Path) {
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .arg("serve")
            .arg(self.data(i).join("zoo.cfg"))
            .env("ZABRA_LOG", level)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.children[i] = Some(child);
    }

    /// Starts it with these limits of open files, soft and hard.
    pub fn start_limited(&mut self, i: usize, soft: u32, hard: u32) {
        let script = format!("ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_zabra"), "serve"])
            .arg(self.data(i).join("zoo.cfg"))
            .env("ZABRA_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.children[i] = Some(child);
    }

    pub fn start_all(&mut self) {
        (0..self.ports.len()).for_each(|i| self.start(i));
    }

    /// SIGKILL.
    pub fn kill(&mut self, i: usize) {
        let mut child = self.children[i].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a server a signal by its name: STOP, CONT.
    pub fn signal(&self, i: usize, name: &str) {
        let pid = self.children[i].as_ref().unwrap().id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(status.unwrap().success(), "kill -{name} {pid}");
    }

    pub fn is_running(&mut self, i: usize) -> bool {
        self.children[i]
            .as_mut()
            .is_some_and(|c| c.try_wait().unwrap().is_none())
    }

    pub fn pid(&self, i: usize) -> u32 {
        self.children[i].as_ref().unwrap().id()
    }

    /// What a server holds in memory (Linux).
    pub fn memory_bytes(&self, i: usize) -> usize {
        let pid = self.pid(i);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok());
        kib.unwrap() << 10
    }

    /// The answer to a four-letter word.
    pub fn word(&self, i: usize, word: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[i])).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub fn mode(&self, i: usize) -> Option<String> {
        let answer = self.word(i, "srvr")?;
        let line = answer.lines().find_map(|l| l.strip_prefix("Mode: "))?;
        Some(line.to_owned())
    }

    /// Waits until all of `who` serve; which of them leads.
    pub fn wait_serving(&self, who: &[usize]) -> usize {
        wait_for("an ensemble that serves", || {
            let modes: Option<Vec<String>> = who.iter().map(|i| self.mode(*i)).collect();
            let at = modes?
                .iter()
                .position(|m| m == "leader" || m == "standalone")?;
            Some(who[at])
        })
    }

    /// Waits until one server serves, as whatever.
    pub fn wait_serving_alone(&self, i: usize) {
        wait_for("a server that serves", || self.mode(i));
    }

    pub fn client(&self, i: usize) -> Client {
        Client::connect(self.ports[i], SessionId(0), None, 10_000).expect("a session")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            self.explain();
        }
    }
}

impl Cluster {
    /// Whatever a test has done with its servers: each went as the model goes, and heard what others had sent, as far as they have recorded
    /// it. What a test has damaged is not asked.
    fn explain(&self) {
        let data = (0..self.children.len()).map(|i| self.data(i));
        let has_record = |data: &PathBuf| data.join("version-2").join("zabra.flight").exists();
        let records: Vec<PathBuf> = data.filter(has_record).collect();
        if records.is_empty() {
            return;
        }
        let told = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["explain", "--elections"])
            .args(records)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&told.stdout);
        assert_ne!(told.status.code(), Some(1), "{text}");
    }
}

/// A client that waits for each answer.
pub struct Client {
    pub stream: TcpStream,
    buf: BytesMut,
    xid: i32,
    pub session: SessionId,
    pub password: [u8; 16],
    pub timeout_ms: i32,
    /// The byte at the end of the answer to its connect request.
    pub read_only: Option<bool>,
    pub events: Vec<ReplyFrame>,
}

/// A server of its own that serves, with commands over HTTP at this port.
pub fn server_with_commands(lines: &str) -> (Cluster, u16) {
    let port = free_ports(1)[0];
    let mut cluster = Cluster::new(1, &format!("admin.serverPort={port}\n{lines}"));
    cluster.start(0);
    cluster.wait_serving(&[0]);
    (cluster, port)
}

pub fn open_acl() -> Vec<AclEntry> {
    vec![AclEntry {
        perms: 31,
        id: Id {
            scheme: "world".into(),
            id: "anyone".into(),
        },
    }]
}

impl Client {
    pub fn connect(
        port: u16,
        session: SessionId,
        password: Option<[u8; 16]>,
        timeout_ms: i32,
    ) -> Option<Self> {
        Self::connect_as(port, (session, password), timeout_ms, Some(false))
    }

    /// With this byte at the end of the connect request, or without one.
    pub fn connect_as(
        port: u16,
        (session, password): (SessionId, Option<[u8; 16]>),
        timeout_ms: i32,
        read_only: Option<bool>,
    ) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        let mut client = Self {
            stream,
            buf: BytesMut::new(),
            xid: 0,
            session,
            password: [0; 16],
            timeout_ms,
            read_only: None,
            events: Vec::new(),
        };
        let mut out = BytesMut::new();
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms,
            session,
            password: Some(Bytes::copy_from_slice(&password.unwrap_or_default())),
            read_only,
        }
        .put(&mut out);
        client.stream.write_all(&out).ok()?;
        let response = ConnectResponse::decode(&client.frame()?).ok()?;
        client.session = response.session;
        client.password = response.password;
        client.timeout_ms = response.timeout_ms;
        client.read_only = response.read_only;
        Some(client)
    }

    pub fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(head) = self.buf.first_chunk::<4>() {
                let n = u32::from_be_bytes(*head) as usize;
                if self.buf.len() >= n + 4 {
                    let frame = self.buf.split_to(n + 4).freeze();
                    return Some(frame.slice(4..));
                }
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(n) if n > 0 => self.buf.extend_from_slice(&chunk[..n]),
                _ => return None,
            }
        }
    }

    /// Sends without waiting.
    pub fn send(&mut self, request: &Request) -> i32 {
        self.send_all(std::slice::from_ref(request))
    }

    /// Sends them in one write, so that a server has them together; the number of the last one.
    pub fn send_all(&mut self, requests: &[Request]) -> i32 {
        let mut out = BytesMut::new();
        for request in requests {
            self.xid += 1;
            request.put(self.xid, &mut out);
        }
        let _ = self.stream.write_all(&out);
        self.xid
    }

    /// The next answer that is no event.
    pub fn reply(&mut self) -> Option<ReplyFrame> {
        loop {
            let reply = ReplyFrame::split(&self.frame()?).ok()?;
            if reply.header.xid == -1 {
                self.events.push(reply);
            } else {
                return Some(reply);
            }
        }
    }

    /// Sends and waits: the answer, or the error's code; `None` if the connection ended.
    pub fn call(&mut self, request: &Request) -> Option<Result<Response, i32>> {
        let xid = self.send(request);
        let reply = self.reply()?;
        assert_eq!(reply.header.xid, xid);
        if reply.header.err != 0 {
            return Some(Err(reply.header.err));
        }
        Some(Ok(reply
            .decode(request.opcode())
            .expect("a readable answer")))
    }

    pub fn create(&mut self, path: &str, flags: i32) -> Option<Result<Response, i32>> {
        self.call(&create(path, flags))
    }

    pub fn set(&mut self, path: &str, data: &str) -> Option<Result<Response, i32>> {
        self.call(&set(path, data))
    }

    pub fn get(&mut self, path: &str) -> Option<String> {
        match self.call(&get(path, false))? {
            Ok(Response::Data(data, _)) => {
                Some(String::from_utf8_lossy(&data.unwrap_or_default()).into())
            }
            _ => None,
        }
    }

    pub fn sync(&mut self) {
        let path = Some("/".into());
        self.call(&Request::Sync { path })
            .expect("sync")
            .expect("sync");
    }

    /// A sync, if the connection does not end.
    pub fn sync_if_open(&mut self) -> Option<()> {
        let path = Some("/".into());
        self.call(&Request::Sync { path })?.ok().map(drop)
    }

    pub fn children(&mut self, path: &str) -> Vec<Box<str>> {
        let op = ReadOp::GetChildren {
            path: path.into(),
            watch: false,
        };
        match self.call(&Request::Read(op)) {
            Some(Ok(Response::Children(mut names, _))) => {
                names.sort();
                names
            }
            other => panic!("{other:?}"),
        }
    }
}

pub fn create(path: &str, flags: i32) -> Request {
    Request::Write(WriteOp::Create {
        kind: CreateKind::Create,
        path: Some(path.into()),
        data: Some(Bytes::from_static(b"0")),
        acl: Some(open_acl()),
        flags,
        ttl: 0,
    })
}

/// One operation inside a multi.
pub fn multi(request: Request) -> Request {
    match request {
        Request::Write(op) => Request::Write(WriteOp::Multi(vec![op])),
        other => panic!("{other:?} is no write"),
    }
}

/// The end of a session.
pub fn close() -> Request {
    Request::Write(WriteOp::CloseSession)
}

pub fn set(path: &str, data: &str) -> Request {
    Request::Write(WriteOp::SetData {
        path: Some(path.into()),
        data: Some(Bytes::copy_from_slice(data.as_bytes())),
        version: -1,
    })
}

pub fn get(path: &str, watch: bool) -> Request {
    Request::Read(ReadOp::GetData {
        path: path.into(),
        watch,
    })
}

/// Whether `path` holds a file whose name begins with `prefix`.
pub fn has_file(path: &Path, prefix: &str) -> bool {
    std::fs::read_dir(path)
        .unwrap()
        .any(|f| f.unwrap().file_name().to_string_lossy().starts_with(prefix))
}
