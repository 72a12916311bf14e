//! The schedule: who loses power or is killed, when, for how long, and what everybody must find afterwards.

use super::ledger::Ledger;
use super::load::{Client, prepare, read_back};
use crate::cluster::{Cluster, PATIENCE, Product, wait_until};
use crate::lossy::LossyDisk;
use crate::lossy::cut::{Survival, Sync};
use crate::raw::RawClient;
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Clients that write at the same time.
const CLIENTS: u64 = 4;
/// A sync takes up to this: long enough that a kill often finds something written and not synced.
const SYNC_TAKES: Duration = Duration::from_millis(6);
/// A restart is followed by a power cut within this.
const SOON_MS: u64 = 300;
/// Short files, frequent snapshots: what changes names is cut as often as what writes.
const SETTINGS: [(&str, &str); 4] = [
    ("snapCount", "300"),
    ("preAllocSize", "64"),
    ("autopurge.snapRetainCount", "3"),
    ("autopurge.purgeInterval", "1"),
];
/// Lines of each server's log in a report of what went wrong.
const LOG_LINES: usize = 12;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Servers: one alone, or an ensemble.
    pub servers: usize,
    /// Power cuts, each of one server or of several at once.
    pub cuts: u64,
    /// Where every choice comes from.
    pub seed: u64,
    /// What syncs do; a disk that lies must be found out.
    pub sync: Sync,
}

/// What was done, and held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Power cuts of one server.
    pub cuts_one: u64,
    /// … of more than one and not all.
    pub cuts_majority: u64,
    /// … of all.
    pub cuts_all: u64,
    /// Of them, those that came within 300 ms of a start.
    pub cuts_soon: u64,
    /// Kills of processes, whose page cache stayed.
    pub crashes: u64,
    /// Writes that were answered; none of them is lost.
    pub acked: u64,
    /// Writes whose connection ended before an answer.
    pub unanswered: u64,
    /// Nodes read back and compared.
    pub read: u64,
}

impl Report {
    /// All power cuts.
    #[must_use]
    pub const fn cuts(&self) -> u64 {
        self.cuts_one + self.cuts_majority + self.cuts_all
    }
}

/// Cuts the power `plan.cuts` times under load, and verifies after each few.
///
/// # Errors
/// What was lost, with the seed and the schedule; the directories are kept then.
pub fn run(plan: Plan) -> Result<Report> {
    let mut world = World::start(plan)?;
    let done = world.cut_all().and_then(|()| world.settle());
    world.finish(done)
}

/// Syncs of one server fail until it ends, and the pages only look clean from then on (once for each of `failures`); it is
/// started again as a supervisor would, works on, and then loses its power.
///
/// # Errors
/// As [`run`].
pub fn run_failing_syncs(plan: Plan, failures: u64) -> Result<Report> {
    let mut world = World::start(plan)?;
    let done = (0..failures).try_for_each(|_| world.fail_a_sync());
    world.finish(done)
}

/// Everybody is killed, starts again and works on; then the machines lose their power, with all that was not synced. What the
/// start found in the page cache and did not sync goes with it. `plan.cuts` times.
///
/// # Errors
/// As [`run`].
pub fn run_kills_before_cuts(plan: Plan) -> Result<Report> {
    let mut world = World::start(plan)?;
    let done = (0..plan.cuts).try_for_each(|_| world.kill_then_cut());
    world.finish(done)
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    /// It is killed; the machine goes on.
    Kill,
    /// With the machine's power, and this is left of what was not synced.
    Power(Survival),
    /// The same, and the seed says what is left.
    AnyPower,
}

struct World {
    plan: Plan,
    // Dropped in this order: no process has a file open when its disk goes.
    cluster: Cluster,
    disks: Vec<LossyDisk>,
    directory: Option<TempDir>,
    random: fastrand::Rng,
    ledgers: Vec<Ledger>,
    clients: Vec<Client>,
    answers: Arc<AtomicU64>,
    began: Instant,
    schedule: Vec<String>,
    report: Report,
}

impl World {
    fn start(plan: Plan) -> Result<Self> {
        let mut random = fastrand::Rng::with_seed(plan.seed);
        let directory = tempfile::Builder::new().prefix("zabra-power-").tempdir()?;
        let mut disks = vec![];
        for i in 1..=plan.servers {
            let place = directory.path().join(format!("disk-{i}"));
            fs::create_dir(&place)?;
            disks.push(LossyDisk::mount(&place, random.u64(..), SYNC_TAKES)?);
        }
        let places: Vec<PathBuf> = disks.iter().map(|d| d.path().to_owned()).collect();
        let cluster = Cluster::prepare(&vec![Product::Zabra; plan.servers], &places, &SETTINGS)?;
        for place in &places {
            for entry in fs::read_dir(place)? {
                File::open(entry?.path())?.sync_all()?;
            }
            File::open(place)?.sync_all()?;
        }
        let mut world = Self {
            plan,
            cluster,
            disks,
            directory: Some(directory),
            random,
            ledgers: (1..=CLIENTS).map(Ledger::new).collect(),
            clients: vec![],
            answers: Arc::default(),
            began: Instant::now(),
            schedule: vec![],
            report: Report::default(),
        };
        for disk in &world.disks {
            disk.set_sync(plan.sync);
        }
        world.restart(&world.everybody())?;
        world.cluster.wait_until_serving()?;
        let mut client = RawClient::connect(world.cluster.servers[0].client_port, 8000)?;
        for ledger in &world.ledgers {
            prepare(&mut client, ledger, PATIENCE)?;
        }
        Ok(world)
    }

