//! What the values of several kinds of keys are written like.

use std::fmt::Display;
use std::str::FromStr;

/// The largest number of Java's `int`, in which ZooKeeper keeps most of its settings.
pub(super) const INT_MAX: u32 = i32::MAX as u32;

/// What plainly says no, to people and to Java, which takes everything for no that is not the one word for yes.
const NO: [&str; 5] = ["false", "no", "off", "0", ""];

/// A switch of Java's: `true`, or what says no. What else Java silently takes for false, `yes` and `1` among it, is refused (D-81).
///
/// Errors: what to write instead.
pub(super) fn flag(key: &str, value: &str) -> Result<bool, String> {
    one_of(key, value, ["true", "false"])
}

/// One of the switches for which Java knows the word `yes` alone, and silently takes `true` for no; that is refused (D-81).
///
/// Errors: what to write instead.
pub(super) fn yes(key: &str, value: &str) -> Result<bool, String> {
    one_of(key, value, ["yes", "no"])
}

fn one_of(key: &str, value: &str, [on, off]: [&str; 2]) -> Result<bool, String> {
    let word = value.to_ascii_lowercase();
    match NO.contains(&word.as_str()) {
        true => Ok(false),
        false if value == on || (on == "true" && word == on) => Ok(true),
        false => Err(format!(
            "{key}={value}: ZooKeeper takes this for {off}, as it is not the word {on}; write {on} or {off}"
        )),
    }
}

/// A number of these. Errors: what to write instead.
pub(super) fn within<T>(key: &str, value: &str, least: T, most: T, unit: &str) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let number = value.parse().ok();
    number
        .filter(|n: &T| (least..=most).contains(n))
        .ok_or_else(|| format!("{key}={value}: write a number of {unit} from {least} to {most}"))
}

/// A number of these, as many as an `int` of Java's holds. Errors: what to write instead.
pub(super) fn count<T>(key: &str, value: &str, least: u32, unit: &str) -> Result<T, String>
where
    T: TryFrom<u32>,
{
    let number = within(key, value, least, INT_MAX, unit)?;
    // Each kind of number that settings are kept in has room for it.
    T::try_from(number).map_err(|_| format!("{key}={value}: too large for this machine"))
}

/// A port; 0 lets the system choose. Errors: what to write instead.
pub(super) fn port(key: &str, value: &str) -> Result<u16, String> {
    let port = value.parse().ok();
    port.ok_or_else(|| format!("{key}={value}: write a port, 0 to {}", u16::MAX))
}

/// A number of bytes, in digits, or in hexadecimal behind `0x`, which Java takes here, too. Errors: what to write instead.
pub(super) fn bytes(key: &str, value: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = match value.strip_prefix("0x") {
        Some(hex) => usize::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    };
    number
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| {
            format!("{key}={value}: write a number of bytes from {least} to {most}, as 4194304 or 0x400000")
        })
}

/// A span of time: a number of hours, or a number with `ms`, `s`, `m`, `h` or `d` behind it; zero or less is none. In milliseconds.
///
/// Errors: what to write instead.
pub(super) fn span_ms(key: &str, value: &str) -> Result<u64, String> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let end = digits.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = digits.split_at(end.unwrap_or(digits.len()));
    let one_ms = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "" | "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let wrong = || {
        format!(
            "{key}={value}: write a number of hours, or one with ms, s, m, h or d behind it, as 30m"
        )
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match one_ms {
        0 => Err(wrong()),
        _ if value.starts_with('-') => Ok(0),
        _ => Ok(u64::from(number) * one_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_on_by_its_word_off_by_what_says_no_and_refused_where_java_would_take_yes_for_no()
    {
        for word in ["true", "TRUE", "True"] {
            assert_eq!(flag("k", word), Ok(true));
            assert!(yes("k", word).unwrap_err().contains("for no"), "{word}");
        }
        for word in ["false", "False", "no", "off", "0", ""] {
            assert_eq!((flag("k", word), yes("k", word)), (Ok(false), Ok(false)));
        }
        assert_eq!(yes("k", "yes"), Ok(true));
        assert!(flag("k", "yes").unwrap_err().contains("for false"));
        for word in ["1", "on", "ture", "enabled", "YES"] {
            assert!(
                flag("k", word).is_err() && yes("k", word).is_err(),
                "{word}"
            );
        }
    }

    #[test]
    fn a_span_is_in_hours_or_says_its_unit() {
        for (text, ms) in [
            ("24", 86_400_000),
            ("90ms", 90),
            ("5s", 5000),
            ("30m", 1_800_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0", 0),
            ("-1", 0),
            ("-5m", 0),
            ("4294967295d", 4_294_967_295 * 86_400_000),
        ] {
            assert_eq!(span_ms("k", text), Ok(ms), "{text}");
        }
        for text in ["", "h", "1w", "1.5h", "1 day", "4294967296", "--1"] {
            assert!(span_ms("k", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_of_an_int_a_port_and_bytes_tell_their_ranges() {
        assert_eq!(count("k", "2147483647", 1, "ticks"), Ok(2_147_483_647_u64));
        for text in ["0", "2147483648", "-1", "x", "5 ", ""] {
            let refusal = count::<u64>("k", text, 1, "ticks").unwrap_err();
            let expected = format!("k={text}: write a number of ticks from 1 to 2147483647");
            assert_eq!(refusal, expected);
        }
        assert_eq!((port("k", "0"), port("k", "65535")), (Ok(0), Ok(65535)));
        for text in ["65536", "-1", "x", ""] {
            let refusal = port("k", text).unwrap_err();
            assert!(refusal.ends_with("write a port, 0 to 65535"), "{refusal}");
        }
        assert_eq!(bytes("k", "0x10", 1, 16), Ok(16));
        for text in ["0", "0x0", "17", "0x11", "0x", "-0x1", "ten"] {
            let refusal = bytes("k", text, 1, 16).unwrap_err();
            assert!(refusal.contains("of bytes from 1 to 16"), "{refusal}");
        }
    }

    #[test]
    fn a_number_has_its_bounds() {
        assert_eq!(within("k", "5", 1, 9, "ms"), Ok(5));
        for text in ["0", "10", "x", "5ms", ""] {
            let refusal = within("k", text, 1, 9, "ms").unwrap_err();
            assert!(refusal.ends_with("a number of ms from 1 to 9"), "{refusal}");
        }
    }
}
