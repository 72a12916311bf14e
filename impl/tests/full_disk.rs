//! A disk without room is a state, not an end. Method: the real binary on a small file system of its own, which is filled
//! and emptied under it.

mod common;

use common::{Client, Cluster, PATIENCE, set, wait_for};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use zabra_model::ids::SessionId;

const DISK_BYTES: usize = 4 << 20;

/// A server whose data lies on a file system of its own, which nobody else sees.
struct Small {
    cluster: Cluster,
    child: Child,
    dir: PathBuf,
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `None`, and a word about it, where this machine lets nobody mount.
fn small(lines: &str, filler_bytes: usize) -> Option<Small> {
    let probe = Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"])
        .stderr(Stdio::null())
        .status();
    if !probe.is_ok_and(|s| s.success()) {
        eprintln!("NOT TESTED: this user may not mount (unshare -m, mount -t tmpfs)");
        return None;
    }
    let cluster = Cluster::new(1, lines);
    let dir = cluster.data(0).join("disk");
    std::fs::create_dir(&dir).unwrap();
    let path = cluster.data(0).join("zoo.cfg");
    let text = std::fs::read_to_string(&path).unwrap();
    let old = format!("dataDir={}\n", cluster.data(0).display());
    let new = format!("dataDir={}\n", dir.display());
    assert!(text.contains(&old));
    std::fs::write(&path, text.replace(&old, &new)).unwrap();
    let script = format!(
        "mount -t tmpfs -o size={DISK_BYTES} tmpfs {0} && head -c {filler_bytes} /dev/zero > {0}/filler; exec {1} serve {2}",
        dir.display(),
        env!("CARGO_BIN_EXE_zabra"),
        path.display()
    );
    let child = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .env("ZABRA_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    Some(Small {
        cluster,
        child,
        dir,
    })
}

impl Small {
    /// The server's own view of a file: its process is the one that was started, after two `exec`s.
    fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.child.id());
        let inside = self.dir.join(name);
        PathBuf::from(root).join(inside.strip_prefix("/").unwrap())
    }

    fn count(&self, name: &str) -> Option<u64> {
        let answer = self.cluster.word(0, "mntr")?;
        let line = answer.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().parse().ok()
    }

    fn serves(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Writes until one is not answered with success: how many were, and what came then.
    fn fill(&mut self, c: &mut Client, data: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        c.stream
            .set_read_timeout(Some(std::time::Duration::from_secs(3)))
            .unwrap();
        let mut written = 0;
        while Instant::now() < deadline {
            match c.call(&set("/keep", &format!("{written}{data}"))) {
                Some(Ok(_)) => written += 1,
                Some(Err(_)) | None => return written,
            }
        }
        panic!("a file system of {DISK_BYTES} bytes has taken {written} writes");
    }
}

/// C-10: while appending, and while writing a snapshot.
#[test]
fn c_10_without_room_writes_are_refused_reads_go_on_and_it_is_over_by_itself() {
    for lines in ["", "snapCount=20"] {
        let Some(mut server) = small(lines, 2 << 20) else {
            return;
        };
        server.cluster.wait_serving(&[0]);
        let mut reader = server.cluster.client(0);
        reader.create("/keep", 0).unwrap().unwrap();
        let mut c = server.cluster.client(0);
        let data = "x".repeat(30_000);
        let written = server.fill(&mut c, &data);
        assert!(written > 10, "{written}");
        assert!(server.serves());
        wait_for("the state in mntr", || {
            (server.count("zk_disk_full") == Some(1)).then_some(())
        });
        // In the file system there cannot be more than it holds: what was answered is what is there.
        assert!(written * data.len() < DISK_BYTES, "{written}");
        // Reads go on, on connections that there are; what was acknowledged is what they see.
        let seen = reader.get("/keep").unwrap();
        assert_eq!(seen, format!("{}{data}", written - 1));
        // A write is refused with a code after which clients try again, and the connection stays.
        for _ in 0..3 {
            assert_eq!(reader.set("/keep", "no"), Some(Err(-7)));
            assert_eq!(reader.get("/keep").unwrap(), seen);
        }
        // The session of the one whose write waits can be taken up.
        drop(c);
        let _again = Client::connect(
            server.cluster.ports[0],
            reader.session,
            Some(reader.password),
            10_000,
        )
        .unwrap();
        std::fs::remove_file(server.path("filler")).unwrap();
        wait_for("its end in mntr", || {
            (server.count("zk_disk_full") == Some(0)).then_some(())
        });
        let mut c = Client::connect(server.cluster.ports[0], SessionId(0), None, 10_000).unwrap();
        c.set("/keep", "after").unwrap().unwrap();
        assert_eq!(c.get("/keep").unwrap(), "after");
        assert!(server.serves());
        if !lines.is_empty() {
            wait_for("a snapshot after all", || {
                let snapshots = server.count("zk_cnt_snapshottime")?;
                (snapshots > 0).then_some(())
            });
        }
    }
}

/// C-10: nothing can be written from the first moment on, neither files of epochs nor a snapshot.
#[test]
fn c_10_a_start_without_room_is_told_and_harms_nothing() {
    let Some(mut server) = small("", DISK_BYTES) else {
        return;
    };
    let code = wait_for("an end", || server.child.try_wait().unwrap());
    assert_eq!(code.code(), Some(3));
}