    /// Rounds of load and disturbance until there were enough cuts.
    fn cut_all(&mut self) -> Result<()> {
        while self.report.cuts() < self.plan.cuts {
            self.begin_load();
            self.wait_for_answers()?;
            let power = self.random.u8(..10) < 6;
            let victims = self.victims();
            self.strike(&victims, if power { Ends::AnyPower } else { Ends::Kill })?;
            self.sleep(200);
            self.restart(&victims)?;
            // After a kill most often: what the start has found may only be in the page cache.
            if self.random.u8(..10) < if power { 4 } else { 8 } {
                self.second_cut(&victims)?;
            }
            self.cluster.wait_until_serving()?;
            self.settle()?;
        }
        Ok(())
    }

    fn second_cut(&mut self, first: &[usize]) -> Result<()> {
        let soon = self.random.bool();
        if soon {
            self.sleep(SOON_MS);
            self.report.cuts_soon += 1;
        } else {
            self.cluster.wait_until_serving()?;
            self.wait_for_answers()?;
        }
        let victims = match self.random.u8(..3) {
            0 => self.everybody(),
            1 => self.victims(),
            _ => first.to_vec(),
        };
        self.strike(&victims, Ends::AnyPower)?;
        self.sleep(100);
        self.restart(&victims)
    }

    fn kill_then_cut(&mut self) -> Result<()> {
        self.begin_load();
        self.wait_for_answers()?;
        let everybody = self.everybody();
        self.strike(&everybody, Ends::Kill)?;
        self.restart(&everybody)?;
        self.cluster.wait_until_serving()?;
        // What is read now is promised, and so is what is written on top of it.
        self.settle()?;
        self.begin_load();
        self.wait_for_answers()?;
        self.strike(&everybody, Ends::Power(Survival::Nothing))?;
        self.restart(&everybody)?;
        self.cluster.wait_until_serving()?;
        self.settle()
    }

    fn fail_a_sync(&mut self) -> Result<()> {
        self.begin_load();
        self.wait_for_answers()?;
        let victim = self.random.usize(..self.disks.len());
        self.note(format!("syncs of server {} fail", victim + 1));
        let (cluster, disk) = (&mut self.cluster, &self.disks[victim]);
        wait_until("the server ends by its failed sync", PATIENCE, || {
            // Again, because a snapshot may be what failed: the server makes another one, and goes on.
            disk.set_sync(Sync::FailsOnce);
            Ok(cluster.all_alive().is_err())
        })?;
        disk.set_sync(Sync::Honest);
        self.restart(&[victim])?;
        self.cluster.wait_until_serving()?;
        self.settle()?;
        self.begin_load();
        self.wait_for_answers()?;
        let victims = self.random.bool().then(|| self.everybody());
        let victims = victims.unwrap_or_else(|| vec![victim]);
        self.strike(&victims, Ends::AnyPower)?;
        self.restart(&victims)?;
        self.cluster.wait_until_serving()?;
        self.settle()
    }

    fn begin_load(&mut self) {
        let ports: Vec<u16> = self.cluster.servers.iter().map(|s| s.client_port).collect();
        for ledger in std::mem::take(&mut self.ledgers) {
            let seed = self.random.u64(..);
            let answers = Arc::clone(&self.answers);
            self.clients
                .push(Client::start(ledger, ports.clone(), seed, answers));
        }
    }

    /// Until there is something to lose, and then for a moment that nobody can foresee.
    fn wait_for_answers(&mut self) -> Result<()> {
        let enough = self.answers.load(Ordering::Relaxed) + self.random.u64(1..150);
        let answers = Arc::clone(&self.answers);
        self.cluster.wait("writes are answered", |_| {
            Ok(answers.load(Ordering::Relaxed) >= enough)
        })?;
        self.sleep(30);
        Ok(())
    }

    fn everybody(&self) -> Vec<usize> {
        (0..self.disks.len()).collect()
    }

    /// One, a majority or all, in a random order.
    fn victims(&mut self) -> Vec<usize> {
        let mut victims = self.everybody();
        let all = victims.len();
        self.random.shuffle(&mut victims);
        let counts = [1, all / 2 + 1, all, all];
        victims.truncate(counts[self.random.usize(..counts.len())]);
        victims
    }

