//! The chart as a picture of its own: SVG that needs no script, no font and no file beside it.
//!
//! Time runs downwards. Left is the text of each step; each server has a lifeline of two bands: its role, and its disk.
//! Colours follow the reader's scheme, light or dark; the ground is painted, so that the chart can stand on any page.

use super::{Arrow, Chart, Ending, Fault, Kind, Row};
use crate::vote::ServerState;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

/// Where the step texts end.
const GUTTER: usize = 330;
/// From one lifeline to the next.
const LANE: usize = 250;
/// From the first row's top to the top of the picture: title, legend, names.
const HEAD: usize = 84;
/// A line of text.
const LINE: usize = 12;
/// Letters of a step's text in one line.
const WRAP: usize = 50;
/// Letters of a note in one line.
const NOTE_WRAP: usize = 32;

/// Every rule begins with the class of the root: an SVG inside a page shares its styles with the page.
const STYLE: &str = "\
.zabra-chart{--ground:#ffffff;--stripe:#f4f6f8;--ink:#1d2733;--dim:#66727f;--line:#9aa5b1;--looking:#a7adb5;--following:#3b82d6;\
--leading:#d9a514;--observing:#3f9f63;--disk:#2a9d8f;--wait:#e08a2e;--role:#1f5fae;--stored:#16766b;--fault:#d02f2f;--packet:#334155;\
--vote:#8b63b8;font-family:system-ui,sans-serif;font-size:11px}\
@media (prefers-color-scheme:dark){.zabra-chart{--ground:#12181f;--stripe:#19212a;--ink:#e6ebf0;--dim:#93a0ad;--line:#56616d;\
--looking:#717b86;--following:#5b9cf0;--leading:#e8be45;--observing:#59bd80;--disk:#3fb8a8;--wait:#f0a04b;--role:#8ab8f5;\
--stored:#6fd0c3;--fault:#ff6b6b;--packet:#b8c4d2;--vote:#bb98e6}}\
.zabra-chart text{fill:var(--ink);paint-order:stroke;stroke:var(--ground);stroke-width:3px;stroke-linejoin:round}\
.zabra-chart .title{font-size:14px;font-weight:600}.zabra-chart .name{font-size:12px;font-weight:600}\
.zabra-chart .ground{fill:var(--ground)}.zabra-chart .stripe{fill:var(--stripe)}.zabra-chart .dim{fill:var(--dim)}\
.zabra-chart .looking{fill:var(--looking)}.zabra-chart .following{fill:var(--following)}.zabra-chart .leading{fill:var(--leading)}\
.zabra-chart .observing{fill:var(--observing)}.zabra-chart .down{fill:url(#zabra-down);stroke:var(--line);stroke-width:.5}\
.zabra-chart .quiet{fill:var(--disk)}.zabra-chart .pending{fill:var(--wait)}\
.zabra-chart .small{font-size:10px}.zabra-chart .said{fill:var(--dim)}.zabra-chart .role{fill:var(--role);font-weight:600}\
.zabra-chart .disk{fill:var(--stored)}.zabra-chart .fault{fill:var(--fault);font-weight:600}\
.zabra-chart line.packet{stroke:var(--packet);stroke-width:1.2}.zabra-chart line.vote{stroke:var(--vote);stroke-width:1;stroke-dasharray:4 3}\
.zabra-chart line.underway{stroke-dasharray:1 4}.zabra-chart line.lost{stroke:var(--fault)}\
.zabra-chart line.cut,.zabra-chart path.cross{stroke:var(--fault);stroke-width:2;fill:none}.zabra-chart line.cut{stroke-dasharray:6 4}\
.zabra-chart .head-packet{fill:var(--packet)}.zabra-chart .head-vote{fill:var(--vote)}\
.zabra-chart .dot{fill:var(--ink)}.zabra-chart .hatch{stroke:var(--line);stroke-width:2}";

/// Text between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Anything else below a space is no XML at all.
            c if c < ' ' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Lines of at most so many letters, broken between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

