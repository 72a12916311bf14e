//! The page for people on the port of commands: the page itself, and what it asks for. It changes nothing.
//!
//! A browser that somebody else's page has led here may be told that this port has the name of that page's server: so what the page asks for
//! is answered only where the request names an address, `localhost` or a name that this server knows as one of its ensemble's.

use super::content::{Answer, Patience, plain, response};
use super::guarded::GuardedCommands;
use crate::admin::guarded::Guarded;
use crate::admin::page;
use crate::client::shared::Shared;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;

const JSON: &str = "application/json";

/// Answers a part of the page.
pub(super) async fn answer(
    part: &str,
    request: Request<Incoming>,
    from: IpAddr,
    guarded: Arc<GuardedCommands>,
    (shared, patience): (Arc<Shared>, Patience),
) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "write GET\n");
    }
    let mut answer = match part {
        "" => whole(),
        "state" | "node" | "election" if !is_known(&request, &shared) => response(
            StatusCode::FORBIDDEN,
            JSON,
            page::wrong(
                "this server does not know the name by which it is asked; write its address, localhost, or its name in the list of members",
            ),
        ),
        "election" => {
            return guarded
                .answer(Guarded::Election, request, from, patience)
                .await;
        }
        "state" | "node" => {
            let header = request.headers().get(AUTHORIZATION);
            let header = header.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
            let path = (part == "node").then(|| path_of(request.uri().query()));
            // A password is hashed, and the tree is looked at: not where others wait for the thread.
            let told = tokio::task::spawn_blocking(move || match path {
                None => (200, page::state(&shared)),
                Some(path) => page::node(&path, header.as_deref(), from, &shared),
            });
            let bug = |_| (500, page::wrong("our bug; please report this"));
            let (status, text) = told.await.unwrap_or_else(bug);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response(status, JSON, text)
        }
        _ => plain(StatusCode::NOT_FOUND, "not here; look at /\n"),
    };
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(resource, HeaderValue::from_static("same-origin"));
    answer
}

fn whole() -> Answer {
    let (text, policy) = page::page();
    let mut answer = response(StatusCode::OK, "text/html; charset=utf-8", text.to_owned());
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// Whether the name by which this port is asked is an address, or one that this server knows.
fn is_known(request: &Request<Incoming>, shared: &Shared) -> bool {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let own = shared.config.operation.commands.as_ref();
    let own = own.and_then(|commands| commands.listen.host.as_deref());
    let lists = shared.lists();
    let members = lists.members();
    let members = members.values().map(|member| member.host.as_str());
    let names = members.chain(own).chain(["localhost"]);
    host.is_none_or(|host| is_one_of(host, names))
}

fn is_one_of<'n>(host: &str, mut names: impl Iterator<Item = &'n str>) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.');
    name.parse::<IpAddr>().is_ok() || names.any(|known| known.eq_ignore_ascii_case(name))
}

/// What stands behind `path=`, as a browser writes it.
fn path_of(query: Option<&str>) -> String {
    let mut pairs = query.unwrap_or_default().split('&');
    let path = pairs.find_map(|pair| pair.strip_prefix("path="));
    let mut rest = path.unwrap_or("/").as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.first_chunk::<2>().and_then(|two| {
            let two = std::str::from_utf8(two).ok()?;
            u8::from_str_radix(two, 16).ok()
        });
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = behind.get(2..).unwrap_or_default();
            }
            (first, _) => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    // What is no text is at no node's path.
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_a_browser_writes_it() {
        for (query, path) in [
            (None, "/"),
            (Some(""), "/"),
            (Some("path=%2F"), "/"),
            (
                Some("a=1&path=%2Fa%20b%2F%3Cscript%3E&path=c"),
                "/a b/<script>",
            ),
            (Some("path=/%C3%BC%2"), "/ü%2"),
            (Some("path=/%zz%"), "/%zz%"),
            (Some("path=/%FF"), "/\u{fffd}"),
        ] {
            assert_eq!(path_of(query), path, "{query:?}");
        }
    }

    #[test]
    fn only_addresses_and_names_that_are_known_are_answered() {
        let known = |host: &str| is_one_of(host, ["localhost", "Zoo1.example"].into_iter());
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "10.0.0.1",
            "localhost",
            "LOCALHOST:1",
            "zoo1.example.:8080",
        ] {
            assert!(known(host), "{host}");
        }
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "",
            "zoo1",
            "127.0.0.1.evil.example",
        ] {
            assert!(!known(host), "{host}");
        }
    }
}
