//! One whole server that stands alone, and streams of clients whose bytes somebody else chooses.

use super::disk::SimDisk;
use super::net::{Piece, StreamId};
use super::scene::{Scene, What, place};
use super::server::Server;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use zabra::config::Config;

/// The place that all clients dial from.
const CLIENTS: u64 = 100;

/// What a client has heard.
#[derive(Default, Debug)]
pub struct Ear {
    /// Bytes that nobody has taken yet.
    pub bytes: BytesMut,
    /// Whether the server has ended the connection.
    pub is_over: bool,
}

/// See the module.
pub struct Alone {
    scene: Scene,
    server: Server,
    ears: BTreeMap<StreamId, Ear>,
}

impl Alone {
    /// A server with an empty data directory, which serves.
    ///
    /// # Errors
    /// What keeps it from serving.
    pub fn begin(config: Config, seed: u64) -> Result<Self, String> {
        let mut alone = Self {
            scene: Scene::new(seed, None),
            server: Server::new(0, config, SimDisk::new(seed)),
            ears: BTreeMap::new(),
        };
        alone.server.boot(&mut alone.scene);
        alone.run(200_000)?;
        Ok(alone)
    }

    /// A client dials.
    pub fn dial(&mut self) -> StreamId {
        let stream = self.scene.net.open(CLIENTS, place(0));
        if let Some(run) = self.server.running.as_deref_mut() {
            run.clock.set(self.scene.now_us);
            run.takes.accept(stream, CLIENTS);
        }
        self.ears.insert(stream, Ear::default());
        stream
    }

    /// A client sends.
    pub fn say(&mut self, stream: StreamId, bytes: &[u8]) {
        self.scene.send(stream, 0, Bytes::copy_from_slice(bytes));
    }

    /// A client ends its connection.
    pub fn end(&mut self, stream: StreamId) {
        self.scene.net.close(stream, 0, self.scene.now_us);
        self.ears.remove(&stream);
    }

    /// What a client has heard.
    pub fn ear(&mut self, stream: StreamId) -> &mut Ear {
        self.ears.entry(stream).or_default()
    }

    /// So much time passes.
    ///
    /// # Errors
    /// What must not be.
    pub fn run(&mut self, us: u64) -> Result<(), String> {
        self.scene.after(us, What::Check);
        while self.scene.wrong.is_none() {
            match self.scene.go_on() {
                None | Some(What::Check) => break,
                Some(what) => self.happens(what),
            }
        }
        self.scene.wrong.clone().map_or(Ok(()), Err)
    }

    fn happens(&mut self, what: What) {
        let Self {
            scene,
            server,
            ears,
        } = self;
        match what {
            What::Boot(_) => server.boot(scene),
            What::Started(_, life, found) => server.start(life, *found, scene),
            What::Turn(_, life) => server.turn(life, scene),
            What::Arrive(stream, 0) => {
                while let Some(piece) = scene.net.take(stream, 0, scene.now_us) {
                    let Some(ear) = ears.get_mut(&stream) else {
                        continue;
                    };
                    match piece {
                        Piece::Bytes(bytes) => ear.bytes.extend_from_slice(&bytes),
                        Piece::Closed => ear.is_over = true,
                    }
                }
            }
            What::Arrive(stream, _) => {
                if let Some(run) = server.running.as_deref_mut() {
                    run.clock.set(scene.now_us);
                    run.takes.arrive(stream, scene);
                }
                server.look(server.life, scene);
            }
            what => server.goes_on(what, scene),
        }
    }
}
