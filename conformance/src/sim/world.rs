//! One run: servers and clients, what breaks, and what must hold all the while and in the end.
//!
//! For [`FAULTS_US`] something breaks now and then, and is mended soon after. Then everything is mended, and clients go on until
//! [`CLIENTS_US`]: each of them must get writes acknowledged in that time. When nothing is asked for any more, all servers must
//! hold the same tree, with everything in it that was acknowledged.

use super::client::{Client, Ledger, created_by, register, value_of};
use super::disk::{Crash, SimDisk};
use super::mail;
use super::planted::Planted;
use super::scene::{FAULTS_US, Mend, Scene, What, place};
use super::server::Server;
use super::view::Observer;
use std::collections::BTreeMap;
use zabra::config::Config;
use zabra::core::event::Event;
use zabra_model::service::mode::Mode;
use zabra_model::tree::node::Tree;
use zabra_model::vote::ServerState;

const SECOND_US: u64 = 1_000_000;
/// Clients ask until then.
pub const CLIENTS_US: u64 = 45 * SECOND_US;
/// The end.
const END_US: u64 = 50 * SECOND_US;
/// Between two looks at the invariants.
const CHECK_US: u64 = 40_000;
/// Clients of a run.
const CLIENTS: usize = 4;

/// What has become of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What must not be, if it was.
    pub wrong: Option<String>,
    /// The whole run in one number: the same for the same seed.
    pub digest: u64,
    /// What happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

struct World {
    scene: Scene,
    servers: Vec<Server>,
    clients: Vec<Client>,
    ledger: Ledger,
    observer: Observer,
    counts: BTreeMap<&'static str, u64>,
    /// Writes of each client when everything was mended.
    before: Vec<u64>,
}

/// Runs one seed with servers of these configurations.
#[must_use]
pub fn run(configs: &[Config], seed: u64, planted: Option<Planted>, is_told: bool) -> Report {
    let mut scene = Scene::new(seed, planted);
    scene.is_told = is_told;
    let servers = configs.iter().enumerate().map(|(index, config)| {
        let disk = SimDisk::new(seed.wrapping_mul(31) ^ index as u64);
        if planted == Some(Planted::NamesNotSynced) {
            disk.forget_names();
        }
        Server::new(index, config.clone(), disk)
    });
    let servers: Vec<Server> = servers.collect();
    let client = |index| {
        let seed = seed.wrapping_mul(37) ^ (index as u64 + 1000);
        Client::new(index, CLIENTS, servers.len(), seed)
    };
    let mut world = World {
        clients: (0..CLIENTS).map(client).collect(),
        scene,
        servers,
        ledger: Ledger::new(CLIENTS),
        observer: Observer::default(),
        counts: BTreeMap::new(),
        before: vec![0; CLIENTS],
    };
    world.run();
    world.report(seed)
}

