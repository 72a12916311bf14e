//! What the log may not tell, however much it is asked to tell, and what the codes of its warnings tell.

mod common;

use bytes::Bytes;
use common::{Cluster, create};
use std::process::Command;
use zabra::wire::client::Request;
use zabra_model::tree::op::WriteOp;

/// CVE-2026-24308 and its like: settings and requests with secrets, at the level that tells most.
#[test]
fn no_password_and_no_data_gets_into_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (jaas, log) = (dir.path().join("jaas.conf"), dir.path().join("log"));
    let users = "Server { a.DigestLoginModule required user_bob=\"hush-sasl\"; };";
    std::fs::write(&jaas, users).unwrap();
    let lines = format!(
        "java.security.auth.login.config={}\nDigestAuthenticationProvider.superDigest=super:hush-digest",
        jaas.display()
    );
    let mut cluster = Cluster::new(1, &lines);
    cluster.start_logging(0, "trace", &log);
    cluster.wait_serving(&[0]);
    let auth = |data: &'static [u8]| Request::Auth {
        kind: 0,
        scheme: Some("digest".into()),
        data: Some(Bytes::from_static(data)),
    };
    let sasl = |token: &'static [u8]| Request::Sasl {
        token: Some(Bytes::from_static(token)),
    };
    let mut ann = cluster.client(0);
    ann.call(&auth(b"ann:hush-password")).unwrap().unwrap();
    ann.call(&create("/a", 0)).unwrap().unwrap();
    let set = Request::Write(WriteOp::SetData {
        path: Some("/a".into()),
        data: Some(Bytes::from_static(b"hush-data")),
        version: -1,
    });
    ann.call(&set).unwrap().unwrap();
    let mut bob = cluster.client(0);
    bob.call(&sasl(b"")).unwrap().unwrap();
    assert!(bob.call(&sasl(b"response=hush-token")).unwrap().is_err());
    cluster.kill(0);
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("has not authenticated by SASL"), "{said}");
    let told: Vec<&str> = said.lines().filter(|line| line.contains("hush")).collect();
    assert!(told.is_empty(), "{told:#?}");
}

fn explain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let told = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .arg("explain")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (told.status.code(), text(told.stdout), text(told.stderr))
}

/// Whoever reads a warning has its code, and asks for more by it.
#[test]
fn a_warning_has_a_code_that_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut cluster = Cluster::new(1, "nio.numWorkerThreads=3\n");
    cluster.start_logging(0, "warn", &log);
    cluster.wait_serving(&[0]);
    cluster.kill(0);
    let said = std::fs::read_to_string(&log).unwrap();
    let line = said.lines().find(|line| line.contains("numWorkerThreads"));
    let code = line.unwrap().split("code=").nth(1).unwrap();
    let code = code.split_whitespace().next().unwrap();
    let (end, told, _) = explain(&[code]);
    assert_eq!(end, Some(0));
    for words in [
        "ZBR-0106  a line of the configuration has no effect\n\ncause    ",
        "\nclients  ",
        "\nremedy   ",
        "\nexample  zabra config explain KEY",
    ] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    let (_, told, _) = explain(&["zbr-0301", "ZBR-0311", "-o", "json"]);
    let told: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [sync, full] = &told[..] else {
        panic!("two were asked for: {told:?}")
    };
    assert_eq!(
        (&sync["code"], &full["code"]),
        (&"ZBR-0301".into(), &"ZBR-0311".into())
    );
    for part in ["kind", "title", "cause", "effect", "remedy", "example"] {
        assert!(full[part].as_str().unwrap().len() > 3, "{full}");
    }
    let (end, all, _) = explain(&["--codes"]);
    assert_eq!(end, Some(0));
    assert!(all.lines().count() > 60 && all.contains("ZBR-0409  a request was slow"));
    let (end, told, why) = explain(&["ZBR-9999"]);
    assert_eq!((end, told.as_str()), (Some(1), ""));
    assert!(
        why.contains("there is no such code; zabra explain --codes lists them"),
        "{why}"
    );
    let (end, _, why) = explain(&["ZBR-0301", "/nothing"]);
    assert!(
        end == Some(1) && why.contains("one after the other"),
        "{why}"
    );
}

/// What a server says of a setting without effect, where the log is led to a file, with these variables beside.
fn said_with(variables: impl Fn(&std::fs::File) -> Vec<(&'static str, String)>) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("zoo.cfg");
    let data = dir.path().join("data");
    std::fs::write(
        &config,
        format!("dataDir={}\nclientPort=0x\n", data.display()),
    )
    .unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .arg("serve")
        .arg(&config)
        .env_remove("JOURNAL_STREAM")
        .env("ZABRA_LOG", "zabra=loud")
        .envs(variables(&log))
        .stderr(log.try_clone().unwrap())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
    let said = std::fs::read_to_string(dir.path().join("log")).unwrap();
    // What ends a start is no line of the log.
    let lines = said.lines().filter(|line| !line.starts_with("zabra: "));
    lines.map(str::to_owned).collect()
}

/// systemd names the file that it reads; whoever leads the log elsewhere below it reads it with own eyes.
#[test]
fn the_journal_gets_json_and_people_get_text() {
    use std::os::unix::fs::MetadataExt;
    let place = |log: &std::fs::File| {
        let at = log.metadata().unwrap();
        format!("{}:{}", at.dev(), at.ino())
    };
    let text = [
        said_with(|_| vec![]),
        said_with(|_| vec![("JOURNAL_STREAM", "8:1".to_owned())]),
        said_with(|log| {
            let journal = ("JOURNAL_STREAM", place(log));
            vec![journal, ("ZABRA_LOG_FORMAT", "text".to_owned())]
        }),
    ];
    for said in text {
        let has_it = |line: &String| line.contains(" WARN ") && line.contains("code=ZBR-0101");
        assert!(said.iter().any(has_it), "{said:#?}");
    }
    let json = [
        said_with(|log| vec![("JOURNAL_STREAM", place(log))]),
        said_with(|_| vec![("ZABRA_LOG_FORMAT", "json".to_owned())]),
    ];
    for said in json {
        let lines = said.iter().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<serde_json::Value> = lines.collect();
        let line = lines.iter().find(|line| line["code"] == "ZBR-0101");
        let line = line.unwrap_or_else(|| panic!("{said:#?}"));
        assert_eq!(line["level"], "WARN");
        assert!(
            line["message"]
                .as_str()
                .unwrap()
                .starts_with("ZABRA_LOG=zabra=loud: ")
        );
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
