//! What comes to a port of TLS: any bytes, and a client's handshake that somebody on the way has changed.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::runtime::{Builder, Runtime};
use zabra::config::check;
use zabra::config::tls::Store;
use zabra::runtime::secure_client::SecureClient;
use zabra::runtime::tls::Tls;
use zabra::tls_init;
use zabra_model::tree::acl::Id;

/// Bytes on their way, in each direction.
const PIPE_BYTES: usize = 64 << 10;
/// What somebody on the way does, at most.
const CHANGES_MAX: u8 = 8;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The client that has a certificate, as ACLs name it.
const CLIENT: &str = "CN=client,O=Zabra development";

/// Servers and clients with the files of `zabra tls init`.
struct Stores {
    /// One speaks every version, the other one TLS 1.2 alone.
    servers: [Arc<Tls>; 2],
    /// One shows a certificate, the other one does not.
    clients: [SecureClient; 2],
    /// Handshakes have a time limit, and so need a clock.
    clock: Runtime,
}

fn stores() -> &'static Stores {
    static STORES: OnceLock<Stores> = OnceLock::new();
    STORES.get_or_init(|| match make() {
        Ok(stores) => stores,
        Err(error) => panic!("{error}"),
    })
}

fn make() -> Result<Stores, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let at = dir.path().join("tls");
    tls_init::init(&at, &[])?;
    let server = |more: &str| -> Result<Arc<Tls>, Box<dyn std::error::Error>> {
        let at = at.display();
        let text = format!(
            "dataDir=d\nclientPort=1\nsecureClientPort=2\nssl.keyStore.location={at}/server.pem\nssl.trustStore.location={at}/ca.pem\n{more}"
        );
        let config = check::read(Path::new("zoo.cfg"), &text)?;
        Ok(Tls::load(&config)?.ok_or("no TLS")?)
    };
    let store = |name: &str| Store::named(at.join(name), None, "");
    let (trust, own) = (store("ca.pem")?, store("client.pem")?);
    Ok(Stores {
        servers: [server("")?, server("ssl.enabledProtocols=TLSv1.2\n")?],
        clients: [
            SecureClient::load(&trust, Some(&own))?,
            SecureClient::load(&trust, None)?,
        ],
        clock: Builder::new_current_thread().enable_time().build()?,
    })
}

/// What the server knows of whoever has come.
#[derive(Default)]
struct Heard {
    /// Once the handshake is over: who it is by its certificate, if it is let in.
    handshake: Option<Option<Vec<Id>>>,
    said: Vec<u8>,
}

/// The first byte says which server and which client, and whether there is one: without it, the rest is all that comes. Else there follow
/// changes to what the client sends, and what it says when the handshake is done.
///
/// # Panics
/// If somebody comes in without the client's certificate, or the server hears what the client has not said.
pub fn stream(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let stores = stores();
    let _clock = stores.clock.enter();
    let server = &stores.servers[usize::from((how >> 1) & 1)];
    let heard = RefCell::new(Heard::default());
    if how & 1 == 0 {
        let (mut near, far) = duplex(PIPE_BYTES);
        let told = async {
            // The server may end it before all of it is said.
            let _ = near.write_all(rest).await;
            drop(near);
        };
        let is_over = until_stuck(async { tokio::join!(listen(server, far, &heard), told) });
        assert!(is_over, "a handshake goes on without anybody");
        assert_eq!(heard.into_inner().handshake, Some(None), "who comes in?");
        return;
    }
    let has_certificate = how & 4 == 0;
    let client = &stores.clients[usize::from(!has_certificate)];
    let (changes, said) = changes(rest);
    let ((near, near_middle), (far_middle, far)) = (duplex(PIPE_BYTES), duplex(PIPE_BYTES));
    let (from_client, to_client) = split(near_middle);
    let (from_server, to_server) = split(far_middle);
    let is_over = until_stuck(async {
        tokio::join!(
            talk(client, near, said),
            carry(from_client, to_server, &changes),
            carry(from_server, to_client, &[]),
            listen(server, far, &heard),
        )
    });
    let heard = heard.into_inner();
    if let Some(Some(ids)) = &heard.handshake {
        assert!(has_certificate, "somebody comes in without a certificate");
        let names: Vec<&str> = ids.iter().map(|id| &*id.id).collect();
        assert_eq!(names, [CLIENT]);
    }
    assert!(said.starts_with(&heard.said), "{:?}", heard.said);
    if changes.is_empty() {
        let is_in = matches!(heard.handshake, Some(Some(_)));
        assert!(is_over && is_in == has_certificate);
        assert!(!is_in || heard.said == said);
    }
}

