mod lifecycle;
mod memory;
mod random;
mod shares;

use {
    super::*,
    crate::{
        extranonce::{FULL_LEN, Lease, PrefixSpace, ServerId, UniquePrefix},
        job::{JobParts, tests::parts},
        share::{Accepted, ExtendedShare, Now, Rejection, StandardShare},
    },
};

/// Every 256th hash is a block: found in no time, but not by chance.
pub(crate) const NBITS: u32 = 0x2000_ffff;
pub(crate) const MIN_NTIME: u32 = 1_700_000_000;
pub(crate) const NOW: Now = Now { unix: MIN_NTIME + 60, millis: 1000 };
pub(crate) const VERSION: u32 = 0x2000_0000;

pub(crate) fn tip(n: u8) -> Arc<Tip> {
    Arc::new(Tip::new([n; 32], NBITS, MIN_NTIME).unwrap())
}

pub(crate) fn job(id: u32) -> Arc<Job> {
    job_with(id, |_| {})
}

pub(crate) fn job_with(id: u32, change: impl FnOnce(&mut JobParts)) -> Arc<Job> {
    let mut parts = parts(id, 20, 3, FULL_LEN);
    change(&mut parts);
    Arc::new(Job::new(parts).unwrap())
}

pub(crate) fn unique(n: usize) -> UniquePrefix {
    let mut space = PrefixSpace::new(ServerId::new(1), Lease::new(2).unwrap());
    (0..=n).map(|_| space.next().unwrap()).last().unwrap()
}

/// A rate that puts the channel on rung 4 of the ladder: every 16th hash is a share, every 256th a block.
pub(crate) const REQUEST: Request = Request { rate: HashRate::new(3), max_target: Target::MAX };

pub(crate) fn policy() -> Arc<Policy> {
    Arc::new(Policy::default())
}

pub(crate) fn standard_with(policy: Policy) -> Channel {
    Channel::standard(1, unique(0).standard(), REQUEST, &tip(1), &Arc::new(policy), 0).unwrap()
}

pub(crate) fn extended_with(policy: Policy) -> Channel {
    Channel::extended(2, unique(1).extended(8).unwrap(), REQUEST, &tip(1), &Arc::new(policy), 0).unwrap()
}

/// A channel that mines job 1 on tip 1.
pub(crate) fn standard() -> Channel {
    started(standard_with(Policy::default()))
}

/// A channel that mines job 1 on tip 1.
pub(crate) fn extended() -> Channel {
    started(extended_with(Policy::default()))
}

pub(crate) fn started(mut channel: Channel) -> Channel {
    let fixed = channel.policy.fixed_version;
    channel.add_future(&job_with(1, |parts| parts.version_rolling_allowed = !fixed)).unwrap();
    assert_eq!(channel.activate(1, &tip(1)), Ok(None));
    channel
}

pub(crate) const EXTRANONCE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// Submits what the channel's kind asks for.
pub(crate) fn submit(channel: &mut Channel, share: StandardShare) -> Result<Accepted, Rejection> {
    match channel.kind() {
        Kind::Standard => channel.submit_standard(&share, NOW),
        Kind::Extended { .. } => {
            channel.submit_extended(&ExtendedShare { share, extranonce: &EXTRANONCE }, NOW)
        }
    }
}

pub(crate) fn share(job_id: u32, nonce: u32) -> StandardShare {
    StandardShare { sequence_number: nonce, job_id, nonce, ntime: MIN_NTIME, version: VERSION }
}

/// The header that a share stands for, and its hash; computed without the code under test.
pub(crate) fn header_of(
    channel: &Channel,
    job: &Job,
    tip: &Tip,
    share: &StandardShare,
) -> ([u8; 80], [u8; 32]) {
    use bitcoin_hashes::{Hash, sha256d};
    let mut coinbase = [job.coinbase_prefix(), channel.prefix()].concat();
    if channel.kind() != Kind::Standard {
        coinbase.extend(EXTRANONCE);
    }
    coinbase.extend(job.coinbase_suffix());
    let mut root = sha256d::Hash::hash(&coinbase).to_byte_array();
    for sibling in job.merkle_path() {
        root = sha256d::Hash::hash(&[root, *sibling].concat()).to_byte_array();
    }
    let mut header = share.version.to_le_bytes().to_vec();
    header.extend(tip.prev_hash());
    header.extend(root);
    header.extend(share.ntime.to_le_bytes());
    header.extend(tip.nbits().to_le_bytes());
    header.extend(share.nonce.to_le_bytes());
    let hash = sha256d::Hash::hash(&header).to_byte_array();
    (header.try_into().unwrap(), hash)
}

/// The next nonce from `from` whose hash meets `wanted`.
pub(crate) fn find(
    channel: &Channel,
    job: &Job,
    tip: &Tip,
    from: u32,
    wanted: impl Fn(&[u8; 32]) -> bool,
) -> StandardShare {
    (from..)
        .map(|nonce| share(job.id(), nonce))
        .find(|share| wanted(&header_of(channel, job, tip, share).1))
        .unwrap()
}

/// A share of job `id` on `tip` that is no block.
pub(crate) fn find_share(channel: &Channel, id: u32, tip: &Tip, from: u32) -> StandardShare {
    let target = channel.target();
    let network = tip.network_target();
    find(channel, &job(id), tip, from, |hash| target.is_met_by(hash) && !network.is_met_by(hash))
}
