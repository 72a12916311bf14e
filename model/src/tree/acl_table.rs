//! The table of ACLs: each list is kept once, however many nodes carry it.

use super::acl::{Acl, AclEntry, Id, perms};
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// The place of the open list, which is built in: snapshots write it as -1 and leave it out of their table.
pub(super) const OPEN: u32 = 0;

/// Lists by number, with how many nodes carry each.
pub(super) struct AclTable {
    lists: Vec<(Acl, u32)>,
    numbers: HashMap<Acl, u32, FixedState>,
    free: Vec<u32>,
}

impl AclTable {
    pub(super) fn new() -> Self {
        let open = Acl::from([AclEntry {
            perms: perms::ALL,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }]);
        Self {
            lists: alloc::vec![(open, 1)],
            numbers: HashMap::default(),
            free: Vec::new(),
        }
    }

    /// The number of a list, counted as carried by one node more.
    pub(super) fn acquire(&mut self, acl: &[AclEntry]) -> u32 {
        if self.lists.first().is_some_and(|(open, _)| **open == *acl) {
            return OPEN;
        }
        if let Some(&number) = self.numbers.get(acl) {
            self.keep(number);
            return number;
        }
        let list = Acl::from(acl);
        let number = self.free.pop().unwrap_or(self.lists.len() as u32);
        match self.lists.get_mut(number as usize) {
            Some(slot) => *slot = (list.clone(), 1),
            None => self.lists.push((list.clone(), 1)),
        }
        self.numbers.insert(list, number);
        number
    }

    /// Counts one node more.
    pub(super) fn keep(&mut self, number: u32) {
        if let Some((_, users)) = self
            .lists
            .get_mut(number as usize)
            .filter(|_| number != OPEN)
        {
            *users += 1;
        }
    }

    /// Counts one node less; a list without nodes is forgotten.
    pub(super) fn release(&mut self, number: u32) {
        let Some((list, users)) = self
            .lists
            .get_mut(number as usize)
            .filter(|_| number != OPEN)
        else {
            return;
        };
        *users = users.saturating_sub(1);
        if *users == 0 {
            self.numbers.remove(&**list);
            *list = Acl::default();
            self.free.push(number);
        }
    }

    /// The list of a number; the open list for an unknown one, which is not given out.
    pub(super) fn list(&self, number: u32) -> Option<&Acl> {
        self.lists.get(number as usize).map(|(list, _)| list)
    }

    /// Lists in use, the open one left out.
    pub(super) fn in_use(&self) -> Vec<(i64, Acl)> {
        (0i64..)
            .zip(&self.lists)
            .skip(1)
            .filter(|(_, (_, users))| *users > 0)
            .map(|(number, (list, _))| (number, list.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_kept_once_and_forgotten_with_its_last_node() {
        let mut table = AclTable::new();
        let read = [AclEntry {
            perms: 1,
            id: Id {
                scheme: "world".into(),
                id: "anyone".into(),
            },
        }];
        let number = table.acquire(&read);
        assert_eq!(table.acquire(&read), number);
        assert_eq!(table.in_use().len(), 1);
        table.release(number);
        assert_eq!(table.list(number).map(|l| l.len()), Some(1));
        table.release(number);
        assert_eq!(table.in_use().len(), 0);
        assert_eq!(table.acquire(&read), number);
    }
}
