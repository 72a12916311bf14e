//! Three servers whose `zoo.cfg` a test writes and changes, and what they have to do whatever guards the ports between them.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test may fail where it stands"
)]

use crate::common::Cluster;

/// The servers, and how the `zoo.cfg` of each begins.
pub struct Members {
    pub cluster: Cluster,
    begin: Vec<String>,
}

impl Members {
    /// None has started.
    pub fn new() -> Self {
        let cluster = Cluster::new(3, "");
        let begin = (0..3).map(|i| std::fs::read_to_string(cluster.data(i).join("zoo.cfg")));
        let begin = begin.map(Result::unwrap).collect();
        Self { cluster, begin }
    }

    /// These are the other lines of its `zoo.cfg` from now on.
    pub fn says(&self, i: usize, lines: &str) {
        let text = format!("{}{lines}", self.begin[i]);
        std::fs::write(self.cluster.data(i).join("zoo.cfg"), text).unwrap();
    }

    pub fn start(&mut self, i: usize) {
        let path = self.cluster.data(i).join("log");
        self.cluster.start_logging(i, "warn,zabra=info", &path);
    }

    /// What a server has written to its log since it started.
    pub fn log(&self, i: usize) -> String {
        std::fs::read_to_string(self.cluster.data(i).join("log")).unwrap()
    }

    /// A write through each of these, and all of them at each.
    pub fn write_through(&self, who: &[usize], when: &str) {
        for i in who {
            let mut client = self.cluster.client(*i);
            client.create(&format!("/{when}-{i}"), 0).unwrap().unwrap();
        }
        for i in who {
            let mut client = self.cluster.client(*i);
            client.sync();
            let names = client.children("/");
            for j in who {
                assert!(names.iter().any(|name| **name == *format!("{when}-{j}")));
            }
        }
    }

    /// They elect, serve, go on without this leader, and take it back.
    pub fn outlive(&mut self, leader: usize) {
        self.write_through(&[0, 1, 2], "before");
        self.cluster.kill(leader);
        let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
        self.cluster.wait_serving(&others);
        self.write_through(&others, "without");
        self.start(leader);
        self.cluster.wait_serving(&[0, 1, 2]);
        self.write_through(&[0, 1, 2], "after");
    }
}
