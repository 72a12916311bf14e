//! Strangers with random bytes at every port: the ensemble goes on.

mod common;

use common::Cluster;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// xorshift: the same bytes each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Noise, sometimes behind a beginning that a server would believe.
    fn message(&mut self) -> Vec<u8> {
        let beginnings: [&[u8]; 8] = [
            &[],
            &[0, 0, 0, 44, 0, 0, 0, 0],
            &[0, 0, 0, 45],
            &[
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            ],
            &[0, 0, 0, 0, 0, 0, 0, 9],
            &[
                0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0,
                0,
            ],
            &[0, 0, 0, 2, 0, 0, 0, 1],
            &[0x7f, 0xff, 0xff, 0xff],
        ];
        let mut bytes = beginnings[self.next() as usize % 8].to_vec();
        for _ in 0..self.next() % 300 {
            bytes.push(self.next() as u8);
        }
        bytes
    }
}

#[test]
fn random_bytes_at_every_port_do_not_stop_the_ensemble() {
    let mut cluster = Cluster::new(3, "maxClientCnxns=0");
    cluster.start_all();
    cluster.wait_serving(&[0, 1, 2]);
    let mut c = cluster.client(0);
    c.create("/m", 0).unwrap().unwrap();
    let mut ports = cluster.ports.clone();
    ports.extend(&cluster.quorum_ports);
    ports.extend(&cluster.election_ports);
    let mut noise = Noise(0x5eed);
    let mut open = std::collections::VecDeque::new();
    let until = Instant::now() + Duration::from_secs(4);
    let mut round = 0;
    while Instant::now() < until {
        for port in &ports {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", *port)) {
                let _ = stream.write_all(&noise.message());
                open.push_back(stream); // some stay open and say nothing more
            }
        }
        while open.len() > 200 {
            open.pop_front();
        }
        round += 1;
        if round % 20 == 0 {
            // Served all the while; an election, if noise caused one, is short.
            let served = c.set("/m", &round.to_string());
            if served.is_none() {
                cluster.wait_serving(&[0, 1, 2]);
                c = cluster.client(0);
            }
        }
    }
    cluster.wait_serving(&[0, 1, 2]);
    for i in 0..3 {
        assert!(cluster.is_running(i));
        let mut c = cluster.client(i);
        c.sync();
        c.set("/m", "end").unwrap().unwrap();
        assert_eq!(c.get("/m"), Some("end".into()));
    }
}
