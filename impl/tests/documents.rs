//! Every command in the documents for users is run, in order, by the real binary in a directory of its own. Ports that the documents name are
//! replaced by free ones.

mod common;

use common::free_ports;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one document may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// The commands of a document, in order.
fn commands(document: &str) -> (String, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(document);
    let text = fs::read_to_string(path).unwrap();
    let (mut script, mut blocks, mut is_inside) = (String::new(), 0, false);
    for line in text.lines() {
        match (line, is_inside) {
            ("```sh", false) => (blocks, is_inside) = (blocks + 1, true),
            ("```", true) => is_inside = false,
            (line, true) => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    assert!(!is_inside, "{document}: a block has no end");
    (script, blocks)
}

/// Runs them as a shell script that ends at the first failure; what it printed.
fn run(document: &str, dir: &Path, config: &str) -> String {
    let ports = free_ports(2);
    let (script, blocks) = commands(document);
    assert!(blocks >= 3, "{document}: {blocks} blocks");
    let text = format!(
        "tickTime=500\ndataDir={}\nclientPort=2181\nclientPortAddress=127.0.0.1\nadmin.serverAddress=127.0.0.1\nadmin.serverPort=8080\n4lw.commands.whitelist=*\n{config}",
        dir.display()
    );
    let with_ports = |text: &str| {
        text.replace("2181", &ports[0].to_string())
            .replace("8080", &ports[1].to_string())
    };
    fs::write(dir.join("zoo.cfg"), with_ports(&text)).unwrap();
    // What a doctor finds on this machine is no failure of the command.
    let around = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\nzabra() { command zabra \"$@\" || { local code=$?; [ \"$1\" = doctor ] && [ $code = 1 ] || return $code; }; }\n";
    // A job has to be the server or the ensemble itself, not the function around it: else that alone is ended.
    let script = with_ports(&script)
        .replace("zabra serve", "env zabra serve")
        .replace("zabra dev", "env zabra dev");
    let file = dir.join("commands.sh");
    fs::write(&file, format!("{around}set -x\n{script}")).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_zabra")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let said = dir.join("said");
    let out = fs::File::create(&said).unwrap();
    let mut child = Command::new("bash")
        .arg(&file)
        .current_dir(dir)
        .env("PATH", path)
        .env("ZABRA_LOG", "warn")
        .env_remove("ZOOCFGDIR")
        .env_remove("ZOOCFG")
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            // Its trap ends the server.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = fs::read_to_string(said).unwrap();
    assert!(
        status.is_some_and(|status| status.success()),
        "{document}: {status:?}\n{said}"
    );
    said
}

#[test]
fn the_way_from_zookeeper_and_back_is_as_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../conformance/golden/data/standalone-3.9.5/data/version-2");
    fs::create_dir(dir.path().join("version-2")).unwrap();
    for file in fs::read_dir(golden).unwrap() {
        let file = file.unwrap();
        fs::copy(
            file.path(),
            dir.path().join("version-2").join(file.file_name()),
        )
        .unwrap();
    }
    let said = run("moving.md", dir.path(), "");
    assert!(
        said.contains("Mode: standalone") && said.contains("restore backups/before"),
        "{said}"
    );
}

#[test]
fn a_server_is_operated_as_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let said = run("operating.md", dir.path(), "");
    assert_eq!(said.matches("Mode: standalone\n").count(), 3, "{said}");
    assert!(
        said.contains("imok") && said.contains("zk_avg_latency"),
        "{said}"
    );
}

#[test]
fn the_first_ten_minutes_are_as_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let said = run("getting-started.md", dir.path(), "");
    for told in [
        "Created /app\n",
        "\"data\":\"{\\\"size\\\": 3}\"",
        "zk_avg_fsynctime\t",
        "it leads epoch 1",
        "all as the model does",
        "did you mean clientPort?",
        "exit code 1",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(dir.path().join("election.svg").is_file());
    assert!(dir.path().join("backup/manifest.json").is_file());
}

#[test]
fn the_recipes_are_as_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let said = run("recipes.md", dir.path(), "");
    for told in [
        "the only one, since ",
        "ann works, elected at ",
        "bob leads since zxid 0x",
        "{\"id\": 2}",
        "one\n",
        "two\n",
        "one of at most two",
        "changed: /config",
        "/services/api-0000000001",
        "10.0.0.8:8000\n",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn a_server_is_secured_as_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let said = run("security.md", dir.path(), "");
    assert!(
        said.contains("super:") && said.contains("ssl.keystore.lokation"),
        "{said}"
    );
}
