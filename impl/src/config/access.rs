//! Keys about who a client has to be before anything else is taken from it, and about those who are known by SASL.

use super::jaas::{self, SaslUsers, Section};
use super::values::flag;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Java's class for the scheme sasl, as `authProvider.N` names it.
pub(super) const SASL_CLASS: &str = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider";

/// Java's class for the scheme ensemble.
pub(super) const ENSEMBLE_CLASS: &str =
    "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider";

/// The sections of the JAAS file that a line names. Errors: the number of that line, and what is wrong with the file.
pub(super) fn sections((line, path): &(usize, PathBuf)) -> Result<Vec<Section>, (usize, String)> {
    let text = fs::read_to_string(path).map_err(|e| {
        let what = format!(
            "{}: {e}; name the login configuration file of Java",
            path.display()
        );
        (*line, what)
    })?;
    let sections = jaas::parse(&text);
    sections.map_err(|(at, what)| (*line, format!("{}:{at}: {what}", path.display())))
}

/// What the lines said, each with its number.
#[derive(Clone, Default)]
pub struct AccessLines {
    is_enforced: Option<(usize, bool)>,
    schemes: Option<(usize, Vec<Box<str>>)>,
    requires_sasl: Option<(usize, bool)>,
    jaas: Option<(usize, PathBuf)>,
    section: Option<String>,
    super_password: Option<String>,
    super_users: BTreeSet<Box<str>>,
    allows_failed: bool,
    /// The names of this ensemble, and whether a line names Java's class for its scheme.
    ensemble: Option<Vec<Box<str>>>,
    has_ensemble_class: bool,
    skips_acl: Option<(usize, bool)>,
    /// The line that names Java's class for the scheme sasl.
    class: Option<(usize, String)>,
    /// The first line that says nothing without SASL.
    needs_sasl: Option<(usize, String)>,
}

impl std::fmt::Debug for AccessLines {
    /// Without the passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessLines(..)")
    }
}

/// Who a client has to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Schemes by one of which a client has to have authenticated; none: nobody has to.
    pub schemes: Box<[Box<str>]>,
    /// Who may authenticate by SASL; `None`: nobody.
    pub sasl: Option<Sasl>,
    /// Names of this ensemble that clients may say by the scheme ensemble, none for any name; `None`: there is no such scheme.
    pub ensemble: Option<Box<[Box<str>]>>,
    /// Whether every client may do everything.
    pub skips_acl: bool,
}

