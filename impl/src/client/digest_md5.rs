//! DIGEST-MD5 (RFC 2831), the mechanism of SASL by which clients, and servers that dial others, show that they know a password: the
//! side of who is dialled, and that of a server that dials.
//!
//! ```text
//! client                        server
//! an empty token ────────────►
//!                ◄──────────── realm, nonce                    nobody can foresee the nonce
//! user, cnonce, response ────►                                 the response is made of the password and both nonces
//!                ◄──────────── rspauth                         the server shows that it knows the password, too
//! ```
//! One exchange for each connection: what comes after its end, good or bad, is refused.

use crate::config::jaas::{Login, SaslUsers};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// RFC 2831, section 2.1.2: a longer response is none.
const TOKEN_BYTES_MAX: usize = 4096;

/// What both sides have to name: the service that the client means to reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Service {
    /// Whose passwords these are.
    pub realm: &'static str,
    /// Protocol and host; ZooKeeper has fixed words for both.
    pub uri: &'static str,
}

/// What clients of ZooKeeper name.
pub const CLIENTS: Service = Service {
    realm: "zk-sasl-md5",
    uri: "zookeeper/zk-sasl-md5",
};

/// What servers name where they dial each other.
pub const SERVERS: Service = Service {
    realm: "zk-quorum-sasl-md5",
    uri: "zookeeper-quorum/zk-quorum-sasl-md5",
};

/// How far the exchange of one connection is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Exchange {
    /// Nothing has come.
    #[default]
    Unbegun,
    /// The client has this nonce.
    Challenged(Box<str>),
    /// It has ended.
    Over,
}

/// What the client gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// The challenge.
    Challenge(String),
    /// It has shown to be this user; the last token shows that the server knows the password.
    Proved {
        /// The user.
        user: Box<str>,
        /// The last token.
        token: String,
    },
}

/// Why nobody was authenticated. The client is not told which it was: a wrong user and a wrong password look alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The first token is not empty, or one came after the end.
    #[error("a token that is not due")]
    Untimely,
    /// It is no list of directives, or one that counts is missing or there twice.
    #[error("a response that cannot be read")]
    Unreadable,
    /// It names another realm, service, nonce, count or quality of protection than this server's.
    #[error("a response to another challenge")]
    Elsewhere,
    /// It asks to act as another user.
    #[error("a user who asks to act as another one")]
    AsOther,
    /// The user is not known, or the password is wrong.
    #[error("an unknown user or a wrong password")]
    Wrong,
}

impl Exchange {
    /// Takes a token. `nonce` has not been used before and cannot be foreseen.
    ///
    /// # Errors
    /// [`Refused`]: the exchange is over.
    pub fn step(
        &mut self,
        token: &[u8],
        users: &SaslUsers,
        service: Service,
        nonce: impl FnOnce() -> Box<str>,
    ) -> Result<Next, Refused> {
        match std::mem::replace(self, Self::Over) {
            Self::Unbegun if token.is_empty() => {
                let nonce = nonce();
                let realm = service.realm;
                let challenge = format!(
                    "realm=\"{realm}\",nonce=\"{nonce}\",qop=\"auth\",charset=utf-8,algorithm=md5-sess"
                );
                *self = Self::Challenged(nonce);
                Ok(Next::Challenge(challenge))
            }
            Self::Challenged(nonce) => judge(token, users, service, &nonce),
            Self::Unbegun | Self::Over => Err(Refused::Untimely),
        }
    }
}

/// The directives of a response that count.
#[derive(Default)]
struct Response {
    username: Option<Vec<u8>>,
    realm: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
    cnonce: Option<Vec<u8>>,
    nc: Option<Vec<u8>>,
    qop: Option<Vec<u8>>,
    uri: Option<Vec<u8>>,
    response: Option<Vec<u8>>,
    charset: Option<Vec<u8>>,
    authzid: Option<Vec<u8>>,
}

