//! kazoo authenticates by SASL: each user of the JAAS file has its own rights, and a wrong password has none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use zabra_conformance::cluster::Cluster;
use zabra_conformance::interop::run_python;

#[test]
fn kazoo_authenticates_by_sasl_through_a_follower_and_through_the_leader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jaas.conf");
    let users = "Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  user_bob=\"b \\\"s\"\n  user_root=\"r\";\n};\n";
    std::fs::write(&path, users).unwrap();
    let file = path.display().to_string();
    let cluster = Cluster::start(
        3,
        &[
            ("java.security.auth.login.config", &*file),
            ("superUser", "root"),
        ],
    )
    .unwrap();
    for server in &cluster.servers {
        let arguments = [&*server.connect(), "bob", "b \"s", "root", "r"];
        eprint!("{}", run_python("kazoo_sasl.py", &arguments).unwrap());
    }
}