    /// Ends processes at once.
    fn strike(&mut self, victims: &[usize], ends: Ends) -> Result<()> {
        self.cluster.all_alive()?;
        let (all, several) = (victims.len() == self.disks.len(), victims.len() > 1);
        let power = ends != Ends::Kill;
        for victim in victims {
            // Whether a sync that was under way when its process died has come to its end, nobody knows.
            let abandons = power || self.random.u8(..4) > 0;
            let disk = &self.disks[*victim];
            self.cluster.kill_and(*victim, || {
                if abandons {
                    disk.abandon_syncs();
                }
            })?;
        }
        let mut told = String::from(if power { "power cut:" } else { "kill -9:" });
        for victim in victims {
            let _ = write!(told, " {}", victim + 1);
            let survival = match ends {
                Ends::Kill => continue,
                Ends::Power(survival) => survival,
                Ends::AnyPower if self.random.bool() => Survival::Nothing,
                Ends::AnyPower => Survival::Some,
            };
            let _ = write!(told, " ({survival:?} unsynced survives)");
            self.disks[*victim].cut(survival);
        }
        self.note(told);
        let count = match (power, all, several) {
            (false, ..) => &mut self.report.crashes,
            (true, true, _) => &mut self.report.cuts_all,
            (true, false, true) => &mut self.report.cuts_majority,
            (true, false, false) => &mut self.report.cuts_one,
        };
        *count += 1;
        Ok(())
    }

    fn restart(&mut self, victims: &[usize]) -> Result<()> {
        for victim in victims {
            self.cluster.restart(*victim)?;
        }
        let ids: Vec<_> = victims.iter().map(|v| v + 1).collect();
        self.note(format!("start: {ids:?}"));
        Ok(())
    }

    /// Ends the load and reads everything back, from each server.
    fn settle(&mut self) -> Result<()> {
        self.clients.iter().for_each(Client::tell);
        for client in std::mem::take(&mut self.clients) {
            self.ledgers.push(client.join()?);
        }
        self.cluster.wait_until_serving()?;
        let mut all_equal = false;
        // What had no answer may still be carried out between two readings.
        for _ in 0..5 {
            all_equal = self.verify()?;
            if all_equal {
                break;
            }
        }
        ensure!(all_equal, "the trees of the servers stay different");
        self.note("verified".into());
        Ok(())
    }

    /// Whether all servers have the same; that they have what was promised is the error's business.
    fn verify(&mut self) -> Result<bool> {
        let mut wrong = vec![];
        let mut trees = vec![];
        for server in &self.cluster.servers {
            let mut client = RawClient::connect(server.client_port, 8000)
                .with_context(|| format!("server {}", server.id))?;
            let mut tree = vec![];
            for ledger in &mut self.ledgers {
                let seen = read_back(&mut client, ledger, PATIENCE)?;
                self.report.read += seen.len() as u64;
                if let Err(whys) = ledger.verify(&seen) {
                    let told = whys
                        .iter()
                        .map(|why| format!("server {}: {why}", server.id));
                    wrong.extend(told);
                }
                tree.push(seen);
            }
            trees.push(tree);
        }
        if !wrong.is_empty() {
            bail!("promises are broken:\n  {}", wrong.join("\n  "));
        }
        Ok(trees.windows(2).all(|pair| pair[0] == pair[1]))
    }

    fn sleep(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.random.u64(..=most_ms)));
    }

    fn note(&mut self, what: String) {
        let at = self.began.elapsed().as_millis();
        self.schedule.push(format!("{at:>7} ms  {what}"));
    }

    fn finish(mut self, done: Result<()>) -> Result<Report> {
        for ledger in &self.ledgers {
            self.report.acked += ledger.acked;
            self.report.unanswered += ledger.unanswered;
        }
        let Err(why) = done else {
            return Ok(self.report);
        };
        self.clients.iter().for_each(Client::tell);
        let mut told = format!("{why:#}\n{:?}\nschedule:\n", self.plan);
        for line in &self.schedule {
            let _ = writeln!(told, "  {line}");
        }
        for server in &self.cluster.servers {
            let log = fs::read_to_string(server.log()).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let shown = lines.len().saturating_sub(LOG_LINES);
            let _ = writeln!(told, "end of the log of server {}:", server.id);
            lines[shown..].iter().for_each(|line| {
                let _ = writeln!(told, "  {line}");
            });
        }
        if let Some(directory) = self.directory.take() {
            let kept = directory.keep();
            let _ = writeln!(told, "kept for a closer look: {}", kept.display());
            for server in &self.cluster.servers {
                let log = kept.join(format!("server-{}.log", server.id));
                fs::copy(server.log(), log).context("server.log")?;
            }
            for (i, disk) in (1..).zip(&self.disks) {
                copy(disk.path(), &kept.join(format!("data-{i}")))?;
            }
        }
        bail!("{told}")
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::write(target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