fn judge(token: &[u8], users: &SaslUsers, service: Service, nonce: &str) -> Result<Next, Refused> {
    let said = read(token).ok_or(Refused::Unreadable)?;
    let is = |field: &Option<Vec<u8>>, due: &str| field.as_deref() == Some(due.as_bytes());
    let uri = said.uri.as_deref().ok_or(Refused::Unreadable)?;
    let is_here = uri.eq_ignore_ascii_case(service.uri.as_bytes())
        && is(&said.realm, service.realm)
        && is(&said.nonce, nonce)
        && is(&said.nc, "00000001")
        && (said.qop.is_none() || is(&said.qop, "auth"));
    if !is_here {
        return Err(Refused::Elsewhere);
    }
    let is_utf8 = match &said.charset {
        Some(name) if name.eq_ignore_ascii_case(b"utf-8") => true,
        Some(_) => return Err(Refused::Unreadable),
        None => false,
    };
    let cnonce = said.cnonce.ok_or(Refused::Unreadable)?;
    let answer = said.response.ok_or(Refused::Unreadable)?;
    let user = said.username.ok_or(Refused::Unreadable)?;
    let user = text(user, is_utf8).ok_or(Refused::Unreadable)?;
    let authzid = said.authzid.filter(|id| !id.is_empty());
    if authzid.as_deref().is_some_and(|id| id != user.as_bytes()) {
        return Err(Refused::AsOther);
    }
    let known = users.password(&user);
    let secret = Secret {
        user: &user,
        realm: service.realm,
        // Whoever is not known takes as long as whoever is.
        password: known.unwrap_or(""),
        nonce: nonce.as_bytes(),
        cnonce: &cnonce,
        authzid: authzid.as_deref(),
        uri,
    };
    let is_right: bool = secret.sum("AUTHENTICATE").as_bytes().ct_eq(&answer).into();
    if !is_right || known.is_none() {
        return Err(Refused::Wrong);
    }
    let token = format!("rspauth={}", secret.sum(""));
    Ok(Next::Proved {
        user: user.into(),
        token,
    })
}

/// What a server that dials says to a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// Its response.
    pub token: String,
    /// What comes back from who knows the password, too.
    pub due: String,
}

/// Answers a challenge. `cnonce` has not been used before and cannot be foreseen.
///
/// # Errors
/// [`Refused`]: the challenge cannot be answered.
pub fn respond(
    challenge: &[u8],
    login: &Login,
    service: Service,
    cnonce: &str,
) -> Result<Answered, Refused> {
    let said = read(challenge).ok_or(Refused::Unreadable)?;
    let nonce = said.nonce.ok_or(Refused::Unreadable)?;
    let has_auth = |list: &Vec<u8>| {
        list.split(|b| *b == b',')
            .any(|w| w.trim_ascii() == b"auth")
    };
    let is_here = said.realm.as_deref() == Some(service.realm.as_bytes())
        && said.qop.as_ref().is_none_or(has_auth);
    if !is_here {
        return Err(Refused::Elsewhere);
    }
    let is_utf8 = said
        .charset
        .is_some_and(|c| c.eq_ignore_ascii_case(b"utf-8"));
    // Without it a name is written in ISO 8859-1, which a nonce of other letters or a name may not have.
    let nonce = String::from_utf8(nonce).map_err(|_| Refused::Unreadable)?;
    if !is_utf8 && !login.user.is_ascii() {
        return Err(Refused::Unreadable);
    }
    let secret = Secret {
        user: &login.user,
        realm: service.realm,
        password: &login.password,
        nonce: nonce.as_bytes(),
        cnonce: cnonce.as_bytes(),
        authzid: None,
        uri: service.uri.as_bytes(),
    };
    let charset = if is_utf8 { "charset=utf-8," } else { "" };
    let token = format!(
        "{charset}username=\"{}\",realm=\"{}\",nonce=\"{}\",nc=00000001,cnonce=\"{cnonce}\",digest-uri=\"{}\",response={},qop=auth",
        quoted(&login.user),
        service.realm,
        quoted(&nonce),
        service.uri,
        secret.sum("AUTHENTICATE")
    );
    let due = format!("rspauth={}", secret.sum(""));
    Ok(Answered { token, due })
}

/// As it stands between quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// What the sums of both sides are made of.
struct Secret<'a> {
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    nonce: &'a [u8],
    cnonce: &'a [u8],
    authzid: Option<&'a [u8]>,
    uri: &'a [u8],
}

