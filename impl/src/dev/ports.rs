//! Ports for servers of this machine that nobody listens on.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where all servers of this machine listen.
pub(crate) const HOST: &str = "127.0.0.1";
/// The lowest port that is given; well-known services are below.
const LOWEST: u32 = 10_000;
/// Where the system's own range begins, where it does not say so.
const USUAL_END: u32 = 32_768;

/// Ports of 127.0.0.1 that are free, each of them given once by this process.
///
/// They lie below the range from which the system takes the ports of outgoing connections: any connection could hold a port of
/// that range when its server starts, or while its server is away, and the server could not come back.
///
/// # Errors
/// So many are not free.
pub fn free(count: usize) -> io::Result<Vec<u16>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let end = end_of_range();
    let width = end.saturating_sub(LOWEST).max(1);
    // Processes that run at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(97);
    let found: Vec<u16> = (0..width)
        .map(|_| LOWEST + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % width)
        .filter_map(|port| u16::try_from(port).ok())
        .filter(|port| TcpListener::bind((HOST, *port)).is_ok())
        .take(count)
        .collect();
    if found.len() < count {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!(
                "{count} free ports were asked for between {LOWEST} and {end}, and {} are there",
                found.len()
            ),
        ));
    }
    Ok(found)
}

fn end_of_range() -> u32 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    range
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(USUAL_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_nor_one_that_a_connection_could_take() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            for port in free(3).unwrap() {
                assert!(u32::from(port) < end_of_range(), "{port}");
                assert!(seen.insert(port), "{port} came twice");
            }
        }
    }

    #[test]
    fn a_port_that_is_taken_is_not_given() {
        let next = free(1).unwrap()[0];
        let held: Vec<_> = (1..20)
            .filter_map(|i| TcpListener::bind(("127.0.0.1", next + i)).ok())
            .map(|held| (held.local_addr().unwrap().port(), held))
            .collect();
        let given = free(30).unwrap();
        assert!(
            held.iter().all(|(port, _)| !given.contains(port)),
            "{given:?}"
        );
    }
}
