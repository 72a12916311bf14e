//! Clients that authenticate by SASL: what one of them holds afterwards, and what becomes of the others.

use super::*;
use md5::{Digest, Md5};

const JAAS: &str =
    "Server { a.DigestLoginModule required user_bob=\"secret\" user_root=\"secret\"; };";

/// A server whose users are bob and root, who is the super user; with these lines beside.
fn with_users(lines: &str) -> Arc<Shared> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jaas.conf");
    std::fs::write(&path, JAAS).unwrap();
    let file = path.display();
    server_with(&format!(
        "java.security.auth.login.config={file}\nsuperUser=root\n{lines}"
    ))
}

fn sasl(token: &[u8]) -> Request {
    let token = Some(Bytes::copy_from_slice(token));
    Request::Sasl { token }
}

/// The only answer that has come: its error and its token.
fn token(client: &mut Client) -> (i32, Option<Bytes>) {
    let replies = client.replies();
    let [reply] = replies.as_slice() else {
        panic!("{} replies", replies.len());
    };
    let mut record = reply.record.clone();
    let length = bytes::Buf::get_i32(&mut record);
    (reply.header.err, (length >= 0).then_some(record))
}

fn hex(text: &[u8]) -> String {
    format!("{:x}", Md5::digest(text))
}

/// What a client sends that knows this password.
fn response(challenge: &[u8], user: &str, password: &str) -> Vec<u8> {
    let challenge = String::from_utf8_lossy(challenge);
    let nonce = challenge.split("nonce=\"").nth(1).unwrap();
    let nonce = nonce.split('"').next().unwrap();
    let names = Md5::digest(format!("{user}:zk-sasl-md5:{password}"));
    let a1 = [&names[..], format!(":{nonce}:c").as_bytes()].concat();
    let a2 = hex(b"AUTHENTICATE:zookeeper/zk-sasl-md5");
    let sum = format!("{}:{nonce}:00000001:c:auth:{a2}", hex(&a1));
    let sum = hex(sum.as_bytes());
    format!("username=\"{user}\",realm=\"zk-sasl-md5\",nonce=\"{nonce}\",nc=00000001,cnonce=\"c\",digest-uri=\"zookeeper/zk-sasl-md5\",response={sum},qop=auth").into_bytes()
}

/// How the client is, and the error that it has got, after it has tried to be `user` with `password`.
fn tries(client: &mut Client, user: &str, password: &str) -> (Rest, i32, Option<Bytes>) {
    assert!(client.asks(1, &[sasl(b"")]).may_read());
    let (err, challenge) = token(client);
    assert_eq!(err, 0);
    let response = response(&challenge.unwrap(), user, password);
    let rest = client.asks(2, &[sasl(&response)]);
    let (err, token) = token(client);
    (rest, err, token)
}

fn held(client: &Client) -> Vec<String> {
    let ids = Arc::clone(&client.conn().state().ids);
    let ids = ids.iter().filter(|id| &*id.scheme != "ip");
    ids.map(|id| format!("{}:{}", id.scheme, id.id)).collect()
}

#[test]
fn who_knows_a_password_is_known_by_name_and_the_super_user_passes_every_check() {
    for (user, ids) in [
        ("bob", &["sasl:bob"][..]),
        ("root", &["super:", "sasl:root"]),
    ] {
        let mut client = Client::open(&with_users(""));
        let (rest, err, token) = tries(&mut client, user, "secret");
        assert!(rest.may_read() && err == 0);
        assert!(token.unwrap().starts_with(b"rspauth="));
        assert_eq!(held(&client), ids);
        // One exchange for each connection.
        assert_eq!(client.asks(3, &[sasl(b"")]), Rest::Finish);
    }
}

