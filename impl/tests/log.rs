//! What the log may not tell, however much it is asked to tell.

mod common;

use bytes::Bytes;
use common::{Cluster, create};
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
