//! Where the server runs: the words `envi` and `dirs`.

use crate::config::Config;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The answer to `envi`.
pub(super) fn envi(version: &str) -> String {
    let mut text = String::from("Environment:\n");
    for (key, value) in entries(version) {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

/// The keys of ZooKeeper that parsers look for. What is Java's alone says that there is none.
pub(super) fn entries(version: &str) -> Vec<(&'static str, String)> {
    let proc = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let kernel = |name: &str| proc(&format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let dir = std::env::current_dir().unwrap_or_default();
    let memory = proc("/proc/meminfo").unwrap_or_default();
    let mib = |field: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    };
    let (free, all) = (mib("MemAvailable:"), mib("MemTotal:"));
    // Java's word for the processor that Rust calls x86_64.
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => other,
    };
    let scratch = std::env::temp_dir();
    let values: [(&str, &dyn std::fmt::Display); 18] = [
        ("zookeeper.version", &version),
        ("host.name", &kernel("hostname")),
        ("java.version", &"<NA>"),
        ("java.vendor", &"<NA>"),
        ("java.home", &"<NA>"),
        ("java.class.path", &"<NA>"),
        ("java.library.path", &"<NA>"),
        ("java.io.tmpdir", &scratch.display()),
        ("java.compiler", &"<NA>"),
        ("os.name", &kernel("ostype")),
        ("os.arch", &arch),
        ("os.version", &kernel("osrelease")),
        ("user.name", &var("USER")),
        ("user.home", &var("HOME")),
        ("user.dir", &dir.display()),
        ("os.memory.free", &format!("{free}MB")),
        ("os.memory.max", &format!("{all}MB")),
        ("os.memory.total", &format!("{all}MB")),
    ];
    let told = values.into_iter();
    told.map(|(key, value)| (key, value.to_string())).collect()
}

/// Files that this process has open, and how many it may have; `None` where the system does not say it.
pub(super) fn descriptors() -> Option<(usize, u64)> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    let max = line.split_whitespace().next()?.parse().unwrap_or(u64::MAX);
    Some((open, max))
}

/// The answer to `dirs`.
pub(super) fn dirs(config: &Config) -> String {
    let (data, log) = sizes(config);
    format!("datadir_size: {data}\nlogdir_size: {log}\n")
}

/// Bytes of the files in the data directory and in the directory of the transaction log.
pub(super) fn sizes(config: &Config) -> (u64, u64) {
    (bytes_in(&config.data_dir), bytes_in(&config.data_log_dir))
}

fn bytes_in(directory: &Path) -> u64 {
    let Ok(files) = fs::read_dir(directory.join("version-2")) else {
        return 0; // no file has been written yet
    };
    let size = |file: fs::DirEntry| file.metadata().ok().filter(fs::Metadata::is_file);
    files
        .filter_map(Result::ok)
        .filter_map(size)
        .map(|file| file.len())
        .sum()
}
