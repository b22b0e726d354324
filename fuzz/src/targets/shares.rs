//! A server's channel, driven by any sequence of jobs, tips, targets and shares, beside the plain model in
//! [`model`]: both must say the same of everything.

mod model;

use crate::input::Input;
use crate::wide::Wide;
use model::{Model, Verdict};
use std::sync::Arc;
use work::{
    Channel, ExtendedShare, Extranonce, HashRate, Job, JobParts, Now, Policy, Request, ShareMemory,
    StandardShare, Target, Tip,
};

/// The first `ntime` that jobs allow.
const MIN_NTIME: u32 = 1_700_000_000;
/// The version of every job; bits 5 to 28 may be rolled.
const VERSION: u32 = 0x2000_0000;
/// Network targets: every second, 256th, 2nd to 60th hash is a block, then (nearly) none; one has a mantissa of
/// zeros at its end, one is tiny.
const NBITS: [u32; 8] =
    [0x207f_ffff, 0x2000_ffff, 0x1f40_0000, 0x2100_0001, 0x2003_0000, 0x1d00_ffff, 0x1703_4219, 0x0312_3456];

/// A policy and a channel, then what happens to it.
pub fn shares(data: &[u8]) {
    play(data);
}

/// How many shares counted.
fn play(data: &[u8]) -> usize {
    let mut input = Input::new(data);
    let Some(mut play) = Play::open(&mut input) else { return 0 };
    for _ in 0..400 {
        if input.is_empty() {
            break;
        }
        play.step(&mut input);
        play.compare();
    }
    play.take_ack();
    play.submitted.len()
}

/// A channel and the model of it.
struct Play {
    channel: Channel,
    model: Model,
    millis: u64,
    submitted: Vec<(StandardShare, [u8; 16])>,
}

impl Play {
    fn open(input: &mut Input<'_>) -> Option<Self> {
        let policy = Policy {
            shares_per_minute: input.pick(&[12, 1, 600, 0, u32::MAX]),
            easiest_target: target(input),
            past_jobs: input.pick(&[3, 0, 1, 8, 255]),
            future_jobs: input.pick(&[3, 0, 1, 16, 255]),
            shares_per_tip: input.pick(&[1 << 15, 0, 1, 9]),
            memory: Arc::new(ShareMemory::new(if input.below(4) == 3 { 0 } else { usize::MAX })),
            fixed_version: input.below(8) == 7,
        };
        let tip = tip(input);
        let request = request(input);
        let (prefix, rollable) = prefix(input, None);
        let is_standard = rollable == 0;
        let arc = Arc::new(policy.clone());
        let opened = if is_standard {
            Channel::standard(1, prefix, request, &tip, &arc, 0)
        } else {
            Channel::extended(1, (prefix, rollable), request, &tip, &arc, 0)
        };
        let too_hard = Wide::of(&request.max_target) < Wide::of(&tip.network_target());
        let too_long = prefix.len() + usize::from(rollable) > 32;
        assert_eq!(opened.is_err(), too_hard || too_long);
        let channel = opened.ok()?;
        let model = Model::new(policy, request, &prefix, (!is_standard).then_some(rollable), &tip, &channel);
        Some(Self { channel, model, millis: 0, submitted: Vec::new() })
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let Self { channel, model, .. } = self;
        match input.below(16) {
            0 => {
                let job = job(input, model.full_len());
                let added = channel.add_future(&job);
                model.add_future(&job, added, channel);
            }
            1 => {
                let (job, ntime) = (job(input, model.full_len()), MIN_NTIME + u32::from(input.byte()));
                let added = channel.add_active(&job, ntime);
                model.add_active(&job, ntime, added, channel);
            }
            2 => {
                let (id, tip) = (u32::from(input.byte() % 24), tip(input));
                let before = channel.target();
                let activated = channel.activate(id, &tip);
                model.activate(id, &tip, activated, before, channel);
            }
            3 => {
                let (job, tip) = (job(input, model.full_len()), tip(input));
                let before = channel.target();
                let added = channel.add_custom(&job, &tip);
                model.add_custom(&job, &tip, added, before, channel);
            }
            4 => {
                let (prefix, _) = prefix(input, Some(model.prefix_len()));
                let set = channel.set_prefix(prefix);
                model.set_prefix(&prefix, set);
            }
            5 => {
                let request = request(input);
                let before = channel.target();
                let updated = channel.update(request, self.millis);
                model.update(request, updated, before, channel);
            }
            6 => {
                self.millis = self.millis.saturating_add(u64::from(input.u16()) << input.below(24));
                let before = channel.target();
                let moved = channel.adjust(self.millis);
                assert_eq!(moved, (channel.target() != before).then(|| channel.target()));
            }
            7 => self.take_ack(),
            8 => {
                let at = usize::from(input.byte());
                if let Some((share, rolled)) = self.submitted.get(at).copied() {
                    self.submit(share, &rolled, input);
                }
            }
            _ => {
                let share = share(input);
                let rolled = [input.byte() % 4; 16];
                self.submit(share, &rolled, input);
            }
        }
    }

