//! The links between the servers, where some of them are to be cut: each server finds the others at ports of this process, which hands on what
//! comes. Nobody needs a right for that, as a filter of packets would.

use super::layout::Member;
use super::ports::{self, HOST};
use std::collections::BTreeMap;
use std::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What stands between each two servers.
pub(super) struct Links {
    /// Where the first finds the second, by their numbers from 1: its quorum port and its election port.
    ports: BTreeMap<(usize, usize), (u16, u16)>,
    /// Who reaches nobody, and is reached by nobody.
    cut: watch::Sender<Option<usize>>,
}

impl Links {
    /// Listens for all of them, and hands on until it is dropped.
    ///
    /// # Errors
    /// So many ports are not free.
    pub(super) async fn between(members: &[Member]) -> io::Result<Self> {
        let (cut, _) = watch::channel(None);
        let count = members.len();
        let mut free = ports::free(count * count.saturating_sub(1) * 2)?.into_iter();
        let mut ports = BTreeMap::new();
        for from in 1..=count {
            for (to, member) in (1..).zip(members).filter(|(to, _)| *to != from) {
                let mut listen = async |to_port| -> io::Result<u16> {
                    let port = free.next().ok_or(io::ErrorKind::AddrInUse)?;
                    let listener = TcpListener::bind((HOST, port)).await?;
                    let hand_on = hand_on(listener, to_port, [from, to], cut.subscribe());
                    tokio::spawn(hand_on);
                    Ok(port)
                };
                let quorum = listen(member.quorum).await?;
                let election = listen(member.election).await?;
                ports.insert((from, to), (quorum, election));
            }
        }
        Ok(Self { ports, cut })
    }

    /// Where a server finds another one.
    pub(super) fn ports(&self, from: usize, to: usize) -> Option<(u16, u16)> {
        self.ports.get(&(from, to)).copied()
    }

    /// Ends the connections between this server and all others, and takes none until somebody else or nobody is cut off.
    pub(super) fn cut(&self, server: Option<usize>) {
        self.cut.send_replace(server);
    }
}

async fn hand_on(
    listener: TcpListener,
    to_port: u16,
    ends: [usize; 2],
    mut cut: watch::Receiver<Option<usize>>,
) {
    let is_cut = move |cut: &Option<usize>| cut.is_some_and(|who| ends.contains(&who));
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            // Whoever held the links is gone.
            Err(_) = cut.wait_for(|_| false) => return,
        };
        let Ok((mut near, _)) = taken else {
            continue;
        };
        let mut cut = cut.clone();
        if is_cut(&cut.borrow()) {
            continue;
        }
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect((HOST, to_port)).await else {
                return;
            };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = cut.wait_for(is_cut) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_is_cut_off_reaches_nobody_and_others_reach_each_other() {
        let members = super::super::layout::members(&[1, 2, 3], false).unwrap();
        let links = Links::between(&members).await.unwrap();
        let of_two = TcpListener::bind((HOST, members[1].quorum)).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut taken, _)) = of_two.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = taken.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let echoed = async |from: usize| {
            let mut near = TcpStream::connect((HOST, links.ports(from, 2).unwrap().0))
                .await
                .unwrap();
            let mut byte = [0];
            let _ = near.write_all(b"x").await;
            (near.read(&mut byte).await.ok() == Some(1)).then_some(near)
        };
        let mut first = echoed(1).await.expect("an echo");
        links.cut(Some(1));
        let mut byte = [0];
        let ended = tokio::time::timeout(Duration::from_secs(5), first.read(&mut byte)).await;
        assert_eq!(ended.expect("it is ended").unwrap_or(0), 0);
        assert!(echoed(1).await.is_none());
        assert!(echoed(3).await.is_some());
        links.cut(Some(2));
        assert!(echoed(3).await.is_none());
        links.cut(None);
        assert!(echoed(1).await.is_some());
    }
}
