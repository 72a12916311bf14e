//! What is told while no command runs: events of watches and of the session.

use super::answer::{event_json, event_text, parts};
use super::watch::Kind;
use rustyline::ExternalPrinter;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use zookeeper_client::{SessionState, WatchedEvent};

/// Where events go. On a terminal they are printed above the line that is being written.
pub(super) struct Events {
    json: bool,
    on: AtomicBool,
    printer: Mutex<Option<Box<dyn ExternalPrinter + Send>>>,
    last: Mutex<Option<(Kind, WatchedEvent)>>,
}

impl Events {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            on: AtomicBool::new(true),
            printer: Mutex::new(None),
            last: Mutex::new(None),
        }
    }

    /// Whether they are printed, by the command `printwatches`.
    pub(super) fn are_printed(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(super) fn print(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// From here on there is a line to be printed above.
    pub(super) fn above_the_line(&self, printer: Box<dyn ExternalPrinter + Send>) {
        if let Ok(mut place) = self.printer.lock() {
            *place = Some(printer);
        }
    }

    /// Something happened to a node. Watches of two kinds may see the same, and it is told once.
    pub(super) fn node(&self, by: Kind, event: &WatchedEvent) {
        if let Ok(mut last) = self.last.lock() {
            if last
                .as_ref()
                .is_some_and(|(kind, told)| *kind != by && told == event)
            {
                return;
            }
            *last = Some((by, event.clone()));
        }
        let (kind, path, zxid) = parts(event);
        self.tell("SyncConnected", &kind, Some(path), zxid);
    }

    /// A watch of this kind is no more, because it was asked for.
    pub(super) fn removed(&self, kind: &str, path: &str) {
        self.tell("SyncConnected", kind, Some(path), WatchedEvent::NO_ZXID);
    }

    pub(super) fn session(&self, state: SessionState) {
        self.tell(&state.to_string(), "None", None, WatchedEvent::NO_ZXID);
    }

    fn tell(&self, state: &str, kind: &str, path: Option<&str>, zxid: i64) {
        if !self.are_printed() {
            return;
        }
        let line = if self.json {
            event_json(state, kind, path, zxid)
        } else {
            event_text(state, kind, path, zxid)
        };
        self.line(&line);
    }

    /// Prints at once, above the line that is being written if there is one.
    pub(super) fn line(&self, line: &str) {
        let printed = match self.printer.lock() {
            Ok(mut printer) => printer
                .as_mut()
                .is_some_and(|p| p.print(line.to_owned()).is_ok()),
            Err(_) => false,
        };
        if !printed {
            // Whoever has closed the other end has read enough.
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
    }
}
