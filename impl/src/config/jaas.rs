//! The login configuration file of Java (JAAS), as far as a server needs it: who may authenticate by SASL, with which password.
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_super="adminsecret"
//!     user_bob="bobsecret";
//! };
//! ```
//! Options are read as Java reads them: words, or text in quotes with escapes; `//`, `/` and `/*` begin comments.

use std::collections::BTreeMap;
use std::fmt;

/// A part of the file: the modules under one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its modules, in order.
    pub modules: Vec<Module>,
}

/// A module of a section.
#[derive(Clone, PartialEq, Eq)]
pub struct Module {
    /// Java's class.
    pub class: String,
    /// Its options, some of which are passwords.
    pub options: Vec<(String, String)>,
}

impl fmt::Debug for Module {
    /// Without the values of the options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.options.iter().map(|(key, _)| key).collect();
        write!(f, "{} {keys:?}", self.class)
    }
}

/// Users and their passwords.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SaslUsers(BTreeMap<Box<str>, Box<str>>);

impl SaslUsers {
    /// These users. The last one of a name counts.
    pub fn new<'a>(users: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let users = users.into_iter();
        Self(users.map(|(name, pw)| (name.into(), pw.into())).collect())
    }

    /// The password of a user.
    #[must_use]
    pub fn password(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|pw| &**pw)
    }

    /// A password for one user, in place of what the file says.
    pub(super) fn set(&mut self, name: &str, password: &str) {
        self.0.insert(name.into(), password.into());
    }
}

impl fmt::Debug for SaslUsers {
    /// Without the passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// As whom somebody authenticates.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: Box<str>,
    /// The password.
    pub password: Box<str>,
}

impl fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Login").field(&self.user).finish()
    }
}

/// Whether a module is that of DIGEST-MD5. Errors: what to write in its place.
fn is_digest(section: &Section, class: &str) -> Result<(), String> {
    let name = class.rsplit('.').next().unwrap_or(class);
    match name {
        "DigestLoginModule" => Ok(()),
        "Krb5LoginModule" => Err(format!(
            "section {}: {class} asks for Kerberos, and this server does not speak GSSAPI (SPEC.md, D-57); give passwords by org.apache.zookeeper.server.auth.DigestLoginModule, or leave those who have none to a ZooKeeper server",
            section.name
        )),
        _ => Err(format!(
            "section {}: nobody knows how {class} authenticates; write org.apache.zookeeper.server.auth.DigestLoginModule",
            section.name
        )),
    }
}

/// As whom this server authenticates by DIGEST-MD5 where it dials another one, by what a section says.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn digest_login(section: &Section) -> Result<Login, String> {
    for Module { class, .. } in &section.modules {
        is_digest(section, class)?;
    }
    let options = section.modules.iter().flat_map(|module| &module.options);
    let of = |name: &str| {
        let mut options = options.clone().filter(|(key, _)| key == name);
        let value = options.next().map(|(_, value)| Box::from(&**value));
        (options.next().is_none()).then_some(value).flatten()
    };
    match (of("username"), of("password")) {
        (Some(user), Some(password)) => Ok(Login { user, password }),
        _ => Err(format!(
            "section {} does not say as whom this server proves itself; write username=\"NAME\" password=\"PASSWORD\" behind DigestLoginModule required, each once",
            section.name
        )),
    }
}

/// Who may authenticate by DIGEST-MD5, by what a section says.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn digest_users(section: &Section) -> Result<SaslUsers, String> {
    let mut users = SaslUsers::default();
    for Module { class, options } in &section.modules {
        is_digest(section, class)?;
        for (key, password) in options {
            let Some(user) = key.strip_prefix("user_") else {
                continue;
            };
            if users.password(user).is_some() {
                return Err(format!(
                    "section {}: {key} is there twice; remove one",
                    section.name
                ));
            }
            users.set(user, password);
        }
    }
    if users.0.is_empty() {
        return Err(format!(
            "section {} names no users, so nobody could authenticate; write user_NAME=\"PASSWORD\" behind DigestLoginModule required",
            section.name
        ));
    }
    Ok(users)
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(char),
}

