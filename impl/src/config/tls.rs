//! TLS: what both kinds of it are made of, and the keys of `zoo.cfg` for that of clients; [`super::quorum_tls`] has those for that of
//! servers. What the files hold that they name is looked at when the server starts.

use super::values::{flag, port, within};
use crate::limits::TLS_HANDSHAKES_MAX;
use std::path::{Path, PathBuf};
use zabra_model::service::members::Listen;

/// Whether those who connect show a certificate (`ssl.clientAuth`, `ssl.quorum.clientAuth`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    /// They must; the default.
    Need,
    /// They may.
    Want,
    /// They are not asked.
    None,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// `TLSv1.2`
    V12,
    /// `TLSv1.3`
    V13,
}

/// A secret, or where it is read when the server starts.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The secret itself.
    Text(Box<str>),
    /// A file that holds it.
    File(PathBuf),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What a store is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// Text.
    Pem,
    /// As keytool writes it, PKCS12 or JKS.
    Java,
}

impl StoreKind {
    /// What the word of a line says, or else the end of the file's name. Errors: the word, if nothing of this type is read.
    fn of(path: &Path, given: Option<&str>) -> Result<Self, String> {
        let end = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let word = given.unwrap_or(end).to_ascii_uppercase();
        match word.as_str() {
            "JKS" | "P12" | "PFX" | "PKCS12" => Ok(Self::Java),
            "PEM" => Ok(Self::Pem),
            other if given.is_none() && other != "BCFKS" => Ok(Self::Pem),
            _ => Err(word),
        }
    }
}

/// A file with certificates, and perhaps a private key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// The file.
    pub path: PathBuf,
    /// What it is written as.
    pub kind: StoreKind,
    /// What opens it.
    pub password: Option<Password>,
    /// What names the file of the password, as `ssl.keyStore.passwordPath`.
    pub password_key: String,
}

impl Store {
    /// The store that a command line names; the end of its name tells the type.
    ///
    /// # Errors
    /// What is wrong with the type.
    pub fn named(
        path: PathBuf,
        password_path: Option<PathBuf>,
        password_key: &str,
    ) -> Result<Self, String> {
        let kind = StoreKind::of(&path, None).map_err(|word| not_read("store", &path, &word))?;
        Ok(Self {
            path,
            kind,
            password: password_path.map(Password::File),
            password_key: password_key.to_owned(),
        })
    }
}

/// What TLS is made of, whoever speaks it (Java's `SSLContext`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    /// What its keys begin with: `ssl.` for clients, `ssl.quorum.` between servers.
    pub prefix: &'static str,
    /// The server's key and certificates.
    pub key_store: Store,
    /// The authorities whose certificates are taken.
    pub trust_store: Option<Store>,
    /// Whether those who connect show a certificate.
    pub client_auth: ClientAuth,
    /// The versions that are spoken.
    pub protocols: Vec<Protocol>,
    /// The cipher suites that are taken, as Java names them; none named: all that there are.
    pub suites: Vec<String>,
}

/// TLS for clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// The port that takes nothing else, if there is one.
    pub listen: Option<Listen>,
    /// Whether the client port takes it beside plain text.
    pub on_client_port: bool,
    /// Whether stores that change are read anew.
    pub reload: bool,
    /// Handshakes that may be under way at a time.
    pub handshakes_max: usize,
    /// Stores, versions, suites, and whether clients show a certificate.
    pub context: Context,
    /// The subject whose holder is the super user.
    pub super_user: Option<Box<str>>,
    /// What a person should know of a line, with its number.
    pub note: Option<(usize, &'static str)>,
}

/// What the lines said of one store.
#[derive(Clone, Debug, Default)]
struct StoreLines {
    location: Option<(usize, PathBuf)>,
    kind: Option<(usize, String)>,
    password: Option<Password>,
    password_path: Option<PathBuf>,
}

