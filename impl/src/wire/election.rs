//! The election protocol: the dialler's first message, then length-prefixed notifications ([`super::frame`]).

use super::cursor::{JuteWrite, Reader, WireError};
use super::frame::put_frame;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use zabra_model::ids::{Round, ServerId, Zxid};

/// First message, one address.
const VERSION_ONE_ADDRESS: i64 = -65_536;
/// First message, a list of addresses.
const VERSION_ADDRESSES: i64 = -65_535;
/// The longest text of addresses.
const ADDRESS_BYTES_MAX: usize = 2048;

/// The id by which an anonymous observer introduces itself.
pub const ANONYMOUS: ServerId = ServerId(i64::MAX as u64);

/// Where a server listens for elections.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// A name or a number, IPv6 without its brackets.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Whether the host names no place, so that the configured address must do instead.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_unspecified())
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        // Without brackets a second colon leaves open where the port begins.
        if bare.is_none() && host.contains(':') {
            return None;
        }
        Some(Self {
            host: bare.unwrap_or(host).into(),
            port: port.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The first message of a connection, which says who dials. It has no length prefix and no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitialMessage {
    /// The sender.
    pub server: ServerId,
    /// Which of the three forms it has.
    pub form: InitialForm,
}

/// The three forms of a first message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InitialForm {
    /// Before 3.5: the id alone.
    Bare,
    /// One address.
    One(Address),
    /// Several (`multiAddress.enabled`).
    List(Vec<Address>),
}

impl InitialMessage {
    /// Takes the message off `buf`; whatever follows stays. `None`: it is not complete, and nothing was consumed.
    ///
    /// Errors: an unknown version, a length outside 1..=2048, an address without a port. The connection is to be closed.
    pub fn parse(buf: &mut BytesMut) -> Result<Option<Self>, WireError> {
        let mut head: &[u8] = buf;
        if head.len() < 8 {
            return Ok(None);
        }
        let version = head.get_i64();
        if version >= 0 {
            buf.advance(8);
            return Ok(Some(Self {
                server: ServerId(version.cast_unsigned()),
                form: InitialForm::Bare,
            }));
        }
        if version != VERSION_ONE_ADDRESS && version != VERSION_ADDRESSES {
            return Err(WireError::Unknown {
                what: "protocolVersion",
                offset: 0,
                value: version,
            });
        }
        if head.len() < 12 {
            return Ok(None);
        }
        let server = ServerId(head.get_u64());
        let length = head.get_i32();
        let n = match usize::try_from(length) {
            Ok(n) if (1..=ADDRESS_BYTES_MAX).contains(&n) => n,
            _ => {
                return Err(WireError::Length {
                    what: "address",
                    offset: 16,
                    length: length.into(),
                    max: ADDRESS_BYTES_MAX,
                });
            }
        };
        let Some(raw) = head.get(..n) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(raw);
        let mut addresses = text
            .split('|')
            .map(Address::parse)
            .collect::<Option<Vec<_>>>()
            .ok_or(WireError::Unknown {
                what: "address",
                offset: 20,
                value: length.into(),
            })?;
        // A list under the version for one address is taken as the list it is.
        let form = match (version, addresses.len()) {
            (VERSION_ONE_ADDRESS, 1) => addresses.pop().map_or(InitialForm::Bare, InitialForm::One),
            _ => InitialForm::List(addresses),
        };
        buf.advance(n.saturating_add(20));
        Ok(Some(Self { server, form }))
    }

    /// Appends the message.
    pub fn put(&self, out: &mut BytesMut) {
        let (version, text) = match &self.form {
            InitialForm::Bare => {
                out.put_u64(self.server.0);
                return;
            }
            InitialForm::One(address) => (VERSION_ONE_ADDRESS, address.to_string()),
            InitialForm::List(addresses) => {
                let texts: Vec<String> = addresses.iter().map(Address::to_string).collect();
                (VERSION_ADDRESSES, texts.join("|"))
            }
        };
        out.put_i64(version);
        out.put_u64(self.server.0);
        out.put_text(&text);
    }
}

/// What the sender of a notification is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are ZooKeeper's own")]
pub enum ServerState {
    Looking,
    Following,
    Leading,
    Observing,
}

impl ServerState {
    const fn code(self) -> i32 {
        match self {
            Self::Looking => 0,
            Self::Following => 1,
            Self::Leading => 2,
            Self::Observing => 3,
        }
    }

    const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Looking),
            1 => Some(Self::Following),
            2 => Some(Self::Leading),
            3 => Some(Self::Observing),
            _ => None,
        }
    }
}

