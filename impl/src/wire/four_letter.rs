//! Four-letter words: operators' commands on the client port, recognised by the first four bytes of a connection.
//!
//! Read as a frame length, every word is far above any legal one, so the two cannot be mixed up.

/// A command word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are ZooKeeper's words")]
pub enum FourLetter {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Hash,
    Isro,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    /// Followed by a trace mask of 8 bytes.
    Stmk,
    Wchc,
    Wchp,
    Wchs,
    /// A telnet client's interrupt, which is answered by nothing.
    TelnetInterrupt,
}

impl FourLetter {
    /// Every word of ZooKeeper 3.9, without the telnet interrupt.
    pub const WORDS: [Self; 18] = [
        Self::Conf,
        Self::Cons,
        Self::Crst,
        Self::Dirs,
        Self::Dump,
        Self::Envi,
        Self::Gtmk,
        Self::Hash,
        Self::Isro,
        Self::Mntr,
        Self::Ruok,
        Self::Srst,
        Self::Srvr,
        Self::Stat,
        Self::Stmk,
        Self::Wchc,
        Self::Wchp,
        Self::Wchs,
    ];

    /// The four bytes that call it.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        match self {
            Self::Conf => *b"conf",
            Self::Cons => *b"cons",
            Self::Crst => *b"crst",
            Self::Dirs => *b"dirs",
            Self::Dump => *b"dump",
            Self::Envi => *b"envi",
            Self::Gtmk => *b"gtmk",
            Self::Hash => *b"hash",
            Self::Isro => *b"isro",
            Self::Mntr => *b"mntr",
            Self::Ruok => *b"ruok",
            Self::Srst => *b"srst",
            Self::Srvr => *b"srvr",
            Self::Stat => *b"stat",
            Self::Stmk => *b"stmk",
            Self::Wchc => *b"wchc",
            Self::Wchp => *b"wchp",
            Self::Wchs => *b"wchs",
            Self::TelnetInterrupt => [0xff, 0xf4, 0xff, 0xfd],
        }
    }

    /// The word as an integer, which is what stands where a frame's length would.
    #[must_use]
    pub const fn int(self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    /// The word as text; empty for the telnet interrupt.
    #[must_use]
    pub fn word(self) -> &'static str {
        const NAMES: [&str; 18] = [
            "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok",
            "srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
        ];
        NAMES
            .into_iter()
            .find(|name| name.as_bytes() == self.bytes())
            .unwrap_or("")
    }

    /// Which word the first four bytes of a connection are; `None`: they are a frame's length, or nonsense.
    #[must_use]
    pub fn recognise(first: [u8; 4]) -> Option<Self> {
        if first == Self::TelnetInterrupt.bytes() {
            return Some(Self::TelnetInterrupt);
        }
        Self::WORDS.into_iter().find(|word| word.bytes() == first)
    }

    /// The word called `name`, as a whitelist spells it.
    #[must_use]
    pub fn from_word(name: &str) -> Option<Self> {
        Self::WORDS
            .into_iter()
            .find(|word| word.bytes() == name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_recognised_and_named() {
        for word in FourLetter::WORDS {
            assert_eq!(FourLetter::recognise(word.bytes()), Some(word));
            assert_eq!(FourLetter::from_word(word.word()), Some(word));
            assert_eq!(word.word().as_bytes(), word.bytes());
        }
    }

    #[test]
    fn a_frame_length_is_no_word() {
        for length in [0_u32, 0x2d, 0xf_ffff, u32::MAX] {
            assert_eq!(FourLetter::recognise(length.to_be_bytes()), None);
        }
        assert_eq!(FourLetter::recognise(*b"xxxx"), None);
        assert_eq!(
            FourLetter::recognise([0xff, 0xf4, 0xff, 0xfd]),
            Some(FourLetter::TelnetInterrupt)
        );
    }
}
