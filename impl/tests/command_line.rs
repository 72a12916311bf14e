//! What `zabra serve` takes in place of a file, and the codes with which it ends: as ZooKeeper's own script, and scripts around it,
//! know them. Method: the real binary, its answers and its end.

mod common;

use common::{Cluster, free_ports, wait_for};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(arguments: &[&str], variables: &[(&str, &Path)]) -> Served {
    let child = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .arg("serve")
        .args(arguments)
        .env_remove("ZOOCFGDIR")
        .env_remove("ZOOCFG")
        .envs(variables.iter().copied())
        .env("ZABRA_LOG", "warn")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    Served(child.unwrap())
}

fn word(port: u16, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| answer.contains("Mode: standalone"))
}

/// The code and the words with which it ends.
fn end(mut served: Served) -> (Option<i32>, String) {
    let status = wait_for("the end of the server", || served.0.try_wait().unwrap());
    let mut said = String::new();
    let mut stderr = served.0.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    (status.code(), said)
}

#[test]
fn a_port_and_a_directory_start_a_server_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data of one");
    let port = free_ports(1)[0];
    let arguments = [&port.to_string(), data.to_str().unwrap(), "400", "5"];
    let mut served = serve(&arguments, &[]);
    wait_for("a server that serves", || word(port, "srvr"));
    assert!(data.join("version-2").is_dir());
    assert_eq!(served.0.try_wait().unwrap(), None);
}

#[test]
fn the_variables_of_zookeeper_s_script_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_ports(1)[0];
    let text = format!("dataDir={}\nclientPort={port}\n", dir.path().display());
    fs::write(dir.path().join("zoo.cfg"), &text).unwrap();
    fs::write(dir.path().join("other.cfg"), "clientPort=1\n").unwrap();
    let served = serve(&[], &[("ZOOCFGDIR", dir.path())]);
    wait_for("a server that serves", || word(port, "srvr"));
    drop(served);
    let other = [
        ("ZOOCFGDIR", dir.path()),
        ("ZOOCFG", Path::new("other.cfg")),
    ];
    let (code, said) = end(serve(&[], &other));
    assert_eq!(code, Some(2));
    assert!(said.contains("other.cfg: dataDir is missing"), "{said}");
}

#[test]
fn it_ends_with_zookeeper_s_codes_where_it_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let held = TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = held.local_addr().unwrap().port();
    for (arguments, code, words) in [
        (
            vec![],
            2,
            "no configuration file; write zabra serve zoo.cfg",
        ),
        (
            vec!["zoo.cfg", data],
            2,
            "arguments:1: clientPort=zoo.cfg: write a port, 0 to 65535",
        ),
        (vec!["1", "2", "3", "4", "5"], 2, "Usage"),
        (
            vec![&taken.to_string(), data],
            5,
            "is another server running there?",
        ),
    ] {
        let (found, said) = end(serve(&arguments, &[]));
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{said}");
    }
    let cluster = Cluster::new(2, "electionPortBindRetry=1\n");
    let _held = TcpListener::bind(("127.0.0.1", cluster.election_ports[0])).unwrap();
    let file = cluster.data(0).join("zoo.cfg");
    let (found, said) = end(serve(&[file.to_str().unwrap()], &[]));
    assert_eq!(found, Some(14), "{said}");
    assert!(said.contains("(election port)"), "{said}");
}

/// What a shell completes, and what man shows, name every command.
#[test]
fn completions_and_pages_name_every_command() {
    let run = |arguments: &[&str]| {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let help = run(&["help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|line| !line.starts_with(' '))
        })
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert!(
        commands.contains(&"backup") && commands.len() > 15,
        "{commands:?}"
    );
    for shell in ["bash", "zsh", "fish"] {
        let text = run(&["completions", shell]);
        for command in &commands {
            assert!(text.contains(command), "{shell}: {command}");
        }
    }
    // Bash reads it, and completes what it is asked for.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zabra.bash");
    std::fs::write(&file, run(&["completions", "bash"])).unwrap();
    let script = "source \"$1\"; COMP_WORDS=(zabra rest); COMP_CWORD=1; _zabra zabra rest zabra; echo \"${COMPREPLY[@]}\"";
    let done = std::process::Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "restore\n");
    let pages = dir.path().join("man1");
    run(&["man", pages.to_str().unwrap()]);
    for command in commands.iter().filter(|command| **command != "help") {
        let page = std::fs::read_to_string(pages.join(format!("zabra-{command}.1"))).unwrap();
        assert!(page.contains(".SH"), "{command}");
    }
    assert!(run(&["man"]).contains(".TH zabra 1"));
}
