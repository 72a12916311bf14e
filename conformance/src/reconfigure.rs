//! Other people's clients change the members of an ensemble: each program of `interop` reads and watches the list, has changes refused,
//! changes it in every way that there is, and leaves the members as they were.
//!
//! A program is told the connect string of three members, their lines, the line of a server that runs and is no member, who leads, and a
//! server without `reconfigEnabled`. It ends with an error at the first answer that is not ZooKeeper's.

use crate::cluster::{Cluster, Product};
use crate::interop::{python, run_to_end};
use crate::programs::{Client, program};
use anyhow::Result;
use std::process::Command;
use std::time::{Duration, Instant};

/// The members; the joiner comes behind them.
const MEMBERS: [usize; 3] = [0, 1, 2];
/// How long servers may take: elections of ZooKeeper's servers take their time, and joiners look for the leader.
const LONG: Duration = Duration::from_secs(60);
/// `super:secret`, for those of our servers and of ZooKeeper's.
const SUPER: (&str, &str) = (
    "DigestAuthenticationProvider.superDigest",
    "super:lK75jTNcA+U9vtVEw5vB51mj/w4=",
);

/// Whose client changes the members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reconfigurer {
    /// kazoo, whose program is a script.
    Kazoo,
    /// One of the others.
    Of(Client),
}

impl Reconfigurer {
    /// All that know the operation.
    pub const ALL: [Self; 4] = [
        Self::Kazoo,
        Self::Of(Client::C),
        Self::Of(Client::Curator),
        Self::Of(Client::Go),
    ];

    fn command(self) -> Result<Option<Command>> {
        match self {
            Self::Kazoo => python("kazoo_reconfig.py", &[]).map(Some),
            Self::Of(client) => program(client, "Reconfig", false),
        }
    }
}

/// Three members, a server that may become one, and one that takes no change.
#[derive(Debug)]
pub struct Changing {
    /// The members, and the joiner behind them.
    pub cluster: Cluster,
    disabled: Cluster,
}

impl Changing {
    /// Starts them: three members of these products, and of this product a joiner and one alone.
    ///
    /// # Errors
    /// A server ended, or did not serve in time.
    pub fn start(members: [Product; 3], joiner: Product) -> Result<Self> {
        let [a, b, c] = members;
        // A server of ZooKeeper that a leader names as the next one leads at once, and ours come when it has given that up (D-19).
        let settings = [("reconfigEnabled", "true"), ("initLimit", "10"), SUPER];
        let mut cluster = Cluster::prepare(&[a, b, c, joiner], &[], &settings)?;
        cluster.patience = LONG;
        let disabled = Cluster::start_as(&[joiner], &[SUPER])?;
        for i in MEMBERS {
            cluster.list_members(i, &MEMBERS)?;
            cluster.restart(i)?;
        }
        cluster.wait_until_serving()?;
        cluster.list_members(3, &[0, 1, 2, 3])?;
        cluster.restart(3)?;
        cluster.wait_until_serving()?;
        Ok(Self { cluster, disabled })
    }

    /// Runs the program of a client to its end. Who led when it began, and was removed by it and came back; `None` if the machine has no
    /// such language, which is said.
    ///
    /// # Errors
    /// The program cannot be built or says what is wrong, or a server has ended.
    pub fn by(&mut self, client: Reconfigurer) -> Result<Option<Product>> {
        let Some(mut command) = client.command()? else {
            return Ok(None);
        };
        let leader = self.cluster.leader()?;
        let servers = &self.cluster.servers;
        let member = |i: usize| Ok(format!("server.{}", self.cluster.member(i)?));
        let members: Vec<String> = MEMBERS.into_iter().map(member).collect::<Result<_>>()?;
        command
            .arg(MEMBERS.map(|i| servers[i].connect()).join(","))
            .arg(members.join(","))
            .arg(member(3)?)
            .arg(servers[leader].id.to_string())
            .arg(self.disabled.connect());
        let product = servers[leader].product;
        let begin = Instant::now();
        run_to_end(&mut command)?;
        let took = begin.elapsed().as_secs_f64();
        eprintln!(
            "{client:?} has changed the members under a leader of {product:?} in {took:.1} s"
        );
        self.cluster.all_alive()?;
        Ok(Some(product))
    }
}
