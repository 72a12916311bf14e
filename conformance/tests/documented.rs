//! The programs in the documents for users, in other languages than the shell's, as they stand there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::path::Path;
use std::process::Command;
use zabra_conformance::cluster::{Cluster, binary};
use zabra_conformance::interop::{run_python, run_python_with, script};
use zabra_conformance::programs::which;

/// The block of a document that is in this language.
fn block(document: &str, language: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../impl/docs");
    let text = std::fs::read_to_string(docs.join(document)).unwrap();
    let (_, block) = text
        .split_once(&format!("```{language}\n"))
        .expect("a block");
    block.split_once("```\n").expect("its end").0.to_owned()
}

/// What stands in for pytest, whose part in it is to call these functions.
const CALLS: &str = "
def fixture(scope):
    return lambda function: function
";

#[test]
fn the_fixture_for_pytest_gives_tests_an_ensemble() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("documented.py");
    let around = "held = ensemble()\nserving = next(held)\ntest_a_node_is_there(serving)\nassert next(held, None) is None\nprint(serving['servers'][2]['id'])\n";
    let block = block("getting-started.md", "python");
    std::fs::write(&file, format!("{block}\n\n{around}")).unwrap();
    std::fs::write(dir.path().join("pytest.py"), CALLS).unwrap();
    let folder = binary().unwrap().parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&path)));
    let said = run_python_with(file.to_str().unwrap(), &[], ("PATH", &path.unwrap())).unwrap();
    assert_eq!(said, "3\n");
}

/// What the recipes say, whichever the language.
const TOLD: [&str; 8] = [
    "ann leads\n",
    "the only one\n",
    "took first\n",
    "both were there\n",
    "the configuration has changed\n",
    "services/api-0000000000\n",
    "services/api-0000000001\n",
    "asks 10.0.0.",
];

fn all_is_told(said: &str) {
    for told in TOLD {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn the_recipes_in_python_work_with_three_servers() {
    let cluster = Cluster::start(3, &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("recipes.py");
    std::fs::write(&file, block("recipes-in-clients.md", "python")).unwrap();
    let said = run_python(file.to_str().unwrap(), &[&cluster.connect()]).unwrap();
    all_is_told(&said);
    assert!(said.contains("one of at most two\n"), "{said}");
}

#[test]
fn the_recipes_in_go_work_with_three_servers() {
    if which("go").is_none() {
        eprintln!("\n#### SKIPPED: the recipes in Go cannot run here: no go\n");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("main.go"),
        block("recipes-in-clients.md", "go"),
    )
    .unwrap();
    for file in ["go.mod", "go.sum"] {
        std::fs::copy(script("clients/go").join(file), dir.path().join(file)).unwrap();
    }
    let mut go = Command::new("go");
    let built = go
        .args(["build", "-o", "recipes", "."])
        .current_dir(dir.path());
    let built = built.output().unwrap();
    assert!(built.status.success(), "{built:?}");
    let cluster = Cluster::start(3, &[]).unwrap();
    let mut program = Command::new(dir.path().join("recipes"));
    let done = program.arg(cluster.connect()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    all_is_told(&String::from_utf8(done.stdout).unwrap());
}
