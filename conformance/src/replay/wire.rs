//! What servers say, decoded apart from the server's own code, as far as traces speak of it.

use anyhow::{Context, Result, bail, ensure};

/// More than any message of a replay needs.
const BYTES_MAX: usize = 1 << 20;

/// Bytes of which the first are read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// `None`: the rest has not arrived yet.
type Partly<T> = Result<Option<T>>;

macro_rules! read {
    ($e:expr) => {
        match $e? {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, n: usize) -> Partly<&'a [u8]> {
        ensure!(n <= BYTES_MAX, "a field of {n} bytes");
        let taken = self.bytes.get(self.at..self.at + n);
        self.at += n;
        Ok(taken)
    }

    fn i32(&mut self) -> Partly<i32> {
        let four = read!(self.take(4));
        Ok(four.try_into().ok().map(i32::from_be_bytes))
    }

    fn i64(&mut self) -> Partly<i64> {
        let eight = read!(self.take(8));
        Ok(eight.try_into().ok().map(i64::from_be_bytes))
    }

    /// A length and so many bytes; nothing for -1.
    fn buffer(&mut self) -> Partly<&'a [u8]> {
        match read!(self.i32()) {
            -1 => Ok(Some(&[])),
            n => self.take(usize::try_from(n)?),
        }
    }
}

/// An election message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vote {
    /// LOOKING, FOLLOWING, LEADING, OBSERVING.
    pub state: &'static str,
    /// Whom it is for.
    pub leader: u64,
    /// That one's last zxid.
    pub zxid: u64,
    /// That one's epoch.
    pub epoch: i64,
    /// The sender's round.
    pub round: u64,
    /// The lists of members that bind the sender, as text.
    pub lists: String,
}

fn text(bytes: &[u8]) -> Result<String> {
    Ok(std::str::from_utf8(bytes)?.to_owned())
}

/// Takes one election message from the front; with its bytes.
///
/// # Errors
/// It is none.
pub fn take_vote(buf: &mut Vec<u8>) -> Partly<(Vote, Vec<u8>)> {
    let mut r = Reader::new(buf);
    let body = read!(r.buffer());
    ensure!(
        body.len() >= 40,
        "an election message of {} bytes",
        body.len()
    );
    let end = r.at;
    let mut b = Reader::new(body);
    let state = match read!(b.i32()) {
        0 => "LOOKING",
        1 => "FOLLOWING",
        2 => "LEADING",
        3 => "OBSERVING",
        other => bail!("an election message of state {other}"),
    };
    let mut vote = Vote {
        state,
        leader: read!(b.i64()).cast_unsigned(),
        zxid: read!(b.i64()).cast_unsigned(),
        round: read!(b.i64()).cast_unsigned(),
        epoch: read!(b.i64()),
        lists: String::new(),
    };
    b.i32()?; // the version of the format
    vote.lists = b.buffer()?.map(text).transpose()?.unwrap_or_default();
    Ok(Some((vote, buf.drain(..end).collect())))
}

/// Takes a dialler's first message from the front: its id.
///
/// # Errors
/// It is none.
pub fn take_initial(buf: &mut Vec<u8>) -> Partly<u64> {
    let mut r = Reader::new(buf);
    let version = read!(r.i64());
    ensure!(
        version == -65536 || version == -65535,
        "protocol version {version} on an election port"
    );
    let sid = read!(r.i64()).cast_unsigned();
    read!(r.buffer());
    let end = r.at;
    buf.drain(..end);
    Ok(Some(sid))
}

/// A dialler's first message.
#[must_use]
pub fn initial(sid: u8, address: &str) -> Vec<u8> {
    let mut out = (-65536_i64).to_be_bytes().to_vec();
    out.extend(i64::from(sid).to_be_bytes());
    out.extend((address.len() as u32).to_be_bytes());
    out.extend(address.as_bytes());
    out
}

/// A packet between learner and leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// ZooKeeper's name of it.
    pub name: &'static str,
    /// Its zxid field.
    pub zxid: i64,
    /// ACKEPOCH: the epoch in its data.
    pub epoch: Option<i64>,
    /// SNAP: the transactions in the tree behind it.
    pub tree: Vec<u64>,
    /// FOLLOWERINFO, OBSERVERINFO: who says it. COMMITANDACTIVATE: who is to lead.
    pub sid: Option<u64>,
    /// The list of members, or the two lists, that it carries, as text: of PROPOSAL, NEWLEADER and SNAP. Empty if none.
    pub lists: String,
}

