//! Both sides, and one act of a script carried out on both.

use super::generate::{Act, SLOTS, Which};
use super::masks::{Masks, tell};
use super::odd::Knock;
use super::request::{Op, name};
use super::said::{Answers, Said};
use super::side::{Heard, MARK, Side, granted, mark};
use super::wanted::{Then, told_by_set_watches, wanted};
use crate::cluster::Product;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use zabra::wire::client::{opcode as op, xid};

/// The session that looks where zxids are, at the server that leads; no script uses it.
const KEEPER: usize = SLOTS;

/// Settings of both: sessions that outlive a script, containers and nodes with a time to live that nobody removes meanwhile.
const SETTINGS: &[(&str, &str)] = &[
    ("minSessionTimeout", "600000"),
    ("maxSessionTimeout", "3600000"),
    ("extendedTypesEnabled", "true"),
    ("enforceQuota", "true"),
    // Zabra takes ids of certificates on every server (D-53).
    (
        "authProvider.x509",
        "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
    ),
    // Longer than any pause of a busy machine.
    ("tickTime", "2000"),
    ("znode.container.checkIntervalMs", "2000000000"),
];

/// Something that the two have answered otherwise.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What was asked, in one word: two differences of the same kind may be one.
    pub kind: String,
    /// What was asked.
    pub asked: String,
    /// ZooKeeper's answer.
    pub zookeeper: String,
    /// Zabra's answer.
    pub zabra: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "asked:     {}", self.asked)?;
        writeln!(f, "ZooKeeper: {}", self.zookeeper)?;
        write!(f, "Zabra:     {}", self.zabra)
    }
}

/// What a comparison finds.
enum Outcome {
    /// Both say the same, or differ as decided.
    Same,
    /// They do not.
    Different(Difference),
    /// A zxid of Zabra's that ZooKeeper has not used: the rest compares when that is known.
    ExtraZxid(u64),
    /// ZooKeeper tells of a path that Zabra's client may not be allowed to read; the difference, if it may.
    Ask(Box<str>, Difference),
}

/// Two sides in lock-step.
#[derive(Debug)]
pub struct Pair {
    sides: [Side; 2],
    masks: [Masks; 2],
    place: u32,
    /// zxids of closeSession: one transaction deletes many nodes, in the order of a set.
    closing: BTreeSet<u64>,
    /// How often each decided difference was seen.
    pub wanted: BTreeMap<&'static str, u64>,
    /// Requests that both have answered.
    pub requests: u64,
}

impl Pair {
    /// Starts so many servers of each product.
    ///
    /// # Errors
    /// They do not start.
    pub fn start(servers: usize) -> Result<Self> {
        let side = |product| Side::start(product, servers, SLOTS + 1, SETTINGS);
        Ok(Self {
            sides: [side(Product::ZooKeeper)?, side(Product::Zabra)?],
            masks: [Masks::default(), Masks::default()],
            place: 0,
            closing: BTreeSet::new(),
            wanted: BTreeMap::new(),
            requests: 0,
        })
    }

    /// Carries out a script in a directory of its own, up to the first difference; answers which act it was.
    ///
    /// # Errors
    /// A server has ended, or breaks its framing.
    pub fn play(&mut self, acts: &[Act]) -> Result<Option<(usize, Difference)>> {
        let played = self.play_out(acts);
        // Of a server that has ended, the first that is seen is a connection refused.
        for side in &mut self.sides {
            let product = side.product;
            side.all_alive()
                .with_context(|| format!("a server of {product:?} does not run any more"))?;
        }
        played
    }

    fn play_out(&mut self, acts: &[Act]) -> Result<Option<(usize, Difference)>> {
        self.place += 1;
        let place = format!("/e{:07}", self.place);
        self.look_for_zxids()?;
        let make = Op::new(op::CREATE)
            .text(Some(super::request::PLACE.as_bytes()))
            .buffer(Some(b""))
            .acl(Some(&[super::values::EVERYBODY]))
            .int("flags", 0);
        if let Some(difference) = self.batch(KEEPER, &[make], &place)? {
            bail!("an episode cannot begin:\n{difference}");
        }
        let mut found = None;
        for (i, act) in acts.iter().enumerate() {
            let difference = match act {
                Act::Batch { slot, ops } => self.batch(*slot, ops, &place)?,
                Act::Move { slot } => self.move_session(*slot)?,
                Act::Drop { slot } => self.drop_connection(*slot, &place)?,
                Act::Knock(knock) => self.knock(knock, &place)?,
                Act::Change { slot, speaks } => self.change(*slot, *speaks, &place)?,
                Act::Restart(which) => self.restart(*which, &place)?,
            };
            if let Some(difference) = difference {
                found = Some((i, difference));
                break;
            }
        }
        for slot in 0..=SLOTS {
            let end = self.batch(slot, &[Op::new(op::CLOSE_SESSION)], &place);
            if found.is_none()
                && let Some(difference) = end?
            {
                found = Some((acts.len(), difference));
            }
            self.sides.iter_mut().for_each(|side| side.forget(slot));
        }
        Ok(found)
    }