/// Who may authenticate by SASL, and what comes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sasl {
    /// Users and passwords.
    pub users: SaslUsers,
    /// Those of them who pass every check of an ACL.
    pub super_users: BTreeSet<Box<str>>,
    /// Whether a client in whose exchange something was wrong stays, as nobody.
    pub allows_failed: bool,
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
            "java.security.auth.login.config" => self.jaas = Some((number, PathBuf::from(value))),
            "ensembleAuthName" => {
                let names = value.split(',').map(str::trim);
                let names: Vec<_> = names.filter(|n| !n.is_empty()).map(Box::from).collect();
                if names.is_empty() {
                    return Err(format!("{key} names no ensemble; write {key}=NAME"));
                }
                self.ensemble = Some(names);
            }
            // Java takes the word yes alone, and whatever else for no.
            "skipACL" => match value {
                "yes" => self.skips_acl = Some((number, true)),
                "no" | "false" | "" => self.skips_acl = Some((number, false)),
                _ => return Err(format!("{key}={value}: write yes or no")),
            },
            _ if plain.starts_with("authProvider.") && value == ENSEMBLE_CLASS => {
                self.has_ensemble_class = true;
            }
            _ => return self.set_of_sasl(number, key, plain, value),
        }
        Ok(true)
    }

    /// The keys that say nothing without SASL.
    fn set_of_sasl(
        &mut self,
        number: usize,
        key: &str,
        plain: &str,
        value: &str,
    ) -> Result<bool, String> {
        match plain {
            "sasl.serverconfig" => self.section = Some(value.to_owned()),
            "SASLAuthenticationProvider.superPassword" => {
                self.super_password = Some(value.to_owned());
            }
            "allowSaslFailedClients" => {
                self.allows_failed = flag(key, value)?;
                if !self.allows_failed {
                    return Ok(true);
                }
            }
            _ if plain == "superUser" || plain.starts_with("superUser.") => {
                self.super_users.insert(value.into());
            }
            _ if plain.starts_with("authProvider.") && value == SASL_CLASS => {
                self.class = Some((number, key.to_owned()));
                return Ok(true);
            }
            _ => return Ok(false),
        }
        self.needs_sasl
            .get_or_insert_with(|| (number, key.to_owned()));
        Ok(true)
    }

    /// The line that names the JAAS file.
    pub(super) fn jaas(&self) -> Option<&(usize, PathBuf)> {
        self.jaas.as_ref()
    }

    /// What a person should know of lines that are kept, each with its number.
    pub(super) fn notes(&self, access: &Access) -> Vec<(usize, String)> {
        let mut notes = Vec::new();
        // ACLs of such clients are kept all the same, so nothing is weaker without them.
        if let Some((line, key)) = &self.class
            && access.sasl.is_none()
        {
            let what = format!(
                "{key} is about SASL, and no file says who its users are, so nobody can authenticate by it; write java.security.auth.login.config=FILE"
            );
            notes.push((*line, what));
        }
        if let Some((line, true)) = self.skips_acl {
            let what =
                "skipACL=yes: every client may read and change everything, whatever ACLs say";
            notes.push((line, what.into()));
        }
        if let Some((line, schemes)) = &self.schemes
            && !schemes.is_empty()
            && access.schemes.is_empty()
        {
            let what = "enforce.auth.schemes: without enforce.auth.enabled=true nobody has to authenticate";
            notes.push((*line, what.into()));
        }
        if let Some((line, _)) = &self.schemes
            && access.schemes.iter().any(|scheme| &**scheme == "ip")
        {
            let what = "enforce.auth.schemes: every client has an address, so with ip among them nobody has to authenticate";
            notes.push((*line, what.into()));
        }
        notes
    }

    /// What the lines mean together; `provided` says whether this server authenticates by a scheme other than sasl. Errors: the number
    /// of a line, and what to do about it.
    ///
    /// Source: ZooKeeper `AuthenticationHelper`, which does not start with a scheme that it does not have either.
    pub(super) fn check(self, provided: impl Fn(&str) -> bool) -> Result<Access, (usize, String)> {
        let sasl = self.sasl()?;
        let schemes = self.schemes(|scheme| match scheme {
            "sasl" => sasl.is_some(),
            other => provided(other),
        })?;
        let any_name = self.has_ensemble_class.then(Vec::new);
        Ok(Access {
            schemes,
            sasl,
            ensemble: self.ensemble.or(any_name).map(Vec::into_boxed_slice),
            skips_acl: matches!(self.skips_acl, Some((_, true))),
        })
    }

    fn schemes(&self, provided: impl Fn(&str) -> bool) -> Result<Box<[Box<str>]>, (usize, String)> {
        let (line, key, schemes) = match (self.requires_sasl, self.is_enforced, &self.schemes) {
            (Some((line, true)), ..) => {
                let schemes = vec![Box::from("sasl")];
                (line, "sessionRequireClientSASLAuth", schemes)
            }
            (_, Some((_, true)), Some((line, schemes))) if !schemes.is_empty() => {
                (*line, "enforce.auth.schemes", schemes.clone())
            }
            (_, Some((line, true)), _) => {
                let what = "enforce.auth.enabled=true does not say by what; write enforce.auth.schemes=digest, or remove the line";
                return Err((line, what.into()));
            }
            _ => return Ok(Box::default()),
        };
        if let Some(missing) = schemes.iter().find(|scheme| !provided(scheme)) {
            let way_out = if &**missing == "sasl" {
                "name the file of users by java.security.auth.login.config"
            } else {
                "name a scheme that it has"
            };
            let what = format!(
                "{key}: clients cannot authenticate by {missing:?} at this server, so nobody could come in; {way_out}, or remove the line"
            );
            return Err((line, what));
        }
        Ok(schemes.into())
    }

    /// Reads the JAAS file, if one is named. Without the section of the server it is about something else, as in Java.
    fn sasl(&self) -> Result<Option<Sasl>, (usize, String)> {
        let section = self.section.as_deref().unwrap_or("Server");
        let found = match &self.jaas {
            None => None,
            Some(file @ (line, path)) => {
                let wrong = |what: String| (*line, format!("{}: {what}", path.display()));
                match sections(file)?.iter().find(|found| found.name == section) {
                    Some(found) => Some((*line, jaas::digest_users(found).map_err(wrong)?)),
                    None => None,
                }
            }
        };
        match (found, &self.needs_sasl) {
            (None, None) => Ok(None),
            (None, Some((line, key))) => {
                let what = match &self.jaas {
                    None => format!(
                        "{key} is about SASL, and no file says who its users are; write java.security.auth.login.config=FILE, or remove the line"
                    ),
                    Some((_, path)) => format!(
                        "{key} is about SASL, and {} has no section {section}, which would say who its users are; add it, or remove the line",
                        path.display()
                    ),
                };
                Err((*line, what))
            }
            (Some((_, mut users)), _) => {
                if let Some(password) = &self.super_password {
                    users.set("super", password);
                }
                Ok(Some(Sasl {
                    users,
                    super_users: self.super_users.clone(),
                    allows_failed: self.allows_failed,
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[(&str, &str)]) -> AccessLines {
        let mut access = AccessLines::default();
        for (at, (key, value)) in lines.iter().enumerate() {
            let taken = access.set(at + 1, key, key, value);
            assert_eq!(taken, Ok(true), "{key}");
        }
        access
    }

    fn of(keys: &[(&str, &str)]) -> Result<Access, (usize, String)> {
        lines(keys).check(|scheme| matches!(scheme, "digest" | "ip"))
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
            (
                &[("sessionRequireClientSASLAuth", "true")],
                1,
                "java.security",
            ),
        ] {
            let (at, what) = of(lines).unwrap_err();
            assert!(at == line && what.contains(word), "{lines:?}: {what}");
        }
    }

    /// What is asked for and has no effect by itself is told, as its operator believes that clients have to authenticate.
    #[test]
    fn schemes_by_which_nobody_has_to_authenticate_are_told() {
        let told = |keys: &[(&str, &str)]| -> Vec<(usize, String)> {
            let lines = lines(keys);
            let access = lines.clone().check(|_| true).unwrap();
            lines.notes(&access)
        };
        let (on, off) = (
            ("enforce.auth.enabled", "true"),
            ("enforce.auth.enabled", "false"),
        );
        let schemes = |all| ("enforce.auth.schemes", all);
        for (keys, words) in [
            (&[on, schemes("digest")][..], None),
            (&[off, schemes("")], None),
            (&[off, schemes("digest")], Some("enabled=true")),
            (&[on, schemes("digest,ip")], Some("has an address")),
        ] {
            let notes = told(keys);
            assert_eq!(notes.len(), usize::from(words.is_some()), "{keys:?}");
            for (line, what) in notes {
                assert!(
                    line == 2 && words.is_some_and(|w| what.contains(w)),
                    "{what}"
                );
            }
        }
        assert_eq!(told(&[schemes("digest")]).len(), 1);
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

    #[test]
    fn an_ensemble_has_the_names_that_a_line_gives_it_or_any() {
        let of = |lines: &[(&str, &str)]| of(lines).unwrap().ensemble;
        let class = ("authProvider.2", ENSEMBLE_CLASS);
        let names = ("ensembleAuthName", " east, all,");
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[class]), Some(Box::default()));
        let both: Box<[Box<str>]> = [Box::from("east"), Box::from("all")].into();
        assert_eq!(of(&[class, names]), Some(both.clone()));
        assert_eq!(of(&[names]), Some(both));
        for none in ["", ",", " , "] {
            let key = "ensembleAuthName";
            let said = AccessLines::default().set(1, key, key, none).unwrap_err();
            assert!(said.contains("ensembleAuthName=NAME"), "{said}");
        }
    }

    #[test]
    fn acls_are_skipped_where_a_line_says_yes_and_that_is_told() {
        let key = "skipACL";
        for (value, skips) in [("yes", true), ("no", false), ("false", false), ("", false)] {
            let lines = lines(&[("enforce.auth.enabled", "false"), (key, value)]);
            let access = lines.clone().check(|_| true).unwrap();
            assert_eq!(access.skips_acl, skips, "{value}");
            let told: Vec<_> = lines.notes(&access).into_iter().map(|(at, _)| at).collect();
            assert_eq!(told, if skips { vec![2] } else { vec![] }, "{value}");
        }
        for neither in ["true", "YES", "1"] {
            let said = AccessLines::default().set(1, key, key, neither);
            assert_eq!(said, Err(format!("skipACL={neither}: write yes or no")));
        }
    }

    const JAAS: &str = "Server { a.DigestLoginModule required user_super=\"hush\" user_bob=\"b\"; };\nOther { a.DigestLoginModule required user_eve=\"e\"; };\nQuorumServer { a.DigestLoginModule required user_test=\"t\"; };\n";
    const FILE: &str = "java.security.auth.login.config";

    #[test]
    fn the_users_of_sasl_stand_in_the_section_of_the_jaas_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jaas.conf");
        fs::write(&path, JAAS).unwrap();
        let file = (FILE, path.to_str().unwrap());
        let sasl = |more: &[(&str, &str)]| {
            let all: Vec<_> = [file].into_iter().chain(more.iter().copied()).collect();
            of(&all).unwrap().sasl
        };
        let plain = sasl(&[]).unwrap();
        assert_eq!(plain.users.password("bob"), Some("b"));
        assert!(plain.super_users.is_empty() && !plain.allows_failed);
        let other = sasl(&[("sasl.serverconfig", "Other")]).unwrap();
        assert_eq!(other.users, SaslUsers::new([("eve", "e")]));
        let all = sasl(&[
            ("authProvider.1", SASL_CLASS),
            ("superUser", "bob"),
            ("superUser.1", "alice"),
            ("allowSaslFailedClients", "true"),
            ("SASLAuthenticationProvider.superPassword", "other"),
        ])
        .unwrap();
        assert_eq!(all.users.password("super"), Some("other"));
        assert!(all.super_users.contains("bob") && all.super_users.contains("alice"));
        assert!(all.allows_failed && !format!("{all:?}").contains("other"));
        let required = of(&[file, ("sessionRequireClientSASLAuth", "true")]).unwrap();
        assert_eq!(*required.schemes, [Box::from("sasl")]);
        // A file for SASL between servers alone is none of this.
        fs::write(
            &path,
            "QuorumServer { a.DigestLoginModule required user_t=\"t\"; };",
        )
        .unwrap();
        assert_eq!(sasl(&[]), None);
    }

    #[test]
    fn c_30_what_is_said_of_sasl_is_honoured_or_refuses_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jaas.conf");
        let file = (FILE, path.to_str().unwrap());
        let section = ("sasl.serverconfig", "Sever");
        let refused = |text: &str, keys: &[(&str, &str)], line, word: &str| {
            fs::write(&path, text).unwrap();
            let (at, what) = of(keys).unwrap_err();
            assert!(at == line && what.contains(word), "{at}: {what}");
            assert!(!what.contains("hush"), "{what}");
        };
        refused(JAAS, &[file, section], 2, "no section Sever");
        refused(JAAS, &[section], 1, FILE);
        refused("Server {\n = hush", &[file], 1, "jaas.conf:2");
        let kerberos = "Server { com.sun.security.auth.module.Krb5LoginModule required; };";
        refused(kerberos, &[file], 1, "GSSAPI");
        for asking in [
            ("superUser", "bob"),
            ("superUser.7", "bob"),
            ("allowSaslFailedClients", "true"),
            ("SASLAuthenticationProvider.superPassword", "hush"),
        ] {
            refused(JAAS, &[asking], 1, asking.0);
        }
        fs::remove_file(&path).unwrap();
        assert!(of(&[file]).unwrap_err().1.contains("jaas.conf"));
        assert!(of(&[("allowSaslFailedClients", "false")]).is_ok());
    }
}