impl World {
    fn run(&mut self) {
        let scene = &mut self.scene;
        for index in 0..self.servers.len() {
            let us = scene.random.u64(0..500_000);
            scene.after(us, What::Boot(index));
        }
        for index in 0..CLIENTS {
            scene.after(1_500_000, What::Client(index));
        }
        scene.at(3 * SECOND_US, What::Fault);
        scene.after(CHECK_US, What::Check);
        let (mut is_mended, mut is_quiet) = (false, false);
        while self.scene.wrong.is_none() {
            let Some(what) = self.scene.go_on() else {
                break;
            };
            let now_us = self.scene.now_us;
            if now_us >= FAULTS_US && !std::mem::replace(&mut is_mended, true) {
                self.mend_everything();
            }
            if now_us >= CLIENTS_US && !std::mem::replace(&mut is_quiet, true) {
                self.clients.iter_mut().for_each(|c| c.is_done = true);
            }
            if now_us >= END_US {
                self.judge_the_end();
                return;
            }
            self.happens(what);
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn happens(&mut self, what: What) {
        let Self { scene, servers, .. } = self;
        match what {
            What::Boot(i) => servers[i].boot(scene),
            What::Started(i, life, found) => {
                servers[i].start(life, *found, scene);
                self.count("starts");
                self.is_back(i);
                self.follows(i);
            }
            What::Turn(i, life) => {
                servers[i].turn(life, scene);
                self.follows(i);
            }
            What::Disk(i, ..)
            | What::DiskIsFree(i, ..)
            | What::Settle(i, ..)
            | What::Job(i, ..)
            | What::Silence(i, ..)
            | What::Intake(i, ..) => servers[i].goes_on(what, scene),
            What::Dial(i, life, attempt) => self.dial(i, life, attempt),
            What::Mail(letter) => self.letter(&letter),
            What::Arrive(stream, end) => self.arrive(stream, end),
            What::Client(i) => scene.client(&mut self.clients[i], &mut self.ledger),
            What::ClientDialled(client, server) => self.client_dials(client, server),
            What::Fault => self.fault(),
            What::GivesUp(i, life) => {
                if servers[i].of(life).is_some() {
                    self.crash(i, Crash::Process);
                }
            }
            What::PowerInWrite(i, life, all) => {
                if servers[i].of(life).is_some() {
                    let hit = |other: &usize| all || *other == i;
                    (0..servers.len())
                        .filter(hit)
                        .for_each(|i| self.crash(i, Crash::Power));
                }
            }
            What::Mend(mend) => self.mend(mend),
            What::Check => {
                if let Err(what) = self.observer.judge(servers, &scene.chain) {
                    scene.fail(what);
                }
                scene.after(CHECK_US, What::Check);
            }
        }
    }

    /// After a server's turn.
    fn follows(&mut self, i: usize) {
        self.observer.looks_at(&mut self.servers[i], &self.scene);
        self.post(i);
    }

    fn post(&mut self, i: usize) {
        let lives: Vec<_> = self
            .servers
            .iter()
            .map(|s| s.running.is_some().then_some(s.life))
            .collect();
        let server = &mut self.servers[i];
        let life = server.life;
        if let Some(run) = server.running.as_deref_mut() {
            let before = run.events.len();
            run.mail
                .post(life, &lives, &mut self.scene, &mut run.events);
            if run.events.len() > before {
                server.rouse(&mut self.scene);
            }
        }
    }

    /// A server is up again: the others say to it again what they have said last.
    fn is_back(&mut self, i: usize) {
        self.scene.net.reset(place(i), self.scene.now_us);
        for other in (0..self.servers.len()).filter(|other| *other != i) {
            if let Some(run) = self.servers[other].running.as_deref_mut() {
                run.mail.again(i);
            }
            self.post(other);
        }
    }

    fn letter(&mut self, letter: &super::scene::Letter) {
        let Self { scene, servers, .. } = self;
        let (to, life) = letter.to;
        if let Some(run) = servers[to].of(life) {
            let before = run.events.len();
            if let Err(what) = mail::read(letter, &mut run.events) {
                scene.fail(what);
            }
            for event in &run.events[before..] {
                if let Event::Mail(from, said) = event {
                    scene.tell(|| format!("server {}: mail of {from}: {said:?}", to + 1));
                }
            }
            servers[to].rouse(scene);
        }
        let (from, life) = letter.from;
        if let Some(run) = servers[from].of(life) {
            run.mail.arrived(to);
            self.post(from);
        }
    }

    fn dial(&mut self, i: usize, life: u32, attempt: u64) {
        let Self { scene, servers, .. } = self;
        let dialling = servers[i].of(life).and_then(|run| run.links.dialling);
        let Some(dialling) = dialling.filter(|d| d.attempt == attempt) else {
            return;
        };
        let (here, there) = (place(i), place(dialling.leader));
        let mut stream = None;
        if !scene.net.is_cut(here, there)
            && let Some(leader) = servers[dialling.leader].running.as_deref_mut()
        {
            let id = scene.net.open(here, there);
            leader.links.knock(id);
            stream = Some(id);
        }
        let Some(run) = servers[i].of(life) else {
            return;
        };
        match stream {
            Some(stream) => run.links.reached(stream, &mut run.events, scene.now_us),
            None => {
                if let Some(pause_us) = run.links.missed(&mut run.events, scene.now_us) {
                    scene.after(pause_us, What::Dial(i, life, attempt));
                }
            }
        }
        servers[i].rouse(scene);
    }

    fn arrive(&mut self, stream: u64, end: usize) {
        let Self {
            scene,
            servers,
            clients,
            ledger,
            ..
        } = self;
        let Some(at) = scene.net.place(stream, end) else {
            return;
        };
        if at >= 100 {
            let client = &mut clients[at as usize - 100];
            let now_us = scene.now_us;
            while let Some(piece) = scene.net.take(stream, end, now_us) {
                match piece {
                    super::net::Piece::Bytes(bytes) => {
                        let heard = client.heard(stream, &bytes, now_us, &mut scene.net, ledger);
                        if let Err(what) = heard {
                            scene.fail(what);
                        }
                    }
                    super::net::Piece::Closed => client.closed(stream, now_us, &mut scene.net),
                }
            }
            return;
        }
        let i = at as usize - 1;
        let life = servers[i].life;
        let Some(run) = servers[i].running.as_deref_mut() else {
            return;
        };
        run.clock.set(scene.now_us);
        if run.links.has(stream) {
            run.links.arrive((stream, end), &mut run.events, scene);
        } else {
            run.takes.arrive(stream, scene);
            run.takes.look((i, life), &mut run.events, scene);
        }
        servers[i].rouse(scene);
    }

    fn client_dials(&mut self, client: usize, server: usize) {
        let Self {
            scene,
            servers,
            clients,
            ..
        } = self;
        let (here, there) = (clients[client].place(), place(server));
        if scene.net.is_cut(here, there) {
            return; // it waits until its time is over
        }
        let run = servers[server].running.as_deref_mut();
        let reached = run.map(|run| {
            let stream = scene.net.open(here, there);
            run.clock.set(scene.now_us);
            run.takes.accept(stream, here);
            (stream, server)
        });
        clients[client].dialled(reached, scene.now_us, &mut scene.net);
    }

    fn fault(&mut self) {
        if self.scene.now_us >= FAULTS_US {
            return;
        }
        let scene = &mut self.scene;
        let again_us = scene.random.u64(200_000..2_500_000);
        scene.after(again_us, What::Fault);
        let one = scene.random.usize(0..self.servers.len());
        let other = (one + 1 + scene.random.usize(0..self.servers.len() - 1)) % self.servers.len();
        let short_us = scene.random.u64(100_000..6_000_000);
        match scene.random.u8(0..100) {
            0..=19 => self.crash(one, Crash::Process),
            20..=34 => self.crash(one, Crash::Power),
            35..=41 => {
                self.crash(one, Crash::Power);
                self.crash(other, Crash::Power);
            }
            42..=51 => (0..self.servers.len()).for_each(|i| self.crash(i, Crash::Power)),
            52..=63 => self.cut(place(one), place(other), short_us),
            64..=71 => {
                self.cut(place(one), place(other), short_us);
                let third = 3 - one - other;
                self.cut(place(one), place(third), short_us);
            }
            72..=76 => {
                let client = 100 + self.scene.random.u64(0..CLIENTS as u64);
                self.cut(client, place(one), short_us);
            }
            77..=79 => {
                self.count("syncs failed");
                self.servers[one].disk.fail();
            }
            80..=86 => {
                self.count("slow ways");
                let delay_us = self.scene.random.u64(2_000..150_000);
                let (here, there) = (place(one), place(other));
                self.scene.net.slow(here, there, Some(delay_us));
                self.scene
                    .after(short_us, What::Mend(Mend::Way(here, there)));
            }
            87..=92 => {
                self.count("slow disks");
                let slowness = self.scene.random.u64(5..60);
                self.servers[one].disk.slow(slowness);
                self.scene.after(short_us, What::Mend(Mend::Disk(one)));
            }
            93..=96 => {
                self.count("full disks");
                self.servers[one].disk.fill(true);
                let short_us = short_us / 2;
                self.scene.after(short_us, What::Mend(Mend::Disk(one)));
            }
            _ => {
                self.count("dates set");
                self.servers[one].ahead_ms = self.scene.random.u64(0..100_000);
                self.crash(one, Crash::Process);
            }
        }
    }

    fn crash(&mut self, i: usize, crash: Crash) {
        let Self { scene, servers, .. } = self;
        if servers[i].is_down() {
            return;
        }
        // What it has shown until now counts.
        if let Err(what) = self.observer.judge(servers, &scene.chain) {
            scene.fail(what);
        }
        servers[i].crash(crash, scene);
        let down_us = match scene.random.u8(0..3) {
            0 => scene.random.u64(1_000..50_000),
            1 => scene.random.u64(50_000..1_000_000),
            _ => scene.random.u64(1_000_000..6_000_000),
        };
        scene.after(down_us, What::Boot(i));
        self.count(match crash {
            Crash::Process => "processes killed",
            Crash::Power => "powers lost",
        });
    }

    fn cut(&mut self, a: u64, b: u64, for_us: u64) {
        self.count("ways cut");
        self.scene
            .tell(|| format!("the way between {a} and {b} is cut"));
        self.scene.net.cut(a, b, true, self.scene.now_us);
        self.scene.after(for_us, What::Mend(Mend::Way(a, b)));
    }

    fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Way(a, b) => {
                self.scene.net.slow(a, b, None);
                self.scene.net.cut(a, b, false, self.scene.now_us);
                (0..self.servers.len()).for_each(|i| self.post(i));
            }
            Mend::Disk(i) => {
                self.servers[i].disk.slow(1);
                self.servers[i].disk.fill(false);
            }
        }
    }

