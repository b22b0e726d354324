//! `reference/ehash_ref.py`, ported line by line, and what running it prints.

use super::{Play, test_key};
use crate::{Msats, Params};
use std::collections::BTreeMap;

pub(super) const LOG_K: u32 = 50;
pub(super) const K: u64 = 1 << LOG_K;

/// The reference model. `who` is a number here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) q: u64,
    pub(super) n: u32,
    pub(super) fee_ppm: u64,
    pub(super) open: u32,
    pub(super) fill: u64,
    pub(super) pot: BTreeMap<u32, u64>,
    pub(super) carry: u64,
    pub(super) fees: u64,
    pub(super) rewards: u64,
    pub(super) held: BTreeMap<(u8, u32), u64>,
}

impl Pool {
    pub(super) fn new(q_shift: u32, n: u32, fee_ppm: u64) -> Pool {
        Pool { q: K >> q_shift, n, fee_ppm, ..Pool::default() }
    }

    pub(super) fn share(&mut self, who: u8, mut c: u64) {
        while c > 0 {
            let take = c.min(self.q - self.fill);
            *self.held.entry((who, self.open)).or_default() += take;
            self.fill += take;
            c -= take;
            if self.fill == self.q {
                self.open += 1;
                self.fill = 0;
            }
        }
    }

    pub(super) fn block(&mut self, reward_msat: u64) -> Option<u64> {
        self.rewards += reward_msat;
        let fee = u64::try_from(u128::from(reward_msat) * u128::from(self.fee_ppm) / 1_000_000).unwrap();
        self.fees += fee;
        let net = reward_msat - fee + self.carry;
        if self.open == 0 {
            self.carry = net;
            return None;
        }
        let elig = self.open.saturating_sub(self.n)..self.open;
        let per = net / u64::from(elig.end - elig.start);
        self.carry = net % u64::from(elig.end - elig.start);
        for e in elig {
            *self.pot.entry(e).or_default() += per;
        }
        Some(per)
    }

    pub(super) fn redeem(&self, credits: u64, epoch: u32) -> u64 {
        let pot = self.pot.get(&epoch).copied().unwrap_or(0);
        u64::try_from(u128::from(pot) * u128::from(credits) / u128::from(self.q)).unwrap()
    }
}

pub(super) fn credit(k: u32, m: u64) -> u64 {
    u64::try_from((u128::from(m) << LOG_K) >> (k + 16)).unwrap()
}

/// Python's `random.Random(seed)`: MT19937 as far as the reference uses it.
struct Random {
    words: [u32; 624],
    next: usize,
}

impl Random {
    fn new(seed: u32) -> Random {
        let mut w = [0u32; 624];
        w[0] = 19_650_218;
        for i in 1..624u32 {
            let last = w[i as usize - 1];
            w[i as usize] = 1_812_433_253u32.wrapping_mul(last ^ last >> 30).wrapping_add(i);
        }
        let mut i = 1;
        for step in 0..624 + 623 {
            let mixed = w[i - 1] ^ w[i - 1] >> 30;
            w[i] = match step {
                0..624 => (w[i] ^ mixed.wrapping_mul(1_664_525)).wrapping_add(seed),
                _ => (w[i] ^ mixed.wrapping_mul(1_566_083_941)).wrapping_sub(i.try_into().unwrap()),
            };
            i += 1;
            if i == 624 {
                w[0] = w[623];
                i = 1;
            }
        }
        w[0] = 1 << 31;
        Random { words: w, next: 624 }
    }

    fn word(&mut self) -> u32 {
        if self.next == 624 {
            for i in 0..624 {
                let y = self.words[i] & 1 << 31 | self.words[(i + 1) % 624] & !(1 << 31);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.words[i] = self.words[(i + 397) % 624] ^ y >> 1 ^ odd;
            }
            self.next = 0;
        }
        let mut y = self.words[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }

    /// `_randbelow(n)`
    fn below(&mut self, n: u32) -> u32 {
        loop {
            let bits = self.word() >> n.leading_zeros();
            if bits < n {
                return bits;
            }
        }
    }

    /// `choice`
    fn choice<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len().try_into().unwrap()) as usize]
    }

    /// `random() < 0.002`, in the 53 bits that `random()` is made of.
    fn two_in_a_thousand(&mut self) -> bool {
        let (a, b) = (u64::from(self.word() >> 5), u64::from(self.word() >> 6));
        (a << 26) + b <= 18_014_398_509_481
    }
}