const fn role_class(role: Option<ServerState>) -> &'static str {
    match role {
        None => "down",
        Some(ServerState::Looking) => "looking",
        Some(ServerState::Following) => "following",
        Some(ServerState::Leading) => "leading",
        Some(ServerState::Observing) => "observing",
    }
}

const fn note_class(kind: Kind) -> &'static str {
    match kind {
        Kind::Role => "role",
        Kind::Disk => "disk",
        Kind::Said => "said",
        Kind::Fault => "fault",
    }
}

/// Where things are.
struct Layout {
    /// The top of each row, and the end of the last.
    tops: Vec<usize>,
    /// Where each arrow begins.
    starts: Vec<usize>,
    /// Where each arrow ends.
    ends: Vec<usize>,
    /// The place of the first note in each row.
    notes: Vec<usize>,
    width: usize,
}

const fn lane(server: usize) -> usize {
    GUTTER + 40 + server * LANE
}

impl Layout {
    /// In a row, from its top: what arrives from earlier rows, then the notes, then what is sent.
    fn of(chart: &Chart) -> Self {
        let mut tops = Vec::from([HEAD]);
        let mut starts = alloc::vec![0; chart.arrows.len()];
        let mut ends = alloc::vec![0; chart.arrows.len()];
        let mut notes = Vec::new();
        for (n, row) in chart.rows.iter().enumerate() {
            let mut y = tops[n] + 4;
            for (i, a) in chart.arrows.iter().enumerate() {
                if a.last_row() == Some(n) && a.sent < n {
                    y += LINE - 2;
                    ends[i] = y;
                }
            }
            notes.push(y + LINE);
            let lines = |s: usize| {
                let of = row.notes.iter().filter(|x| x.server == s);
                of.map(|x| wrap(&x.text, NOTE_WRAP).len()).sum::<usize>()
            };
            let most = (0..row.looks.len()).map(lines).max().unwrap_or(0);
            y += most * LINE;
            for (i, a) in chart.arrows.iter().enumerate() {
                if a.sent == n {
                    // An exchange within one step: each label clear of the arrow before it.
                    y += LINE + if a.last_row() == Some(n) { 7 } else { 2 };
                    starts[i] = y;
                    if a.last_row() == Some(n) {
                        ends[i] = y + 5;
                    }
                }
            }
            let text = tops[n] + 6 + wrap(&row.text, WRAP).len() * (LINE + 1);
            tops.push(y.max(text).max(tops[n] + 2 * LINE) + 8);
        }
        let bottom = tops.last().copied().unwrap_or(HEAD);
        for (i, a) in chart.arrows.iter().enumerate() {
            if a.last_row().is_none() {
                ends[i] = bottom - 4;
            }
        }
        let width = lane(chart.servers().max(1) - 1) + LANE;
        Self {
            tops,
            starts,
            ends,
            notes,
            width,
        }
    }
}

impl Arrow {
    const fn last_row(&self) -> Option<usize> {
        match self.end {
            Ending::Received(row) | Ending::Lost(row) | Ending::Replaced(row) => Some(row),
            Ending::Underway => None,
        }
    }
}

