//! Which headers were already credited on this tip, in bounded memory.
//!
//! The key is the low 64 bits of a header's hash, which its finder cannot choose without
//! work. It covers everything in the header, so the same work under another job id still collides
//! (MP-124, CW-31). A lookup comes after hashing: for extended shares the header is not known before,
//! and a flood of duplicates then costs no more than a flood of shares that miss their target.

use crate::memory::ShareMemory;

/// Bounded set of header hashes.
#[derive(Debug, Default)]
pub(crate) struct Duplicates {
    /// Open addressing with linear probing, a power of two long, 0 for empty.
    slots: Box<[u64]>,
    len: u32,
}

/// What became of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Insertion {
    New,
    Seen,
    /// It is new, but there is no room.
    Full,
}

/// How much may be remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room<'a> {
    /// Hashes of this filter.
    pub hashes: u32,
    /// Of all filters of the process.
    pub memory: &'a ShareMemory,
    /// The hash must be taken in, even if the process has no memory left for it.
    pub insists: bool,
}

impl Duplicates {
    const FIRST_SLOTS: usize = 8;
    /// A filter up to so long is every channel's own right and does not count: at the wished rate a channel needs no more,
    /// so nobody else's shares ever cost it its own.
    const UNCOUNTED_SLOTS: usize = 256;

    /// Remembers a hash, as far as there is room.
    pub fn insert(&mut self, hash: &[u8; 32], room: Room<'_>) -> Insertion {
        let limit = room.hashes;
        let key = key(hash);
        let place = self.find(key);
        if place.is_some_and(|slot| self.slots[slot] == key) {
            return Insertion::Seen;
        }
        if self.len >= limit {
            return Insertion::Full;
        }
        // At most 3/4 full, so that there is always an empty slot and probing is short.
        let full = (self.len as usize + 1) * 4 > self.slots.len() * 3;
        let slot = match place.filter(|_| !full) {
            Some(slot) => slot,
            None if self.grow(room) => self.find(key).expect("grown to at least FIRST_SLOTS"),
            None => return Insertion::Full,
        };
        self.slots[slot] = key;
        self.len += 1;
        Insertion::New
    }

    /// Forgets everything and frees the memory (SM-23).
    pub fn clear(&mut self, memory: &ShareMemory) {
        memory.give(counted(self.slots.len()));
        *self = Self::default();
    }

    /// The slot of `key`, or the empty one where it belongs. `None`: there are no slots at all.
    fn find(&self, key: u64) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only as many low bits as there are slots are used"
        )]
        let mut slot = key as usize & mask;
        while self.slots[slot] != 0 && self.slots[slot] != key {
            slot = (slot + 1) & mask;
        }
        Some(slot)
    }

    /// Doubles the slots, if there is memory for them.
    fn grow(&mut self, room: Room<'_>) -> bool {
        let slots = (self.slots.len() * 2).max(Self::FIRST_SLOTS);
        let (held, wanted) = (counted(self.slots.len()), counted(slots));
        if !room.memory.grow(held, wanted) {
            if !room.insists {
                return false;
            }
            room.memory.insist(wanted - held);
        }
        let old = std::mem::replace(&mut self.slots, vec![0; slots].into_boxed_slice());
        for key in old.into_iter().filter(|&key| key != 0) {
            let slot = self.find(key).expect("just grown");
            self.slots[slot] = key;
        }
        true
    }

    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

/// The bytes of so many slots, as far as they count.
fn counted(slots: usize) -> usize {
    if slots > Duplicates::UNCOUNTED_SLOTS { slots * size_of::<u64>() } else { 0 }
}

/// The low 64 bits of the hash: the high ones are zero by the share's own work.
fn key(hash: &[u8; 32]) -> u64 {
    let low = u64::from_le_bytes(*hash.first_chunk().expect("32 bytes are more than 8"));
    // 0 marks an empty slot.
    low.max(1)
}

#[cfg(test)]
mod tests {
    use {super::*, std::collections::HashSet};

    fn hash(n: u64) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        hash
    }

    static UNBOUNDED: ShareMemory = ShareMemory::new(usize::MAX);

    fn room(hashes: u32, memory: &ShareMemory) -> Room<'_> {
        Room { hashes, memory, insists: false }
    }

    // proves: MP-107
    #[test]
    fn the_filter_is_bounded_and_still_knows_what_it_holds() {
        let memory = &UNBOUNDED;
        let mut seen = Duplicates::default();
        for n in 0..100 {
            assert_eq!(seen.insert(&hash(n * 8), room(100, memory)), Insertion::New);
        }
        assert_eq!(seen.insert(&hash(5), room(100, memory)), Insertion::Full);
        assert_eq!(seen.insert(&hash(8), room(100, memory)), Insertion::Seen);
        assert!(seen.heap_bytes() <= 100 * 8 * 3);
        seen.clear(memory);
        assert_eq!(seen.heap_bytes(), 0);
        assert_eq!(seen.insert(&hash(8), room(100, memory)), Insertion::New);
        assert_eq!(seen.insert(&hash(9), room(0, memory)), Insertion::Full);
        assert_eq!(Duplicates::default().insert(&hash(9), room(0, memory)), Insertion::Full);
    }

    #[test]
    fn beyond_what_every_channel_may_have_the_process_is_asked() {
        let memory = &ShareMemory::new(17 * 8 * 1024);
        let fill = |seen: &mut Duplicates, count| {
            (0..count).find(|n| seen.insert(&hash(n + 1), room(u32::MAX, memory)) == Insertion::Full)
        };
        let mut seen = Duplicates::default();
        assert_eq!(fill(&mut seen, 192), None);
        assert_eq!(memory.used(), 0, "the first hashes are free");
        // 1024 slots fit into the 16th part of what is free, 2048 do not.
        assert_eq!(fill(&mut seen, 10_000), Some(768));
        assert_eq!((memory.used(), seen.heap_bytes()), (8 * 1024, 8 * 1024));
        assert_eq!(
            seen.insert(&hash(1), room(u32::MAX, memory)),
            Insertion::Seen,
            "it still knows what it holds"
        );
        let block = Room { insists: true, ..room(u32::MAX, memory) };
        assert_eq!(seen.insert(&hash(10_001), block), Insertion::New, "a block is never lost to memory");
        assert_eq!(memory.used(), 8 * 2048);
        seen.clear(memory);
        assert_eq!(memory.used(), 0);
    }

    proptest::proptest! {
      #[test]
      fn it_behaves_like_a_set(values in proptest::collection::vec(1u64..200, 0..400)) {
        let memory = &UNBOUNDED;
        let (mut seen, mut model) = (Duplicates::default(), HashSet::new());
        for value in values {
          let expected = if model.insert(value) { Insertion::New } else { Insertion::Seen };
          proptest::prop_assert_eq!(seen.insert(&hash(value), room(1000, memory)), expected);
        }
      }
    }
}