/// How much a notification's sender says. Which form a message has is told by its length.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum NotificationForm {
    /// 28 bytes: without the epoch, which is then the zxid's.
    NoEpoch,
    /// 40 bytes: with epoch and a version field that receivers do not read. Counts as version 0.
    NoConfig,
    /// Version 2 and later: with the text of the sender's configuration.
    Config {
        /// 2.
        version: i32,
        /// Server lines and a last line `version=` in hex.
        text: Box<str>,
    },
    /// Another length but a version below 2: nothing is read behind the version.
    Versioned {
        /// At most 1.
        version: i32,
    },
}

impl NotificationForm {
    /// The version as the comparison of votes understands it.
    #[must_use]
    pub const fn version(&self) -> i32 {
        match self {
            Self::NoEpoch | Self::NoConfig => 0,
            Self::Config { version, .. } | Self::Versioned { version } => *version,
        }
    }
}

/// The version of the notifications that are sent today.
pub const NOTIFICATION_VERSION: i32 = 2;

/// A vote on the wire.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Notification {
    /// What the sender is doing.
    pub state: ServerState,
    /// The leader it proposes, or has. An observer's own vote has the smallest `i64` here, as zxid and as epoch.
    pub leader: ServerId,
    /// That leader's last zxid.
    pub zxid: Zxid,
    /// The sender's round.
    pub round: Round,
    /// That leader's current epoch. As on the wire, since an observer's is no epoch.
    pub peer_epoch: i64,
    /// Version and configuration.
    pub form: NotificationForm,
}

impl Notification {
    /// Reads a frame's body.
    ///
    /// Errors: fewer than 28 bytes, an unknown state, a configuration that ends early. The message is then skipped; the
    /// connection stays.
    pub fn decode(body: &Bytes) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        let code = r.i32("state")?;
        let leader = ServerId(r.i64("leader")?.cast_unsigned());
        let zxid = r.zxid("zxid")?;
        let round = Round(r.i64("electionEpoch")?.cast_unsigned());
        let state = ServerState::from_code(code).ok_or(WireError::Unknown {
            what: "state",
            offset: 0,
            value: code.into(),
        })?;
        let (peer_epoch, form) = match body.len() {
            28 => (i64::from(zxid.epoch().0), NotificationForm::NoEpoch),
            40 => (r.i64("peerEpoch")?, NotificationForm::NoConfig),
            _ => {
                let peer_epoch = r.i64("peerEpoch")?;
                let version = r.i32("version")?;
                let form = if version >= NOTIFICATION_VERSION {
                    let text = r.text("config")?;
                    NotificationForm::Config { version, text }
                } else {
                    NotificationForm::Versioned { version }
                };
                (peer_epoch, form)
            }
        };
        Ok(Self {
            state,
            leader,
            zxid,
            round,
            peer_epoch,
            form,
        })
    }

    /// Appends the whole frame.
    pub fn put(&self, out: &mut BytesMut) {
        put_frame(out, |b| {
            b.put_i32(self.state.code());
            b.put_u64(self.leader.0);
            b.put_zxid(self.zxid);
            b.put_u64(self.round.0);
            match &self.form {
                NotificationForm::NoEpoch => {}
                NotificationForm::NoConfig => {
                    b.put_i64(self.peer_epoch);
                    b.put_i32(1);
                }
                NotificationForm::Config { version, text } => {
                    b.put_i64(self.peer_epoch);
                    b.put_i32(*version);
                    b.put_text(text);
                }
                NotificationForm::Versioned { version } => {
                    b.put_i64(self.peer_epoch);
                    b.put_i32(*version);
                    // A body of 40 bytes would say "no version": a length of nothing makes it another.
                    b.put_i32(0);
                }
            }
        });
    }

    /// The sender's configuration, if it told.
    #[must_use]
    pub fn config(&self) -> Option<&str> {
        match &self.form {
            NotificationForm::Config { text, .. } => Some(text),
            NotificationForm::NoEpoch
            | NotificationForm::NoConfig
            | NotificationForm::Versioned { .. } => None,
        }
    }
}

