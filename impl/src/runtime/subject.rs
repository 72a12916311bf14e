//! The subject of a certificate as Java writes it: it is the id of the scheme `x509`, so ACLs hold it letter by letter.

use std::fmt::Write;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::{Encode, Tag, Tagged};
use x509_cert::name::RdnSequence;

/// The types that RFC 2253 has words for; every other is written as its number.
const WORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The name in the text of RFC 2253, last part first; `None` if a part of it is not what its type says.
///
/// So a certificate that is issued to `C=DE, O=Zabra, CN=alice`, in this order, is `CN=alice,O=Zabra,C=DE`; parts of one set keep
/// their order and have a `+` between them.
///
/// Source: Java `X500Principal.getName()`, which is that of `RFC2253`, as of Java 25; older ones (seen: 17) take the bytes of
/// a BMPString and a TeletexString for UTF-8, by which one subject can spell another.
#[must_use]
pub(super) fn text(name: &RdnSequence) -> Option<String> {
    let mut parts = Vec::new();
    for rdn in name.0.iter().rev() {
        let of_one: Option<Vec<String>> = rdn.0.iter().map(part).collect();
        parts.push(of_one?.join("+"));
    }
    Some(parts.join(","))
}

/// The common name: the last one, where there are several.
pub(super) fn common_name(name: &RdnSequence) -> Option<String> {
    let parts = name.0.iter().rev().flat_map(|rdn| rdn.0.iter());
    let mut texts = parts.filter_map(part);
    texts.find_map(|text| text.strip_prefix("CN=").map(Into::into))
}

fn part(part: &AttributeTypeAndValue) -> Option<String> {
    let oid = part.oid.to_string();
    let word = WORDS.iter().find(|(number, _)| *number == oid);
    let Some((_, word)) = word else {
        return Some(format!("{oid}={}", hex(part)?));
    };
    let bytes = part.value.value();
    let value = match part.value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok()?,
        Tag::PrintableString | Tag::Ia5String if bytes.is_ascii() => {
            bytes.iter().map(|b| char::from(*b)).collect()
        }
        Tag::TeletexString => bytes.iter().map(|b| char::from(*b)).collect(),
        Tag::BmpString if bytes.len().is_multiple_of(2) => {
            let units = bytes.chunks_exact(2);
            let units: Vec<u16> = units.map(|u| u16::from_be_bytes([u[0], u[1]])).collect();
            String::from_utf16(&units).ok()?
        }
        Tag::PrintableString | Tag::Ia5String | Tag::BmpString => return None,
        _ => return Some(format!("{word}={}", hex(part)?)),
    };
    Some(format!("{word}={}", escaped(&value)))
}

fn hex(part: &AttributeTypeAndValue) -> Option<String> {
    let mut text = String::from("#");
    for byte in part.value.to_der().ok()? {
        write!(text, "{byte:02x}").ok()?;
    }
    Some(text)
}

/// With a backslash before what would mean something else, and before blanks at either end.
fn escaped(value: &str) -> String {
    let is_blank = |c: char| c == ' ' || c == '\r';
    let begin = value.len() - value.trim_start_matches(is_blank).len();
    let end = value.trim_end_matches(is_blank).len();
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        match c {
            '\0' => text.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => text.extend(['\\', c]),
            _ if at < begin || at >= end => text.extend(['\\', c]),
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_cert::der::asn1::{Any, ObjectIdentifier, SetOfVec};
    use x509_cert::name::RelativeDistinguishedName;

    const COMMON: &str = "2.5.4.3";

    fn name(parts: &[(&str, Tag, &str)]) -> RdnSequence {
        let one = |(oid, tag, value): &(&str, Tag, &str)| {
            let part = AttributeTypeAndValue {
                oid: ObjectIdentifier::new(oid).unwrap(),
                value: Any::new(*tag, value.as_bytes()).unwrap(),
            };
            RelativeDistinguishedName(SetOfVec::try_from(vec![part]).unwrap())
        };
        RdnSequence(parts.iter().map(one).collect())
    }

    /// The texts are what Java 25 printed for these bytes.
    #[test]
    fn subjects_in_der_are_written_as_java_25_writes_them() {
        use x509_cert::der::Decode;
        for (der, expected) in [
            (
                "302e310e300c060355040a0c055a61627261311c300906035504030c026162300f060a0992268993f22c6401010c0137",
                "CN=ab+UID=7,O=Zabra",
            ),
            (
                "301c310b3009060355040c0c024472310d300b06035504031e04006a00e9",
                "CN=j\u{e9},2.5.4.12=#0c024472",
            ),
            (
                "3053310b3009060355040314026ae9310b3009060355040513023737310a300806035504090c0173310a300806035504080c0142310a300806035504070c014d31133011060a0992268993f22c64011916036f7267",
                "DC=org,L=M,ST=B,STREET=s,2.5.4.5=#13023737,CN=j\u{e9}",
            ),
        ] {
            let digits = der.as_bytes().chunks(2);
            let digits = digits.map(|two| std::str::from_utf8(two).unwrap());
            let bytes: Vec<u8> = digits.map(|d| u8::from_str_radix(d, 16).unwrap()).collect();
            let name = RdnSequence::from_der(&bytes).unwrap();
            assert_eq!(text(&name).as_deref(), Some(expected));
        }
    }

    /// C-43: a value cannot look like two parts, and types without a word are numbers.
    #[test]
    fn c_43_a_subject_is_written_as_java_writes_it() {
        let utf8 = Tag::Utf8String;
        let of = |parts: &[(&str, Tag, &str)]| text(&name(parts));
        let alice = [
            ("2.5.4.6", Tag::PrintableString, "DE"),
            ("2.5.4.10", utf8, "Zabra"),
            (COMMON, utf8, "alice"),
        ];
        assert_eq!(of(&alice).as_deref(), Some("CN=alice,O=Zabra,C=DE"));
        let forged = of(&[(COMMON, utf8, "a,OU=root")]);
        assert_eq!(forged.as_deref(), Some("CN=a\\,OU\\=root"));
        // An e-mail address, whose type RFC 2253 does not know.
        let mail = of(&[("1.2.840.113549.1.9.1", Tag::Ia5String, "a")]);
        assert_eq!(mail.as_deref(), Some("1.2.840.113549.1.9.1=#160161"));
        assert_eq!(of(&[]).as_deref(), Some(""));
        assert_eq!(of(&[(COMMON, Tag::PrintableString, "\u{e9}")]), None);
        assert_eq!(escaped(" x "), "\\ x\\ ");
        assert_eq!(escaped("a\0b#c\"<>;+"), "a\\00b\\#c\\\"\\<\\>\\;\\+");
    }
}