impl StoreLines {
    /// Takes a line whose key ends in `part`; false if there is no such part.
    fn set(&mut self, number: usize, part: &str, value: &str) -> bool {
        let is_there = !value.is_empty();
        match part {
            "location" => self.location = is_there.then(|| (number, value.into())),
            "type" => self.kind = is_there.then(|| (number, value.to_owned())),
            "password" => self.password = is_there.then(|| Password::Text(value.into())),
            "passwordPath" => self.password_path = is_there.then(|| value.into()),
            _ => return false,
        }
        true
    }

    /// The store; the type goes before the end of the file's name, and the file of the password before the password, as in Java.
    fn check(self, keys: &str, what: &str) -> Result<Option<Store>, (usize, String)> {
        let Some((line, path)) = self.location else {
            return Ok(None);
        };
        let (line, word) = match &self.kind {
            Some((line, word)) => (*line, Some(word.as_str())),
            None => (line, None),
        };
        let kind =
            StoreKind::of(&path, word).map_err(|word| (line, not_read(what, &path, &word)))?;
        let by_file = self.password_path.map(Password::File);
        Ok(Some(Store {
            path,
            kind,
            password: by_file.or(self.password),
            password_key: format!("{keys}.passwordPath"),
        }))
    }
}

/// What the lines said of what TLS is made of.
#[derive(Clone, Debug, Default)]
pub(super) struct ContextLines {
    key_store: StoreLines,
    trust_store: StoreLines,
    client_auth: Option<ClientAuth>,
    protocols: Option<Vec<Protocol>>,
    /// `protocol`
    protocol: Option<Vec<Protocol>>,
    suites: Vec<String>,
}

impl ContextLines {
    /// Takes a line whose key ends in `part`; whether it asks for something, `None` if it is another's. Errors: what is wrong with the value.
    pub(super) fn set(
        &mut self,
        number: usize,
        (key, part): (&str, &str),
        value: &str,
    ) -> Result<Option<bool>, String> {
        let mut asks = !value.is_empty();
        match part {
            "clientAuth" => {
                let auth = client_auth(key, value)?;
                self.client_auth = Some(auth);
                asks &= auth != ClientAuth::None;
            }
            "enabledProtocols" => self.protocols = Some(protocols(key, value)?),
            "ciphersuites" => self.suites = list(value),
            "protocol" if value == "TLS" => self.protocol = None,
            "protocol" => self.protocol = Some(protocols(key, value)?),
            _ => {
                let of_key = part.strip_prefix("keyStore.");
                let of_trust = part.strip_prefix("trustStore.");
                let is_taken = match (of_key, of_trust) {
                    (Some(part), _) => self.key_store.set(number, part, value),
                    (_, Some(part)) => self.trust_store.set(number, part, value),
                    (None, None) => false,
                };
                if !is_taken {
                    return Ok(None);
                }
            }
        }
        Ok(Some(asks))
    }

    /// Whether a line says whose certificates are taken.
    pub(super) fn has_trust_store(&self) -> bool {
        self.trust_store.location.is_some()
    }

    /// What they mean together, where the line and key `asking` want TLS. Errors: the line, what is missing beside it, and what to do.
    pub(super) fn check(
        self,
        prefix: &'static str,
        (line, asking): (usize, &str),
    ) -> Result<Context, (usize, String)> {
        let keys = format!("{prefix}trustStore");
        let trust_store = self.trust_store.check(&keys, "trust store")?;
        let keys = format!("{prefix}keyStore");
        let Some(key_store) = self.key_store.check(&keys, "key store")? else {
            return Err((
                line,
                format!(
                    "{asking} needs the server's key and certificate; write {prefix}keyStore.location=FILE.pem, or remove the line"
                ),
            ));
        };
        let client_auth = self.client_auth.unwrap_or(ClientAuth::Need);
        if client_auth != ClientAuth::None && trust_store.is_none() {
            return Err((
                line,
                format!(
                    "clients are to show a certificate ({prefix}clientAuth), and nothing says whose are taken; write {prefix}trustStore.location=CA.pem, or {prefix}clientAuth=none"
                ),
            ));
        }
        Ok(Context {
            prefix,
            key_store,
            trust_store,
            client_auth,
            protocols: self
                .protocols
                .or(self.protocol)
                .unwrap_or_else(|| vec![Protocol::V12, Protocol::V13]),
            suites: self.suites,
        })
    }
}