/// Part 1 of the reference's `__main__`: the same play, share by share, and the line that it prints.
#[test]
fn random_play_ends_where_the_reference_does() {
    let mut rng = Random::new(1);
    let mut pool = Pool::new(9, 16, 10_000);
    let mut play = Play::new(Params { q: 9, window: 16, fee_ppm: 10_000, maturity: 100, redeem_blocks: 0 });
    let mut held: BTreeMap<(u8, u32), u64> = BTreeMap::new();
    let (mut height, mut sequence) = (0, 0);
    for _ in 0..40_000 {
        let who = rng.choice(b"abcdefgh");
        let k = rng.choice(&[12, 13, 14, 15, 16]);
        let c = credit(k, rng.choice(&[65_536, 65_536, 65_536, 65_011]));
        pool.share(who, c);
        sequence += 1;
        let credits = vec![(test_key(who), work::Ehash::new(c))];
        let event = crate::Event::Credits(crate::Batch { source: super::SOURCE, sequence, credits });
        for part in play.state.apply(&event).unwrap().assignments {
            *held.entry((who, part.epoch.get())).or_default() += part.amount.get();
        }
        if rng.two_in_a_thousand() {
            let reward = 312_500_000_000 + u64::from(rng.below(1_000_000_000));
            pool.block(reward);
            height += 1;
            play.connect(height, height, reward);
        }
    }
    let totals = play.state.totals();
    let open = play.state.open_epoch().get();
    let paid =
        |e: u32, c: u64| play.state.epoch(crate::Epoch(e)).unwrap().value_of(work::Ehash::new(c)).unwrap();
    let paid: u64 = held.iter().map(|((_, e), c)| paid(*e, *c).get()).sum();
    let dust = totals.pots.get() - paid;
    // epochs 1944 rewards 24410849388214 pots 24166740894368 paid 24166740891162 dust msat 3206 carry 7
    assert_eq!(
        (open, totals.rewards.get(), totals.pots.get(), paid, dust, totals.carry.get()),
        (1944, 24_410_849_388_214, 24_166_740_894_368, 24_166_740_891_162, 3206, 7)
    );
    assert_eq!(held, pool.held);
    assert_eq!(play.pots(), (0..open).map(|e| pool.pot.get(&e).copied().unwrap_or(0)).collect::<Vec<_>>());
}

/// Part 2 of the reference's `__main__`: survey section C's worked example.
#[test]
fn the_worked_example() {
    let mut play = Play::new(Params::default());
    play.close_epochs(40);
    play.connect(1, 900_000, 314_700_003_000);
    let totals = play.state.totals();
    assert_eq!(play.state.open_size().get(), 140_737_488_355_328);
    assert_eq!(totals.fees, Msats::new(3_147_000_030));
    assert_eq!(totals.rewards.checked_sub(totals.fees), Some(Msats::new(311_553_002_970)));
    assert_eq!(
        (play.pot(23), play.pot(24), play.pot(30), play.pot(39)),
        (0, 19_472_062_685, 19_472_062_685, 19_472_062_685)
    );
    assert_eq!(play.carry(), 10);

    let alice = work::Ehash::new(19_200 * credit(37, 1 << 16));
    assert_eq!(alice.get(), 157_286_400);
    let value = |play: &Play| play.state.epoch(crate::Epoch(30)).unwrap().value_of(alice).unwrap().get();
    assert_eq!(value(&play), 21_761);
    play.connect(2, 900_001, 313_980_551_000);
    assert_eq!((play.pot(30), play.carry(), value(&play)), (38_899_609_278, 12, 43_473));
}
