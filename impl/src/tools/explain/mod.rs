//! `zabra explain`: lives recorded lives again, says whether they went as the model goes, and tells what happened and why; and what codes of
//! the log mean.

mod channels;
mod codes;
mod picture;
mod story;

use super::arguments::Output;
use super::error::{DATA, FAILED, ToolError};
use super::out::{Out, tell};
use super::values::time;
use crate::codes::Code;
use crate::error::panics;
use crate::storage::StorageError;
use crate::storage::flight::{FLIGHT, FLIGHT_OLD, Segments};
use channels::{Compared, Ends};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use story::{Election, Line, Story, shown};
use zabra_model::flight::{Lived, live_again};
use zabra_model::ids::ServerId;

/// Which records, and how they are told.
#[derive(Args)]
pub struct ExplainArgs {
    /// Records of one or more servers: zabra.flight files, data directories with one, or what /commands/flight_recorder has sent. Or codes
    /// of the log, as ZBR-0301: what they mean
    #[arg(required_unless_present = "codes", value_name = "FILE|DIR|CODE")]
    records: Vec<PathBuf>,
    /// List the codes of the log
    #[arg(long, conflicts_with_all = ["records", "since", "until", "elections", "picture"])]
    codes: bool,
    /// From this time on: 2026-11-29T16:00:00Z, or without the Z in the zone of this machine
    #[arg(long, value_parser = time, allow_hyphen_values = true, value_name = "TIME")]
    since: Option<i64>,
    /// Up to this time
    #[arg(long, value_parser = time, allow_hyphen_values = true, value_name = "TIME")]
    until: Option<i64>,
    /// Only what is asked most: when there was an election, why, and who led then
    #[arg(short, long)]
    elections: bool,
    /// Draw what happened into this file, an SVG: votes and packets between the servers, roles and epochs
    #[arg(short, long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What has come of the record of one process.
#[derive(Serialize)]
struct Life {
    server: u64,
    /// When its process started, ms since 1970.
    started: u64,
    segments: usize,
    /// Steps that were taken again, and those of them that its sums confirm.
    steps: u64,
    confirmed: u64,
    /// When the last of them was, ms since 1970.
    until: u64,
    /// Where the server did something else than the model does, or cannot be followed.
    differs: Vec<String>,
    damaged: Vec<String>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Document<'a> {
    Life(&'a Life),
    Step(&'a Line),
    Election(&'a Election),
    Connections(&'a Compared),
}

/// The exit code: 0 for records that went as the model goes, 1 for one that did not, 3 for one that cannot be read.
pub(super) fn run(args: &ExplainArgs) -> Result<u8, ToolError> {
    let mut out = Out::new();
    if args.codes {
        codes::list(&mut out, args.output)?;
        out.flush()?;
        return Ok(0);
    }
    let words: Vec<&str> = args
        .records
        .iter()
        .filter_map(|path| code_of(path))
        .collect();
    if words.len() == args.records.len() {
        let all = codes::read(&words)?;
        codes::tell(&mut out, &all, args.output)?;
        out.flush()?;
        return Ok(0);
    }
    if let Some(code) = words.first() {
        let what = format!(
            "{code} is a code, and the others are records: ask for them one after the other"
        );
        return Err(ToolError::Refused(what));
    }
    explain(args, out)
}

/// Steps before an election began and behind its end that are drawn with it, ms.
const AROUND_MS: u64 = 500;
/// So many steps of one server are drawn at most: as much again is what others have said to it.
const STEPS_MAX: usize = 150;

/// A picture, an SVG, of the last election in the record of one server, with whom it talked.
///
/// # Errors
/// Why there is none.
pub fn last_election(record: &[u8]) -> Result<String, String> {
    let mut segments = Segments::default();
    segments.read(record);
    let Told {
        lines, elections, ..
    } = live(&segments);
    let last = elections.last().ok_or("no election is recorded")?;
    let (began, took) = (last.began, last.took.unwrap_or(u64::MAX - AROUND_MS));
    let until = began.saturating_add(took).saturating_add(AROUND_MS);
    let is_in = |line: &&Line| {
        line.server == last.server && line.time + AROUND_MS >= began && line.time <= until
    };
    let of_it: Vec<&Line> = lines.iter().filter(is_in).take(STEPS_MAX).collect();
    picture::of_one(&lines, &of_it).ok_or_else(|| "its steps are not recorded any more".into())
}

/// A code, if no file is meant.
fn code_of(path: &Path) -> Option<&str> {
    let text = path.to_str().filter(|text| Code::is_like(text))?;
    (!path.exists()).then_some(text)
}

fn explain(args: &ExplainArgs, mut out: Out) -> Result<u8, ToolError> {
    let mut segments = Segments::default();
    for path in &args.records {
        read(path, &mut segments)?;
    }
    if segments.all.is_empty() {
        let what = "there is no record of a server in it; name a zabra.flight or a data directory of a server with zabra.flightRecorder=true";
        return Err(ToolError::Damaged(format!(
            "{}: {what}",
            args.records[0].display()
        )));
    }
    let Told {
        lives,
        lines,
        elections,
        compared,
    } = live(&segments);
    let is_asked = |ms: u64| {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        args.since.is_none_or(|since| ms >= since) && args.until.is_none_or(|until| ms <= until)
    };
    let asked: Vec<_> = lines.iter().filter(|line| is_asked(line.time)).collect();
    if let Some(path) = &args.picture {
        picture::draw(&lines, &asked, path)?;
    }
    let lines = if args.elections { &[] } else { &asked[..] };
    let elections = elections.iter().filter(|e| is_asked(e.began));
    let elections: Vec<_> = elections.collect();
    match args.output {
        Output::Json => {
            for life in &lives {
                out.json(&Document::Life(life))?;
            }
            for line in lines {
                out.json(&Document::Step(line))?;
            }
            for election in &elections {
                out.json(&Document::Election(election))?;
            }
            out.json(&Document::Connections(&compared))?;
        }
        Output::Text => {
            print(&mut out, &lives, &compared)?;
            tell_story(&mut out, lines, &elections)?;
        }
    }
    out.flush()?;
    if segments.strange_bytes > 0 {
        let bytes = segments.strange_bytes;
        tell(format_args!(
            "{bytes} bytes are of no whole part: its process ended while it wrote them, or they are damaged"
        ));
    }
    let differs = lives.iter().any(|life| !life.differs.is_empty());
    Ok(if differs || !compared.differs.is_empty() {
        FAILED
    } else if lives.iter().any(|life| !life.damaged.is_empty()) {
        DATA
    } else {
        0
    })
}

/// Reads a record, or those of a data directory.
fn read(path: &Path, into: &mut Segments) -> Result<(), ToolError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::Io {
            op: "read",
            path,
            source,
        }
    };
    if !path.is_dir() {
        into.read(&std::fs::read(path).map_err(io(path))?);
        return Ok(());
    }
    let folders = [path.join("version-2"), path.to_owned()];
    let files = folders
        .iter()
        .flat_map(|folder| [folder.join(FLIGHT_OLD), folder.join(FLIGHT)]);
    let mut any = false;
    for file in files.filter(|file| file.exists()) {
        any = true;
        into.read(&std::fs::read(&file).map_err(io(&file))?);
    }
    if any {
        return Ok(());
    }
    let what = format!(
        "{}: there is no {FLIGHT} in it; a server with zabra.flightRecorder=true writes it when it first starts",
        path.display()
    );
    Err(ToolError::Refused(what))
}

/// All that records tell.
struct Told {
    lives: Vec<Life>,
    lines: Vec<Line>,
    elections: Vec<Election>,
    compared: Compared,
}

/// Lives all of it again: what came of it, and what happened, in the order of the servers' clocks.
fn live(segments: &Segments) -> Told {
    let mut lives: Vec<Life> = Vec::new();
    let (mut lines, mut elections, mut all_ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut story: Option<((ServerId, u64), Story, Ends)> = None;
    for ((server, started, number), segment) in &segments.all {
        let whose = (*server, *started);
        if story.as_ref().is_none_or(|(of, ..)| *of != whose) {
            if let Some((_, told, mut ends)) = story.take() {
                told.end(&mut lines, &mut elections);
                ends.end();
                all_ends.push(ends);
            }
            story = Some((whose, Story::of(*server), Ends::default()));
            lives.push(Life {
                server: server.0,
                started: *started,
                segments: 0,
                steps: 0,
                confirmed: 0,
                until: *started,
                differs: Vec::new(),
                damaged: Vec::new(),
            });
        }
        let (Some((_, story, ends)), Some(life)) = (&mut story, lives.last_mut()) else {
            continue;
        };
        life.segments += 1;
        // A record that no server has written may lead the model where it stops.
        let lived = panics::caught(|| {
            live_again(&segment.bytes, |seen| {
                ends.see(*server, &seen);
                story.see(&seen);
            })
        });
        match lived {
            Ok(Ok(lived)) => life.add(lived),
            Ok(Err(zabra_model::flight::Divergence::Damage(damage))) => {
                life.damaged.push(format!("segment {number}: {damage}"));
            }
            Ok(Err(divergence)) => {
                let at = shown(story.last_ms());
                life.differs.push(format!("{at}: {divergence}"));
            }
            Err(panic) => {
                let at = shown(story.last_ms());
                let what = format!("{at}: behind this the model stops: {panic}");
                life.differs.push(what);
            }
        }
        if segment.has_hole {
            let what = format!("segment {number}: a part of it is missing");
            life.damaged.push(what);
        }
    }
    if let Some((_, told, mut ends)) = story {
        told.end(&mut lines, &mut elections);
        ends.end();
        all_ends.push(ends);
    }
    lines.sort_by_key(|line| line.time);
    elections.sort_by_key(|election| election.began);
    Told {
        lives,
        lines,
        elections,
        compared: channels::compare(all_ends),
    }
}

impl Life {
    fn add(&mut self, lived: Lived) {
        self.steps += lived.steps;
        self.confirmed += lived.confirmed;
        self.until = lived.until.date_ms;
    }
}

fn print(out: &mut Out, lives: &[Life], compared: &Compared) -> Result<(), ToolError> {
    for life in lives {
        let (from, until) = (shown(life.started), shown(life.until));
        let verdict = match (&life.differs[..], &life.damaged[..]) {
            ([], []) => "all as the model does",
            ([], _) => "damaged",
            _ => "NOT AS THE MODEL DOES",
        };
        out.line(format_args!(
            "server {}, process of {from}, until {until}: {} steps in {} segments, {verdict}",
            life.server, life.steps, life.segments
        ))?;
        for what in life.differs.iter().chain(&life.damaged) {
            out.line(format_args!("    {what}"))?;
        }
    }
    if compared.connections > 0 {
        out.line(format_args!(
            "{} connections with both ends recorded: {} packets, heard as they were sent",
            compared.connections, compared.packets
        ))?;
    }
    for what in &compared.differs {
        out.line(format_args!("NOT HEARD AS IT WAS SENT: {what}"))?;
    }
    Ok(())
}

fn tell_story(out: &mut Out, lines: &[&Line], elections: &[&Election]) -> Result<(), ToolError> {
    if !lines.is_empty() {
        out.text("\n")?;
    }
    for line in lines {
        let time = shown(line.time);
        out.line(format_args!("{time}  {:>3}  {}", line.server, line.text))?;
    }
    out.text("\n")?;
    if elections.is_empty() {
        return out.text("No election is in it.\n");
    }
    out.text("Elections\n")?;
    for election in elections {
        let began = shown(election.began);
        out.line(format_args!(
            "{began}  {:>3}  {}, because {}: {}",
            election.server,
            election.took(),
            election.why,
            election.outcome
        ))?;
    }
    Ok(())
}
