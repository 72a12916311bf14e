//! The exchange by which a server that dials another one proves that it knows the ensemble's password, and by which the other one
//! proves the same to it.
//!
//! ```text
//! who dials                       who is dialled
//! IN_PROGRESS, nothing  ────►
//!                       ◄────     IN_PROGRESS, challenge
//! IN_PROGRESS, response ────►
//!                       ◄────     SUCCESS, rspauth, or ERROR
//! ```

use super::pipe::Pipe;
use super::ports::first_words;
use crate::client::digest_md5::{Exchange, Next, SERVERS, respond};
use crate::config::quorum_sasl::QuorumSasl;
use crate::wire::quorum_auth::{AuthPacket, Status, begins, parse, put};
use bytes::BytesMut;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::timeout;

/// How long somebody who has dialled may take to begin a proof that nobody asks for.
const UNASKED: Duration = Duration::from_secs(2);

/// Why a proof came to nothing.
pub(super) enum Unproved {
    /// There is none.
    Nothing,
    /// It is none.
    Wrong(String),
}

/// Hears a proof. What comes behind it stays in `buf`.
///
/// Errors: why there is none.
pub(super) async fn hear(
    settings: &QuorumSasl,
    stream: &Pipe,
    buf: &mut BytesMut,
) -> Result<Box<str>, Unproved> {
    let begins = first_words(stream, buf, |buf: &mut BytesMut| {
        Ok::<_, Infallible>(begins(buf))
    });
    let is_begun = if settings.asks {
        begins.await
    } else {
        // Where nobody has to prove anything, who dials may wait for the first word of this server.
        timeout(UNASKED, begins).await.unwrap_or(Ok(false))
    };
    if is_begun != Ok(true) {
        return Err(Unproved::Nothing);
    }
    judge(settings, stream, buf).await.map_err(Unproved::Wrong)
}

async fn judge(
    settings: &QuorumSasl,
    stream: &Pipe,
    buf: &mut BytesMut,
) -> Result<Box<str>, String> {
    let mut exchange = Exchange::default();
    loop {
        let AuthPacket { status, token } = first_words(stream, buf, parse).await?;
        if status != Status::InProgress {
            return Err(format!("its proof by SASL ends as {status:?}"));
        }
        let nonce = drawn()?;
        match exchange.step(&token, &settings.users, SERVERS, || nonce) {
            Ok(Next::Challenge(challenge)) => {
                say(stream, Status::InProgress, challenge.as_bytes()).await?;
            }
            Ok(Next::Proved { user, token }) => {
                say(stream, Status::Success, token.as_bytes()).await?;
                return Ok(user);
            }
            Err(why) => {
                // It hears that it was refused, and not why.
                let _ = say(stream, Status::Error, b"").await;
                return Err(format!("its proof by SASL is {why}"));
            }
        }
    }
}

/// Proves it. What comes behind the last word stays in `buf`.
///
/// Errors: why it came to nothing.
pub(super) async fn prove(
    settings: &QuorumSasl,
    stream: &Pipe,
    buf: &mut BytesMut,
) -> Result<(), String> {
    say(stream, Status::InProgress, b"").await?;
    let challenge = heard(stream, buf, Status::InProgress).await?;
    let cnonce = drawn()?;
    let answered = respond(&challenge.token, &settings.login, SERVERS, &cnonce);
    let answered = answered.map_err(|why| format!("its challenge by SASL is {why}"))?;
    say(stream, Status::InProgress, answered.token.as_bytes()).await?;
    let last = heard(stream, buf, Status::Success).await?;
    if last.token != answered.due.as_bytes() {
        return Err("it takes the proof by SASL without knowing the password itself".into());
    }
    Ok(())
}

async fn heard(stream: &Pipe, buf: &mut BytesMut, due: Status) -> Result<AuthPacket, String> {
    let packet = first_words(stream, buf, parse).await.map_err(|why| {
        format!("{why} instead of asking for a proof by SASL; it needs quorum.auth.enableSasl=true")
    })?;
    match packet.status {
        status if status == due => Ok(packet),
        Status::Error => Err("it does not take the user and password of this server's section QuorumLearner (quorum.auth.learner.saslLoginContext)".into()),
        other => Err(format!("it says {other:?} where {due:?} is due in SASL")),
    }
}

async fn say(stream: &Pipe, status: Status, token: &[u8]) -> Result<(), String> {
    let mut out = BytesMut::new();
    put(status, token, &mut out);
    stream.write_all(&out).await.map_err(|e| e.to_string())
}

/// What nobody can foresee, and what does not come twice.
fn drawn() -> Result<Box<str>, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| format!("no random numbers of the system: {e}"))?;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes all that is written
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::jaas::{Login, SaslUsers};
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (Pipe, Pipe) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(dialled, listener.accept());
        (
            Pipe::plain(dialled.unwrap()),
            Pipe::plain(accepted.unwrap().0),
        )
    }

    fn of(password: &str) -> QuorumSasl {
        QuorumSasl {
            users: SaslUsers::new([("zk", "secret")]),
            login: Login {
                user: "zk".into(),
                password: password.into(),
            },
            proves: true,
            asks: true,
        }
    }

    /// What is said behind the exchange is left for who comes next.
    #[tokio::test]
    async fn both_sides_prove_to_know_the_password_and_leave_what_is_behind_it() {
        for (password, is_right) in [("secret", true), ("other", false)] {
            let (dials, is_dialled) = pair().await;
            let (mut of_dialler, mut of_dialled) = (BytesMut::new(), BytesMut::new());
            let sasl = of(password);
            let dialling = async {
                let proved = prove(&sasl, &dials, &mut of_dialler).await;
                let _ = dials.write_all(b"hello").await;
                proved
            };
            let dialled = async {
                let heard = hear(&sasl, &is_dialled, &mut of_dialled).await;
                is_dialled.write_all(b"behind").await.unwrap();
                heard
            };
            let (proved, heard) = tokio::join!(dialling, dialled);
            assert_eq!((proved.is_ok(), heard.is_ok()), (is_right, is_right));
            if let Ok(user) = heard {
                assert_eq!(&*user, "zk");
                is_dialled.receive(&mut of_dialled).await.unwrap();
                assert_eq!(&of_dialled[..], b"hello");
            }
        }
    }

    /// Whoever takes a proof without knowing the password is not the leader of anybody.
    #[tokio::test]
    async fn who_is_dialled_and_does_not_know_the_password_is_found_out() {
        let challenge = b"realm=\"zk-quorum-sasl-md5\",nonce=\"n\",qop=\"auth\"";
        for (first, last, words) in [
            (
                (Status::InProgress, &challenge[..]),
                (Status::Success, &b"rspauth=0"[..]),
                "without knowing",
            ),
            (
                (Status::InProgress, challenge),
                (Status::Success, b""),
                "without knowing",
            ),
            (
                (Status::InProgress, challenge),
                (Status::Error, b""),
                "does not take",
            ),
            (
                (Status::Success, b""),
                (Status::Success, b""),
                "says Success",
            ),
        ] {
            let (dials, is_dialled) = pair().await;
            let sasl = of("secret");
            let impostor = async {
                for (status, token) in [first, last] {
                    let _ = first_words(&is_dialled, &mut BytesMut::new(), parse).await;
                    say(&is_dialled, status, token).await.unwrap();
                }
            };
            let mut buf = BytesMut::new();
            let proving = prove(&sasl, &dials, &mut buf);
            let why = tokio::select! {
                proved = proving => proved.unwrap_err(),
                () = async { impostor.await; std::future::pending().await } => unreachable!(),
            };
            assert!(why.contains(words), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