    fn mend_everything(&mut self) {
        self.scene.tell(|| "everything is mended".to_owned());
        let places = (0..self.servers.len()).map(place);
        let clients = self.clients.iter().map(Client::place);
        let places: Vec<u64> = places.chain(clients).collect();
        for a in &places {
            for b in places.iter().filter(|b| *b > a) {
                self.mend(Mend::Way(*a, *b));
            }
        }
        for i in 0..self.servers.len() {
            self.mend(Mend::Disk(i));
            self.scene.after(100_000, What::Boot(i));
        }
        self.before = self.clients.iter().map(|c| c.writes).collect();
    }

    fn judge_the_end(&mut self) {
        let Self {
            scene,
            servers,
            clients,
            ledger,
            ..
        } = self;
        if let Err(what) = self.observer.judge(servers, &scene.chain) {
            scene.fail(what);
        }
        servers.iter().for_each(|s| s.compare_with_record(scene));
        let runs: Vec<_> = servers.iter().map(|s| s.running.as_deref()).collect();
        let mut first: Option<Vec<String>> = None;
        for (i, run) in runs.iter().enumerate() {
            let Some(run) = run.filter(|run| run.shared.mode() != Mode::NotServing) else {
                let what = run.map_or_else(|| "it is down".to_owned(), |run| run.describe());
                scene.fail(format!("liveness: server {} does not serve: {what}", i + 1));
                return;
            };
            let nodes = all_of(&run.shared.tree());
            let first = first.get_or_insert_with(|| nodes.clone());
            if let Some((here, there)) = first.iter().zip(&nodes).find(|(a, b)| a != b) {
                scene.fail(format!("server {}: {there}, server 1: {here}", i + 1));
            }
            if first.len() != nodes.len() {
                let (here, there) = (first.len(), nodes.len());
                scene.fail(format!("server {}: {there} nodes, server 1: {here}", i + 1));
            }
        }
        let leads = |run: &super::server::Running| run.core.peer().state() == ServerState::Leading;
        if runs.iter().flatten().filter(|run| leads(run)).count() != 1 {
            scene.fail("liveness: there is not one leader");
        }
        for (client, before) in clients.iter().zip(&self.before) {
            if client.writes == *before {
                scene.fail(format!(
                    "liveness: client {} gets nothing written",
                    client.index
                ));
            }
        }
        if let Some(run) = runs[0]
            && let Err(what) = nothing_is_lost(&run.shared.tree(), ledger)
        {
            scene.fail(what);
        }
    }

