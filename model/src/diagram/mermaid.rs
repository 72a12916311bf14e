//! The chart as text for Mermaid: a `sequenceDiagram`, which many Markdown viewers draw.
//!
//! Mermaid's time runs in rows, so a packet is drawn where it arrives or is lost, and tells when it was sent.

use super::{Chart, Row};
use super::{Ending, Kind};
use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// Mermaid ends a statement at `;` and begins an entity with `#`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '#' => out.push_str("#35;"),
            ';' => out.push_str("#59;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '\n' | '\r' => out.push(' '),
            _ => out.push(ch),
        }
    }
    out
}

impl Chart {
    /// The chart as a Mermaid `sequenceDiagram`.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut out = String::from("sequenceDiagram\n");
        let _ = writeln!(out, "    accTitle: {}", escape(&self.title));
        for (n, id) in (1..).zip(&self.ids) {
            let _ = writeln!(out, "    participant S{n} as server {id}");
        }
        for (n, row) in self.rows.iter().enumerate() {
            self.step(&mut out, n, row);
        }
        let underway = self.arrows.iter().filter(|a| a.end == Ending::Underway);
        for a in underway {
            let text = format!("{} (sent in {}, on the way)", a.text, a.sent);
            let (from, to, text) = (a.from + 1, a.to + 1, escape(&text));
            let _ = writeln!(out, "    S{from}--)S{to}: {text}");
        }
        out
    }

    fn step(&self, out: &mut String, n: usize, row: &Row) {
        if row.fault.is_some() {
            // A tint that shows on white and on black.
            out.push_str("    rect rgba(220, 50, 50, 0.3)\n");
        }
        let over = match self.servers() {
            0 | 1 => String::from("S1"),
            last => format!("S1,S{last}"),
        };
        let text = if n == 0 {
            escape(&row.text)
        } else {
            format!("{n}. {}", escape(&row.text))
        };
        let _ = writeln!(out, "    Note over {over}: {text}");
        for a in &self.arrows {
            let (head, what) = match a.end {
                Ending::Received(at) if at == n => (if a.vote { "-->>" } else { "->>" }, ""),
                Ending::Lost(at) if at == n => (if a.vote { "--x" } else { "-x" }, "lost"),
                Ending::Replaced(at) if at == n => ("--x", "replaced by a newer one"),
                _ => continue,
            };
            let when = match (a.sent == n, what) {
                (true, "") => String::new(),
                (true, what) => format!(" ({what})"),
                (false, "") => format!(" (sent in {})", a.sent),
                (false, what) => format!(" (sent in {}, {what})", a.sent),
            };
            let (from, to, text) = (a.from + 1, a.to + 1, escape(&a.text));
            let _ = writeln!(out, "    S{from}{head}S{to}: {text}{when}");
        }
        for server in 0..row.looks.len() {
            let texts = row.notes.iter().filter(|x| x.server == server);
            let texts: alloc::vec::Vec<String> = texts
                .map(|x| match x.kind {
                    Kind::Disk => format!("disk: {}", escape(&x.text)),
                    Kind::Role | Kind::Said | Kind::Fault => escape(&x.text),
                })
                .collect();
            if !texts.is_empty() {
                let (server, text) = (server + 1, texts.join("<br/>"));
                let _ = writeln!(out, "    Note right of S{server}: {text}");
            }
        }
        if row.fault.is_some() {
            out.push_str("    end\n");
        }
    }
}