/// What the lines said.
#[derive(Clone, Debug, Default)]
pub struct TlsLines {
    port: Option<(usize, u16)>,
    address: Option<String>,
    /// The line that has `client.portUnification=true`.
    on_client_port: Option<usize>,
    reload: bool,
    handshakes_max: Option<usize>,
    context: ContextLines,
    super_user: Option<Box<str>>,
    /// The first line that asks for something without naming a port.
    asks: Option<(usize, String)>,
}

impl Tls {
    /// Whether a client can be known by its certificate.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        self.context.client_auth != ClientAuth::None
    }

    /// Whether a client can show that it is the super user.
    #[must_use]
    pub fn knows_super_user(&self) -> bool {
        self.super_user.is_some() && self.asks_for_certificates()
    }
}

impl TlsLines {
    /// Takes a line, the key without the prefix `zookeeper.`; false if it is another's.
    ///
    /// # Errors
    /// What is wrong with the value, which is said only where it is no password.
    pub fn set(&mut self, number: usize, key: &str, value: &str) -> Result<bool, String> {
        match key {
            "secureClientPort" => {
                self.port = Some((number, port(key, value)?));
                return Ok(true);
            }
            "client.portUnification" => {
                self.on_client_port = flag(key, value)?.then_some(number);
                return Ok(true);
            }
            "client.certReload" => {
                self.reload = flag(key, value)?;
                if !self.reload {
                    return Ok(true);
                }
            }
            "netty.server.outstandingHandshake.limit" => {
                let limit = within(key, value, i32::MIN, i32::MAX, "handshakes")?;
                // D-80: what asks for no bound leaves the one that there is.
                self.handshakes_max = usize::try_from(limit).ok().filter(|limit| *limit > 0);
                return Ok(true);
            }
            "secureClientPortAddress" => self.address = Some(value.to_owned()),
            "ssl.authProvider" if value == "x509" => {}
            "ssl.authProvider" => {
                return Err(format!(
                    "{key}={value}: clients are known by the scheme x509 alone; remove the line"
                ));
            }
            "X509AuthenticationProvider.superUser" => {
                self.super_user = (!value.is_empty()).then(|| value.into());
            }
            _ => {
                let Some(part) = key.strip_prefix("ssl.") else {
                    return Ok(false);
                };
                match self.context.set(number, (key, part), value)? {
                    None => return Ok(false),
                    Some(false) => return Ok(true),
                    Some(true) => {}
                }
            }
        }
        if !value.is_empty() {
            self.asks.get_or_insert_with(|| (number, key.to_owned()));
        }
        Ok(true)
    }

    /// What they mean together.
    ///
    /// # Errors
    /// The line, what is missing beside it, and what to do.
    pub fn check(self) -> Result<Option<Tls>, (usize, String)> {
        let by_port = self.port.map(|(line, _)| (line, "secureClientPort"));
        let by_both = self
            .on_client_port
            .map(|line| (line, "client.portUnification"));
        let Some((line, asking)) = by_port.or(by_both) else {
            return match self.asks {
                None => Ok(None),
                Some((line, key)) => Err((
                    line,
                    format!(
                        "{key} is about TLS, and without secureClientPort no connection would be encrypted; write secureClientPort=2281, or remove the line"
                    ),
                )),
            };
        };
        let context = self.context.check("ssl.", (line, asking))?;
        let need = (context.client_auth == ClientAuth::Need).then_some(NOT_NEEDED);
        Ok(Some(Tls {
            note: self.on_client_port.zip(need),
            listen: self.port.map(|(_, port)| Listen {
                host: self.address.filter(|host| !host.is_empty()),
                port,
            }),
            on_client_port: self.on_client_port.is_some(),
            reload: self.reload,
            handshakes_max: self.handshakes_max.unwrap_or(TLS_HANDSHAKES_MAX),
            context,
            super_user: self.super_user,
        }))
    }
}

