//! The `zabra` command: parse, run, exit code.

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use zabra::codes::Code;
use zabra::config::settings::{Given, file_of};
use zabra::config::{Config, ConfigError, check, tell};
use zabra::error::{ServerError, panics};
use zabra::serve::Stop;
use zabra::tools::Tool;
use zabra::{admin, container, dev, serve, shell, tls_init, tools};

/// musl's own lets one thread at a time through.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A ZooKeeper server whose protocol is the checked model's.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one server from a ZooKeeper zoo.cfg, in the foreground; SIGTERM stops it orderly.
    Serve {
        /// The configuration file; without it, the one that ZOOCFGDIR and ZOOCFG name. Or, for a server on its own, as ZooKeeper's takes
        /// them: PORT DATADIR [TICKTIME [MAXCLIENTCNXNS]].
        #[arg(value_name = "CONFIG", num_args = 0..=4)]
        arguments: Vec<OsString>,
        /// A setting, as Java's system properties are written: -Dzookeeper.snapCount=50000 or -DsnapCount=50000. A line of the file
        /// counts more.
        #[arg(short = 'D', value_name = "NAME=VALUE")]
        properties: Vec<String>,
        /// Stop also when standard input ends.
        #[arg(long, hide = true)]
        until_stdin_ends: bool,
    },
    /// Run one server in a container: writes zoo.cfg and myid from the variables that the images of ZooKeeper take, where they are not there.
    Container {
        /// Print the file that would be written, and end.
        #[arg(long)]
        print: bool,
    },
    /// Become a program that ends with the shell which has started it.
    #[command(hide = true)]
    Held {
        parent: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<OsString>,
    },
    /// Run an ensemble on this machine; prints its connect string when it serves.
    Dev {
        /// How many servers.
        #[arg(long, default_value_t = 3)]
        servers: u16,
        /// Client port of the first server; 0: ports that are free.
        #[arg(long, default_value_t = 2181)]
        base_port: u16,
        /// Keep the data here; without it a temporary directory is used and removed.
        #[arg(long)]
        data: Option<PathBuf>,
        /// A line of JSON when it serves, with the ports, processes and directories of the servers, and one for each event after that.
        #[arg(long)]
        json: bool,
        /// End also when standard input ends: with the program that has started it.
        #[arg(long)]
        until_stdin_ends: bool,
        /// Let faults happen, one after the other and never to more than one server: kill and start again, cut off from the other servers.
        #[arg(long, value_delimiter = ',', value_name = "KIND,…")]
        chaos: Vec<dev::Kind>,
        /// Where each fault comes from: the same number, the same faults in the same order. Drawn and told where it is not given.
        #[arg(long, requires = "chaos")]
        seed: Option<u64>,
        /// How long all servers are left alone before a fault, at most.
        #[arg(long, default_value_t = 6000, value_name = "MS")]
        chaos_rest: u64,
    },
    /// Tell what becomes of each line of a zoo.cfg, or what a key of it is for.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make keys and certificates.
    #[command(subcommand)]
    Tls(TlsCommand),
    /// The commands of ZooKeeper's shell: one and its exit code, or lines from a terminal or from standard input.
    Shell(zabra::shell::ShellArgs),
    #[command(flatten)]
    Tool(Tool),
    /// Load servers, ours or Java's, and measure throughput, latency and CPU time.
    Bench(zabra::bench::BenchArgs),
    /// Print what completes this command's words in a shell; in bash: source <(zabra completions bash).
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the pages for man, one for each command.
    Man {
        /// Where they are written, as /usr/local/share/man/man1; without it, that of zabra itself goes to standard output.
        dir: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Read a file as a start would, with the same arguments and environment: what is set, ignored, refused, unknown, overruled, and
    /// what holds by default. Exit code 2: no server starts with it.
    Check {
        /// The file.
        file: PathBuf,
        /// A setting, as behind zabra serve.
        #[arg(short = 'D', value_name = "NAME=VALUE")]
        properties: Vec<String>,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// What a key is for, what becomes of it here, its values, its default, and since when ZooKeeper has it.
    Explain {
        /// The key, as in zoo.cfg or as Java's system property.
        key: String,
    },
}

#[derive(Subcommand)]
enum TlsCommand {
    /// Make an authority, a server's and a client's certificate for development, and print the lines that name them.
    Init {
        /// Where they are written; nothing is written over.
        dir: PathBuf,
        /// Another name or address by which clients reach the server.
        #[arg(long)]
        host: Vec<String>,
    },
}

/// A panic is our bug, and a server that goes on without one of its tasks would lie.
fn end_by_panics() {
    panics::end_the_process();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if panics::is_caught() {
            return;
        }
        report(info);
        if panics::has_last_words() {
            return;
        }
        std::process::exit(i32::from(ServerError::Bug("").exit_code()));
    }));
}