#[test]
fn who_does_not_is_told_so_and_its_connection_ends_unless_it_may_stay() {
    let (failed, closed) = (
        ErrorCode::AuthFailed.code(),
        ErrorCode::SessionClosedRequireSaslAuth.code(),
    );
    let required = "sessionRequireClientSASLAuth=true\n";
    let lenient = "allowSaslFailedClients=true\n";
    for (lines, error) in [
        ("", failed),
        (required, closed),
        (&format!("{required}{lenient}"), closed),
    ] {
        for (user, password) in [("bob", "wrong"), ("eve", "secret"), ("eve", "")] {
            let mut client = Client::open(&with_users(lines));
            let ended = (Rest::Finish, error, None);
            assert_eq!(tries(&mut client, user, password), ended, "{lines} {user}");
            assert!(held(&client).is_empty());
        }
    }
    let mut client = Client::open(&with_users(lenient));
    let (rest, err, token) = tries(&mut client, "bob", "wrong");
    assert!(rest.may_read() && err == 0 && token.is_none());
    assert!(held(&client).is_empty());
    assert!(client.asks(3, &[exists("/", false)]).may_read());
    assert_eq!(client.heard(), [(3, 0)]);
    // A client that begins anew for ever would keep the server busy (C-44).
    assert_eq!(client.asks(4, &[sasl(b"")]), Rest::Finish);
}

#[test]
fn where_sasl_is_required_it_lets_in_and_nothing_else_does() {
    let shared = with_users("sessionRequireClientSASLAuth=true\n");
    let closed = ErrorCode::SessionClosedRequireSaslAuth.code();
    let mut client = Client::open(&shared);
    let asked = [auth("digest", Some(b"u:p")), exists("/", false)];
    assert_eq!(client.asks(1, &asked), Rest::Finish);
    assert_eq!(client.heard(), [(1, 0), (2, closed)]);
    let mut client = Client::open(&shared);
    assert_eq!(tries(&mut client, "bob", "secret").1, 0);
    assert!(client.asks(3, &[exists("/", false)]).may_read());
    assert_eq!(client.heard(), [(3, 0)]);
}

/// A response that was overheard is worth nothing on another connection.
#[test]
fn each_connection_has_a_challenge_of_its_own() {
    let shared = with_users("");
    let mut clients = [Client::open(&shared), Client::open(&shared)];
    let mut challenges = Vec::new();
    for client in &mut clients {
        client.asks(1, &[sasl(b"")]);
        challenges.push(token(client).1.unwrap());
    }
    assert_ne!(challenges[0], challenges[1]);
    let [_, second] = &mut clients;
    let overheard = response(&challenges[0], "bob", "secret");
    assert_eq!(second.asks(2, &[sasl(&overheard)]), Rest::Finish);
}

/// Sees whether the tree and the connection are free while a line is written.
struct SlowLog {
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    /// Lines that were written, and those during which somebody else had both.
    lines: Arc<[AtomicUsize; 2]>,
}

impl tracing::Subscriber for SlowLog {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.lines[0].fetch_add(1, Ordering::Relaxed);
        let (shared, conn) = (Arc::clone(&self.shared), Arc::clone(&self.conn));
        let (is_free, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop((shared.tree_mut(), conn.state()));
            let _ = is_free.send(());
        });
        let heard = heard.recv_timeout(Duration::from_secs(10));
        self.lines[1].fetch_add(usize::from(heard.is_ok()), Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Whoever reads the log may be slow: nobody waits for it but the client of whom it says something.
#[test]
fn what_the_log_says_of_a_client_is_said_when_others_have_the_tree() {
    let shared = with_users("ensembleAuthName=east\n");
    for asked in [sasl(b"wrong"), auth("ensemble", Some(b"west"))] {
        let mut client = Client::open(&shared);
        let lines = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let log = SlowLog {
            shared: Arc::clone(&shared),
            conn: client.conn(),
            lines: Arc::clone(&lines),
        };
        tracing::subscriber::with_default(log, || client.asks(1, &[asked]));
        let [said, free] = &*lines;
        let both = (said.load(Ordering::Relaxed), free.load(Ordering::Relaxed));
        assert_eq!(both, (1, 1));
    }
}
