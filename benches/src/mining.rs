//! Channels, jobs and payout keys.

use std::sync::Arc;

use work::{
    Channel, FULL_LEN, HashRate, Job, JobParts, Lease, Now, PayoutKey, Policy, PrefixSpace, Request,
    ServerId, StandardShare, Target, Tip,
};

/// Levels of the merkle path of a full block.
pub const MERKLE_LEVELS: usize = 12;

const NTIME: u32 = 1_790_000_000;
const VERSION: u32 = 0x2000_0000;

/// When shares come in.
pub const NOW: Now = Now { unix: NTIME + 60, millis: 1000 };

/// The job that [`standard`] and [`extended`] channels mine; the one before it is superseded.
pub const ACTIVE: u32 = 2;
/// A job that still takes shares, but is not the newest.
pub const SUPERSEDED: u32 = 1;

/// A block as hard as `2^49` hashes, so that none is found. The ladder's last rung is all but one in `2^23` hashes.
fn tip() -> Arc<Tip> {
    Arc::new(Tip::new([7; 32], 0x1a7f_ffff, NTIME).expect("a positive target"))
}

/// A job with the coinbase of a pool: height and tag before the extranonce, a payout and a commitment behind it.
pub fn job(id: u32) -> Arc<Job> {
    let mut prefix = vec![0; 42 + 20];
    prefix[0] = 2;
    prefix[4] = 1;
    prefix[37..41].fill(0xff);
    prefix[41] = u8::try_from(20 + FULL_LEN).expect("a script of 44 bytes");
    let parts = JobParts {
        id,
        version: VERSION,
        version_rolling_allowed: true,
        coinbase_prefix: prefix,
        coinbase_suffix: vec![0x11; 90],
        merkle_path: vec![[0x5a; 32]; MERKLE_LEVELS],
        extranonce_len: FULL_LEN,
    };
    Arc::new(Job::new(parts).expect("parts of a coinbase"))
}

fn started(mut channel: Channel) -> Channel {
    channel.add_future(&job(SUPERSEDED)).expect("a job of the channel's length");
    channel.activate(SUPERSEDED, &tip()).expect("a future job");
    channel.add_active(&job(ACTIVE), NTIME).expect("another job");
    channel
}

/// Every hash is a share, so that none has to be searched for.
fn policy(easiest_target: Target) -> Arc<Policy> {
    Arc::new(Policy { easiest_target, shares_per_tip: u32::MAX, ..Policy::default() })
}

const REQUEST: Request = Request { rate: HashRate::new(0), max_target: Target::MAX };

fn prefixes() -> PrefixSpace {
    PrefixSpace::new(ServerId::new(1), Lease::new(2).expect("far from the last"))
}

/// A standard channel that mines [`ACTIVE`] and takes every hash.
pub fn standard() -> Channel {
    standard_with(Target::MAX)
}

/// A standard channel that takes no share of the benchmarks: a hash in `2^48` meets its target.
pub fn hard() -> Channel {
    standard_with(Target::for_expected_hashes(1 << 48))
}

fn standard_with(easiest: Target) -> Channel {
    let prefix = prefixes().next().expect("the first prefix").standard();
    started(Channel::standard(1, prefix, REQUEST, &tip(), &policy(easiest), 0).expect("an open channel"))
}

/// An extended channel that mines [`ACTIVE`], rolls 16 bytes, and takes every hash.
pub fn extended() -> Channel {
    let prefix = prefixes().next().expect("the first prefix").extended(16).expect("16 bytes are granted");
    started(Channel::extended(1, prefix, REQUEST, &tip(), &policy(Target::MAX), 0).expect("an open channel"))
}

/// A share; each nonce another.
pub const fn share(job_id: u32, nonce: u32) -> StandardShare {
    StandardShare { sequence_number: nonce, job_id, nonce, ntime: NTIME, version: VERSION }
}

/// So many payout keys.
pub fn keys(count: usize) -> Vec<PayoutKey> {
    let bytes = |n: u32| {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        bytes
    };
    // Every second string of 32 bytes is a key.
    (0..).filter_map(|n| PayoutKey::from_bytes(bytes(n)).ok()).take(count).collect()
}
