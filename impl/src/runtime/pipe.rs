//! A connection between servers, in plain text or in TLS.
//!
//! One task reads it, another writes what has to wait, and the driver writes between them what the socket takes at once: so everything is
//! done through a shared reference, and what TLS keeps is behind a lock that is held for no longer than one piece takes to be sealed.

use crate::client::lock::lock;
use bytes::BytesMut;
use rustls::Connection;
use std::future::poll_fn;
use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What is taken of TLS at once into a buffer that has no room, bytes.
const ROOM_BYTES: usize = 4 << 10;
/// What is sealed at once, bytes: a few records, so that those who read do not wait long.
const SEAL_BYTES: usize = 64 << 10;

/// A connection.
pub enum Pipe {
    /// What is said is what goes over the wire.
    Plain(Plain),
    /// Behind a handshake of TLS.
    Tls(Box<Sealed>),
}

/// A connection in plain text.
pub struct Plain {
    /// The half that knows when a read has emptied the socket: then the next read waits without another call of the system.
    read: Mutex<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// A connection in TLS.
pub struct Sealed {
    tcp: TcpStream,
    session: Mutex<Connection>,
}

impl Drop for Sealed {
    /// Java's side takes an end without a word for an attack.
    fn drop(&mut self) {
        let mut session = lock(&self.session);
        session.send_close_notify();
        let _ = self.push(&mut session); // what does not fit now is not waited for
    }
}

impl Pipe {
    /// A connection in plain text.
    #[must_use]
    pub fn plain(tcp: TcpStream) -> Self {
        let (read, write) = tcp.into_split();
        let read = Mutex::new(read);
        Self::Plain(Plain { read, write })
    }

    /// A connection whose handshake is done.
    #[must_use]
    pub fn sealed(tcp: TcpStream, session: Connection) -> Self {
        let session = Mutex::new(session);
        Self::Tls(Box::new(Sealed { tcp, session }))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(plain) => plain.write.as_ref(),
            Self::Tls(sealed) => &sealed.tcp,
        }
    }

    /// Whose address is at the other end.
    ///
    /// # Errors
    /// The system's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// Whether small pieces are sent at once.
    ///
    /// # Errors
    /// The system's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.tcp().set_nodelay(nodelay)
    }

    /// Waits for bytes, and puts them behind what `buf` holds; how many they were, 0 at the end. Nothing is lost if it is not waited for.
    ///
    /// # Errors
    /// The system's; of TLS also an end without a word, and what does not fit what was sealed.
    pub async fn receive(&self, buf: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => {
                poll_fn(|cx| pin!(lock(&plain.read).read_buf(buf)).poll(cx)).await
            }
            Self::Tls(sealed) => loop {
                match sealed.open(buf) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        sealed.tcp.readable().await?;
                        sealed.fetch()?;
                    }
                    opened => return opened,
                }
            },
        }
    }

    /// Waits until something comes where nothing is due, or the end does.
    pub async fn ended(&self) {
        // The buffer takes what nobody will read.
        let mut buf = BytesMut::with_capacity(1);
        let _ = self.receive(&mut buf).await;
    }

    /// Sends what goes at once; how many bytes these were. In TLS some of them may wait here yet, until [`Pipe::flush`].
    ///
    /// # Errors
    /// The system's; [`ErrorKind::WouldBlock`] where nothing goes.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => plain.write.try_write(bytes),
            Self::Tls(sealed) => sealed.seal(bytes),
        }
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The system's.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.tcp().writable().await?;
            match self.try_write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.flush().await
    }

    /// Sends what waits here.
    ///
    /// # Errors
    /// The system's.
    pub async fn flush(&self) -> io::Result<()> {
        let Self::Tls(sealed) = self else {
            return Ok(());
        };
        loop {
            match sealed.push(&mut lock(&sealed.session)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                pushed => return pushed,
            }
            sealed.tcp.writable().await?;
        }
    }

    /// Whether nothing waits here.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(sealed) => !lock(&sealed.session).wants_write(),
        }
    }
}

