//! The audit log: lines that the core gives out, written by a thread of their own.

use crate::codes::Code;
use crate::config::Config;
use crate::core::audit::{Line, Outcome};
use crate::error::ServerError;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tracing::{error, info};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Batches of lines that may wait to be written; then the server waits for them.
const BATCHES_MAX: usize = 1024;

/// Where lines go, and the thread that writes them.
pub struct AuditLog {
    user: Box<str>,
    has_started: AtomicBool,
    lines: Mutex<Option<SyncSender<Vec<String>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The user whose process this is, as its environment says.
#[must_use]
pub fn process_user() -> Box<str> {
    let named = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| "unknown".into()).into()
}

impl AuditLog {
    /// Opens what the configuration names; `None` if there is to be no audit log.
    ///
    /// # Errors
    /// [`ServerError::Io`]
    pub fn open(config: &Config) -> Result<Option<Self>, ServerError> {
        let Some(audit) = &config.audit else {
            return Ok(None);
        };
        let io = |source| ServerError::Io {
            path: audit
                .file
                .clone()
                .unwrap_or_else(|| "standard error".into()),
            source,
        };
        let file = match &audit.file {
            None => None,
            Some(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                Some(file.map_err(io)?)
            }
        };
        let (sender, receiver) = sync_channel(BATCHES_MAX);
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(&receiver, file))
            .map_err(io)?;
        info!(
            file = audit.file.as_ref().map(|path| path.display().to_string()),
            "what clients change is told in the audit log"
        );
        Ok(Some(Self {
            user: audit.user.clone(),
            has_started: AtomicBool::new(false),
            lines: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Has these lines written, in order.
    pub fn write(&self, lines: Vec<String>) {
        let sender = self.lines.lock();
        if let Ok(Some(sender)) = sender.as_deref() {
            // Without its thread, which ends last, nobody is left to hear of it.
            let _ = sender.send(lines);
        }
    }

    /// The server serves, or will as soon as there is a quorum.
    pub fn started(&self) {
        self.has_started.store(true, Ordering::Relaxed);
        self.of_server("serverStart", Outcome::Success);
    }

    /// The server ends; returns when everything is written.
    pub fn end(&self) {
        if self.has_started.load(Ordering::Relaxed) {
            self.of_server("serverStop", Outcome::Invoked);
        } else {
            self.of_server("serverStart", Outcome::Failure);
        }
        if let Ok(mut lines) = self.lines.lock() {
            lines.take();
        }
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn of_server(&self, operation: &str, outcome: Outcome) {
        let line = Line {
            session: None,
            user: &self.user,
            ip: None,
            operation,
            znode: None,
            znode_type: None,
            acl: None,
            outcome,
        };
        self.write(vec![line.to_string()]);
    }
}

fn write_all(lines: &Receiver<Vec<String>>, mut file: Option<File>) {
    let mut text = String::new();
    let mut is_failing = false;
    while let Ok(batch) = lines.recv() {
        text.clear();
        for line in &batch {
            // As ZooKeeper's own settings of its log lay it out: date, level, who writes, and the line.
            let _ = SystemTime.format_time(&mut Writer::new(&mut text));
            text.extend([" INFO audit.Slf4jAuditLogger: ", line, "\n"]);
        }
        let written = match &mut file {
            Some(file) => file.write_all(text.as_bytes()),
            None => io::stderr().lock().write_all(text.as_bytes()),
        };
        let has_failed = written.is_err();
        if let (Err(error), false) = (written, is_failing) {
            error!(code = %Code::AuditNotWritten, %error, lines = batch.len(), "the audit log cannot be written; lines are lost until it can be");
        }
        is_failing = has_failed;
    }
}