fn main() -> ExitCode {
    end_by_panics();
    #[cfg(feature = "mutants")]
    plant();
    let command = Cli::parse_from(shell::with_two_dashes(std::env::args_os())).command;
    if !is_quiet(&command) || std::env::var_os(admin::logging::VARIABLE).is_some() {
        let in_container = matches!(command, Command::Container { .. });
        admin::logging::start(admin::logging::Reader::of(in_container));
    }
    match command {
        // The load generator has a runtime of its own.
        Command::Bench(args) => bench(&args),
        Command::Shell(args) => match shell::run(&args) {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                eprintln!("zabra: {error}");
                ExitCode::FAILURE
            }
        },
        Command::Held { parent, program } => held(parent, &program),
        Command::Tool(tool) => ExitCode::from(tools::run(&tool)),
        Command::Config(command) => config(&command),
        Command::Tls(TlsCommand::Init { dir, host }) => match tls_init::init(&dir, &host) {
            Ok(said) => {
                print(&said);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("zabra: {error}");
                ExitCode::from(2)
            }
        },
        Command::Serve {
            arguments,
            properties,
            until_stdin_ends,
        } => block_on(async move {
            let given = Given::read(&properties, std::env::vars_os())?;
            for line in given.told() {
                tracing::info!("{line}");
            }
            serve::serve(configured(&arguments, &given)?, stop(until_stdin_ends)).await
        }),
        Command::Container { print } => container(print),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "zabra", &mut text);
            print(&String::from_utf8_lossy(&text));
            ExitCode::SUCCESS
        }
        Command::Man { dir } => man(dir.as_deref()),
        Command::Dev {
            servers,
            base_port,
            data,
            json,
            until_stdin_ends,
            chaos,
            seed,
            chaos_rest,
        } => block_on(dev::run(dev::Options {
            servers,
            base_port,
            data,
            is_json: json,
            until_stdin_ends,
            chaos: (!chaos.is_empty()).then(|| dev::Chaos {
                kinds: chaos,
                seed: seed.unwrap_or_else(drawn),
                rest: Duration::from_millis(chaos_rest),
            }),
        })),
    }
}

/// The fault that a harness asks for.
#[cfg(feature = "mutants")]
fn plant() {
    if let Err(error) = zabra::mutants::plant_named() {
        eprintln!("zabra: {error}");
        std::process::exit(2);
    }
}

/// Whether somebody reads what it prints: what it does beside that is told to whoever asks for it.
const fn is_quiet(command: &Command) -> bool {
    matches!(
        command,
        Command::Shell(_)
            | Command::Held { .. }
            | Command::Tool(_)
            | Command::Completions { .. }
            | Command::Man { .. }
    )
}

/// A seed that can be typed.
fn drawn() -> u64 {
    u64::from(std::process::id())
}

/// The configuration that the arguments of `zabra serve` name.
fn held(parent: u32, program: &[OsString]) -> ExitCode {
    eprintln!("zabra: {}", shell::become_program(parent, program));
    ExitCode::from(127)
}

fn stop(until_stdin_ends: bool) -> Stop {
    match until_stdin_ends {
        true => Stop::SignalsOrEndOfInput,
        false => Stop::Signals,
    }
}

fn configured(arguments: &[OsString], given: &Given) -> Result<Config, ConfigError> {
    match arguments {
        [] => match file_of(|name| std::env::var_os(name)) {
            Some(file) => check::load_with(&file, given),
            None => Err(ConfigError::Whole {
                path: "arguments".into(),
                what: "no configuration file; write zabra serve zoo.cfg, or set ZOOCFGDIR to the directory of zoo.cfg".into(),
            }),
        },
        [file] => check::load_with(Path::new(file), given),
        plain => {
            let plain: Vec<String> = plain.iter().map(|a| a.to_string_lossy().into()).collect();
            check::load_arguments(&plain, given)
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), ServerError>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("zabra: the system gives no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(work);
    // Tasks that wait for sockets are not waited for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zabra: {error}");
            ExitCode::from(&error)
        }
    }
}

/// Whoever has closed the other end has read enough.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn config(command: &ConfigCommand) -> ExitCode {
    let usage = ExitCode::from(2);
    match command {
        ConfigCommand::Explain { key } => match tell::explain(key) {
            Some(text) => {
                print(&text);
                ExitCode::SUCCESS
            }
            None => {
                eprintln!("zabra: {key}: {}", tell::guess(key));
                usage
            }
        },
        ConfigCommand::Check {
            file,
            properties,
            json,
        } => match Given::read(properties, std::env::vars_os())
            .and_then(|given| tell::report(file, &given))
        {
            Ok(report) => {
                print(&if *json {
                    format!("{}\n", serde_json::json!(report))
                } else {
                    report.to_string()
                });
                report.refusal.map_or(ExitCode::SUCCESS, |_| usage)
            }
            Err(error) => {
                eprintln!("zabra: {error}");
                usage
            }
        },
    }
}

fn container(is_printed: bool) -> ExitCode {
    let plan = match container::plan(std::env::vars_os()) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("zabra: {error}");
            return ExitCode::from(2);
        }
    };
    if is_printed {
        for note in &plan.notes {
            eprintln!("zabra: {note}");
        }
        print(&plan.text);
        return ExitCode::SUCCESS;
    }
    block_on(async move {
        for note in &plan.notes {
            tracing::warn!(code = %Code::ContainerNote, "{note}");
        }
        plan.carry_out()?;
        let given = Given::read(&[], std::env::vars_os())?;
        serve::serve(check::load_with(&plan.file, &given)?, Stop::Signals).await
    })
}

fn man(dir: Option<&Path>) -> ExitCode {
    let command = Cli::command();
    let written = match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir))
        }
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut page);
            rendered.map(|()| print(&String::from_utf8_lossy(&page)))
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let place = dir.unwrap_or(Path::new("standard output"));
            eprintln!("zabra: {}: {error}", place.display());
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &zabra::bench::BenchArgs) -> ExitCode {
    match zabra::bench::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zabra: {error}");
            ExitCode::FAILURE
        }
    }
}
