//! What the models of the service have in common: what they are asked for, and, of those on top of a cluster, which of its servers serve
//! clients, what they show, and to whom their requests go.

use super::action::Action;
use super::cluster::Cluster;
use super::model::Zab;
use crate::ids::{Epoch, Zxid};
use crate::leader::Phase;
use crate::peer::{Peer, Role};
use crate::service::mode::{Mode, counts_at_leader};
use crate::step::Link;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::{Hash, Hasher};
use stateright::{Model, Property};

/// A model of the service that can be exhausted and told.
pub trait Service:
    Model<State: Hash + Send + Sync + Clone + PartialEq + Debug, Action: Clone + PartialEq + Debug>
    + Send
    + Sync
    + 'static
{
    /// A step in words.
    fn text(&self, state: &Self::State, step: Self::Action) -> String;
}

/// A configuration of a model that has only one.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its name.
    pub name: &'static str,
    /// What it covers.
    pub about: &'static str,
    /// Distinct and generated states, when it was last run to its end.
    pub golden: (u64, u64),
}

/// A wrong rule of the service.
pub trait Slip: Copy + Debug + Send + Sync + 'static {
    /// All of them.
    const ALL: &'static [Self];
    /// The property that notices it, and after how many steps at the earliest.
    fn expected(self) -> (&'static str, usize);
    /// What is wrong.
    fn about(self) -> &'static str;
    /// Where it is from.
    fn source(self) -> &'static str;
}

/// A model with a wrong rule, in the configuration in which that shows.
pub trait With<S: Slip>: Service {
    /// That model.
    fn with(slip: S) -> Self;
}

/// Which of its properties a model has seen broken. What follows is not looked at, as it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Wrongs(u8);

impl Wrongs {
    /// Nothing is wrong.
    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// This property of `all` is broken.
    pub(super) fn add(&mut self, all: &[&str], property: &str) {
        let bit = all.iter().position(|p| *p == property);
        self.0 |= 1 << bit.unwrap_or_default();
    }

    /// Whether the property with this place holds.
    pub(super) const fn holds(self, bit: usize) -> bool {
        self.0 >> bit & 1 == 0
    }
}

/// A state that has its wrongs written down.
pub(super) trait Judged {
    /// Them.
    fn wrongs(&self) -> Wrongs;
}

/// One property that always holds, for each name.
pub(super) fn properties<M>(names: &[&'static str]) -> Vec<Property<M>>
where
    M: Model<State: Judged>,
{
    fn holds<const BIT: usize, M: Model<State: Judged>>(_: &M, s: &M::State) -> bool {
        s.wrongs().holds(BIT)
    }
    let checks: [fn(&M, &M::State) -> bool; 7] = [
        holds::<0, M>,
        holds::<1, M>,
        holds::<2, M>,
        holds::<3, M>,
        holds::<4, M>,
        holds::<5, M>,
        holds::<6, M>,
    ];
    assert!(names.len() <= checks.len());
    let pairs = names.iter().zip(checks);
    pairs
        .map(|(name, check)| Property::always(name, check))
        .collect()
}

/// The state of a cluster, as it counts.
pub(super) fn hash<H: Hasher>(cluster: &Cluster, state: &mut H) {
    let mut words = Vec::with_capacity(32);
    cluster.pack(true, &mut words);
    words.hash(state);
}

/// A cluster under clients.
#[derive(Debug)]
pub(super) struct Ensemble {
    pub(super) zab: Zab,
}

impl Ensemble {
    /// A server that serves.
    pub(super) fn peer<'a>(&'a self, c: &Cluster, i: u8) -> Option<&'a Peer> {
        let peer = c.node(&self.zab.world, usize::from(i)).peer.as_ref();
        peer.filter(|p| p.serving().is_some())
    }

    /// Of which epoch.
    pub(super) fn serves(&self, c: &Cluster, i: u8) -> Option<Epoch> {
        self.peer(c, i).and_then(Peer::serving)
    }

    /// As what a server answers clients.
    pub(super) fn mode(&self, c: &Cluster, i: u8) -> Mode {
        self.peer(c, i)
            .map_or(Mode::NotServing, |p| Mode::of(p.state(), true))
    }

    /// What the core has had applied at a server.
    pub(super) fn tree<'a>(&'a self, c: &Cluster, i: u8) -> &'a [Zxid] {
        &c.node(&self.zab.world, usize::from(i)).tree
    }

    /// The leader to whom requests of a serving server go, if the connection carries them and they count there.
    pub(super) fn leader_of(&self, c: &Cluster, i: u8) -> Option<u8> {
        let leads = |l: u8| match self.peer(c, l).map(|p| &p.role) {
            Some(Role::Leading(l)) => l.phase == Phase::Broadcast,
            _ => false,
        };
        match &self.peer(c, i)?.role {
            Role::Leading(_) => leads(i).then_some(i),
            Role::Following(f) => {
                let link: Link = f.link?;
                let w = c.wire(&self.zab.world, link.0).filter(|w| w.is_live())?;
                let l = u8::try_from(w.leader).ok()?;
                let is_active = self.peer(c, l)?.has_active_learner(link);
                counts_at_leader(self.mode(c, l), is_active).then_some(l)
            }
            Role::Looking(_) | Role::Draining { .. } => None,
        }
    }

    /// A leader proposes something; what it gets. All transactions are the clients'.
    pub(super) fn propose(&self, c: &mut Cluster, leader: u8) -> Option<Zxid> {
        let zxid = self.peer(c, leader)?.next_zxid()?;
        self.apply(c, Action::Propose { server: leader + 1 });
        // What is answered by its place has to get the place that the core has named.
        let logged = self.peer(c, leader)?.last_logged();
        assert_eq!(
            logged, zxid,
            "a proposal gets the place that the core has said"
        );
        Some(zxid)
    }

    /// One step of the cluster.
    pub(super) fn apply(&self, c: &mut Cluster, action: Action) {
        self.zab.apply(c, action, &mut self.zab.log());
    }

    /// What can happen but for proposals, which are made for clients.
    pub(super) fn enabled(&self, c: &Cluster) -> impl Iterator<Item = Action> + use<> {
        let mut actions = Vec::new();
        self.zab.enabled(c, &mut actions);
        let made = |a: &Action| matches!(a, Action::Propose { .. });
        actions.into_iter().filter(move |a| !made(a))
    }
}