    fn submit(&mut self, share: StandardShare, rolled: &[u8; 16], input: &mut Input<'_>) {
        self.millis += u64::from(input.byte());
        let now = Now { unix: MIN_NTIME - 1 + u32::from(input.byte() % 4), millis: self.millis };
        // One in sixteen has an extranonce of a length, or a kind, of its own.
        let slip = input.byte();
        let (mut extended, mut len) = (self.model.rollable.is_some(), self.model.rollable.unwrap_or(0));
        match slip {
            0..8 => len = slip * 2,
            8..16 => extended = !extended,
            _ => {}
        }
        let rolled_part = &rolled[..if extended { usize::from(len).min(16) } else { 0 }];
        let expected = self.model.judge(&share, rolled_part, extended, now);
        let result = if extended {
            self.channel.submit_extended(&ExtendedShare { share, extranonce: rolled_part }, now)
        } else {
            self.channel.submit_standard(&share, now)
        };
        match (result, expected) {
            (Ok(accepted), Verdict::Accepted(expected)) => {
                self.model.check_accepted(&accepted, &expected);
                self.model.book(&share, &accepted, expected);
                self.submitted.push((share, *rolled));
            }
            (Err(rejection), Verdict::Rejected(expected)) => assert_eq!(rejection, expected),
            (Err(rejection), Verdict::Forgotten(either)) => assert!(either.contains(&rejection)),
            (result, expected) => panic!("{result:?}, but the model says {expected:?}"),
        }
    }

    fn take_ack(&mut self) {
        let ack = self.channel.take_ack();
        self.model.acknowledge(ack);
    }

    fn compare(&self) {
        self.model.compare(&self.channel);
    }
}

fn share(input: &mut Input<'_>) -> StandardShare {
    let bits = input.byte();
    StandardShare {
        sequence_number: u32::from(input.byte()),
        job_id: u32::from(input.byte() % 24),
        nonce: u32::from(input.u16()),
        ntime: match input.byte() {
            255 => input.u32(),
            late @ 248..255 => MIN_NTIME + 7200 + u32::from(late - 248),
            near => MIN_NTIME + u32::from(near % 4),
        },
        version: VERSION ^ if bits < 32 { 1 << bits } else { 0 },
    }
}

/// Jobs that differ less than their ids: the same work under several.
fn job(input: &mut Input<'_>, extranonce_len: usize) -> Arc<Job> {
    let (id, kind) = (u32::from(input.byte() % 24), input.byte());
    let extranonce_len = if kind & 0x70 == 0x70 { input.below(33) } else { extranonce_len };
    let script_start = [0, 1, 20, 60][usize::from(kind >> 2 & 3)].min(98 - extranonce_len);
    let mut coinbase_prefix = vec![2, 0, 0, 0, 1];
    coinbase_prefix.extend([0; 32]);
    coinbase_prefix.extend([0xff; 4]);
    coinbase_prefix.push(u8::try_from(script_start + extranonce_len + 2).expect("at most 100"));
    coinbase_prefix.extend(vec![0x51; script_start]);
    let mut coinbase_suffix = vec![0x51, 0x51, 0xff, 0xff, 0xff, 0xff, 1];
    coinbase_suffix.extend([kind & 3; 40]);
    let parts = JobParts {
        id,
        version: VERSION,
        version_rolling_allowed: kind & 0x80 == 0,
        coinbase_prefix,
        coinbase_suffix,
        merkle_path: vec![[kind & 1; 32]; usize::from(kind & 3)],
        extranonce_len,
    };
    Arc::new(Job::new(parts).expect("a coinbase as the specification wants it"))
}