impl Chart {
    /// The chart as an SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let layout = Layout::of(self);
        let bottom = layout.tops.last().copied().unwrap_or(HEAD);
        let (width, height) = (layout.width, bottom + 12);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"zabra-chart\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n"
        );
        let title = escape(&self.title);
        let _ = writeln!(out, "<title>{title}</title>\n<style>{STYLE}</style>");
        out.push_str("<defs><pattern id=\"zabra-down\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect class=\"ground\" width=\"6\" height=\"6\"/><line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\"/></pattern></defs>\n");
        let _ = writeln!(
            out,
            "<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>"
        );
        self.stripes(&mut out, &layout);
        self.head(&mut out, &title);
        self.bands(&mut out, &layout);
        for (i, a) in self.arrows.iter().enumerate() {
            arrow(&mut out, a, layout.starts[i], layout.ends[i]);
        }
        for (n, row) in self.rows.iter().enumerate() {
            step(&mut out, n, row, &layout);
        }
        // Labels last: nothing may be drawn over them.
        for (i, a) in self.arrows.iter().enumerate() {
            label(&mut out, a, layout.starts[i]);
        }
        out.push_str("</svg>\n");
        out
    }

    fn stripes(&self, out: &mut String, layout: &Layout) {
        for n in (1..self.rows.len()).step_by(2) {
            let (y, h) = (layout.tops[n], layout.tops[n + 1] - layout.tops[n]);
            let w = layout.width;
            let _ = writeln!(
                out,
                "<rect class=\"stripe\" y=\"{y}\" width=\"{w}\" height=\"{h}\"/>"
            );
        }
    }

    fn head(&self, out: &mut String, title: &str) {
        let _ = writeln!(
            out,
            "<text class=\"title\" x=\"10\" y=\"22\">{title}</text>"
        );
        let mut x = 10;
        let legend = [
            ("looking", "LOOKING"),
            ("following", "FOLLOWING"),
            ("leading", "LEADING"),
            ("observing", "OBSERVING"),
            ("down", "down"),
            ("quiet", "disk, all durable"),
            ("pending", "disk, writes pending"),
        ];
        for (class, text) in legend {
            let tx = x + 16;
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"36\" width=\"12\" height=\"10\"/><text class=\"small dim\" x=\"{tx}\" y=\"45\">{text}</text>"
            );
            x = tx + text.len() * 6 + 18;
        }
        for server in 0..self.servers() {
            let (x, id) = (lane(server), self.ids[server]);
            let _ = writeln!(
                out,
                "<text class=\"name\" x=\"{x}\" y=\"72\" text-anchor=\"middle\">server {id}</text>"
            );
        }
    }

    /// Role and disk of each server, one rectangle for as long as they stay the same.
    fn bands(&self, out: &mut String, layout: &Layout) {
        for server in 0..self.servers() {
            let x = lane(server);
            let roles = self.rows.iter().map(|r| role_class(r.looks[server].role));
            band(out, roles, x - 7, 9, &layout.tops);
            let disks = self.rows.iter().map(|r| {
                match r.looks[server].pending.is_empty() && r.looks[server].cached.is_empty() {
                    true => "quiet",
                    false => "pending",
                }
            });
            band(out, disks, x + 4, 4, &layout.tops);
        }
    }
}

fn band(
    out: &mut String,
    classes: impl Iterator<Item = &'static str>,
    x: usize,
    width: usize,
    tops: &[usize],
) {
    let classes: Vec<&str> = classes.collect();
    let mut from = 0;
    for n in 1..=classes.len() {
        if classes.get(n) != Some(&classes[from]) {
            // A change shows a few points into its row, where its cause is.
            let begin = tops[from] + if from == 0 { 0 } else { 6 };
            let end = tops[n] + if n == classes.len() { 0 } else { 6 };
            let (class, height) = (classes[from], end - begin);
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{begin}\" width=\"{width}\" height=\"{height}\"/>"
            );
            from = n;
        }
    }
}

