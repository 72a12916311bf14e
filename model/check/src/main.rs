//! `zabra-check`: explores the model, shows what it can catch, and writes and replays traces.

#![expect(
    clippy::disallowed_types,
    reason = "the command times its runs; the library has no clock"
)]

mod clients;
mod configuration;
mod draw;
mod explore;
mod export;
mod list;
mod out;
mod progress;
mod replay;
mod run;
mod scenario;
mod table;
mod zoo;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Explores the protocol of Zabra exhaustively: the functions that the server runs.
///
/// Exit codes: 0 all holds, 1 something does not, 2 usage.
#[derive(Parser)]
#[command(name = "zabra-check", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What there is to run, and what each configuration covers.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Exhaust configurations, by stateright's depth-first search and by our level-order one.
    Run(run::Arguments),
    /// Switch on each known bug and find the shortest way to it.
    Zoo {
        /// Only these switches; all if none is named.
        names: Vec<String>,
        /// For programs.
        #[arg(long)]
        json: bool,
        /// Print each counterexample step by step.
        #[arg(long)]
        show: bool,
        /// Write each counterexample to NAME.txt, .ndjson, .mmd and .svg in this directory.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Leave out the invariant that catches it: is there another?
        #[arg(long)]
        without_each: bool,
        /// Explore the same configurations with the bugs off: they have to be clean.
        #[arg(long)]
        off: bool,
        /// Only write the table of the zoo into this file, between its markers.
        #[arg(long)]
        table: Option<PathBuf>,
    },
    /// Look around in a browser: stateright's Explorer.
    Explore {
        /// The configuration.
        name: String,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:3000")]
        address: String,
    },
    /// Re-run a stored trace and compare every record with the model.
    Replay {
        /// The file.
        trace: PathBuf,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Exhaust the models of the service, and show what each wrong rule of it leads to.
    Clients {
        /// Configurations and wrong rules; all, if none is named.
        names: Vec<String>,
        /// For programs.
        #[arg(long)]
        json: bool,
        /// Print each counterexample step by step.
        #[arg(long)]
        show: bool,
        /// Threads of the search.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Tell scenarios, stories with the model's answers, and compare them with what they say; or begin one.
    Scenario(scenario::Arguments),
    /// Draw a stored trace: who sends what to whom, and what is on the disks.
    Draw {
        /// The file.
        trace: PathBuf,
        /// How.
        #[arg(long, value_enum, default_value = "svg")]
        format: draw::Format,
    },
    /// Write traces: random walks that together show every class of step.
    Export {
        /// The configuration.
        name: String,
        /// The directory to write to.
        #[arg(long)]
        out: PathBuf,
        /// How many traces are wanted.
        #[arg(long, default_value_t = 120)]
        traces: usize,
        /// How many walks are tried.
        #[arg(long, default_value_t = 200_000)]
        tries: usize,
        /// The longest walk.
        #[arg(long, default_value_t = 160)]
        steps: usize,
        /// The seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::List { json } => Ok(list::list(json)),
        Command::Run(arguments) => run::run(&arguments),
        Command::Zoo {
            names,
            json,
            show,
            out,
            without_each,
            off,
            table,
        } => match (table, without_each, off) {
            (Some(path), ..) => table::write_zoo(&path).map(|()| true),
            (_, true, _) => zoo::without_each(&names, json),
            (_, _, true) => zoo::off(&names),
            _ => zoo::zoo(&names, json, show, out.as_deref()),
        },
        Command::Explore { name, address } => explore::explore_in_browser(&name, &address),
        Command::Replay { trace, json } => replay::replay(&trace, json),
        Command::Clients {
            names,
            json,
            show,
            threads,
        } => Ok(clients::clients(&names, json, show, threads)),
        Command::Scenario(arguments) => scenario::scenario(&arguments),
        Command::Draw { trace, format } => draw::draw(&trace, format),
        Command::Export {
            name,
            out,
            traces,
            tries,
            steps,
            seed,
        } => export::export(&name, &out, (traces, tries, steps, seed)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("zabra-check: {message}");
            ExitCode::from(2)
        }
    }
}