/// A server: the handshake, and all that is said behind it.
async fn listen(server: &Tls, stream: DuplexStream, heard: &RefCell<Heard>) {
    let shaken = server.shake(stream, SocketAddr::new(HERE, 1), || 0).await;
    let (stream, ids) = shaken.unzip();
    heard.borrow_mut().handshake = Some(ids);
    let Some(mut stream) = stream else {
        return;
    };
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece).await {
        heard.borrow_mut().said.extend_from_slice(&piece[..n]);
    }
}

/// A client: the handshake, what it has to say, and the end.
async fn talk(client: &SecureClient, stream: DuplexStream, said: &[u8]) {
    if let Ok(mut stream) = client.shake(stream, "localhost", HERE).await
        && stream.write_all(said).await.is_ok()
    {
        let _ = stream.shutdown().await;
        // Until the server ends it, too: what it says of the certificate comes behind the handshake.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// What somebody on the way does to the byte at a place of the stream.
#[derive(Clone, Copy)]
enum Change {
    Flip(u8),
    Drop,
    Insert(u8),
}

/// Changes by their places, and what is left of the input.
fn changes(data: &[u8]) -> (Vec<(usize, Change)>, &[u8]) {
    let Some((count, mut rest)) = data.split_first() else {
        return (vec![], data);
    };
    let mut all = Vec::new();
    for _ in 0..count % (CHANGES_MAX + 1) {
        let [high, low, what, value, tail @ ..] = rest else {
            break;
        };
        rest = tail;
        let change = match what % 3 {
            // One bit at least.
            0 => Change::Flip((*value).max(1)),
            1 => Change::Drop,
            _ => Change::Insert(*value),
        };
        all.push((usize::from(u16::from_be_bytes([*high, *low])), change));
    }
    (all, rest)
}

/// Carries what comes until its end, with changes.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    changes: &[(usize, Change)],
) {
    let (mut at, mut piece) = (0, [0; 4096]);
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        let mut out = Vec::with_capacity(n);
        for byte in &piece[..n] {
            let mut byte = Some(*byte);
            for (_, change) in changes.iter().filter(|(place, _)| *place == at) {
                match change {
                    Change::Flip(bits) => byte = byte.map(|byte| byte ^ bits),
                    Change::Drop => byte = None,
                    Change::Insert(value) => out.push(*value),
                }
            }
            out.extend(byte);
            at += 1;
        }
        if to.write_all(&out).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls it until it is done, or until each side waits for the other one, which only a clock would end; whether it is done.
fn until_stuck(work: impl Future) -> bool {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut work = pin!(work);
    while woken.0.swap(false, Ordering::Relaxed) {
        if work.as_mut().poll(&mut context).is_ready() {
            return true;
        }
    }
    false
}

/// First records of clients, and whole handshakes with changes at their beginning, within and behind them.
#[must_use]
pub fn good() -> Vec<Vec<u8>> {
    let stores = stores();
    let _clock = stores.clock.enter();
    let mut all = vec![];
    for (which, client) in stores.clients.iter().enumerate() {
        let (near, mut far) = duplex(PIPE_BYTES);
        let mut hello = vec![0; PIPE_BYTES];
        let mut length = 0;
        let _ = until_stuck(async {
            let read = async { length = far.read(&mut hello).await.unwrap_or(0) };
            tokio::join!(talk(client, near, b""), read)
        });
        hello.truncate(length);
        for server in [0, 2] {
            all.push([&[server], &hello[..]].concat());
            let how = 1 | server | ((which as u8) << 2);
            for changes in [
                &[0][..],
                &[1, 0, 3, 0, 1],
                &[1, 0, 9, 0, 255],
                &[2, 1, 0, 1, 0, 1, 1, 2, 9],
                &[1, 2, 0, 0, 16],
                &[1, 3, 0, 0, 16],
                &[1, 4, 0, 1, 0],
                &[1, 5, 0, 2, 22],
            ] {
                all.push([&[how], changes, b"what the client says"].concat());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom the server lets in is whom the assertions of [`stream`] are about; a change behind the handshake is found, too.
    #[test]
    fn a_client_with_its_certificate_comes_in_and_what_is_changed_on_the_way_is_not_heard() {
        for (how, changed) in [(1, false), (3, false), (1, true), (3, true)] {
            stream(&[how, 0, b'a', b'b']);
            if changed {
                for at in (0..2000_u16).step_by(7) {
                    let [high, low] = at.to_be_bytes();
                    stream(&[how, 1, high, low, 0, 0xff, b'a', b'b']);
                }
            }
        }
        for how in [5, 7] {
            stream(&[how, 0, b'a', b'b']);
        }
        good().iter().for_each(|bytes| stream(bytes));
    }
}
