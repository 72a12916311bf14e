//! `zabra shell`: the commands of ZooKeeper's shell, with its words and its answers, on any ZooKeeper server.
//!
//! With a command it is carried out and the exit code tells how it went; without one, lines are read, from a terminal or from a file.
//! Nothing of the server is used: a connection is `zookeeper-client`'s, a line on a terminal rustyline's.

mod acl;
mod answer;
mod args;
mod commands;
mod ensemble;
mod events;
mod explore;
mod failure;
mod held;
mod interpreter;
mod meeting;
mod nodes;
mod path;
mod quota;
mod session;
mod terminal;
mod transfer;
mod tree;
mod turns;
mod watch;
mod words;

pub use args::{Output, ShellArgs, with_two_dashes};
pub use held::{COMMAND as HELD, become_program};

use interpreter::{Interpreter, Then};
use session::Target;
use std::io::{BufRead, IsTerminal};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Runs it; the exit code is that of the last command.
///
/// # Errors
/// The system gives no threads, or the terminal cannot be used.
pub fn run(args: &ShellArgs) -> Result<u8, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| format!("the system gives no threads: {e}"))?;
    let target = Target {
        servers: args.server.clone(),
        timeout: Duration::from_millis(args.timeout.into()),
        read_only: args.read_only,
        reads_lines: args.command.is_empty() && !std::io::stdin().is_terminal(),
    };
    let mut shell = Interpreter::new(target, args.output);
    let done = if !args.command.is_empty() {
        one(&mut shell, &runtime, &args.command)
    } else if std::io::stdin().is_terminal() && args.output == Output::Raw {
        on_a_terminal(&mut shell, &runtime)
    } else {
        lines(&mut shell, &runtime)
    };
    // What nobody asked for is not told on the way out.
    shell.events.print(false);
    runtime.block_on(shell.close());
    runtime.shutdown_background();
    done.map(|()| shell.exit_code)
}

fn one(shell: &mut Interpreter, runtime: &Runtime, command: &[String]) -> Result<(), String> {
    shell.events.print(false);
    runtime.block_on(async {
        if shell.connect_for(command).await {
            shell.command(command).await;
        }
    });
    Ok(())
}

fn lines(shell: &mut Interpreter, runtime: &Runtime) -> Result<(), String> {
    runtime.block_on(shell.connect_first());
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| format!("standard input: {e}"))?;
        if runtime.block_on(shell.line(&line)) == Then::Leave {
            break;
        }
    }
    Ok(())
}

fn on_a_terminal(shell: &mut Interpreter, runtime: &Runtime) -> Result<(), String> {
    println!("Connecting to {}", shell.servers());
    runtime.block_on(shell.connect_first());
    shell.tell_session();
    println!("Welcome to Zabra! Tab completes, help lists the commands.");
    terminal::run(shell, runtime.handle()).map_err(|e| format!("the terminal: {e}"))
}