const NOT_NEEDED: &str = "client.portUnification=true: whoever speaks plain text at clientPort shows no certificate, though ssl.clientAuth=need; write secureClientPort alone where everybody has to";

const NOT_READ: &str = "which is not read, and ignoring it would not be safe; write it as PKCS12 (keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype PKCS12) and name that file, or remove the line";

fn not_read(what: &str, path: &Path, word: &str) -> String {
    let path = path.display();
    format!("the {what} {path} is of type {word}, {NOT_READ}")
}

fn client_auth(key: &str, value: &str) -> Result<ClientAuth, String> {
    match value.to_ascii_lowercase().as_str() {
        "" | "need" => Ok(ClientAuth::Need),
        "want" => Ok(ClientAuth::Want),
        "none" | "false" | "no" => Ok(ClientAuth::None),
        _ => Err(format!("{key}={value}: write need, want or none")),
    }
}

fn list(value: &str) -> Vec<String> {
    let words = value.split(',').map(str::trim);
    words.filter(|w| !w.is_empty()).map(Into::into).collect()
}

/// Versions that nobody should speak any more are no versions here: a list that names nothing else is refused.
fn protocols(key: &str, value: &str) -> Result<Vec<Protocol>, String> {
    let all = list(value);
    all.iter()
        .map(|word| match word.as_str() {
            "TLSv1.2" => Ok(Protocol::V12),
            "TLSv1.3" => Ok(Protocol::V13),
            _ => Err(format!(
                "{key}: {word:?} is not spoken; write TLSv1.2, TLSv1.3, or both with a comma"
            )),
        })
        .collect::<Result<Vec<_>, _>>()
        .and_then(|found| {
            if found.is_empty() {
                Err(format!("{key} is empty; write TLSv1.2,TLSv1.3"))
            } else {
                Ok(found)
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<Tls>, String> {
        let mut lines = TlsLines::default();
        for (at, line) in text.lines().enumerate() {
            let (key, value) = line.split_once('=').unwrap();
            assert!(lines.set(at + 1, key, value)?, "{line}");
        }
        lines.check().map_err(|(_, what)| what)
    }

    /// C-30.
    #[test]
    fn c_30_the_defaults_of_tls_are_java_s() {
        let base = "secureClientPort=2281\nssl.keyStore.location=s.pem\n";
        let tls = of(&format!("{base}ssl.trustStore.location=ca.pem")).unwrap();
        let tls = tls.unwrap();
        assert_eq!(tls.context.client_auth, ClientAuth::Need);
        assert_eq!(tls.context.protocols, [Protocol::V12, Protocol::V13]);
        assert_eq!(tls.handshakes_max, TLS_HANDSHAKES_MAX);
        assert!(!tls.on_client_port && !tls.reload);
        let more = "ssl.trustStore.location=ca.p12\nssl.trustStore.type=PEM\nssl.protocol=TLSv1.3\nssl.keyStore.password=a\nssl.keyStore.passwordPath=b";
        let tls = of(&format!("{base}{more}")).unwrap().unwrap();
        assert_eq!(tls.context.protocols, [Protocol::V13]);
        assert_eq!(
            tls.context.trust_store.map(|s| s.kind),
            Some(StoreKind::Pem)
        );
        assert_eq!(
            tls.context.key_store.password,
            Some(Password::File("b".into()))
        );
        let refusal = of(base).unwrap_err();
        assert!(refusal.contains("ssl.trustStore.location"), "{refusal}");
        let open = of(&format!("{base}ssl.clientAuth=none")).unwrap().unwrap();
        assert_eq!(
            (open.context.client_auth, open.context.trust_store),
            (ClientAuth::None, None)
        );
    }

    /// C-80: a leader believes a super user of its learners only where a client could show one to itself.
    #[test]
    fn c_80_without_certificates_nobody_is_the_super_user_of_one() {
        let base =
            "secureClientPort=1\nssl.keyStore.location=s.pem\nssl.trustStore.location=ca.pem";
        let name = "X509AuthenticationProvider.superUser=CN=root";
        for (lines, knows) in [
            (name.to_owned(), true),
            (format!("{name}\nssl.clientAuth=want"), true),
            (format!("{name}\nssl.clientAuth=none"), false),
            ("ssl.clientAuth=need".into(), false),
        ] {
            let tls = of(&format!("{base}\n{lines}")).unwrap().unwrap();
            assert_eq!(tls.knows_super_user(), knows, "{lines}");
        }
    }

    #[test]
    fn the_type_of_a_store_is_what_its_line_says_or_the_end_of_its_name() {
        for (lines, kind) in [
            ("a.pem", StoreKind::Pem),
            ("a", StoreKind::Pem),
            ("a.jks", StoreKind::Java),
            ("a.P12", StoreKind::Java),
            ("a.pfx", StoreKind::Java),
            ("a.pem\nssl.keyStore.type=pkcs12", StoreKind::Java),
            ("a.jks\nssl.keyStore.type=PEM", StoreKind::Pem),
        ] {
            let text =
                format!("secureClientPort=1\nssl.clientAuth=none\nssl.keyStore.location={lines}");
            assert_eq!(
                of(&text).unwrap().unwrap().context.key_store.kind,
                kind,
                "{lines}"
            );
        }
    }

    #[test]
    fn one_port_for_both_needs_the_same_stores_and_no_other_port() {
        let stores = "ssl.keyStore.location=s.pem\nssl.trustStore.location=ca.pem\n";
        let more = "client.portUnification=true\nclient.certReload=true\n";
        for (limit, bound) in [("-1", TLS_HANDSHAKES_MAX), ("7", 7)] {
            let limit = format!("netty.server.outstandingHandshake.limit={limit}");
            let tls = of(&format!("{stores}{more}{limit}")).unwrap().unwrap();
            assert_eq!((tls.listen, tls.handshakes_max), (None, bound));
            assert!(tls.on_client_port && tls.reload);
            assert_eq!(tls.note.map(|(line, _)| line), Some(3));
            for auth in ["want", "none"] {
                let tls = of(&format!("{stores}{more}ssl.clientAuth={auth}")).unwrap();
                assert_eq!(tls.unwrap().note, None, "{auth}");
            }
        }
        assert_eq!(
            of("client.portUnification=false\nclient.certReload=false"),
            Ok(None)
        );
        let refusal = of("client.portUnification=true").unwrap_err();
        assert!(
            refusal.starts_with("client.portUnification needs"),
            "{refusal}"
        );
    }

    /// C-30: what is asked for and cannot be had is refused with what to write, and a password is not said.
    #[test]
    fn c_30_what_tls_cannot_have_is_refused() {
        for (lines, words) in [
            ("secureClientPort=x", "write a port, 0 to 65535"),
            ("secureClientPort=1", "ssl.keyStore.location=FILE.pem"),
            (
                "secureClientPort=1\nssl.keyStore.location=a.bcfks",
                "keytool -importkeystore",
            ),
            (
                "secureClientPort=1\nssl.keyStore.location=a\nssl.keyStore.type=WINDOWS",
                "is not read",
            ),
            ("ssl.protocol=SSLv3", "TLSv1.3"),
            ("ssl.authProvider=mine", "x509 alone"),
            ("ssl.enabledProtocols=TLSv1", "TLSv1.3"),
            ("ssl.enabledProtocols=", "is empty"),
            ("ssl.clientAuth=maybe", "need, want or none"),
            ("client.certReload=true", "secureClientPort=2281"),
            ("client.portUnification=perhaps", "true or false"),
            (
                "netty.server.outstandingHandshake.limit=few",
                "handshakes from",
            ),
            ("ssl.trustStore.password=secret", "secureClientPort=2281"),
        ] {
            let refusal = of(lines).unwrap_err();
            assert!(refusal.contains(words), "{lines}: {refusal}");
            assert!(!refusal.contains("secret"), "{refusal}");
        }
    }
}