/// The version of a configuration's text: its line `version=`, hex without prefix. `None`: it has none that parses.
#[must_use]
pub fn config_version(text: &str) -> Option<u64> {
    text.lines()
        .rev()
        .find_map(|line| line.strip_prefix("version="))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    fn forms() -> impl Strategy<Value = NotificationForm> {
        prop_oneof![
            Just(NotificationForm::NoEpoch),
            Just(NotificationForm::NoConfig),
            (2..5_i32, "[a-z0-9=.:\n]{0,40}").prop_map(|(version, text)| {
                NotificationForm::Config {
                    version,
                    text: text.into(),
                }
            }),
            (-1..2_i32).prop_map(|version| NotificationForm::Versioned { version }),
        ]
    }

    proptest! {
        #[test]
        fn a_notification_is_read_back(
            code in 0..4_i32,
            leader: u64,
            zxid: u64,
            round: u64,
            peer_epoch: i64,
            form in forms(),
        ) {
            let peer_epoch = match form {
                NotificationForm::NoEpoch => i64::from(Zxid(zxid).epoch().0),
                _ => peer_epoch,
            };
            let notification = Notification {
                state: ServerState::from_code(code).unwrap_or(ServerState::Looking),
                leader: ServerId(leader),
                zxid: Zxid(zxid),
                round: Round(round),
                peer_epoch,
                form,
            };
            let mut out = BytesMut::new();
            notification.put(&mut out);
            let body = out.split_off(4).freeze();
            prop_assert_eq!(Notification::decode(&body), Ok(notification));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            raw in prop::collection::vec(prop_oneof![Just(0_u8), Just(0xff), any::<u8>()], 0..120),
        ) {
            let _ = Notification::decode(&Bytes::from(raw.clone()));
            let mut buf = BytesMut::from(raw.as_slice());
            let _ = InitialMessage::parse(&mut buf);
            let mut raw = raw;
            raw.splice(0..0, VERSION_ADDRESSES.to_be_bytes());
            let mut buf = BytesMut::from(raw.as_slice());
            let _ = InitialMessage::parse(&mut buf);
        }

        #[test]
        fn a_first_message_arriving_in_pieces_is_the_same(
            server in 0..i64::MAX,
            hosts in prop::collection::vec("[a-z0-9.]{1,9}|[0-9a-f:]{3,9}", 0..4),
            port: u16,
        ) {
            let list: Vec<_> = hosts.iter().map(|host| one(host, port)).collect();
            let form = match list.as_slice() {
                [] => InitialForm::Bare,
                [address] => InitialForm::One(address.clone()),
                _ => InitialForm::List(list),
            };
            let message = InitialMessage { server: ServerId(server.cast_unsigned()), form };
            let mut whole = BytesMut::new();
            message.put(&mut whole);
            let mut buf = BytesMut::new();
            let last = whole.split_off(whole.len() - 1);
            for byte in whole {
                buf.put_u8(byte);
                prop_assert_eq!(InitialMessage::parse(&mut buf), Ok(None));
            }
            buf.put_slice(&last);
            buf.put_slice(b"next");
            prop_assert_eq!(InitialMessage::parse(&mut buf), Ok(Some(message)));
            prop_assert_eq!(&buf[..], b"next");
        }
    }

    #[test]
    fn an_address_needs_a_port_and_ipv6_its_brackets() {
        assert_eq!(Address::parse("h:1"), Some(one("h", 1)));
        assert_eq!(Address::parse("[::1]:2"), Some(one("::1", 2)));
        for bad in ["h", "h:", "h:x", "h:65536", "::1:2", ""] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
        assert!(one("0.0.0.0", 1).is_wildcard());
        assert!(one("::", 1).is_wildcard());
        assert!(!one("127.0.0.1", 1).is_wildcard());
    }

    #[test]
    fn a_first_message_with_a_bad_length_or_version_is_refused() {
        for (version, length) in [(-65_536_i64, 0), (-65_536, 2049), (-65_535, -1), (-1, 9)] {
            let mut buf = BytesMut::new();
            buf.put_i64(version);
            buf.put_i64(1);
            buf.put_i32(length);
            assert!(
                InitialMessage::parse(&mut buf).is_err(),
                "{version} {length}"
            );
        }
    }

    #[test]
    fn the_version_of_a_configuration_is_hex() {
        assert_eq!(
            config_version("server.1=a:1:2:participant\nversion=100000000"),
            Some(1 << 32)
        );
        assert_eq!(config_version("server.1=a:1:2"), None);
    }
}