    /// A new session tells both where they are.
    fn look_for_zxids(&mut self) -> Result<()> {
        for (side, masks) in self.sides.iter_mut().zip(&mut self.masks) {
            side.forget(KEEPER);
            side.all_alive()?;
            let (heard, _) = side.connect(KEEPER)?;
            let session = side.session(KEEPER);
            let product = side.product;
            masks.session(
                session.with_context(|| format!("{product:?} begins no session: {heard:?}"))?,
            );
            side.send(KEEPER, &[], "")?;
            let heard = side.hear(KEEPER, &[])?;
            let Some(Heard::Frame(body)) = heard.last() else {
                bail!("{:?} answers {heard:?} to exists", side.product);
            };
            masks.stretch(u64::from_be_bytes(body[4..12].try_into()?));
        }
        Ok(())
    }

    /// Begins or resumes a session on both, twice if it is found to be over.
    fn connect(&mut self, slot: usize) -> Result<Option<Difference>> {
        for _ in 0..2 {
            let mut said = vec![];
            for (side, masks) in self.sides.iter_mut().zip(&mut self.masks) {
                let (heard, end) = side.connect(slot)?;
                if let Some(id) = side.session(slot) {
                    masks.session(id);
                }
                said.push((
                    masks.handshake(&heard),
                    end.map(|end| masks.handshake(&end)),
                ));
            }
            let asked = format!("session {slot} connects");
            if said[0] != said[1] {
                let told = |n: usize| format!("{:02x?}", said[n]);
                return Ok(Some(Difference {
                    kind: "connect".to_owned(),
                    asked,
                    zookeeper: told(0),
                    zabra: told(1),
                }));
            }
            if self.sides[0].is_connected(slot) {
                return Ok(None);
            }
        }
        bail!("neither side lets session {slot} begin");
    }

    /// A session says all of this, and it is compared what is answered.
    fn batch(&mut self, slot: usize, ops: &[Op], place: &str) -> Result<Option<Difference>> {
        let found = self.ask(slot, ops, place)?;
        if found.is_some() || slot == KEEPER || !self.sides[0].is_ensemble() {
            return Ok(found);
        }
        // A follower may have answered what the leader has not applied yet, and ZooKeeper's leader judges the next request by what it
        // has applied (D-76).
        self.ask(KEEPER, &[], place)
    }

    fn ask(&mut self, slot: usize, ops: &[Op], place: &str) -> Result<Option<Difference>> {
        if !self.sides[0].is_connected(slot)
            && let Some(difference) = self.connect(slot)?
        {
            return Ok(Some(difference));
        }
        // It has no fence before it: of a connection that ends, ZooKeeper drops requests that it has not begun.
        if self.sides[0].is_ensemble()
            && ops.first().is_some_and(|op| op.alone)
            && let Some(difference) = self.ask(slot, &[], place)?
        {
            return Ok(Some(difference));
        }
        for side in &mut self.sides {
            side.send(slot, ops, place)?;
        }
        let mut heard = vec![];
        for side in &mut self.sides {
            heard.push(side.hear(slot, ops)?);
        }
        self.requests += ops.len() as u64;
        // Each decided difference changes what the rest is compared by; there are only so many answers.
        let mut hidden = BTreeSet::new();
        loop {
            match self.compare(&heard, slot, ops, &hidden) {
                Outcome::Same => break,
                Outcome::Different(found) => return Ok(Some(found)),
                Outcome::ExtraZxid(zxid) => self.masks[1].extra(zxid),
                Outcome::Ask(path, found) => {
                    let side = &mut self.sides[1];
                    if !side.is_connected(slot) || !side.may_not_read(slot, path.as_bytes())? {
                        return Ok(Some(found));
                    }
                    hidden.insert(path);
                }
            }
        }
        if ops.iter().any(|op| op.opcode == op::CLOSE_SESSION) && !self.sides[0].is_connected(slot)
        {
            self.sides.iter_mut().for_each(|side| side.forget(slot));
        }
        Ok(None)
    }