/// Takes one packet from the front, with the tree behind a SNAP; and its bytes.
///
/// # Errors
/// It is none.
pub fn take_packet(buf: &mut Vec<u8>) -> Partly<(Packet, Vec<u8>)> {
    let mut r = Reader::new(buf);
    let name = match read!(r.i32()) {
        1 => "REQUEST",
        2 => "PROPOSAL",
        3 => "ACK",
        4 => "COMMIT",
        5 => "PING",
        6 => "REVALIDATE",
        7 => "SYNC",
        8 => "INFORM",
        9 => "COMMITANDACTIVATE",
        10 => "NEWLEADER",
        11 => "FOLLOWERINFO",
        12 => "UPTODATE",
        13 => "DIFF",
        14 => "TRUNC",
        15 => "SNAP",
        16 => "OBSERVERINFO",
        17 => "LEADERINFO",
        18 => "ACKEPOCH",
        19 => "INFORMANDACTIVATE",
        other => bail!("a packet of type {other}"),
    };
    let zxid = read!(r.i64());
    let data = read!(r.buffer());
    let ids = read!(r.i32());
    ensure!(ids <= 0, "{name} with {ids} identities");
    let mut packet = Packet {
        name,
        zxid,
        epoch: None,
        tree: Vec::new(),
        sid: None,
        lists: String::new(),
    };
    match name {
        "FOLLOWERINFO" | "OBSERVERINFO" | "COMMITANDACTIVATE" => {
            packet.sid = Reader::new(data).i64()?.map(i64::cast_unsigned);
        }
        "NEWLEADER" => packet.lists = text(data)?,
        "ACKEPOCH" => {
            let epoch = Reader::new(data).i32()?;
            packet.epoch = epoch.map(i64::from);
        }
        "PROPOSAL" => {
            // The transaction must be the one that the packet speaks of.
            let txn = Txn::read(data)?;
            ensure!(
                txn.zxid == zxid.cast_unsigned(),
                "PROPOSAL {zxid:#x} with another transaction"
            );
            packet.lists = txn.list;
        }
        "SNAP" => {
            packet.lists = text(data)?;
            packet.tree = read!(tree(&mut r)).0;
            let signature = read!(r.buffer());
            ensure!(signature == b"BenWasHere", "SNAP without its end");
        }
        _ => {}
    }
    let end = r.at;
    Ok(Some((packet, buf.drain(..end).collect())))
}

/// A transaction, as far as traces speak of it.
struct Txn {
    zxid: u64,
    /// The list of members that it brings; empty if none.
    list: String,
}

impl Txn {
    /// The code of a reconfiguration.
    const RECONFIG: i32 = 16;

    fn read(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let whole = "a transaction without an end";
        r.take(12)?;
        let zxid = r.i64()?.context(whole)?.cast_unsigned();
        r.take(8)?;
        let mut list = String::new();
        if r.i32()? == Some(Self::RECONFIG) {
            let path = r.buffer()?.context(whole)?;
            ensure!(path == CONFIG, "a list of members for another node");
            list = text(r.buffer()?.context(whole)?)?;
        }
        Ok(Self { zxid, list })
    }
}

/// Where clients read the list of members.
const CONFIG: &[u8] = b"/zookeeper/config";

/// The transactions in a tree, each of which has made one node that is named after it; and the list that it shows.
fn tree(r: &mut Reader<'_>) -> Partly<(Vec<u64>, String)> {
    for _ in 0..read!(r.i32()) {
        read!(r.take(12));
    }
    for _ in 0..read!(r.i32()) {
        read!(r.i64());
        for _ in 0..read!(r.i32()) {
            read!(r.i32());
            read!(r.buffer());
            read!(r.buffer());
        }
    }
    let (mut zxids, mut list) = (Vec::new(), String::new());
    loop {
        let path = read!(r.buffer());
        if path == b"/" {
            zxids.sort_unstable();
            return Ok(Some((zxids, list)));
        }
        let data = read!(r.buffer());
        if path == CONFIG {
            list = text(data)?;
        }
        read!(r.i64());
        let czxid = read!(r.i64()).cast_unsigned();
        read!(r.take(52));
        if path.starts_with(b"/t") {
            ensure!(
                path == format!("/t{czxid:x}").as_bytes(),
                "node {} was made by {czxid:#x}",
                String::from_utf8_lossy(path)
            );
            zxids.push(czxid);
        }
    }
}

