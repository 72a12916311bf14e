//! What a connection between servers shows before its first word counts: that it is of a server of this ensemble, where the
//! configuration asks for that. Whose it then says it is remains the rule of [`super::quorum`] and [`super::mesh`].

use super::fresh::Fresh;
use super::papers;
use super::pipe::Pipe;
use super::ports;
use super::quorum_sasl::{self, Unproved};
use super::secure_client;
use super::tls_config::{BothWays, Refusal, of_both_ways};
use crate::client::lock::lock;
use crate::codes::Code;
use crate::config::Config;
use crate::config::quorum_sasl::QuorumSasl;
use crate::config::quorum_tls::QuorumTls;
use crate::error::ServerError;
use crate::limits::{HANDSHAKE_TIME, Seldom};
use bytes::BytesMut;
use rustls::pki_types::CertificateDer;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};
use zabra_model::ids::ServerId;

/// The first byte of a connection of TLS. Nothing that servers say first begins so: a packet begins with 0, the id of a server with 0
/// or 255, and a proof by SASL with 95.
const HANDSHAKE_RECORD: u8 = 22;

/// The certificate that was shown, if one was.
pub struct Papers(Option<CertificateDer<'static>>);

/// What the ports between the servers are guarded by.
pub struct Guard {
    tls: Option<Secrets>,
    sasl: Option<QuorumSasl>,
    told: Mutex<Seldom>,
    since: Instant,
}

/// TLS between servers. Not `Debug`: there is a private key in it.
struct Secrets {
    stores: Arc<Fresh<BothWays>>,
    settings: QuorumTls,
}

impl Guard {
    /// Reads the stores, if the configuration asks for TLS between servers.
    ///
    /// # Errors
    /// [`ServerError::Config`], which names the file and says what to do.
    pub fn load(config: &Config) -> Result<Arc<Self>, ServerError> {
        let secrets = |settings: &QuorumTls| {
            let stores = Fresh::load(&config.path, &settings.context, of_both_ways)?;
            Ok::<_, ServerError>(Secrets {
                stores,
                settings: settings.clone(),
            })
        };
        let tls = config.quorum_tls.as_ref().map(secrets).transpose()?;
        Ok(Arc::new(Self {
            tls,
            sasl: config.quorum_sasl.clone(),
            told: Mutex::default(),
            since: Instant::now(),
        }))
    }

    /// Reads the stores anew when they change, if the configuration asks for it.
    pub fn watch(&self) {
        if let Some(tls) = &self.tls
            && tls.settings.reload
        {
            Arc::clone(&tls.stores).watch();
        }
    }

    /// The connection of somebody who has dialled, behind a handshake if there is to be one. Errors: why it is refused.
    pub async fn take(&self, stream: TcpStream) -> Result<(Pipe, Papers), String> {
        let Some(tls) = &self.tls else {
            return Ok((Pipe::plain(stream), Papers(None)));
        };
        let mut first = [0];
        let within = Duration::from_millis(tls.settings.detection_ms);
        let speaks_tls = match timeout(within, stream.peek(&mut first)).await {
            Ok(Ok(0)) => return Err("it has ended".into()),
            Ok(Ok(_)) => first == [HANDSHAKE_RECORD],
            Ok(Err(error)) => return Err(error.to_string()),
            // As in ZooKeeper: who speaks TLS says so at once.
            Err(_) => false,
        };
        if !speaks_tls {
            return match tls.settings.takes_plain {
                true => Ok((Pipe::plain(stream), Papers(None))),
                false => Err("it does not speak TLS, and sslQuorum=true takes nothing else; where servers are to get it one after the other, write portUnification=true for that time".into()),
            };
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.stores.current().in_));
        let shaken = acceptor.accept(stream).await;
        let shaken = shaken.map_err(|error| tls.refusal(error).to_string())?;
        let (tcp, session) = shaken.into_inner();
        let papers = papers_of(session.peer_certificates());
        Ok((Pipe::sealed(tcp, session.into()), papers))
    }

    /// Whether these papers may be those of a server that says it is of `host`, if it is of any, and has come from `from`: by its name, or by
    /// its address where that is the host's. Errors: why it is refused.
    pub async fn is_of(
        &self,
        papers: &Papers,
        host: Option<&str>,
        from: IpAddr,
    ) -> Result<(), String> {
        let (Some(tls), Papers(Some(certificate))) = (&self.tls, papers) else {
            return Ok(());
        };
        if !tls.settings.compares_diallers {
            return Ok(());
        }
        let from = from.to_canonical();
        let is_of_address = || papers::is_of(certificate, &from.to_string());
        let is_its = match host {
            None => is_of_address(),
            Some(host) => {
                papers::is_of(certificate, host)
                    || (is_of_address() && ports::is_at(host, from).await)
            }
        };
        if is_its {
            return Ok(());
        }
        let host = host.map_or_else(|| from.to_string(), ToOwned::to_owned);
        Err(of_another(
            certificate,
            &host,
            "ssl.quorum.clientHostnameVerification",
        ))
    }

    /// Hears the proof of somebody who has dialled that it knows the ensemble's password, if it gives one or has to. What comes behind it
    /// stays in `buf`. Errors: why it is refused.
    pub async fn hear_proof(
        &self,
        stream: &Pipe,
        buf: &mut BytesMut,
        from: SocketAddr,
    ) -> Result<(), String> {
        let Some(sasl) = &self.sasl else {
            return Ok(());
        };
        match quorum_sasl::hear(sasl, stream, buf).await {
            Ok(user) => {
                debug!(%from, user, "a server has proved itself by SASL");
                Ok(())
            }
            Err(Unproved::Nothing) if !sasl.asks => Ok(()),
            Err(Unproved::Nothing) => Err("it does not prove by SASL that it is of the ensemble, and quorum.auth.serverRequireSasl=true asks for that; where servers are to do so one after the other, write it last".into()),
            // As in ZooKeeper: it is nobody's, and nobody is asked.
            Err(Unproved::Wrong(why)) if !sasl.asks => {
                self.tell(|unsaid| warn!(code = %Code::UnprovedTaken, %from, unsaid, "{why}; its connection is taken without, as quorum.auth.serverRequireSasl is not true"));
                Ok(())
            }
            Err(Unproved::Wrong(why)) => Err(why),
        }
    }

    /// Proves to a server that was dialled that this one knows the ensemble's password, if the configuration says so. What comes behind
    /// the last word of it stays in `buf`.
    ///
    /// # Errors
    /// The system's, and why the server is not talked to, which is in the log.
    pub async fn prove(&self, stream: &Pipe, buf: &mut BytesMut, peer: ServerId) -> io::Result<()> {
        let Some(sasl) = self.sasl.as_ref().filter(|sasl| sasl.proves) else {
            return Ok(());
        };
        let at = stream.peer_addr()?;
        let proved = timeout(HANDSHAKE_TIME, quorum_sasl::prove(sasl, stream, buf)).await;
        let proved = proved.unwrap_or_else(|_| Err(Refusal::Slow.to_string()));
        proved.map_err(|why| self.not_talked_to(peer, at, why))
    }

    /// The connection to a server that was dialled by its host, behind a handshake if there is to be one.
    ///
    /// # Errors
    /// The system's, and why the server is not talked to, which is in the log.
    pub async fn dialled(&self, stream: TcpStream, host: &str, peer: ServerId) -> io::Result<Pipe> {
        let Some(tls) = self.tls.as_ref().filter(|tls| tls.settings.dials) else {
            return Ok(Pipe::plain(stream));
        };
        let at = stream.peer_addr()?;
        tls.dialled(stream, host, at.ip().to_canonical())
            .await
            .map_err(|why| self.not_talked_to(peer, at, why))
    }

    fn not_talked_to(&self, peer: ServerId, at: SocketAddr, why: String) -> io::Error {
        self.tell(|unsaid| {
            warn!(code = %Code::DialledNotTrusted, %peer, %at, unsaid, "a server that was dialled is not talked to: {why}");
        });
        io::Error::other(why)
    }

    /// Tells it, but not each time.
    fn tell(&self, say: impl FnOnce(u64)) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(unsaid) = lock(&self.told).due(now_ms) {
            say(unsaid);
        }
    }
}

