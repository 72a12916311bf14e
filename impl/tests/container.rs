//! The entry of an image, without an engine for containers: the binary itself, with the variables that the images of ZooKeeper take.

mod common;

use common::{Client, PATIENCE, free_ports, wait_for};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use zabra_model::ids::SessionId;

/// The environment of a container: nothing but these.
fn entry(variables: &[(&str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zabra"));
    command
        .arg("container")
        .env_clear()
        .env("ZABRA_LOG", "warn");
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null());
    command
}

/// Places of a container below a directory of the test.
fn places(dir: &Path) -> Vec<(&'static str, String)> {
    let at = |name: &str| dir.join(name).display().to_string();
    vec![
        ("ZOO_CONF_DIR", at("conf")),
        ("ZOO_DATA_DIR", at("data")),
        ("ZOO_DATA_LOG_DIR", at("datalog")),
    ]
}

struct Servers(Vec<Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn client(port: u16) -> Client {
    wait_for("a server that serves", || {
        let mut client = Client::connect(port, SessionId(0), None, 10_000)?;
        client.sync_if_open()?;
        Some(client)
    })
}

#[test]
fn three_containers_by_the_names_of_the_official_image_are_an_ensemble() {
    let ports = free_ports(9);
    let servers: Vec<_> = (0..3)
        .map(|i| {
            format!(
                "server.{}=127.0.0.1:{}:{};127.0.0.1:{}",
                i + 1,
                ports[i],
                ports[i + 3],
                ports[i + 6]
            )
        })
        .collect();
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |i: usize| {
        let mut variables = places(dirs[i].path());
        variables.extend([
            ("ZOO_MY_ID", (i + 1).to_string()),
            ("ZOO_SERVERS", servers.join(" ")),
            ("ZOO_TICK_TIME", "500".into()),
            ("ZOO_INIT_LIMIT", "20".into()),
            ("ZOO_ADMINSERVER_ENABLED", "false".into()),
            ("ZOO_CFG_EXTRA", "snapCount=5000 preAllocSize=1024".into()),
        ]);
        entry(&variables).spawn().unwrap()
    };
    let mut running = Servers((0..3).map(start).collect());
    let mut first = client(ports[6]);
    first.create("/a", 0).unwrap().unwrap();
    let mut third = client(ports[8]);
    third.sync();
    assert_eq!(third.get("/a").as_deref(), Some("0"));
    let conf = fs::read_to_string(dirs[1].path().join("conf/zoo.cfg")).unwrap();
    assert!(
        conf.contains("snapCount=5000\npreAllocSize=1024\n"),
        "{conf}"
    );
    assert_eq!(
        fs::read_to_string(dirs[1].path().join("data/myid")).unwrap(),
        "2\n"
    );
    assert!(common::has_file(
        &dirs[1].path().join("datalog/version-2"),
        "log."
    ));
    // A container that comes again finds its file, its number and its data.
    running.0[0].kill().unwrap();
    running.0[0].wait().unwrap();
    running.0[0] = start(0);
    assert_eq!(client(ports[6]).get("/a").as_deref(), Some("0"));
}

#[test]
fn a_container_by_bitnamis_names_serves_alone() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_ports(1)[0];
    let mut variables = places(dir.path());
    variables.extend([
        ("ZOO_SERVER_ID", "1".into()),
        ("ALLOW_ANONYMOUS_LOGIN", "yes".into()),
        ("ZOO_PORT_NUMBER", port.to_string()),
        ("ZOO_ENABLE_ADMIN_SERVER", "no".into()),
        ("ZOO_HEAP_SIZE", "512".into()),
        ("ZOO_4LW_COMMANDS_WHITELIST", "srvr, mntr, ruok".into()),
    ]);
    let _running = Servers(vec![entry(&variables).spawn().unwrap()]);
    client(port).create("/a", 0).unwrap().unwrap();
    // The check of health that those images have.
    let asked = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .args(["word", "ruok", &format!("127.0.0.1:{port}")])
        .output()
        .unwrap();
    assert_eq!(asked.stdout, b"imok\n");
    let status = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .arg("status")
        .arg(dir.path().join("conf/zoo.cfg"))
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}

fn ended(variables: &[(&str, String)]) -> Output {
    let mut child = entry(variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if std::time::Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it goes on with {variables:?}");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn what_asks_for_security_that_is_not_set_up_refuses_the_start() {
    for (name, value) in [
        ("ALLOW_ANONYMOUS_LOGIN", "no"),
        ("ZOO_ENABLE_AUTH", "yes"),
        ("ZOO_ENABLE_QUORUM_AUTH", "yes"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut variables = places(dir.path());
        variables.push((name, value.into()));
        let done = ended(&variables);
        assert_eq!(done.status.code(), Some(2));
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.contains(name) && said.contains("JAAS"), "{said}");
        assert!(!dir.path().join("data").exists());
    }
    // TLS is asked for, and its stores are not there.
    let dir = tempfile::tempdir().unwrap();
    let mut variables = places(dir.path());
    variables.extend([
        ("ZOO_TLS_CLIENT_ENABLE", "true".into()),
        ("ZOO_TLS_CLIENT_KEYSTORE_FILE", "/none.p12".into()),
    ]);
    let done = ended(&variables);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
}

/// The variables of both families, as one file that can be looked at.
#[test]
fn the_file_can_be_looked_at_before() {
    let done = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .args(["container", "--print"])
        .env_clear()
        .envs([
            ("ZOO_MY_ID", "ordinal"),
            ("HOSTNAME", "zk-4"),
            ("ZOO_SERVRS", "x"),
        ])
        .output()
        .unwrap();
    assert!(done.status.success());
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        text.contains("server.5=localhost:2888:3888;2181\n"),
        "{text}"
    );
    assert!(String::from_utf8_lossy(&done.stderr).contains("ZOO_SERVRS"));
}

/// The variables of the manifests for Kubernetes, by their lines.
#[test]
fn the_pods_of_the_manifests_are_members_of_one_ensemble() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/kubernetes.yaml");
    let text = fs::read_to_string(file).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- name: ZOO_"));
    let values = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("value: "));
    let variables: Vec<_> = names
        .zip(values)
        .map(|(name, value)| (format!("ZOO_{name}"), value.trim_matches('"').to_owned()))
        .collect();
    assert!(variables.len() >= 5, "{variables:?}");
    for (ordinal, sid) in [(0, 1), (1, 2), (2, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["container", "--print"])
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .envs(places(dir.path()))
            .env("HOSTNAME", format!("zookeeper-{ordinal}"))
            .output()
            .unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        // The file that it would write is one that a server starts with.
        let (file, data) = (dir.path().join("zoo.cfg"), dir.path().join("data"));
        fs::create_dir(&data).unwrap();
        fs::write(&file, &done.stdout).unwrap();
        fs::write(data.join("myid"), format!("{sid}\n")).unwrap();
        let checked = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["config", "check"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            checked.status.success(),
            "{}",
            String::from_utf8_lossy(&checked.stdout)
        );
        let text = String::from_utf8(done.stdout).unwrap();
        assert_eq!(text.matches("\nserver.").count(), 3, "{text}");
    }
}
