//! The table of a shard's connections: slots that are used again, with a generation each, so that an
//! id kept by somebody else never reaches the connection that came after.

use std::fmt;

/// Names one connection of the engine, and never another one: slots are reused, generations are not
/// (until a slot has seen 2^32 connections).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    shard: u16,
    slot: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(shard: u16, slot: u32, generation: u32) -> Self {
        Self { shard, slot, generation }
    }

    /// The shard that owns the connection: the index into [`Engine::handles`](crate::Engine::handles).
    #[must_use]
    pub fn shard(self) -> u16 {
        self.shard
    }

    pub(crate) fn slot(self) -> u32 {
        self.slot
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.shard, self.slot, self.generation)
    }
}

struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Values in numbered slots. Removing one makes its slot free for the next insertion.
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    /// Values in the table.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the highest slot ever used: what an iteration by slot has to visit.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("insert refuses to grow past u32")
    }

    /// Puts a value in and says where: slot and generation.
    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            debug_assert!(entry.value.is_none());
            entry.value = Some(value);
            return (slot, entry.generation);
        }
        let slot = u32::try_from(self.entries.len()).expect("a process has fewer than 2^32 descriptors");
        self.entries.push(Entry { generation: 0, value: Some(value) });
        (slot, 0)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize)?.value.as_mut()
    }

    /// The value in `slot`, if it is still of that generation.
    pub(crate) fn get_exact(&mut self, slot: u32, generation: u32) -> Option<&mut T> {
        let entry = self.entries.get_mut(slot as usize)?;
        if entry.generation == generation { entry.value.as_mut() } else { None }
    }

    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.entries.get(slot as usize).map_or(0, |entry| entry.generation)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.entries.get_mut(slot as usize)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_does_not_reach_the_next_tenant() {
        let mut slab = Slab::new();
        let (slot, generation) = slab.insert("first");
        assert_eq!(slab.remove(slot), Some("first"));
        assert_eq!(slab.remove(slot), None);
        let (again, newer) = slab.insert("second");
        assert_eq!(again, slot, "slots are reused");
        assert_eq!(slab.get_exact(slot, generation), None);
        assert_eq!(slab.get_exact(slot, newer), Some(&mut "second"));
        assert_eq!((slab.len(), slab.slots()), (1, 1));
    }

    #[test]
    fn ids_read_as_shard_slot_generation() {
        let id = ConnId::new(1, 20, 3);
        assert_eq!(id.to_string(), "1.20.3");
        assert_eq!((id.shard(), id.slot()), (1, 20));
    }
}