impl Secret<'_> {
    /// RFC 2831, section 2.1.2.1, for the quality of protection `auth`; the server's own sum has no method.
    fn sum(&self, method: &str) -> String {
        let mut names = octets(self.user);
        names.push(b':');
        names.extend(octets(self.realm));
        names.push(b':');
        names.extend(octets(self.password));
        let mut a1 = Md5::digest(&names).to_vec();
        for part in [self.nonce, self.cnonce].into_iter().chain(self.authzid) {
            a1.push(b':');
            a1.extend_from_slice(part);
        }
        let a2 = [method.as_bytes(), b":", self.uri].concat();
        let (a1, a2) = (hex(&a1), hex(&a2));
        let all = [
            a1.as_bytes(),
            b":",
            self.nonce,
            b":00000001:",
            self.cnonce,
            b":auth:",
            a2.as_bytes(),
        ];
        hex(&all.concat())
    }
}

fn hex(bytes: &[u8]) -> String {
    format!("{:x}", Md5::digest(bytes))
}

/// As it goes into a sum: in ISO 8859-1 if that has all its letters, else in UTF-8.
fn octets(text: &str) -> Vec<u8> {
    let narrow: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    narrow.unwrap_or_else(|_| text.as_bytes().to_vec())
}

fn text(bytes: Vec<u8>, is_utf8: bool) -> Option<String> {
    if is_utf8 {
        String::from_utf8(bytes).ok()
    } else {
        Some(bytes.into_iter().map(char::from).collect())
    }
}