/// Reads the file. Errors: the number of a line, and what is wrong with it; never what an option says.
pub fn parse(text: &str) -> Result<Vec<Section>, (usize, String)> {
    let mut words = Words {
        left: text.trim_start_matches('\u{feff}').chars().peekable(),
        line: 1,
    };
    let mut sections: Vec<Section> = Vec::new();
    while let Some(token) = words.next()? {
        let name = match token {
            Token::Word(name) | Token::Quoted(name) => name,
            Token::Sign(';') => continue, // between two sections Java asks for one, and nobody minds two
            Token::Sign(sign) => return words.wrong(&format!("{sign:?} where a section begins")),
        };
        words.expect('{')?;
        if sections.iter().any(|section| section.name == name) {
            return words.wrong(&format!("section {name} is there twice; remove one"));
        }
        let mut modules = Vec::new();
        while let Some(class) = words.word_or('}')? {
            modules.push(words.module(class)?);
        }
        sections.push(Section { name, modules });
    }
    Ok(sections)
}

struct Words<'t> {
    left: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
}

impl Words<'_> {
    fn wrong<T>(&self, what: &str) -> Result<T, (usize, String)> {
        Err((self.line, what.to_owned()))
    }

    fn module(&mut self, class: String) -> Result<Module, (usize, String)> {
        const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];
        let flag = self.next()?;
        let is_flag = |word: &str| FLAGS.iter().any(|flag| flag.eq_ignore_ascii_case(word));
        if !matches!(&flag, Some(Token::Word(word)) if is_flag(word)) {
            return self.wrong(&format!(
                "behind {class} one of required, requisite, sufficient, optional is missing"
            ));
        }
        let mut options = Vec::new();
        while let Some(key) = self.word_or(';')? {
            self.expect('=')?;
            match self.next()? {
                Some(Token::Word(value)) => options.push((key, value)),
                Some(Token::Quoted(value)) if value.contains("${") => {
                    return self.wrong(&format!(
                        "{key} names a property of Java by ${{…}}, and there is none here; write the value itself"
                    ));
                }
                Some(Token::Quoted(value)) => options.push((key, value)),
                Some(Token::Sign(_)) | None => {
                    return self.wrong(&format!("{key}= has no value; write {key}=\"…\""));
                }
            }
        }
        Ok(Module { class, options })
    }

    fn expect(&mut self, sign: char) -> Result<(), (usize, String)> {
        match self.next()? {
            Some(Token::Sign(found)) if found == sign => Ok(()),
            _ => self.wrong(&format!("{sign:?} is missing")),
        }
    }

    /// A word; `None` if it is `end` that stands here.
    fn word_or(&mut self, end: char) -> Result<Option<String>, (usize, String)> {
        match self.next()? {
            Some(Token::Word(word)) => Ok(Some(word)),
            Some(Token::Sign(sign)) if sign == end => Ok(None),
            _ => self.wrong(&format!("a name or {end:?} is missing")),
        }
    }

    fn next(&mut self) -> Result<Option<Token>, (usize, String)> {
        loop {
            let Some(first) = self.bump() else {
                return Ok(None);
            };
            match first {
                '/' => self.comment()?,
                '"' | '\'' => return self.quoted(first).map(|text| Some(Token::Quoted(text))),
                c if c.is_whitespace() || c.is_control() => {}
                c if is_word(c) => {
                    let mut word = String::from(c);
                    while let Some(c) = self.left.next_if(|c| is_word(*c)) {
                        word.push(c);
                    }
                    return Ok(Some(Token::Word(word)));
                }
                sign => return Ok(Some(Token::Sign(sign))),
            }
        }
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.left.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn comment(&mut self) -> Result<(), (usize, String)> {
        if self.left.next_if_eq(&'*').is_none() {
            while self.left.next_if(|c| *c != '\n').is_some() {}
            return Ok(());
        }
        let begin = self.line;
        loop {
            match self.bump() {
                Some('*') if self.left.next_if_eq(&'/').is_some() => return Ok(()),
                Some(_) => {}
                None => return Err((begin, "a comment begins here and does not end".into())),
            }
        }
    }

    /// The rest of a text in quotes, with Java's escapes.
    fn quoted(&mut self, quote: char) -> Result<String, (usize, String)> {
        let mut text = String::new();
        loop {
            match self.left.next() {
                None | Some('\n' | '\r') => return self.wrong("a quote is missing at the end"),
                Some(c) if c == quote => return Ok(text),
                Some('\\') => match self.left.next() {
                    None | Some('\n' | '\r') => {
                        return self.wrong("a quote is missing at the end");
                    }
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('b') => text.push('\u{8}'),
                    Some('f') => text.push('\u{c}'),
                    Some('a') => text.push('\u{7}'),
                    Some('v') => text.push('\u{b}'),
                    Some(digit @ '0'..='7') => text.push(self.octal(digit)),
                    Some(c) => text.push(c),
                },
                Some(c) => text.push(c),
            }
        }
    }

    /// A letter by its number: up to three digits, of which the first is at most 3.
    fn octal(&mut self, first: char) -> char {
        let mut number = first.to_digit(8).unwrap_or(0);
        for _ in 0..if first <= '3' { 2 } else { 1 } {
            let Some(digit) = self.left.next_if(|c| c.is_digit(8)) else {
                break;
            };
            number = number * 8 + digit.to_digit(8).unwrap_or(0);
        }
        char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '*') || c >= '\u{a0}'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GUIDE: &str = r#"
/* Who may come in. */
Server {
       org.apache.zookeeper.server.auth.DigestLoginModule required
       user_super="admin secret"
       user_bob="a\"b\\\101"; // one more
};
Client {
       org.apache.zookeeper.server.auth.DigestLoginModule REQUIRED
       username="bob" password=bobsecret;
};
"#;

    #[test]
    fn sections_modules_and_options_are_read_as_java_reads_them() {
        let sections = parse(GUIDE).unwrap();
        let names: Vec<_> = sections.iter().map(|s| &*s.name).collect();
        assert_eq!(names, ["Server", "Client"]);
        let users = digest_users(&sections[0]).unwrap();
        assert_eq!(users.password("super"), Some("admin secret"));
        assert_eq!(users.password("bob"), Some("a\"b\\A"));
        assert_eq!(users.password("alice"), None);
        assert_eq!(sections[1].modules[0].options[1].1, "bobsecret");
        let said = format!("{users:?} {sections:?}");
        assert!(said.contains("bob") && !said.contains("secret"), "{said}");
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_its_line_and_without_a_password() {
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
        for (text, line, word) in [
            ("Server".into(), 1, "'{'"),
            ("Server {\n".into(), 2, "'}'"),
            (
                format!("Server {{\n {module}\n user_a=\"hush\"; }};"),
                3,
                "required",
            ),
            (
                format!("Server {{\n {module} required\n user_a \"hush\"; }};"),
                3,
                "'='",
            ),
            (
                format!("Server {{\n {module} required\n user_a=; }};"),
                3,
                "no value",
            ),
            (
                format!("Server {{\n {module} required\n user_a=\"hush\n\"; }};"),
                3,
                "quote",
            ),
            (
                format!("Server {{\n {module} required\n user_a=\"${{hush}}\"; }};"),
                3,
                "property",
            ),
            (
                format!("Server {{\n {module} required user_a=\"hush\" }};"),
                2,
                "';'",
            ),
            ("\n/* hush".into(), 2, "comment"),
            ("Server { };\nServer { };".into(), 2, "twice"),
            ("= {".into(), 1, "section"),
        ] {
            let (at, what) = parse(&text).unwrap_err();
            assert!(at == line && what.contains(word), "{text}: {at} {what}");
            assert!(!what.contains("hush"), "{what}");
        }
    }

    #[test]
    fn a_section_says_who_may_come_in_by_a_module_that_is_there() {
        for (modules, word) in [
            (
                "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true;",
                "D-57",
            ),
            ("my.LoginModule required;", "my.LoginModule"),
            ("a.DigestLoginModule required username=\"x\";", "no users"),
            ("", "no users"),
            (
                "a.DigestLoginModule required user_a=\"hush\" user_a=\"hush2\";",
                "twice",
            ),
        ] {
            let sections = parse(&format!("Server {{ {modules} }};")).unwrap();
            let what = digest_users(&sections[0]).unwrap_err();
            assert!(
                what.contains(word) && what.contains("section Server"),
                "{what}"
            );
            assert!(!what.contains("hush"), "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_file_or_an_error_with_its_line(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("Server"), Just("{"), Just("}"), Just(";"), Just("="), Just("\""), Just("\\7"), Just("'"), Just("/*"),
                    Just("*/"), Just("//"), Just("\n"), Just("required"), Just("user_a"), Just("a.B"), Just("${"), Just("é"),
                ],
                0..40,
            ),
            other in ".*",
        ) {
            for text in [parts.concat(), parts.join(" "), other] {
                if let Err((line, _)) = parse(&text) {
                    prop_assert!(line >= 1 && line <= text.matches('\n').count() + 1);
                }
            }
        }
    }
}
