//! A hierarchical timer wheel: one deadline per key, every operation in constant time, no allocation
//! once the highest key has been seen.
//!
//! It knows no clock. Time is counted in ticks (the shard takes one tick as a millisecond); keys are
//! the slots of the shard's connection table. Fifteen thousand connections with a deadline each cost
//! 24 bytes a connection here, and moving a deadline touches three cache lines.

/// Bits of a tick that one level resolves.
const LEVEL_BITS: u32 = 6;
/// Slots of a level; one bit of a `u64` each.
const SLOTS: u32 = 1 << LEVEL_BITS;
/// Five levels of 64 slots: 2^30 ticks (twelve days of milliseconds) before a deadline has to go round
/// the top level a second time, which is correct, only slower.
const LEVELS: u32 = 5;
/// "No node", and "this node is in no list".
const NONE: u32 = u32::MAX;

/// A deadline of one key, linked into the list of its slot.
#[derive(Clone, Copy)]
struct Node {
    at: u64,
    previous: u32,
    next: u32,
    /// `level * SLOTS + slot`, or `NONE` when nothing is scheduled.
    place: u32,
}

const IDLE: Node = Node { at: 0, previous: NONE, next: NONE, place: NONE };

/// The wheel. See the module's text.
pub struct Wheel {
    now: u64,
    heads: [[u32; SLOTS as usize]; LEVELS as usize],
    occupied: [u64; LEVELS as usize],
    nodes: Vec<Node>,
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Wheel {
    /// An empty wheel at tick 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: 0,
            heads: [[NONE; SLOTS as usize]; LEVELS as usize],
            occupied: [0; LEVELS as usize],
            nodes: Vec::new(),
        }
    }

    /// The tick up to which time has been advanced.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// When `key` fires, if it is scheduled.
    #[must_use]
    pub fn scheduled(&self, key: u32) -> Option<u64> {
        self.nodes.get(key as usize).filter(|node| node.place != NONE).map(|node| node.at)
    }

    /// Lets `key` fire at tick `at`, in place of whatever was scheduled for it. A tick that has passed
    /// already fires at the next one: a deadline is never met early.
    pub fn schedule(&mut self, key: u32, at: u64) {
        assert!(key != NONE, "the key {NONE} stands for no node");
        let needed = key as usize + 1;
        if self.nodes.len() < needed {
            self.nodes.resize(needed, IDLE);
        }
        self.cancel(key);
        self.insert(key, at.max(self.now + 1));
    }

    /// Forgets the deadline of `key`, if there is one.
    pub fn cancel(&mut self, key: u32) {
        let Some(&node) = self.nodes.get(key as usize).filter(|node| node.place != NONE) else { return };
        let (level, slot) = ((node.place / SLOTS) as usize, (node.place % SLOTS) as usize);
        match node.previous {
            NONE => self.heads[level][slot] = node.next,
            previous => self.nodes[previous as usize].next = node.next,
        }
        if node.next != NONE {
            self.nodes[node.next as usize].previous = node.previous;
        }
        if self.heads[level][slot] == NONE {
            self.occupied[level] &= !(1 << slot);
        }
        self.nodes[key as usize] = IDLE;
    }

    /// The tick at which `advance` has something to do next: never later than the earliest deadline,
    /// perhaps earlier, when far deadlines only move to a finer level.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        (0..LEVELS).filter_map(|level| self.next_of(level).map(|(tick, _)| tick)).min()
    }

    /// Moves time forward to tick `to` and appends every key whose deadline that reaches to `fired`, each once.
    pub fn advance(&mut self, to: u64, fired: &mut Vec<u32>) {
        while let Some((tick, level, slot)) = self.next_place().filter(|&(tick, ..)| tick <= to) {
            debug_assert!(tick > self.now, "a slot of the past was left occupied");
            self.now = tick;
            let mut key = std::mem::replace(&mut self.heads[level as usize][slot as usize], NONE);
            self.occupied[level as usize] &= !(1 << slot);
            while key != NONE {
                let node = std::mem::replace(&mut self.nodes[key as usize], IDLE);
                if node.at <= tick {
                    fired.push(key);
                } else {
                    self.insert(key, node.at);
                }
                key = node.next;
            }
        }
        self.now = self.now.max(to);
    }

    fn next_place(&self) -> Option<(u64, u32, u32)> {
        (0..LEVELS).filter_map(|level| self.next_of(level).map(|(tick, slot)| (tick, level, slot))).min()
    }

    /// The tick at which the next occupied slot of a level begins, and the slot.
    fn next_of(&self, level: u32) -> Option<(u64, u32)> {
        let occupied = self.occupied[level as usize];
        if occupied == 0 {
            return None;
        }
        let shift = LEVEL_BITS * level;
        // The current slot itself comes last: on the top level it means "once round".
        let start = (slot_at(self.now, level) + 1) % SLOTS;
        let ahead = occupied.rotate_right(start).trailing_zeros();
        let tick = ((self.now >> shift) + 1 + u64::from(ahead)) << shift;
        Some((tick, (start + ahead) % SLOTS))
    }

    /// Links `key` into the level at which `at` and now first differ.
    fn insert(&mut self, key: u32, at: u64) {
        debug_assert!(at > self.now);
        let level = ((at ^ self.now).ilog2() / LEVEL_BITS).min(LEVELS - 1);
        let slot = slot_at(at, level);
        let head = std::mem::replace(&mut self.heads[level as usize][slot as usize], key);
        if head != NONE {
            self.nodes[head as usize].previous = key;
        }
        self.occupied[level as usize] |= 1 << slot;
        self.nodes[key as usize] = Node { at, previous: NONE, next: head, place: level * SLOTS + slot };
    }
}

/// The slot of a tick on a level.
fn slot_at(tick: u64, level: u32) -> u32 {
    let [low, ..] = (tick >> (LEVEL_BITS * level)).to_le_bytes();
    u32::from(low) % SLOTS
}

#[cfg(test)]
mod tests;
