//! Configuration files as they are deployed, in `configs/`: each starts a server, or is refused for the reason named here. They
//! have the keys of the distributions, images, operators and guides that their names tell, with made-up values; `@DIR@` is where
//! the data lies.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs;
use std::path::Path;
use zabra::config::check::load;
use zabra::config::{Config, ConfigError};

/// A file, and the words of its refusal; none if it starts.
const FILES: [(&str, &str); 23] = [
    ("clickhouse-guide.cfg", ""),
    ("clients-by-tls.cfg", ""),
    ("debian.cfg", ""),
    ("groups.cfg", ""),
    ("hadoop-manager.cfg", ""),
    ("hadoop-secure.cfg", ""),
    ("hbase.cfg", ""),
    ("image-alone.cfg", ""),
    ("image-of-old.cfg", ""),
    ("image-three.cfg", ""),
    ("kafka-operator-tls.cfg", ""),
    ("kafka-production.properties", ""),
    ("kafka-quickstart.properties", ""),
    ("kubernetes-stateful-set.cfg", ""),
    ("observers-abroad.cfg", ""),
    ("operator.cfg", ""),
    ("quotas.cfg", ""),
    ("sample.cfg", ""),
    ("solr.cfg", ""),
    ("storm.cfg", ""),
    ("switched-off-security.cfg", ""),
    ("unsafe.cfg", "would let acknowledged writes be lost"),
    ("windows.cfg", ""),
];

fn start(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display().to_string();
    fs::write(dir.path().join("myid"), "1\n").unwrap();
    fs::write(
        dir.path().join("zoo.cfg.dynamic"),
        "server.1=zk-0.zk:2888:3888:participant;2181\nserver.2=zk-1.zk:2888:3888:participant;2181\n",
    )
    .unwrap();
    let path = dir.path().join("zoo.cfg");
    fs::write(&path, text.replace("@DIR@", &at)).unwrap();
    load(&path)
}

#[test]
fn c_20_to_c_30_files_as_they_are_deployed_start_or_are_refused_for_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), FILES.len());
    for (file, refusal) in FILES {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        match start(&text) {
            Ok(config) => {
                assert!(refusal.is_empty(), "{file} starts");
                let secure = config.tls.as_ref().and_then(|tls| tls.listen.as_ref());
                let mut ports = config.client.iter().chain(secure).map(|listen| listen.port);
                assert!(ports.any(|port| port == 2181), "{file}");
                let alone = !["server.2", "dynamicConfigFile"]
                    .iter()
                    .any(|key| text.contains(key));
                let is_ensemble = config.is_ensemble();
                assert_eq!(is_ensemble, !alone, "{file}");
                // Nothing of it is a word that nobody knows.
                for line in &config.unused {
                    assert!(
                        zabra::config::keys::find(&line.key).is_some(),
                        "{file}: {line:?}"
                    );
                }
            }
            Err(error) => {
                let said = error.to_string();
                assert!(
                    !refusal.is_empty() && said.contains(refusal),
                    "{file}: {said}"
                );
                assert!(
                    said.contains("remove the line") || said.contains("write "),
                    "{file}: {said}"
                );
            }
        }
    }
}

/// Java starts with such a file too; who reads the log knows why no client can authenticate.
#[test]
fn a_provider_of_sasl_without_a_file_of_users_is_told_of() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let text = fs::read_to_string(folder.join("hadoop-secure.cfg")).unwrap();
    let config = start(&text).unwrap();
    let [note] = config.notes.as_slice() else {
        panic!("{:?}", config.notes);
    };
    assert!(
        note.contains("line 9: authProvider.1 is about SASL"),
        "{note}"
    );
    assert!(note.contains("java.security.auth.login.config="), "{note}");
}
