//! ZooKeeper's own C client, built in two ways: as Debian packages it, which is with neither TLS nor SASL, and from its source with both.
//!
//! The source comes from the npm package `zookeeper`, a binding that carries a release of the C client with its generated files; what
//! ZooKeeper publishes lacks those, and building them takes Maven. Cyrus SASL comes as Debian's packages. Nothing is installed: the
//! machine stays as it is.

use crate::interop::{run_to_end, unpack_debian};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Carries the C client of ZooKeeper 3.8.
const NPM: &str = "zookeeper@7.3.0";
/// Cyrus SASL with DIGEST-MD5, and its headers.
const SASL: [&str; 3] = ["libsasl2-2", "libsasl2-modules", "libsasl2-dev"];
/// What the client asks its `config.h` for, on Linux.
const CONFIG: &str = "ARPA_INET_H GETCWD GETHOSTNAME GETLOGIN GETPWUID_R GETUID NETDB_H NETINET_IN_H POLL STRING_H SYS_SOCKET_H SYS_TIME_H SYS_UTSNAME_H UNISTD_H";
/// Its files: the threaded client, with SASL.
const FILES: &str = "src/zookeeper.c src/recordio.c src/zk_log.c src/zk_hashtable.c src/addrvec.c src/mt_adaptor.c src/zk_sasl.c src/hashtable/hashtable.c src/hashtable/hashtable_itr.c generated/zookeeper.jute.c";
/// How a program sees a client that has both.
const WITH_BOTH: [&str; 2] = ["-DHAVE_OPENSSL_H", "-DHAVE_CYRUS_SASL_H"];

/// Of OpenSSL, whose library a machine without its headers may have, too.
pub(crate) const OPENSSL_HEADER: &str = "/usr/include/openssl/ssl.h";

/// The program of `source`, with the client of Debian's packages.
pub(crate) fn build(source: &Path, out: &Path) -> Result<Command> {
    let root = out.join("root");
    if !root.is_dir() {
        let scratch = tempfile::Builder::new().tempdir_in(out)?;
        let unpacked = unpack_debian(&["libzookeeper-mt2", "libzookeeper-mt-dev"], scratch.path())?;
        std::fs::rename(&unpacked, &root)?;
    }
    let library = find(&root.join("usr/lib"), "libzookeeper_mt.so")
        .context("libzookeeper-mt-dev holds no libzookeeper_mt.so")?;
    let folder = library.parent().context("a folder")?;
    let binary = out.join("work");
    run_to_end(
        checked(source, &binary)
            .arg("-I")
            .arg(root.join("usr/include"))
            .arg("-L")
            .arg(folder)
            .args(["-lzookeeper_mt", "-lpthread"]),
    )?;
    let mut command = Command::new(binary);
    command.env("LD_LIBRARY_PATH", folder);
    Ok(command)
}

/// The program of `source`, with a client that has TLS and SASL.
pub(crate) fn build_with_tls_and_sasl(source: &Path, out: &Path) -> Result<Command> {
    let root = out.join("with-tls-and-sasl");
    if !root.is_dir() {
        let scratch = tempfile::Builder::new().tempdir_in(out)?;
        let made = scratch.path().join("made");
        std::fs::create_dir(&made)?;
        make(scratch.path(), &made)?;
        std::fs::rename(&made, &root)?;
    }
    let sasl = find(&root.join("sasl/usr/lib"), "libsasl2.so")
        .context("libsasl2-dev holds no libsasl2.so")?;
    let folder = sasl.parent().context("a folder")?;
    let binary = out.join("work-with-tls-and-sasl");
    run_to_end(
        checked(source, &binary)
            .args(WITH_BOTH)
            .args(objects(&root)?)
            .arg("-I")
            .arg(root.join("include"))
            .arg("-I")
            .arg(root.join("sasl/usr/include"))
            .arg("-L")
            .arg(folder)
            .args(["-lsasl2", "-lssl", "-lcrypto", "-lpthread", "-lm"]),
    )?;
    let mut command = Command::new(binary);
    command.env("LD_LIBRARY_PATH", folder);
    command.env("SASL_PATH", folder.join("sasl2"));
    Ok(command)
}

/// Our own program is compiled strictly.
fn checked(source: &Path, binary: &Path) -> Command {
    let mut gcc = Command::new("gcc");
    gcc.args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"]);
    gcc.arg(binary);
    gcc.args(["work.c", "reconfig.c"].map(|name| source.join(name)));
    gcc
}

/// Compiles the client into `made`: its objects, its headers where Debian has them, and Cyrus SASL.
fn make(scratch: &Path, made: &Path) -> Result<()> {
    run_to_end(
        Command::new("npm")
            .args(["pack", "--silent", NPM])
            .current_dir(scratch),
    )?;
    let package = only_file(scratch, "tgz")?;
    extract(&package, scratch)?;
    extract(
        &scratch.join("package/deps/zookeeper-client-c.tar.gz"),
        scratch,
    )?;
    let client = scratch.join("zookeeper-client-c");
    let debian = scratch.join("debian");
    std::fs::create_dir(&debian)?;
    std::fs::rename(unpack_debian(&SASL, &debian)?, made.join("sasl"))?;
    let headers = made.join("include/zookeeper");
    std::fs::create_dir_all(&headers)?;
    for folder in ["include", "generated"] {
        for file in std::fs::read_dir(client.join(folder))? {
            let file = file?;
            std::fs::copy(file.path(), headers.join(file.file_name()))?;
        }
    }
    let mut config: Vec<String> = CONFIG
        .split(' ')
        .map(|name| format!("#define HAVE_{name} 1\n"))
        .collect();
    config.push("#define ZOO_IPV6_ENABLED 1\n#define POLL_NFDS_TYPE nfds_t\n".into());
    config.push("#define PACKAGE_STRING \"zookeeper C client 3.8\"\n".into());
    std::fs::write(client.join("config.h"), config.concat())?;
    let objects = made.join("objects");
    std::fs::create_dir(&objects)?;
    run_to_end(
        Command::new("gcc")
            // Its warnings are its own.
            .args(["-w", "-O1", "-c", "-DTHREADED"])
            .args(WITH_BOTH)
            .args(FILES.split(' ').map(|file| client.join(file)))
            .arg("-I")
            .arg(&client)
            .arg("-I")
            .arg(&headers)
            .arg("-I")
            .arg(made.join("sasl/usr/include"))
            .current_dir(&objects),
    )?;
    Ok(())
}

fn extract(archive: &Path, folder: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    run_to_end(tar.arg("-xzf").arg(archive).arg("-C").arg(folder))?;
    Ok(())
}

fn only_file(folder: &Path, extension: &str) -> Result<PathBuf> {
    std::fs::read_dir(folder)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|is| is == extension))
        .with_context(|| format!("{}: no .{extension}", folder.display()))
}

fn objects(root: &Path) -> Result<Vec<PathBuf>> {
    let all = std::fs::read_dir(root.join("objects"))?;
    Ok(all.filter_map(Result::ok).map(|o| o.path()).collect())
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find_map(|path| match path.is_dir() {
            true => find(&path, name),
            false => path.ends_with(name).then_some(path),
        })
}