/// The text of a step, its faults, who acts, and what has changed.
fn step(out: &mut String, n: usize, row: &Row, layout: &Layout) {
    let top = layout.tops[n];
    let class = if row.fault.is_some() { "fault" } else { "text" };
    if n > 0 {
        let y = top + 14;
        let _ = writeln!(
            out,
            "<text class=\"{class}\" x=\"30\" y=\"{y}\" text-anchor=\"end\">{n}.</text>"
        );
    }
    for (k, line) in wrap(&row.text, WRAP).iter().enumerate() {
        let (y, line) = (top + 14 + k * (LINE + 1), escape(line));
        let _ = writeln!(
            out,
            "<text class=\"{class}\" x=\"36\" y=\"{y}\">{line}</text>"
        );
    }
    let y = top + 10;
    for server in &row.acting {
        let x = lane(*server) - 2;
        let _ = writeln!(
            out,
            "<circle class=\"dot\" cx=\"{x}\" cy=\"{y}\" r=\"2.5\"/>"
        );
    }
    match row.fault {
        Some(Fault::Crash(server) | Fault::Die(server) | Fault::FailSync(server)) => {
            cross(out, lane(server) - 2, y, 8)
        }
        Some(Fault::Cut(a, b)) => {
            let (x1, x2) = (lane(a), lane(b));
            let _ = writeln!(
                out,
                "<line class=\"cut\" x1=\"{x1}\" y1=\"{y}\" x2=\"{x2}\" y2=\"{y}\"/>"
            );
            cross(out, x1.midpoint(x2), y, 6);
        }
        None => {}
    }
    for server in 0..row.looks.len() {
        let (x, mut y) = (lane(server) + 13, layout.notes[n]);
        for note in row.notes.iter().filter(|x| x.server == server) {
            let class = note_class(note.kind);
            for line in wrap(&note.text, NOTE_WRAP) {
                let line = escape(&line);
                let _ = writeln!(
                    out,
                    "<text class=\"small {class}\" x=\"{x}\" y=\"{y}\">{line}</text>"
                );
                y += LINE;
            }
        }
    }
}

fn cross(out: &mut String, x: usize, y: usize, r: usize) {
    let (l, t, d) = (x - r, y - r, 2 * r);
    let _ = writeln!(
        out,
        "<path class=\"cross\" d=\"M{l} {t}l{d} {d}m0 -{d}l-{d} {d}\"/>"
    );
}

/// From the sender's lifeline towards the receiver's: all the way if it arrives.
fn arrow(out: &mut String, a: &Arrow, y1: usize, y2: usize) {
    let right = a.to > a.from;
    let (x1, x2) = if right {
        (lane(a.from) + 9, lane(a.to) - 8)
    } else {
        (lane(a.from) - 8, lane(a.to) + 9)
    };
    let kind = if a.vote { "vote" } else { "packet" };
    let part = |percent: usize| {
        if right {
            x1 + (x2 - x1) * percent / 100
        } else {
            x1 - (x1 - x2) * percent / 100
        }
    };
    let (more, x) = match a.end {
        Ending::Received(_) => ("", x2),
        Ending::Lost(_) => (" lost", part(70)),
        Ending::Replaced(_) => ("", part(70)),
        Ending::Underway => (" underway", part(80)),
    };
    let _ = writeln!(
        out,
        "<line class=\"{kind}{more}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x}\" y2=\"{y2}\"/>"
    );
    match a.end {
        Ending::Received(_) => {
            let back = if right { x - 8 } else { x + 8 };
            // Along the line: a steep arrow has a steep head.
            let (dx, dy) = (x1.abs_diff(x).max(1), y2.saturating_sub(y1));
            let lift = (8 * dy / dx).min(12);
            let (up, down) = (y2 - lift - 3, y2 + 3 - lift);
            let _ = writeln!(
                out,
                "<path class=\"head-{kind}\" d=\"M{x} {y2}L{back} {up}L{back} {down}z\"/>"
            );
        }
        Ending::Lost(_) => cross(out, x, y2, 4),
        Ending::Replaced(_) => {
            let _ = writeln!(
                out,
                "<circle class=\"head-{kind}\" cx=\"{x}\" cy=\"{y2}\" r=\"2.5\"/>"
            );
        }
        Ending::Underway => {}
    }
}

fn label(out: &mut String, a: &Arrow, y1: usize) {
    let (x, anchor) = if a.to > a.from {
        (lane(a.from) + 13, "start")
    } else {
        (lane(a.from) - 12, "end")
    };
    let (y, text) = (y1 - 3, escape(&a.text));
    let _ = writeln!(
        out,
        "<text class=\"small\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}
