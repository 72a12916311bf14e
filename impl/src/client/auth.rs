//! Who a client says it is: the schemes of the auth request.

use crate::config::{DigestHash, SuperDigest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};
use subtle::ConstantTimeEq;
use zabra_model::tree::acl::Id;

/// The identity that `data` proves in `scheme`; `None` is AuthFailed. `digest` is how passwords are hashed, if that scheme is on.
///
/// Source: ZooKeeper `DigestAuthenticationProvider`, which fails without data, `IPAuthenticationProvider`, which takes any.
#[must_use]
pub fn identity(
    scheme: &str,
    data: Option<&[u8]>,
    address: &str,
    digest: Option<DigestHash>,
) -> Option<Id> {
    match scheme {
        "digest" => {
            let text = String::from_utf8_lossy(data?);
            Some(Id {
                scheme: "digest".into(),
                id: digest_id(&text, digest?).into(),
            })
        }
        "ip" => Some(Id {
            scheme: "ip".into(),
            id: address.into(),
        }),
        _ => None,
    }
}

/// The identity that the holder of the configured digest has beside his own: it passes every check of an ACL. How long the comparison
/// takes tells nothing of how much was right.
///
/// Source: ZooKeeper `DigestAuthenticationProvider.superDigest`.
#[must_use]
pub fn super_user(id: &Id, super_digest: Option<&SuperDigest>) -> Option<Id> {
    let is_super = &*id.scheme == "digest"
        && super_digest.is_some_and(|digest| digest.0.as_bytes().ct_eq(id.id.as_bytes()).into());
    is_super.then(|| Id {
        scheme: "super".into(),
        id: "".into(),
    })
}

/// `user:BASE64(HASH("user:password"))`
fn digest_id(user_password: &str, hash: DigestHash) -> String {
    let user = user_password
        .split_once(':')
        .map_or(user_password, |(user, _)| user);
    let sum = match hash {
        DigestHash::Sha1 => sum::<Sha1>,
        DigestHash::Sha224 => sum::<Sha224>,
        DigestHash::Sha256 => sum::<Sha256>,
        DigestHash::Sha384 => sum::<Sha384>,
        DigestHash::Sha512 => sum::<Sha512>,
        DigestHash::Sha512By224 => sum::<Sha512_224>,
        DigestHash::Sha512By256 => sum::<Sha512_256>,
        DigestHash::Sha3By224 => sum::<Sha3_224>,
        DigestHash::Sha3By256 => sum::<Sha3_256>,
        DigestHash::Sha3By384 => sum::<Sha3_384>,
        DigestHash::Sha3By512 => sum::<Sha3_512>,
        DigestHash::Md5 => sum::<Md5>,
    };
    format!("{user}:{}", sum(user_password))
}

fn sum<Hash: Digest>(text: &str) -> String {
    STANDARD.encode(Hash::digest(text))
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

    const SHA1: Option<DigestHash> = Some(DigestHash::Sha1);

    #[test]
    fn the_digest_scheme_adds_user_and_hash() {
        let id = identity("digest", Some(b"super:test"), "::1", SHA1).unwrap();
        assert_eq!(&*id.id, "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert_eq!(shown(&id), "super");
        assert_eq!(identity("kerberos", Some(b""), "::1", SHA1), None);
    }

    #[test]
    fn the_super_user_is_who_proves_the_configured_digest() {
        let digest = SuperDigest("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into());
        let id = identity("digest", Some(b"super:test"), "::1", SHA1).unwrap();
        assert_eq!(&*super_user(&id, Some(&digest)).unwrap().scheme, "super");
        assert_eq!(super_user(&id, None), None);
        let guessed = identity("digest", Some(b"super:tset"), "::1", SHA1).unwrap();
        assert_eq!(super_user(&guessed, Some(&digest)), None);
        let other_scheme = identity("ip", Some(b""), &digest.0, SHA1).unwrap();
        assert_eq!(super_user(&other_scheme, Some(&digest)), None);
    }

    #[test]
    fn c_43_a_scheme_without_its_proof_is_no_identity() {
        assert_eq!(identity("digest", None, "::1", SHA1), None);
        assert!(identity("ip", None, "::1", SHA1).is_some());
        for scheme in [
            "", "world", "super", "auth", "sasl", "x509", "DIGEST", "digest ",
        ] {
            for data in [None, Some(&b""[..]), Some(b"super:test")] {
                assert_eq!(identity(scheme, data, "::1", SHA1), None, "{scheme}");
            }
        }
    }

    #[test]
    fn c_30_the_digest_scheme_has_the_configured_hash_or_is_off() {
        assert_eq!(identity("digest", Some(b"u:p"), "::1", None), None);
        let with = |hash| {
            identity("digest", Some(b"u:p"), "::1", Some(hash))
                .unwrap()
                .id
        };
        for (hash, sum) in [
            (DigestHash::Sha1, "Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="),
            (
                DigestHash::Sha224,
                "buY2RDLG1qb161QWn3zO7zdHv1Jw5JzOzvoq8w==",
            ),
            (
                DigestHash::Sha384,
                "joW9fAMExHHjPTquSoLHR7yNt+hmUQSWOdXLQ1YgEw4t89oJD5tqLNcOJbpOm3hr",
            ),
            (
                DigestHash::Sha512By224,
                "uQhd9bjKXP6GHJndVVZ2qIjzcJFAYrjzPmzxOg==",
            ),
            (
                DigestHash::Sha512By256,
                "GahcuEqKVDomB4u/ebwuUp9/SoZ9jjQVdblytNb5wPo=",
            ),
            (
                DigestHash::Sha3By224,
                "VetFxgqKhf3M+E8Pj5X4NLMXFF7lPCr+KjMt9g==",
            ),
            (
                DigestHash::Sha3By256,
                "3+U94Pf1dSrKR/q5qu/huTFf1Fha6TtpdtpSdhWvIS0=",
            ),
            (
                DigestHash::Sha3By384,
                "d4zgobLcJSLRER2rxMYl64bQqLziPCVxzKEWJoX+pEfq/zm0wPI8ZyXDgZrO/jZl",
            ),
            (
                DigestHash::Sha3By512,
                "CxK7PYZe5JmbxbczQTl9zOaNZXrjA0kC+0x9tzWMsGKrpYRMUAdSUKhye+ylfkRhhXm3ReL68pT1mUct81OUyQ==",
            ),
            (DigestHash::Md5, "wj9ntl1lUHd6RGlGHs+1Hg=="),
        ] {
            assert_eq!(&*with(hash), format!("u:{sum}"));
        }
        assert_eq!(
            &*with(DigestHash::Sha256),
            "u:/Y8xRBngpX5duYn15uUqIRaIaCviy5TEwSk419hCwuA="
        );
        assert_eq!(
            &*with(DigestHash::Sha512),
            "u:JuOwXdmk4f1omXNJj7k4ILDOHOlc+8PMyEaxl9nrWl6OmV83jKYivSqJWsp5PsMTda6BtnipueoU1r5DtBd7CA=="
        );
    }
}