    fn report(mut self, seed: u64) -> Report {
        let sum = |of: fn(&Client) -> u64| self.clients.iter().map(of).sum();
        let counts: [(&str, u64); 6] = [
            ("writes", sum(|c| c.writes)),
            ("reads", sum(|c| c.reads)),
            ("sessions", sum(|c| c.sessions)),
            ("events", sum(|c| c.events)),
            ("committed", self.observer.committed() as u64),
            ("reigns", self.observer.reigns),
        ];
        self.counts.extend(counts);
        Report {
            seed,
            wrong: self.scene.wrong,
            digest: self.scene.digest,
            counts: self.counts,
        }
    }
}

/// A tree's nodes, to be compared.
fn all_of(tree: &Tree) -> Vec<String> {
    let nodes = tree.nodes().filter(|n| !n.path.starts_with("/zookeeper"));
    let mut all: Vec<String> = nodes
        .map(|n| format!("{} = {:?}, {:?}", n.path, n.data, n.stat))
        .collect();
    // Children have no order.
    all.sort();
    all
}

/// Whether everything is there that was acknowledged, and nothing that nobody asked for.
fn nothing_is_lost(tree: &Tree, ledger: &Ledger) -> Result<(), String> {
    let nodes: BTreeMap<&str, u64> = tree
        .nodes()
        .map(|n| (n.path, value_of(n.data.unwrap_or_default())))
        .collect();
    for (client, acked) in ledger.acked.iter().enumerate() {
        let value = nodes.get(&*register(client)).copied().unwrap_or(0);
        if value < *acked || value > ledger.asked[client] {
            return Err(format!(
                "register {client} holds {value} in the end, {acked} was acknowledged"
            ));
        }
        let prefix = created_by(client);
        let made = nodes.keys().filter(|path| path.starts_with(&prefix));
        let (made, asked) = (made.count() as u64, ledger.creations[client]);
        if made > asked {
            return Err(format!(
                "client {client} asked for {asked} nodes, {made} are there"
            ));
        }
    }
    match ledger
        .created
        .iter()
        .find(|path| !nodes.contains_key(path.as_str()))
    {
        None => Ok(()),
        Some(path) => Err(format!(
            "{path} was acknowledged, and is not there in the end"
        )),
    }
}