fn tip(input: &mut Input<'_>) -> Arc<Tip> {
    let (which, hash) = (input.below(NBITS.len()), input.byte() % 3);
    let tip = Tip::new([hash; 32], NBITS[which], MIN_NTIME + u32::from(hash));
    Arc::new(tip.expect("all of them are positive and fit"))
}

fn target(input: &mut Input<'_>) -> Target {
    match input.byte() {
        bits @ 0..64 => Target::ladder(Target::from_compact(NBITS[1]).expect("it is positive"), bits),
        64 => Target::from_le_bytes(input.array()),
        _ => Target::MAX,
    }
}

fn request(input: &mut Input<'_>) -> Request {
    let rate = match input.byte() {
        255 => input.u64(),
        bits => (1u64 << (bits % 64)) >> 1,
    };
    Request { rate: HashRate::new(rate), max_target: target(input) }
}

/// A prefix, and how many bytes are rolled behind it; none on standard channels.
fn prefix(input: &mut Input<'_>, len: Option<usize>) -> (Extranonce, u8) {
    let (which, number) = (input.byte(), input.byte() % 5);
    let (own_len, rollable) = match which % 16 {
        0..6 => (24, 0),
        6..14 => (16, 8),
        14 => (8, 16),
        _ => (input.below(33), u8::try_from(input.below(17)).expect("less than 17")),
    };
    let len = match which {
        240.. => own_len,
        _ => len.unwrap_or(own_len),
    };
    (Extranonce::new(&vec![number; len]).expect("at most 32 bytes"), rollable)
}

/// Channels of both kinds that get work, find shares, repeat them, and move to another tip.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (kind, nbits) in [(0, 0), (6, 0), (0, 1), (6, 1), (14, 4), (6, 6)] {
        let mut seed = vec![0, 255, 0, 0, 0, 0, 0, nbits, 1, 0, 255, kind, 1];
        let share = |job: u8, nonce: u8| [9, 200, nonce, job, nonce, 0, 3, 1, 1, 2, 255];
        seed.extend([0, 1, 4, 2, 1, nbits, 1]);
        (0..24).for_each(|nonce| seed.extend(share(1, nonce)));
        seed.extend([8, 0, 0, 1, 255, 8, 3, 0, 1, 255, 7]);
        seed.extend([1, 2, 4, 0]);
        (0..24).for_each(|nonce| seed.extend(share(1 + nonce % 2, 100 + nonce)));
        seed.extend([4, 0, 2, 5, 20, 255, 6, 255, 255, 10, 1, 3, 4, 0]);
        (0..12).for_each(|nonce| seed.extend(share(3, nonce)));
        seed.extend([3, 5, 4, nbits, 1, 3, 6, 4, 2, 2]);
        (0..6).for_each(|nonce| seed.extend(share(6, nonce)));
        // A version bit, a late time, a job that is gone, one that never was, a wrong length, a wrong kind.
        seed.extend([9, 3, 0, 6, 1, 0, 3, 1, 1, 2, 255]);
        for late in 248..255 {
            seed.extend([9, 200, late, 6, late, 0, late, 1, 1, 2, 255]);
        }
        seed.extend([9, 200, 0, 1, 1, 0, 0, 1, 1, 2, 255]);
        seed.extend([9, 200, 0, 20, 1, 0, 0, 1, 1, 2, 255]);
        seed.extend([9, 200, 0, 6, 1, 0, 3, 1, 1, 2, 3]);
        seed.extend([9, 200, 0, 6, 1, 0, 0, 1, 1, 2, 9]);
        seed.push(7);
        seeds.push(seed);
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target in which nothing happens would never fail.
    #[test]
    fn the_seeds_find_shares() {
        let found: Vec<usize> = seeds().iter().map(|seed| play(seed)).collect();
        assert!(found[..4].iter().all(|&count| count > 9), "{found:?}");
        assert!(found.iter().sum::<usize>() > 60, "{found:?}");
    }
}