impl Sealed {
    /// Takes what has been fetched.
    fn open(&self, buf: &mut BytesMut) -> io::Result<usize> {
        let mut session = lock(&self.session);
        let mut reader = session.reader();
        let opened = reader.fill_buf()?;
        let room = match buf.capacity() - buf.len() {
            0 => ROOM_BYTES,
            room => room,
        };
        let opened = opened.get(..room).unwrap_or(opened);
        buf.extend_from_slice(opened);
        let n = opened.len();
        reader.consume(n);
        Ok(n)
    }

    /// Reads what the socket holds, and sends what TLS itself answers to it.
    fn fetch(&self) -> io::Result<()> {
        let mut session = lock(&self.session);
        match session.read_tls(&mut Wire(&self.tcp)) {
            // Its end, too, is found by the next look at what is open.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let understood = session.process_new_packets().map(drop);
        let _ = self.push(&mut session); // who writes next finds what is wrong
        understood.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    fn seal(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = lock(&self.session);
        // Nothing is sealed while something waits: there is never more here than one piece.
        self.push(&mut session)?;
        let piece = bytes.get(..SEAL_BYTES).unwrap_or(bytes);
        let sealed = session.writer().write(piece)?;
        match self.push(&mut session) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(sealed),
        }
    }

    fn push(&self, session: &mut Connection) -> io::Result<()> {
        while session.wants_write() {
            session.write_tls(&mut Wire(&self.tcp))?;
        }
        Ok(())
    }
}

/// The socket as TLS reads and writes it: without waiting.
struct Wire<'a>(&'a TcpStream);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tls_config::of_both_ways;
    use crate::tls_init::init;
    use rustls::pki_types::ServerName;
    use std::path::Path;
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    /// Two ends of a connection, behind a handshake.
    async fn pair() -> (Pipe, Pipe) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("tls");
        init(&at, &[]).unwrap();
        let text = format!(
            "dataDir=d\nclientPort=1\nsslQuorum=true\nssl.quorum.keyStore.location={0}/server.pem\nssl.quorum.trustStore.location={0}/ca.pem\n",
            at.display()
        );
        let config = crate::config::check::read(Path::new("zoo.cfg"), &text).unwrap();
        let ways = of_both_ways(&config.path, &config.quorum_tls.unwrap().context).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialling = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(Arc::clone(&ways.out));
            let (tcp, session) = connector.connect(name, tcp).await.unwrap().into_inner();
            Pipe::sealed(tcp, session.into())
        };
        let dialled = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(Arc::clone(&ways.in_));
            let (tcp, session) = acceptor.accept(tcp).await.unwrap().into_inner();
            Pipe::sealed(tcp, session.into())
        };
        tokio::join!(dialling, dialled)
    }

    /// What the socket does not take waits here, and nothing of it is lost, doubled or in another order, whoever sends it.
    #[tokio::test]
    async fn what_the_socket_does_not_take_waits_until_it_is_flushed() {
        let (near, far) = pair().await;
        let all: Vec<u8> = (0..32_u32 << 20).map(|n| (n % 251) as u8).collect();
        let mut sent = 0;
        let full = loop {
            match near.try_write(&all[sent..]) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        assert!(sent > 0 && sent < all.len() && !near.is_flushed());
        let writing = async {
            near.flush().await.unwrap();
            assert!(near.is_flushed());
            near.write_all(&all[sent..]).await.unwrap();
            assert!(near.is_flushed());
        };
        let reading = async {
            let mut heard = BytesMut::with_capacity(100);
            while heard.len() < all.len() {
                assert!(far.receive(&mut heard).await.unwrap() > 0);
            }
            heard
        };
        let ((), heard) = tokio::join!(writing, reading);
        assert!(heard == all, "something else was heard");
        // The end is said, so that it is told from a connection that was cut.
        drop(near);
        assert_eq!(far.receive(&mut BytesMut::new()).await.unwrap(), 0);
        far.ended().await;
    }
}