/// Reads a list of directives: `name=word` and `name="text"`, with commas between them. `None` if it is none, or if one that counts is
/// there twice.
fn read(token: &[u8]) -> Option<Response> {
    let mut said = Response::default();
    let mut left = token;
    if left.len() > TOKEN_BYTES_MAX {
        return None;
    }
    loop {
        while let [b',' | b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = left {
            left = rest;
        }
        if left.is_empty() {
            return Some(said);
        }
        let at = left.iter().position(|b| *b == b'=')?;
        let name = left[..at].trim_ascii().to_ascii_lowercase();
        let (value, rest) = value(left[at + 1..].trim_ascii_start())?;
        left = rest;
        let field = match &*name {
            b"username" => &mut said.username,
            b"realm" => &mut said.realm,
            b"nonce" => &mut said.nonce,
            b"cnonce" => &mut said.cnonce,
            b"nc" => &mut said.nc,
            b"qop" => &mut said.qop,
            b"digest-uri" => &mut said.uri,
            b"response" => &mut said.response,
            b"charset" => &mut said.charset,
            b"authzid" => &mut said.authzid,
            _ => continue, // maxbuf, cipher, and what nobody has thought of yet
        };
        if field.replace(value).is_some() {
            return None;
        }
    }
}

/// The value at the beginning, and what is behind it.
fn value(left: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = left.strip_prefix(b"\"") else {
        let ends = |b: &u8| matches!(b, b',' | b' ' | b'\t' | b'\r' | b'\n');
        let (value, rest) = left.split_at(left.iter().position(ends).unwrap_or(left.len()));
        return Some((value.to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    loop {
        match bytes.next()? {
            (at, b'"') => return Some((value, &quoted[at + 1..])),
            (_, b'\\') => value.push(*bytes.next()?.1),
            (_, byte) => value.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INNOSOFT: Service = Service {
        realm: "elwood.innosoft.com",
        uri: "imap/elwood.innosoft.com",
    };
    const NONCE: &str = "OA6MG9tEQGm2hh";
    const RESPONSE: &str = "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",nc=00000001,cnonce=\"OA6MHXh6VqTrRk\",digest-uri=\"imap/elwood.innosoft.com\",response=d388dad90d4bbd760a152321f2143af7,qop=auth";

    fn users() -> SaslUsers {
        SaslUsers::new([("chris", "secret"), ("jörg", "geheim"), ("", "")])
    }

    fn answer(token: &str) -> Result<Next, Refused> {
        let mut exchange = Exchange::default();
        let first = exchange.step(b"", &users(), INNOSOFT, || NONCE.into());
        assert!(matches!(first, Ok(Next::Challenge(_))));
        let next = exchange.step(token.as_bytes(), &users(), INNOSOFT, || "again".into());
        assert_eq!(exchange, Exchange::Over);
        for late in ["", token] {
            let late = exchange.step(late.as_bytes(), &users(), INNOSOFT, || "again".into());
            assert_eq!(late, Err(Refused::Untimely));
        }
        next
    }

    /// RFC 2831, section 4.
    #[test]
    fn the_worked_example_of_the_standard() {
        let mut exchange = Exchange::default();
        let challenge = exchange.step(b"", &users(), INNOSOFT, || NONCE.into());
        let due = "realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",charset=utf-8,algorithm=md5-sess";
        assert_eq!(challenge, Ok(Next::Challenge(due.into())));
        let proved = Next::Proved {
            user: "chris".into(),
            token: "rspauth=ea40f60335c427b5527b84dbabcdfffd".into(),
        };
        assert_eq!(answer(RESPONSE), Ok(proved.clone()));
        // Blanks, the order and unknown directives do not matter, and auth is what holds without qop.
        let (rest, qop) = RESPONSE.rsplit_once(',').unwrap();
        for same in [
            format!("{qop} , maxbuf=65536,\t{rest}"),
            rest.to_owned(),
            RESPONSE.replace("chris\"", "c\\hris\""),
        ] {
            assert_eq!(answer(&same), Ok(proved.clone()), "{same}");
        }
    }

    /// Both sides of one exchange, between servers: each knows the password, or the other one finds out.
    #[test]
    fn a_server_that_dials_answers_a_challenge_and_knows_who_knows_the_password() {
        let users = SaslUsers::new([("j\"ö\\rg", "geheim"), ("zk", "secret")]);
        let login = |user: &str, password: &str| Login {
            user: user.into(),
            password: password.into(),
        };
        for (user, password, is_right) in [
            ("j\"ö\\rg", "geheim", true),
            ("zk", "secret", true),
            ("zk", "geheim", false),
            ("kz", "secret", false),
        ] {
            let mut exchange = Exchange::default();
            let nonce = || "n\"o,nce".replace('"', "").into();
            let Ok(Next::Challenge(challenge)) = exchange.step(b"", &users, SERVERS, nonce) else {
                panic!("no challenge");
            };
            let login = login(user, password);
            let answered = respond(challenge.as_bytes(), &login, SERVERS, "cnonce").unwrap();
            let next = exchange.step(answered.token.as_bytes(), &users, SERVERS, || "".into());
            let proved = Next::Proved {
                user: user.into(),
                token: answered.due,
            };
            assert_eq!(
                next,
                if is_right {
                    Ok(proved)
                } else {
                    Err(Refused::Wrong)
                }
            );
        }
        let to = |challenge: &str| {
            respond(challenge.as_bytes(), &login("zk", "secret"), SERVERS, "c").map(drop)
        };
        let good = "realm=\"zk-quorum-sasl-md5\",nonce=\"n\",qop=\"auth-int,auth\"";
        assert_eq!(to(good), Ok(()));
        for (challenge, why) in [
            ("nonce=\"n\"", Refused::Elsewhere),
            ("realm=\"zk-quorum-sasl-md5\"", Refused::Unreadable),
            ("realm=\"zk-sasl-md5\",nonce=\"n\"", Refused::Elsewhere),
            (&good.replace(",auth\"", "\""), Refused::Elsewhere),
            ("\"", Refused::Unreadable),
        ] {
            assert_eq!(to(challenge), Err(why), "{challenge}");
        }
    }

    /// CVE-2023-44981: nobody is taken for another one, nor for any instance of a name or a realm, whatever he asks to act as.
    #[test]
    fn who_knows_a_password_acts_as_its_user_alone() {
        let users = SaslUsers::new([("zk", "secret")]);
        for (authzid, is_taken) in [
            ("", true),
            ("zk", true),
            ("zk@REALM", false),
            ("zk/zk-1@REALM", false),
            ("zk/zk-1", false),
            ("eve@REALM", false),
            ("@", false),
            (" zk", false),
        ] {
            let mut exchange = Exchange::default();
            exchange.step(b"", &users, SERVERS, || "n".into()).unwrap();
            let named = (!authzid.is_empty()).then_some(authzid);
            let secret = Secret {
                user: "zk",
                realm: SERVERS.realm,
                password: "secret",
                nonce: b"n",
                cnonce: b"c",
                authzid: named.map(str::as_bytes),
                uri: SERVERS.uri.as_bytes(),
            };
            let token = format!(
                "username=\"zk\",realm=\"{}\",nonce=\"n\",nc=00000001,cnonce=\"c\",digest-uri=\"{}\",qop=auth,response={},authzid=\"{authzid}\"",
                SERVERS.realm,
                SERVERS.uri,
                secret.sum("AUTHENTICATE")
            );
            let next = exchange.step(token.as_bytes(), &users, SERVERS, || "".into());
            match next {
                Ok(Next::Proved { user, .. }) => assert!(is_taken && &*user == "zk", "{authzid}"),
                Ok(Next::Challenge(_)) => panic!("{authzid}"),
                Err(why) => assert_eq!((is_taken, why), (false, Refused::AsOther), "{authzid}"),
            }
        }
    }

    #[test]
    fn what_is_not_the_answer_to_this_challenge_proves_nothing() {
        use Refused::{AsOther, Elsewhere, Unreadable, Wrong};
        for (from, to, why) in [
            ("response=d", "response=e", Wrong),
            ("response=d388", "response=D388", Wrong),
            (
                "response=d388dad90d4bbd760a152321f2143af7",
                "response=",
                Wrong,
            ),
            ("chris", "chri", Wrong),
            ("chris", "", Wrong),
            ("nc=00000001", "nc=00000002", Elsewhere),
            (
                "nonce=\"OA6MG9tEQGm2hh\"",
                "nonce=\"OA6MG9tEQGm2hi\"",
                Elsewhere,
            ),
            ("imap/", "ldap/", Elsewhere),
            ("realm=\"elwood", "realm=\"other", Elsewhere),
            ("realm=\"elwood.innosoft.com\",", "", Elsewhere),
            ("qop=auth", "qop=auth-conf", Elsewhere),
            ("qop=auth", "qop=auth,authzid=\"super\"", AsOther),
            ("qop=auth", "qop=auth,qop=auth", Unreadable),
            ("qop=auth", "qop=auth,username=\"chris\"", Unreadable),
            ("qop=auth", "qop", Unreadable),
            ("username=\"chris\",", "", Unreadable),
            (",cnonce=\"OA6MHXh6VqTrRk\"", "", Unreadable),
            ("charset=utf-8", "charset=utf-7", Unreadable),
            ("chris\",", "chris,", Elsewhere),
        ] {
            assert!(RESPONSE.contains(from), "{from}");
            assert_eq!(answer(&RESPONSE.replacen(from, to, 1)), Err(why), "{to}");
        }
        let long = format!("{RESPONSE},x={}", "y".repeat(TOKEN_BYTES_MAX));
        assert_eq!(answer(&long), Err(Unreadable));
        assert_eq!(answer(""), Err(Unreadable));
        // A response before the challenge, as one that was overheard would be sent again.
        let mut exchange = Exchange::default();
        let early = exchange.step(RESPONSE.as_bytes(), &users(), INNOSOFT, || NONCE.into());
        assert_eq!(early, Err(Refused::Untimely));
    }

    /// The sums take letters that ISO 8859-1 has as their single bytes, whatever the response is written in.
    #[test]
    fn letters_beyond_ascii_are_the_same_in_both_encodings() {
        let secret = Secret {
            user: "jörg",
            realm: INNOSOFT.realm,
            password: "geheim",
            nonce: NONCE.as_bytes(),
            cnonce: b"c",
            authzid: None,
            uri: INNOSOFT.uri.as_bytes(),
        };
        let rest = format!(
            "realm=\"{}\",nonce=\"{NONCE}\",nc=00000001,cnonce=\"c\",digest-uri=\"{}\",response={},username=",
            INNOSOFT.realm,
            INNOSOFT.uri,
            secret.sum("AUTHENTICATE")
        );
        let wide = format!("{rest}\"jörg\",charset=utf-8");
        assert!(matches!(answer(&wide), Ok(Next::Proved { user, .. }) if &*user == "jörg"));
        let narrow = [rest.as_bytes(), b"\"j\xf6rg\""].concat();
        let next = judge(&narrow, &users(), INNOSOFT, NONCE);
        assert!(matches!(next, Ok(Next::Proved { user, .. }) if &*user == "jörg"));
        assert_eq!(octets("日本"), "日本".as_bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(token in prop::collection::vec(any::<u8>(), 0..200), cut in 0..RESPONSE.len() - 10) {
            prop_assert!(judge(&token, &users(), INNOSOFT, NONCE).is_err());
            prop_assert!(judge(&RESPONSE.as_bytes()[..cut], &users(), INNOSOFT, NONCE).is_err());
        }
    }
}
