//! Why a command did nothing, in the words of ZooKeeper's shell.

use std::process::ExitStatus;
use zookeeper_client::Error;

/// The exit code of a command that is none, as a POSIX shell has it.
const NOT_FOUND: u8 = 127;
/// That of a command that was ended by Ctrl-C, as a POSIX shell has it.
const INTERRUPTED: u8 = 130;

/// One line for standard error, and what programs go by.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) line: String,
    /// What it is in one word: `NoNode`, `Usage`.
    pub(super) kind: &'static str,
    pub(super) exit_code: u8,
}

impl Failure {
    fn new(kind: &'static str, line: String) -> Self {
        Self {
            line,
            kind,
            exit_code: 1,
        }
    }

    /// The command is not written as it has to be.
    pub(super) fn usage(line: impl Into<String>) -> Self {
        Self::new("Usage", line.into())
    }

    /// There is no such command.
    pub(super) fn not_found(command: &str) -> Self {
        Self {
            exit_code: NOT_FOUND,
            ..Self::new(
                "CommandNotFound",
                format!("Command not found: Command not found {command}"),
            )
        }
    }

    /// The path, or what stands at it, does not fit the command.
    pub(super) fn refused(line: impl Into<String>) -> Self {
        Self::new("BadArguments", line.into())
    }

    /// Some of it was done.
    pub(super) fn partly(line: impl Into<String>) -> Self {
        Self::new("Partly", line.into())
    }

    /// What was held is held no longer, or nobody can tell.
    pub(super) fn lost(line: impl Into<String>) -> Self {
        Self::new("Lost", line.into())
    }

    /// What was asked is not so, and the answer has said it.
    pub(super) fn quiet(kind: &'static str) -> Self {
        Self::new(kind, String::new())
    }

    /// Somebody has ended it.
    pub(super) fn interrupted(what: &str) -> Self {
        Self {
            exit_code: INTERRUPTED,
            ..Self::new("Interrupted", format!("{what}: interrupted"))
        }
    }

    /// It took longer than it may.
    pub(super) fn late(line: impl Into<String>) -> Self {
        Self::new("Timeout", line.into())
    }

    /// A program that was run ended like this; it has said why.
    pub(super) fn of_program(program: &str, status: ExitStatus) -> Self {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let line = match code {
            Some(_) => String::new(),
            None => format!("{program}: {status}"),
        };
        Self {
            exit_code: code.unwrap_or(1),
            ..Self::new("Program", line)
        }
    }

    /// There is no session; ZooKeeper's shell says so on standard output.
    pub(super) fn not_connected() -> Self {
        Self::new("NotConnected", String::new())
    }

    /// No server took the connection.
    pub(super) fn connection(server: &str, error: &Error) -> Self {
        let why = match error {
            Error::NoHosts | Error::Timeout | Error::ConnectionLoss => {
                "no server answers there; is one running, and does it have a quorum?".to_owned()
            }
            Error::BadArguments(_) => {
                "not a list of servers; write HOST:PORT,HOST:PORT/CHROOT".to_owned()
            }
            other => other.to_string(),
        };
        Self::new("ConnectionLoss", format!("zabra shell: {server}: {why}"))
    }

    /// What a server, or the lack of one, says to a request for `path`; an empty path where the request names none.
    pub(super) fn of(error: &Error, path: &str) -> Self {
        let (kind, sentence) = match error {
            Error::NoNode => ("NoNode", "Node does not exist: "),
            Error::NoChildrenForEphemerals => (
                "NoChildrenForEphemerals",
                "Ephemerals cannot have children: ",
            ),
            Error::NodeExists => ("NodeExists", "Node already exists: "),
            Error::NotEmpty => ("NotEmpty", "Node not empty: "),
            Error::NotReadOnly => ("NotReadOnly", "Not a read-only call: "),
            Error::InvalidAcl => ("InvalidACL", "Acl is not valid : "),
            Error::NoAuth => ("NoAuth", "Insufficient permission : "),
            Error::BadArguments(_) => ("BadArguments", "Arguments are not valid : "),
            Error::BadVersion => ("BadVersion", "version No is not valid : "),
            Error::QuotaExceeded => ("QuotaExceeded", "Quota has exceeded : "),
            other => return Self::code(other, path),
        };
        Self::new(kind, format!("{sentence}{path}"))
    }

    /// Those that ZooKeeper's shell has no sentence for.
    fn code(error: &Error, path: &str) -> Self {
        let (kind, name) = match error {
            Error::UnexpectedErrorCode(-13) => {
                let line = "No quorum of new config is connected and up-to-date with the leader of last committed config - try invoking \
                            reconfiguration after new servers are connected and synced";
                return Self::new("NewConfigNoQuorum", line.to_owned());
            }
            Error::UnexpectedErrorCode(-14) => {
                let line = "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)";
                return Self::new("ReconfigInProgress", line.to_owned());
            }
            Error::ConnectionLoss | Error::Timeout | Error::NoHosts => {
                ("ConnectionLoss", "ConnectionLoss")
            }
            Error::SessionExpired | Error::ClientClosed => ("SessionExpired", "Session expired"),
            Error::AuthFailed => ("AuthFailed", "AuthFailed"),
            Error::SessionMoved => ("SessionMoved", "Session moved"),
            Error::NoWatcher => ("NoWatcher", "No such watcher"),
            Error::Throttled => ("ThrottledOp", "Op throttled due to high load"),
            Error::MarshallingError => ("MarshallingError", "MarshallingError"),
            Error::Unimplemented => ("Unimplemented", "Unimplemented"),
            Error::ReconfigDisabled => ("ReconfigDisabled", "Reconfig is disabled"),
            Error::UnexpectedErrorCode(-120) => {
                ("EphemeralOnLocalSession", "Ephemeral node on local session")
            }
            other => {
                let behind = if path.is_empty() { "" } else { ": " };
                return Self::new("Other", format!("{path}{behind}{other}"));
            }
        };
        let place = if path.is_empty() {
            String::new()
        } else {
            format!(" for {path}")
        };
        Self::new(kind, format!("KeeperErrorCode = {name}{place}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use zookeeper_client::Error;

    #[test]
    fn errors_are_said_as_zookeepers_shell_says_them() {
        for (error, path, line) in [
            (Error::NoNode, "/x", "Node does not exist: /x"),
            (Error::NodeExists, "/x", "Node already exists: /x"),
            (Error::NoAuth, "/x", "Insufficient permission : /x"),
            (Error::BadVersion, "/x", "version No is not valid : /x"),
            (
                Error::ReconfigDisabled,
                "",
                "KeeperErrorCode = Reconfig is disabled",
            ),
            (Error::BadVersion, "", "version No is not valid : "),
            (
                Error::NoWatcher,
                "/x",
                "KeeperErrorCode = No such watcher for /x",
            ),
            (
                Error::ConnectionLoss,
                "/x",
                "KeeperErrorCode = ConnectionLoss for /x",
            ),
        ] {
            assert_eq!(Failure::of(&error, path).line, line);
        }
    }
}