impl Secrets {
    fn refusal(&self, error: io::Error) -> Refusal {
        Refusal::of(error, self.settings.context.prefix)
    }

    async fn dialled(&self, stream: TcpStream, host: &str, at: IpAddr) -> Result<Pipe, String> {
        let config = Arc::clone(&self.stores.current().out);
        let handshake = secure_client::handshake(config, stream, host, at);
        let shaken = match timeout(HANDSHAKE_TIME, handshake).await {
            Ok(shaken) => shaken.map_err(|error| self.of_dialled(error))?,
            Err(_) => return Err(Refusal::Slow.to_string()),
        };
        let (tcp, session) = shaken.into_inner();
        if let (true, Papers(Some(certificate))) = (
            self.settings.compares_dialled,
            papers_of(session.peer_certificates()),
        ) && !papers::is_of_dialled(&certificate, host, at)
        {
            let key = "ssl.quorum.hostnameVerification";
            return Err(of_another(&certificate, host, key));
        }
        Ok(Pipe::sealed(tcp, session.into()))
    }

    fn of_dialled(&self, error: io::Error) -> String {
        let is_end = matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
        );
        if is_end {
            return "it has ended the handshake: it may not speak TLS yet (portUnification=true on every server first), and its log says more".into();
        }
        self.refusal(error).to_string()
    }
}

fn papers_of(certificates: Option<&[CertificateDer<'_>]>) -> Papers {
    let own = certificates.and_then(<[_]>::first);
    Papers(own.map(|own| own.clone().into_owned()))
}

fn of_another(certificate: &CertificateDer<'_>, host: &str, key: &str) -> String {
    format!(
        "its certificate ({}) is not of {host}; give it one with that name, or write {key}=false where any certificate of the authority is to do",
        papers::whose(certificate)
    )
}