    /// Compares what both have said; events of the paths in `hidden` may be ZooKeeper's alone.
    fn compare(
        &mut self,
        heard: &[Vec<Heard>],
        slot: usize,
        ops: &[Op],
        hidden: &BTreeSet<Box<str>>,
    ) -> Outcome {
        let mark = mark();
        let said = |n: usize| masked(&self.masks[n], &heard[n], ops, &mark);
        let said = [said(0), said(1)];
        let (mut zookeeper, zabra) = (self.sorted(&said[0], ops), self.sorted(&said[1], ops));
        zookeeper.retain(|said| {
            told_by_set_watches(Some(said)).is_none_or(|path| !hidden.contains(&path))
        });
        for i in 0..zookeeper.len().max(zabra.len()) {
            let (a, b) = (zookeeper.get(i), zabra.get(i));
            if a == b {
                continue;
            }
            let op = [a, b].into_iter().flatten().find_map(|said| match said {
                Said::Reply(n, _) => ops.get(*n),
                Said::Event(_) | Said::Other(_) => None,
            });
            let answers = Answers {
                op,
                zookeeper: a,
                zabra: b,
            };
            let Some(wanted) = wanted(&answers) else {
                return Outcome::Different(difference(&answers, slot, ops));
            };
            *self.wanted.entry(wanted.name).or_default() += 1;
            match (wanted.then, heard[1].get(i)) {
                (Then::IfHidden(path), _) => {
                    return Outcome::Ask(path, difference(&answers, slot, ops));
                }
                (Then::ExtraZxid, Some(Heard::Frame(body))) => {
                    let zxid = [4, 5, 6, 7, 8, 9, 10, 11].map(|at| body[at]);
                    return Outcome::ExtraZxid(u64::from_be_bytes(zxid));
                }
                (Then::ExtraZxid | Then::GoOn, _) => {}
            }
        }
        Outcome::Same
    }

    /// Events of one closeSession have no order.
    fn sorted(&mut self, said: &[Said], ops: &[Op]) -> Vec<Said> {
        for each in said {
            if let Said::Reply(n, bytes) = each
                && ops.get(*n).is_some_and(|op| op.opcode == op::CLOSE_SESSION)
            {
                self.closing.extend(zxid(bytes));
            }
        }
        let mut out = said.to_vec();
        let is_closing = |said: &Said| match said {
            Said::Event(bytes) => zxid(bytes).filter(|zxid| self.closing.contains(zxid)),
            Said::Reply(..) | Said::Other(_) => None,
        };
        for run in
            out.chunk_by_mut(|a, b| is_closing(a).is_some() && is_closing(a) == is_closing(b))
        {
            if is_closing(&run[0]).is_some() {
                run.sort();
            }
        }
        out
    }

    fn move_session(&mut self, slot: usize) -> Result<Option<Difference>> {
        match self.sides[0].session(slot) {
            Some(_) => self.connect(slot),
            None => Ok(None),
        }
    }

    /// What has been sent to the session is compared before its connection goes.
    fn drop_connection(&mut self, slot: usize, place: &str) -> Result<Option<Difference>> {
        if !self.sides[0].is_connected(slot) {
            return Ok(None);
        }
        let found = self.batch(slot, &[], place)?;
        let gone = |side: &mut Side| side.drop_connection(slot);
        self.sides.iter_mut().for_each(gone);
        Ok(found)
    }

    /// What has been sent to the session is compared before; where it has been, a write of its is refused from now on.
    fn change(&mut self, slot: usize, speaks: bool, place: &str) -> Result<Option<Difference>> {
        if let Some(difference) = self.batch(slot, &[], place)? {
            return Ok(Some(difference));
        }
        let old = self.sides.each_mut().map(|side| {
            side.change(slot);
            side.leave(slot).filter(|_| speaks)
        });
        if let Some(difference) = self.connect(slot)? {
            return Ok(Some(difference));
        }
        let asked = Op::new(op::DELETE)
            .text(Some(b"/nothing"))
            .int("version", -1);
        let mut said = vec![];
        for (n, old) in old.into_iter().enumerate() {
            let Some(mut old) = old else { continue };
            let heard = self.sides[n].speak_as_moved(slot, &mut old, &asked, place);
            said.push(masked(
                &self.masks[n],
                &heard,
                std::slice::from_ref(&asked),
                &mark(),
            ));
        }
        match &said[..] {
            [zookeeper, zabra] if zookeeper != zabra => Ok(Some(Difference {
                kind: "moved".to_owned(),
                asked: format!("session {slot} moves; its old connection: {}", asked.words),
                zookeeper: format!("{zookeeper:02x?}"),
                zabra: format!("{zabra:02x?}"),
            })),
            _ => Ok(None),
        }
    }

