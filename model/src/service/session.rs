//! How sessions are named: their ids, passwords and timeouts, and which server may take a client over. Their lives are the [`super::tracker`]'s.

use crate::ids::{ServerId, SessionId, Zxid};
use crate::tree::stat::CONTAINER_OWNER;

pub use super::tracker::{EXPIRING_MAX, SessionTracker, Standing};

/// The timeout a session gets, ms: what the client asks for, within the server's bounds.
#[must_use]
pub const fn negotiated_timeout_ms(requested: i32, min: i32, max: i32) -> i32 {
    if requested < min {
        min
    } else if requested > max {
        max
    } else {
        requested
    }
}

/// The password of a session. It is the same function on every server and no secret: ZooKeeper's clients and servers expect it.
///
/// Source: ZooKeeper `ZooKeeperServer.generatePasswd`, which takes 16 bytes of `java.util.Random`.
#[must_use]
pub fn password(session: SessionId) -> [u8; 16] {
    const MASK: u64 = (1 << 48) - 1;
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    let seed = (session.0 ^ 0xB341_5C00).cast_unsigned();
    let mut state = (seed ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for four in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        four.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    password
}

/// Whether `given` is the password of `session`; no password fits session 0.
#[must_use]
pub fn password_fits(session: SessionId, given: &[u8]) -> bool {
    session.0 != 0 && password(session) == *given
}

/// Whether a server may take over a client that has seen `last_seen`: one that is behind would show it the past. Zxids
/// compare as on the wire, signed.
///
/// Source: ZooKeeper `ZooKeeperServer.processConnectRequest`.
#[must_use]
pub const fn may_connect(last_seen: Zxid, applied: Zxid) -> bool {
    last_seen.0.cast_signed() <= applied.0.cast_signed()
}

/// Gives out session ids: server in the top byte, 40 bits of the clock at start, then counting.
pub struct SessionIds {
    next: i64,
}

impl SessionIds {
    /// `now_ms` must not go back over restarts of this server, or ids come twice.
    #[must_use]
    pub const fn new(server: ServerId, now_ms: u64) -> Self {
        Self {
            next: (((now_ms << 24) >> 8) | (server.0 << 56)).cast_signed(),
        }
    }

    /// An id that was not given out before. The id that marks containers is left out.
    pub const fn give(&mut self) -> SessionId {
        if self.next == CONTAINER_OWNER {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        SessionId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SessionId = SessionId(7);

    /// Golden `error_replies` and `create_modes`; the second one is in `vectors.json`.
    #[test]
    fn passwords_are_those_of_zookeeper() {
        let hex = |id| {
            password(SessionId(id))
                .map(|b| alloc::format!("{b:02x}"))
                .concat()
        };
        assert_eq!(
            hex(0x0100_000d_3a01_0012),
            "2d93c3c3ef84e0bf2d9c854d467645a3"
        );
        assert_eq!(
            hex(0x0100_000d_3a01_0000),
            "85e659c32ed693976b51c85a2715b70e"
        );
        assert!(!password_fits(SessionId(0), &password(SessionId(0))));
        assert!(
            password_fits(S, &password(S)) && !password_fits(S, &[0; 16]) && !password_fits(S, &[])
        );
    }

    #[test]
    fn ids_carry_server_and_clock_and_count_up() {
        let mut ids = SessionIds::new(ServerId(1), 0xff_0000_0d3a);
        assert_eq!(ids.give(), SessionId(0x01ff_0000_0d3a_0000));
        assert_eq!(ids.give(), SessionId(0x01ff_0000_0d3a_0001));
        // Server 128 at a clock of 0 would start with the mark of containers.
        assert_eq!(
            SessionIds::new(ServerId(0x80), 0).give(),
            SessionId(i64::MIN + 1)
        );
    }

    #[test]
    fn a_client_goes_where_no_less_is_applied_than_it_has_seen() {
        let (low, high) = (Zxid(5), Zxid(6));
        assert!(may_connect(low, low) && may_connect(low, high) && !may_connect(high, low));
        // Where the highest bit counts as a sign, the client has seen nothing.
        assert!(may_connect(Zxid(u64::MAX), Zxid::ZERO));
    }

    #[test]
    fn timeouts_are_held_within_bounds() {
        assert_eq!(
            [-1, 0, 5000, 99_999].map(|t| negotiated_timeout_ms(t, 4000, 40_000)),
            [4000, 4000, 5000, 40_000]
        );
    }
}
