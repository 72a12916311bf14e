//! Which ports the servers have, and a `zoo.cfg` for each of them.

use super::ports::{self, HOST};
use crate::error::ServerError;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where one server is found.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// By clients.
    pub(crate) client: u16,
    /// By whoever asks for its commands over HTTP; `None`: by nobody.
    pub(crate) admin: Option<u16>,
    pub(crate) quorum: u16,
    pub(crate) election: u16,
}

/// A server for each of these ports of clients, on ports that are free.
///
/// # Errors
/// So many are not free.
pub(crate) fn members(of_clients: &[u16], has_admin: bool) -> std::io::Result<Vec<Member>> {
    let mut free = ports::free(of_clients.len() * 4)?;
    free.retain(|port| !of_clients.contains(port));
    let mut free = free.into_iter();
    let members = of_clients.iter().map_while(|client| {
        Some(Member {
            client: *client,
            quorum: free.next()?,
            election: free.next()?,
            admin: if has_admin { Some(free.next()?) } else { None },
        })
    });
    Ok(members.collect())
}

/// Where the first finds the second, by their numbers from 1, if not at its own ports for learners and for votes.
pub(super) type Found<'a> = &'a dyn Fn(usize, usize) -> Option<(u16, u16)>;

/// The directory of a server, by its number from 1.
pub(crate) fn data(dir: &Path, n: usize) -> PathBuf {
    dir.join(format!("server-{n}"))
}

/// A directory and a `zoo.cfg` for each of these servers; the files. Where `found` says so, one finds another at other ports than its own.
pub(super) fn write_configs(
    dir: &Path,
    members: &[Member],
    found: Found<'_>,
    tick_ms: u32,
) -> Result<Vec<PathBuf>, ServerError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ServerError::Io { path, source }
    };
    // All of them begin together, so none can have forgotten anything; one that is new among others is told of.
    let is_new = !(1..=members.len()).any(|n| data(dir, n).exists());
    let mut configs = Vec::new();
    for (n, member) in (1..).zip(members) {
        let data = data(dir, n);
        std::fs::create_dir_all(&data).map_err(io(&data))?;
        let myid = data.join("myid");
        std::fs::write(&myid, n.to_string()).map_err(io(&myid))?;
        if is_new {
            let initialize = data.join("initialize");
            std::fs::write(&initialize, "").map_err(io(&initialize))?;
        }
        let admin = match member.admin {
            Some(port) => format!("admin.serverAddress={HOST}\nadmin.serverPort={port}\n"),
            None => "admin.enableServer=false\n".into(),
        };
        let text = format!(
            "tickTime={tick_ms}\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\nclientPortAddress={HOST}\nmaxClientCnxns=0\n4lw.commands.whitelist=*\nextendedTypesEnabled=true\n{admin}{}",
            data.display(),
            member.client,
            list(n, members, found),
        );
        let config = data.join("zoo.cfg");
        std::fs::write(&config, text).map_err(io(&config))?;
        configs.push(config);
    }
    Ok(configs)
}

/// The members as this one finds them.
fn list(of: usize, members: &[Member], found: Found<'_>) -> String {
    let mut lines = String::new();
    if members.len() > 1 {
        for (n, member) in (1..).zip(members) {
            let own = (member.quorum, member.election);
            let (quorum, election) = found(of, n).unwrap_or(own);
            let _ = writeln!(lines, "server.{n}={HOST}:{quorum}:{election}");
        }
        lines.push_str("zabra.quorumFromMembersOnly=true\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ensemble_that_is_new_as_a_whole_may_begin_without_data() {
        let dir = tempfile::tempdir().unwrap();
        let members = members(&[2181, 2182, 2183], false).unwrap();
        let initialize = |i: u16| dir.path().join(format!("server-{i}/initialize"));
        write_configs(dir.path(), &members, &|_, _| None, 2000).unwrap();
        for i in 1..=3 {
            assert!(initialize(i).exists());
            std::fs::remove_file(initialize(i)).unwrap();
        }
        std::fs::remove_dir_all(dir.path().join("server-2")).unwrap();
        write_configs(dir.path(), &members, &|_, _| None, 2000).unwrap();
        assert!(
            !initialize(2).exists(),
            "it may have acknowledged something"
        );
    }
}