    /// Who names a session ends its connection at ZooKeeper, whatever the password: what is not written to it yet is dropped, so that is
    /// compared before. At Zabra it goes on (D-65), so it is ended at both afterwards.
    fn knock(&mut self, knock: &Knock, place: &str) -> Result<Option<Difference>> {
        if let Some(slot) = knock.session_of
            && self.sides[0].is_connected(slot)
            && let Some(difference) = self.batch(slot, &[], place)?
        {
            return Ok(Some(difference));
        }
        let mut said = vec![];
        for (side, masks) in self.sides.iter_mut().zip(&mut self.masks) {
            let mut frame = knock.frame.clone();
            if let Some(slot) = knock.session_of
                && let Some(place) = frame.get_mut(20..28)
            {
                let id = side.session(slot).unwrap_or(0x1234_5678);
                place.copy_from_slice(&id.to_be_bytes());
            }
            let heard = side.knock(knock.at, &frame)?;
            if let Some(Heard::Frame(body)) = heard.first()
                && let Some((id, _)) = granted(body)
                && id != 0
            {
                masks.session(id);
            }
            let (first, rest) = heard.split_first().context("an answer or an end")?;
            let mut all = vec![String::from_utf8_lossy(&masks.handshake(first)).into_owned()];
            for heard in rest {
                all.push(match heard {
                    Heard::Frame(body) => tell(&masks.reply(body, op::CLOSE_SESSION), 0),
                    other => format!("{other:?}"),
                });
            }
            said.push(all);
            if let Some(slot) = knock.session_of {
                side.drop_connection(slot);
            }
        }
        if said[0] == said[1] {
            return Ok(None);
        }
        Ok(Some(Difference {
            kind: "handshake".to_owned(),
            asked: knock.words.clone(),
            zookeeper: format!("{:?}", said[0]),
            zabra: format!("{:?}", said[1]),
        }))
    }

    fn restart(&mut self, which: Which, place: &str) -> Result<Option<Difference>> {
        for slot in 0..SLOTS {
            if let Some(difference) = self.drop_connection(slot, place)? {
                return Ok(Some(difference));
            }
        }
        // Else it expires in the midst of another script.
        if let Some(difference) = self.batch(KEEPER, &[Op::new(op::CLOSE_SESSION)], place)? {
            return Ok(Some(difference));
        }
        for side in &mut self.sides {
            side.restart(which)?;
        }
        self.look_for_zxids()?;
        Ok(None)
    }
}

/// What one side has said, without what differs by nature.
fn masked(masks: &Masks, heard: &[Heard], ops: &[Op], mark: &Op) -> Vec<Said> {
    let mut n = 0;
    let mut all = vec![];
    for heard in heard {
        let Heard::Frame(body) = heard else {
            all.push(Said::Other(format!("{heard:?}")));
            continue;
        };
        let number = i32::from_be_bytes([body[0], body[1], body[2], body[3]]);
        if number == xid::EVENT {
            all.push(Said::Event(masks.reply(body, 0)));
            continue;
        }
        // A mark that comes early means that replies are missing before it.
        let n_here = if number >= MARK { ops.len() } else { n };
        let opcode = ops.get(n_here).unwrap_or(mark).opcode;
        all.push(Said::Reply(n_here, masks.reply(body, opcode)));
        n += 1;
    }
    all
}

fn zxid(masked: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(masked.get(8..16)?.try_into().ok()?))
}

/// The error in a reply, or what else it is.
fn error_of(said: Option<&Said>) -> String {
    match said {
        None => "nothing".to_owned(),
        Some(Said::Event(_)) => "an event".to_owned(),
        Some(Said::Other(other)) => other.clone(),
        Some(Said::Reply(_, bytes)) => {
            let error = bytes.get(16..20).and_then(|e| e.try_into().ok());
            error.map_or(0, i32::from_be_bytes).to_string()
        }
    }
}

fn difference(answers: &Answers<'_>, slot: usize, ops: &[Op]) -> Difference {
    let told = |said: Option<&Said>| match said {
        None => "nothing".to_owned(),
        Some(Said::Other(other)) => other.clone(),
        Some(Said::Event(bytes)) => format!("event {}", tell(bytes, 0)),
        Some(Said::Reply(n, bytes)) => {
            let opcode = ops.get(*n).map_or(op::EXISTS, |op| op.opcode);
            let asked = ops.get(*n).map_or("the mark", |op| op.words.as_str());
            format!("{} (to {asked})", tell(bytes, opcode))
        }
    };
    let all: Vec<_> = ops.iter().map(|op| op.words.as_str()).collect();
    let asked = answers.op.map_or(all.join(" | "), |op| op.words.clone());
    Difference {
        kind: format!(
            "{}, {} and {}",
            answers
                .op
                .map_or("mark or event".to_owned(), |op| name(op.opcode)),
            error_of(answers.zookeeper),
            error_of(answers.zabra)
        ),
        asked: format!("session {slot}: {asked}"),
        zookeeper: told(answers.zookeeper),
        zabra: told(answers.zabra),
    }
}

/// Whether both products can run here.
///
/// # Errors
/// ZooKeeper cannot; nothing is skipped.
pub fn can_run() -> Result<()> {
    ensure!(
        crate::interop::has_zookeeper()?,
        "ZooKeeper cannot run here: install a Java runtime (17 or later), Python 3 and pip"
    );
    Ok(())
}