/// The transactions in a snapshot file, and the list of members that it shows.
///
/// # Errors
/// It is none.
pub fn snapshot_file(bytes: &[u8]) -> Result<(Vec<u64>, String)> {
    let mut r = Reader::new(bytes);
    ensure!(
        r.take(16)? == Some(b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff"),
        "not a snapshot"
    );
    match tree(&mut r)? {
        Some(seen) => Ok(seen),
        None => bail!("a snapshot without an end"),
    }
}

/// The transactions in a log file, up to the padding, each with the list of members that it brings.
///
/// # Errors
/// It is none.
pub fn log_file(bytes: &[u8]) -> Result<Vec<(u64, String)>> {
    let mut r = Reader::new(bytes);
    ensure!(
        r.take(8)? == Some(b"ZKLG\0\0\0\x02"),
        "not a transaction log"
    );
    r.take(8)?;
    let mut zxids = Vec::new();
    loop {
        let (sum, payload) = (r.i64()?, r.buffer()?);
        let Some(payload) = payload.filter(|p| !p.is_empty() && sum != Some(0)) else {
            return Ok(zxids);
        };
        if r.take(1)? != Some(b"B") {
            return Ok(zxids); // torn: the record does not count
        }
        let Txn { zxid, list } = Txn::read(payload)?;
        zxids.push((zxid, list));
    }
}

/// A client's first words: a new session that is as long as the server lets it be.
#[must_use]
pub fn new_session() -> Vec<u8> {
    let mut body = 0_i32.to_be_bytes().to_vec(); // the version of the protocol
    body.extend(0_i64.to_be_bytes()); // the last zxid that it has seen
    body.extend(i32::MAX.to_be_bytes());
    body.extend(0_i64.to_be_bytes());
    body.extend(16_i32.to_be_bytes());
    body.extend([0; 17]); // the password, and whether it is content with reads
    framed(&body)
}

/// A client's reconfiguration: who joins, by lines, and who leaves, by ids; both parted by commas.
#[must_use]
pub fn reconfigure(joining: &str, leaving: &str) -> Vec<u8> {
    let mut body = 1_i32.to_be_bytes().to_vec(); // the number of the request
    body.extend(Txn::RECONFIG.to_be_bytes());
    for text in [joining, leaving] {
        body.extend((text.len() as u32).to_be_bytes());
        body.extend(text.as_bytes());
    }
    body.extend((-1_i32).to_be_bytes()); // not the whole list
    body.extend((-1_i64).to_be_bytes()); // whichever list it follows
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32).to_be_bytes().to_vec();
    out.extend(body);
    out
}

/// Takes the body of the next frame for a client, if it is there.
pub fn take_frame(buf: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut r = Reader::new(buf);
    let body = r.buffer().ok().flatten()?.to_vec();
    let end = r.at;
    buf.drain(..end);
    Some(body)
}

/// The answer to a reconfiguration: the list that is active now.
///
/// # Errors
/// It is another one.
pub fn reconfigured(body: &[u8]) -> Result<String> {
    let mut r = Reader::new(body);
    let (number, _, error) = (r.i32()?, r.i64()?, r.i32()?);
    ensure!(
        (number, error) == (Some(1), Some(0)),
        "a reconfiguration is answered by number {number:?}, error {error:?}"
    );
    text(r.buffer()?.context("an answer without a list")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_taken_only_when_it_is_complete() {
        let mut whole = 3_i32.to_be_bytes().to_vec();
        whole.extend(0x2_0000_0001_i64.to_be_bytes());
        whole.extend((-1_i32).to_be_bytes());
        whole.extend((-1_i32).to_be_bytes());
        let mut buf = Vec::new();
        for byte in &whole {
            assert!(matches!(take_packet(&mut buf), Ok(None)));
            buf.push(*byte);
        }
        let (packet, bytes) = take_packet(&mut buf)
            .unwrap_or_default()
            .unwrap_or_else(|| panic!());
        assert_eq!((packet.name, packet.zxid), ("ACK", 0x2_0000_0001));
        assert_eq!((bytes, buf.len()), (whole, 0));
    }

    #[test]
    fn the_first_message_is_read_as_it_is_written() {
        let mut buf = initial(3, "127.0.0.1:1");
        buf.push(9);
        assert!(matches!(take_initial(&mut buf), Ok(Some(3))));
        assert_eq!(buf, [9]);
    }
}
