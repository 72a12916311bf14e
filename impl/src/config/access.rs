//! Keys about who a client has to be before anything else is taken from it.

use super::values::flag;

/// What the lines said, each with its number.
#[derive(Clone, Debug, Default)]
pub struct AccessLines {
    is_enforced: Option<(usize, bool)>,
    schemes: Option<(usize, Vec<Box<str>>)>,
    requires_sasl: Option<(usize, bool)>,
}

/// Who a client has to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Schemes by one of which a client has to have authenticated; none: nobody has to.
    pub schemes: Box<[Box<str>]>,
}

impl AccessLines {
    /// Takes the line if it is one of these; `plain` is the key without the prefix `zookeeper.`. Errors: what is wrong with it.
    pub(super) fn set(
        &mut self,
        number: usize,
        key: &str,
        plain: &str,
        value: &str,
    ) -> Result<bool, String> {
        match plain {
            "enforce.auth.enabled" => self.is_enforced = Some((number, flag(key, value)?)),
            "enforce.auth.schemes" => {
                let names = value.split(',').map(str::trim);
                let names = names.filter(|name| !name.is_empty()).map(Box::from);
                self.schemes = Some((number, names.collect()));
            }
            "sessionRequireClientSASLAuth" => {
                self.requires_sasl = Some((number, flag(key, value)?));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What the lines mean together; `provided` says whether this server authenticates by a scheme. Errors: the number of a line,
    /// and what to do about it.
    ///
    /// Source: ZooKeeper `AuthenticationHelper`, which does not start with a scheme that it does not have either.
    pub(super) fn check(self, provided: impl Fn(&str) -> bool) -> Result<Access, (usize, String)> {
        let (line, key, schemes) = match (self.requires_sasl, self.is_enforced, self.schemes) {
            (Some((line, true)), ..) => {
                let schemes = vec![Box::from("sasl")];
                (line, "sessionRequireClientSASLAuth", schemes)
            }
            (_, Some((_, true)), Some((line, schemes))) if !schemes.is_empty() => {
                (line, "enforce.auth.schemes", schemes)
            }
            (_, Some((line, true)), _) => {
                let what = "enforce.auth.enabled=true does not say by what; write enforce.auth.schemes=digest, or remove the line";
                return Err((line, what.into()));
            }
            _ => return Ok(Access::default()),
        };
        if let Some(missing) = schemes.iter().find(|scheme| !provided(scheme)) {
            let what = format!(
                "{key}: clients cannot authenticate by {missing:?} at this server, so nobody could come in; name a scheme that it has, or remove the line"
            );
            return Err((line, what));
        }
        let schemes = schemes.into();
        Ok(Access { schemes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Result<Access, (usize, String)> {
        let mut access = AccessLines::default();
        for (at, (key, value)) in lines.iter().enumerate() {
            let taken = access.set(at + 1, key, key, value);
            assert_eq!(taken, Ok(true), "{key}");
        }
        access.check(|scheme| matches!(scheme, "digest" | "ip"))
    }

    #[test]
    fn clients_have_to_authenticate_where_a_line_says_so_and_by_a_scheme_that_is_there() {
        let none: Box<[Box<str>]> = Box::default();
        for quiet in [
            &[][..],
            &[("enforce.auth.enabled", "false")],
            &[("sessionRequireClientSASLAuth", "false")],
            &[("enforce.auth.schemes", "sasl")],
        ] {
            assert_eq!(of(quiet).unwrap().schemes, none, "{quiet:?}");
        }
        let enabled = ("enforce.auth.enabled", "true");
        let two = of(&[enabled, ("enforce.auth.schemes", "ip, digest")]).unwrap();
        assert_eq!(*two.schemes, [Box::from("ip"), Box::from("digest")]);
        for (lines, line, word) in [
            (&[enabled][..], 1, "by what"),
            (&[enabled, ("enforce.auth.schemes", ",")], 1, "by what"),
            (
                &[enabled, ("enforce.auth.schemes", "digest,oauth")],
                2,
                "oauth",
            ),
            (&[enabled, ("enforce.auth.schemes", "world")], 2, "world"),
            (&[("sessionRequireClientSASLAuth", "true")], 1, "sasl"),
        ] {
            let (at, what) = of(lines).unwrap_err();
            assert!(at == line && what.contains(word), "{lines:?}: {what}");
        }
    }

    /// As in Java, the older key goes before the two later ones.
    #[test]
    fn the_key_for_sasl_alone_goes_before_the_list() {
        let lines = [
            ("enforce.auth.enabled", "true"),
            ("enforce.auth.schemes", "digest"),
            ("sessionRequireClientSASLAuth", "true"),
        ];
        assert_eq!(of(&lines).unwrap_err().0, 3);
    }
}
