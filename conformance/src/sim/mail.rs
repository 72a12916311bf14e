//! Election mail: one notification for each other server waits, and a newer one takes its place; one is on its way at a time.

use super::scene::{Letter, Life, Scene, What, place};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use zabra::config::Config;
use zabra::core::event::Event;
use zabra::wire::mail;
use zabra_model::ids::ServerId;
use zabra_model::vote::Notification;

#[derive(Default)]
struct Slot {
    waiting: Option<Bytes>,
    last: Option<Bytes>,
    is_busy: bool,
    /// It was tried, and nobody is there.
    is_away: bool,
}

/// A server's notifications for all others.
pub struct Mailbox {
    index: usize,
    members_text: String,
    slots: BTreeMap<usize, Slot>,
}

impl Mailbox {
    /// Empty.
    #[must_use]
    pub fn new(index: usize, config: &Config) -> Self {
        let others = (0..config.members.len()).filter(|i| *i != index);
        Self {
            index,
            members_text: config.members_text(),
            slots: others.map(|i| (i, Slot::default())).collect(),
        }
    }

    /// Leaves a notification for a server.
    pub fn write(&mut self, to: ServerId, notification: Notification) {
        let mut out = BytesMut::new();
        mail::put(notification, &self.members_text, &mut out);
        if let Some(slot) = self.slots.get_mut(&(to.0 as usize - 1)) {
            slot.waiting = Some(out.freeze());
        }
    }

    /// A server has begun anew: what was said last is said again, it may have been lost.
    pub fn again(&mut self, to: usize) {
        if let Some(slot) = self.slots.get_mut(&to) {
            slot.is_busy = false;
            if slot.waiting.is_none() {
                slot.waiting = slot.last.clone();
            }
        }
    }

    /// What was on its way has arrived, or never will.
    pub fn arrived(&mut self, to: usize) {
        if let Some(slot) = self.slots.get_mut(&to) {
            slot.is_busy = false;
        }
    }

    /// Sends what waits to those who are up, in their present lives. `events` get who is not.
    pub fn post(
        &mut self,
        life: Life,
        lives: &[Option<Life>],
        scene: &mut Scene,
        events: &mut Vec<Event>,
    ) {
        for (to, slot) in &mut self.slots {
            let (here, there) = (place(self.index), place(*to));
            let is_away = lives[*to].is_none();
            let is_tried = slot.waiting.is_some() || slot.is_away;
            if is_tried && is_away != slot.is_away {
                slot.is_away = is_away;
                events.push(Event::Reached(ServerId(*to as u64 + 1), !is_away));
            }
            let Some(to_life) = lives[*to] else { continue };
            if slot.is_busy || scene.net.is_cut(here, there) {
                continue;
            }
            if let Some(bytes) = slot.waiting.take() {
                slot.is_busy = true;
                slot.last = Some(bytes.clone());
                scene.mix(&bytes);
                let delay_us = scene.net.delay_us(here, there);
                let letter = Letter {
                    from: (self.index, life),
                    to: (*to, to_life),
                    bytes,
                };
                scene.after(delay_us, What::Mail(letter));
            }
        }
    }
}

/// What a letter says.
pub(super) fn read(letter: &Letter, events: &mut Vec<Event>) -> Result<(), String> {
    let from = ServerId(letter.from.0 as u64 + 1);
    let mut buf = BytesMut::from(&letter.bytes[..]);
    let mut skipped = 0;
    mail::read(&mut buf, |said| match said {
        Ok(notification) => events.push(Event::Mail(from, notification)),
        Err(_) => skipped += 1,
    })
    .map_err(|e| e.to_string())?;
    match skipped {
        0 => Ok(()),
        _ => Err(format!("{skipped} notifications cannot be understood")),
    }
}
