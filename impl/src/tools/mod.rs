//! What an operator does beside a server: ask whether it serves, look into its files, put them in order.
//!
//! Nothing of a running server is used, and no server needs this: files are read through [`crate::storage`], the very code that a start
//! reads them with, and a server is asked over its port, as any other client's tool would. ZooKeeper's own files are read like ours.

mod arguments;
mod backup;
mod cleanup;
mod compare;
mod doctor;
mod error;
mod explain;
mod helpers;
mod http;
mod initialize;
mod log;
mod out;
mod repair;
mod snapshot;
mod status;
mod summary;
mod top;
mod tree;
mod txn;
mod values;
mod walk;

use clap::Subcommand;
use error::ToolError;
pub use explain::last_election;
use out::tell;

/// Tools that need no server, or only ask one.
#[derive(Subcommand)]
pub enum Tool {
    /// Tell whether a server serves, and as what. Exit code 0: it does; 1: it does not.
    ///
    /// Asks the server of a configuration file by the word srvr, as zkServer.sh status does.
    Status(status::StatusArgs),
    /// Look at an ensemble again and again: members, who is busy, latency and syncs, elections as they come.
    ///
    /// Asks srvr, mntr and cons of each server, ours or ZooKeeper's, and the commands over HTTP where these words are not allowed. Keys: q
    /// quits, s sorts clients, space pauses. Exit code of --once: 0, or 1 where no server serves.
    Top(top::TopArgs),
    /// Print transaction logs, ours or ZooKeeper's, check them, and repair a damaged one.
    ///
    /// Each entry's checksum is verified. What is damaged is told on standard error with its file and byte, and reading goes on behind it.
    /// Exit code 0: everything is whole; 3: something is damaged or cannot be read.
    Log(log::LogArgs),
    /// Print a snapshot, ours or ZooKeeper's, compare two, or sum one up.
    ///
    /// Snapshots that end in .gz or .snappy are read as well. Exit code 3: the snapshot is damaged or cannot be read; what was printed
    /// before that is not to be trusted.
    Snapshot(snapshot::SnapshotArgs),
    /// Live again what the flight recorders of servers hold: whether it went as the model goes, what happened, and why there was an election.
    ///
    /// Exit code 0: each step asked for what the model asks for; 1: one did not, and which; 3: a record is damaged. For a code of the log, as
    /// ZBR-0301: its cause, what it means for clients and data, what to do, and an example.
    Explain(explain::ExplainArgs),
    /// Remove old snapshots, and the logs that only they need, of a server that is stopped.
    ///
    /// What stays is read first: nothing is removed unless the newest snapshot that can be read, and the logs behind it, are whole.
    /// A running server does the same by itself: autopurge.purgeInterval=24 in its file.
    Cleanup(cleanup::CleanupArgs),
    /// Tell whether this machine is fit for a server, and its configuration for this machine.
    ///
    /// Looks at the disks (how long a sync takes, room, file system), limits, clocks, memory, names, ports, the other members and the
    /// configuration; changes nothing. Exit code 0: no error; 1: something has to be mended; 2: no server starts with the configuration.
    Doctor(doctor::DoctorArgs),
    /// Make a backup of a running server, a data directory or an archive of logs, and verify it.
    ///
    /// The backup is a directory of its own with snapshot, logs and a manifest: checksums, zxid, and the digest of the tree, each compared with
    /// what was read back from the disk. Exit code 1: it was refused; 3: what was to be saved is damaged.
    Backup(backup::BackupArgs),
    /// Verify a backup, and make the data directories of an ensemble from it: its last state, or that of a zxid or a time.
    ///
    /// Nothing is put on top of data, and nothing is written before the backup is verified. Exit code 1: it was refused; 3: the backup is
    /// damaged, and in which file.
    Restore(backup::RestoreArgs),
    /// Make the directories of a new server, its myid, and the file that says that it may begin without data.
    Initialize(initialize::InitializeArgs),
    /// Ask a server by a four-letter word, and print the answer.
    Word(helpers::WordArgs),
    /// Make the id of an ACL, or of the super user, from a name and a password: USER:BASE64(SHA1(USER:PASSWORD)).
    Digest(helpers::DigestArgs),
}

/// Does it; the exit code.
#[must_use]
pub fn run(tool: &Tool) -> u8 {
    let done = match tool {
        Tool::Status(args) => status::run(args),
        Tool::Top(args) => top::run(args),
        Tool::Log(args) => log::run(args),
        Tool::Snapshot(args) => snapshot::run(args),
        Tool::Explain(args) => explain::run(args),
        Tool::Cleanup(args) => cleanup::run(args),
        Tool::Doctor(args) => doctor::run(args),
        Tool::Backup(args) => backup::run(args),
        Tool::Restore(args) => backup::restore(args),
        Tool::Initialize(args) => initialize::run(args),
        Tool::Word(args) => helpers::word(args),
        Tool::Digest(args) => helpers::digest(args),
    };
    done.unwrap_or_else(|error| {
        if !matches!(error, ToolError::Closed) {
            tell(format_args!("{error}"));
        }
        error.exit_code()
    })
}
