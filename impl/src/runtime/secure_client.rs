//! The side of TLS that dials: a connection to a server whose certificate is looked at.

use super::papers;
use super::pipe::Pipe;
use super::tls_config::of_a_client;
use crate::config::tls::Store;
use crate::error::ServerError;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a client needs to speak TLS. Not `Debug`: there may be a private key in it.
pub struct SecureClient(Arc<ClientConfig>);

impl SecureClient {
    /// Reads the stores: the authorities whose servers are taken, and what the client shows of itself, if anything.
    ///
    /// # Errors
    /// [`ServerError::Config`], which names the file and says what to do.
    pub fn load(trust: &Store, own: Option<&Store>) -> Result<Self, ServerError> {
        Ok(Self(Arc::new(of_a_client(trust, own)?)))
    }

    /// The connection to a server that was dialled as HOST:PORT, behind a handshake. The certificate has to be of that host, or of the
    /// address that the name stands for.
    ///
    /// # Errors
    /// The system's, and why the server's certificate is not taken.
    pub async fn dialled(&self, stream: TcpStream, server: &str) -> io::Result<Pipe> {
        let at = stream.peer_addr()?.ip().to_canonical();
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (tcp, session) = self.shake(stream, host, at).await?.into_inner();
        Ok(Pipe::sealed(tcp, session.into()))
    }

    /// The handshake with a server that was dialled by this host, and answers at this address.
    ///
    /// # Errors
    /// As [`SecureClient::dialled`].
    pub async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        host: &str,
        at: IpAddr,
    ) -> io::Result<TlsStream<S>> {
        let shaken = handshake(Arc::clone(&self.0), stream, host, at).await?;
        let own = shaken.get_ref().1.peer_certificates();
        match own.and_then(<[_]>::first) {
            Some(own) if !papers::is_of_dialled(own, host, at) => Err(io::Error::other(format!(
                "its certificate ({}) is not of {host}; dial it by a name that the certificate has",
                papers::whose(own)
            ))),
            _ => Ok(shaken),
        }
    }
}

/// Whose certificate it is has to be looked at by whoever dials.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ClientConfig>,
    stream: S,
    host: &str,
    at: IpAddr,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| at.into());
    TlsConnector::from(config).connect(name, stream).await
}
