//! Which headers were already credited on this tip, in bounded memory.
//!
//! The key is the low 64 bits of a header's hash, which its finder cannot choose without
//! work. It covers everything in the header, so the same work under another job id still collides
//! (MP-124, CW-31). A lookup comes after hashing: for extended shares the header is not known before,
//! and a flood of duplicates then costs no more than a flood of shares that miss their target.

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

impl Duplicates {
    const FIRST_SLOTS: usize = 8;

    /// Remembers a hash; at most `limit` of them.
    pub fn insert(&mut self, hash: &[u8; 32], limit: u32) -> Insertion {
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
        let slot = place.filter(|_| !full).unwrap_or_else(|| {
            self.grow();
            self.find(key).expect("grown to at least FIRST_SLOTS")
        });
        self.slots[slot] = key;
        self.len += 1;
        Insertion::New
    }

    /// Forgets everything and frees the memory (SM-23).
    pub fn clear(&mut self) {
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

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(Self::FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![0; slots].into_boxed_slice());
        for key in old.into_iter().filter(|&key| key != 0) {
            let slot = self.find(key).expect("just grown");
            self.slots[slot] = key;
        }
    }

    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
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

    // proves: MP-107
    #[test]
    fn the_filter_is_bounded_and_still_knows_what_it_holds() {
        let mut seen = Duplicates::default();
        for n in 0..100 {
            assert_eq!(seen.insert(&hash(n * 8), 100), Insertion::New);
        }
        assert_eq!(seen.insert(&hash(5), 100), Insertion::Full);
        assert_eq!(seen.insert(&hash(8), 100), Insertion::Seen);
        assert!(seen.heap_bytes() <= 100 * 8 * 3);
        seen.clear();
        assert_eq!(seen.heap_bytes(), 0);
        assert_eq!(seen.insert(&hash(8), 100), Insertion::New);
        assert_eq!(seen.insert(&hash(9), 0), Insertion::Full);
        assert_eq!(Duplicates::default().insert(&hash(9), 0), Insertion::Full);
    }

    proptest::proptest! {
      #[test]
      fn it_behaves_like_a_set(values in proptest::collection::vec(1u64..200, 0..400)) {
        let (mut seen, mut model) = (Duplicates::default(), HashSet::new());
        for value in values {
          let expected = if model.insert(value) { Insertion::New } else { Insertion::Seen };
          proptest::prop_assert_eq!(seen.insert(&hash(value), 1000), expected);
        }
      }
    }
}
