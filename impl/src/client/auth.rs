//! Who a client says it is: the schemes of the auth request.

use crate::config::SuperDigest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use zabra_model::tree::acl::Id;

/// The identity that `data` proves in `scheme`; `None` is AuthFailed.
///
/// Source: ZooKeeper `DigestAuthenticationProvider`, `IPAuthenticationProvider`.
#[must_use]
pub fn identity(scheme: &str, data: &[u8], address: &str) -> Option<Id> {
    match scheme {
        "digest" => {
            let text = String::from_utf8_lossy(data);
            Some(Id {
                scheme: "digest".into(),
                id: digest_id(&text).into(),
            })
        }
        "ip" => Some(Id {
            scheme: "ip".into(),
            id: address.into(),
        }),
        _ => None,
    }
}

/// The identity that the holder of the configured digest has beside his own: it passes every check of an ACL.
///
/// Source: ZooKeeper `DigestAuthenticationProvider.superDigest`.
#[must_use]
pub fn super_user(id: &Id, super_digest: Option<&SuperDigest>) -> Option<Id> {
    let is_super = &*id.scheme == "digest" && super_digest.is_some_and(|digest| digest.0 == id.id);
    is_super.then(|| Id {
        scheme: "super".into(),
        id: "".into(),
    })
}

/// `user:BASE64(SHA1("user:password"))`
fn digest_id(user_password: &str) -> String {
    let user = user_password
        .split_once(':')
        .map_or(user_password, |(user, _)| user);
    let sum = Sha1::digest(user_password.as_bytes());
    format!("{user}:{}", STANDARD.encode(sum))
}

/// What whoAmI shows of an identity: no digest.
#[must_use]
pub fn shown(id: &Id) -> &str {
    match &*id.scheme {
        "digest" => id.id.split_once(':').map_or(&*id.id, |(user, _)| user),
        _ => &id.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_scheme_adds_user_and_hash() {
        let id = identity("digest", b"super:test", "::1").unwrap();
        assert_eq!(&*id.id, "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert_eq!(shown(&id), "super");
        assert_eq!(identity("kerberos", b"", "::1"), None);
    }

    #[test]
    fn the_super_user_is_who_proves_the_configured_digest() {
        let digest = SuperDigest("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into());
        let id = identity("digest", b"super:test", "::1").unwrap();
        assert_eq!(&*super_user(&id, Some(&digest)).unwrap().scheme, "super");
        assert_eq!(super_user(&id, None), None);
        let guessed = identity("digest", b"super:tset", "::1").unwrap();
        assert_eq!(super_user(&guessed, Some(&digest)), None);
        let other_scheme = identity("ip", b"", &digest.0).unwrap();
        assert_eq!(super_user(&other_scheme, Some(&digest)), None);
    }
}
