//! A device's channel: work in, shares out, and for each share sent what its answer may be.

use crate::{
    accounts::{self, Accounts},
    chance::Chance,
};
use bitcoin::{BlockHash, hashes::Hash};
use ruint::aliases::U256;
use std::collections::BTreeMap;
use work::{ClientChannel, Kind, PayoutKey};

/// Headers that are tried for one share.
const TRIES: u32 = 4096;
/// Shares that a device remembers to send again.
const REMEMBERED: usize = 16;

/// How a share is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is good.
    None,
    /// It was sent before.
    Repeated,
    /// Its hash is above the target.
    AboveTarget,
    /// Of a job that there is not.
    UnknownJob,
    /// With a version bit that may not be rolled.
    VersionBit,
    /// With a time before the job's.
    TooEarly,
    /// With a time far in the future.
    TooLate,
    /// With an extranonce of another length.
    Extranonce,
}

impl Flaw {
    /// The flaws that are made on purpose, but for repetition.
    pub const MADE: [Self; 6] = [
        Self::AboveTarget,
        Self::UnknownJob,
        Self::VersionBit,
        Self::TooEarly,
        Self::TooLate,
        Self::Extranonce,
    ];

    /// What the server may say to it. An old job or a closed channel may always come first.
    fn codes(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Repeated => &["duplicate-share"],
            Self::AboveTarget => &["difficulty-too-low"],
            Self::UnknownJob => &[],
            Self::VersionBit => &["invalid-non-rollable-version-bit"],
            Self::TooEarly | Self::TooLate => &["invalid-share"],
            Self::Extranonce => &["bad-extranonce-size"],
        }
    }
}

/// What may come to any share, whose job or channel ended before it arrived.
const LATE: [&str; 3] = ["stale-share", "invalid-job-id", "invalid-channel-id"];

/// A share ready to be sent.
#[derive(Clone, Debug)]
pub struct Share {
    pub job_id: u32,
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    pub extranonce: Vec<u8>,
    /// What it earns if it is taken.
    pub credit: u64,
    /// Its hash, if it is a block.
    pub block: Option<BlockHash>,
    pub flaw: Flaw,
}

/// A share that waits for its answer.
struct Sent {
    credit: u64,
    block: Option<BlockHash>,
    flaw: Flaw,
}

/// One channel.
pub struct Channel {
    pub id: u32,
    pub group: u32,
    pub key: PayoutKey,
    pub work: ClientChannel,
    pub sequence: u32,
    outstanding: BTreeMap<u32, Sent>,
    remembered: Vec<Share>,
    /// The server or the device has closed it.
    pub closed: bool,
}

impl Channel {
    pub fn new(id: u32, group: u32, key: PayoutKey, work: ClientChannel) -> Self {
        let (outstanding, remembered) = (BTreeMap::new(), Vec::new());
        Self { id, group, key, work, sequence: 0, outstanding, remembered, closed: false }
    }

    /// Shares that were not answered.
    pub fn unanswered(&self) -> usize {
        self.outstanding.len()
    }

    /// Looks for a share with or without a flaw; none if there is no work, or none was found.
    pub fn find(&self, flaw: Flaw, now: u64, chance: &mut Chance) -> Option<Share> {
        if flaw == Flaw::Repeated {
            let index = chance.index(self.remembered.len().max(1));
            return self.remembered.get(index).map(|share| Share { flaw, ..share.clone() });
        }
        let job = self.work.active()?;
        let tip = job.tip();
        let rollable = match self.work.kind() {
            Kind::Standard if flaw == Flaw::Extranonce => return None,
            Kind::Standard => 0,
            Kind::Extended { rollable } => usize::from(rollable),
        };
        let extranonce = chance.bytes(rollable);
        let root = job.merkle_root(&extranonce);
        let times = job.ntimes(now);
        let ntime = match flaw {
            Flaw::TooEarly => times.start() - 1,
            Flaw::TooLate => times.end() + 4 * 60 * 60,
            _ => {
                times.start()
                    + u32::try_from(chance.index((times.end() - times.start()) as usize + 1)).ok()?
            }
        };
        let mut version = job.version();
        if job.version_rolling_allowed() {
            version ^= u32::from_le_bytes(chance.bytes(4).try_into().ok()?) & work::VERSION_ROLLING_MASK;
        }
        if flaw == Flaw::VersionBit {
            version ^= 1 << chance.index(5);
        }
        let (target, network) = (job.target().to_le_bytes(), accounts::network_target(tip.nbits()));
        let first = u32::from_le_bytes(chance.bytes(4).try_into().ok()?);
        let wanted = flaw != Flaw::AboveTarget;
        for nonce in (0..TRIES).map(|step| first.wrapping_add(step)) {
            let hash = work::job::header_hash(&job.header(version, &root, ntime, nonce));
            let met = accounts::meets(&hash, U256::from_le_bytes(target).max(network));
            // A device of unlucky make sends anything; the job's and the version's flaws come before the hash.
            if met == wanted || !matches!(flaw, Flaw::None | Flaw::AboveTarget) {
                let block =
                    (met && accounts::meets(&hash, network)).then(|| BlockHash::from_byte_array(hash));
                return Some(Share {
                    job_id: if flaw == Flaw::UnknownJob { job.job_id() ^ 0x4000_0000 } else { job.job_id() },
                    nonce,
                    ntime,
                    version,
                    extranonce: if flaw == Flaw::Extranonce {
                        chance.bytes(rollable + 1)
                    } else {
                        extranonce
                    },
                    credit: accounts::credit_of(target, tip.nbits()),
                    block: block.filter(|_| flaw == Flaw::None),
                    flaw,
                });
            }
        }
        None
    }

    /// Books a share that is about to be sent; returns its sequence number.
    pub fn send(&mut self, share: &Share, accounts: &mut Accounts) -> u32 {
        let Share { credit, block, flaw, .. } = *share;
        let sequence = self.sequence;
        self.sequence += 1;
        if flaw == Flaw::None {
            accounts.sent(self.key, credit);
            if self.remembered.len() == REMEMBERED {
                self.remembered.remove(0);
            }
            self.remembered.push(share.clone());
        }
        self.outstanding.insert(sequence, Sent { credit, block, flaw });
        sequence
    }

    /// `SubmitShares.Success`.
    pub fn accepted(&mut self, last: u32, count: u32, accounts: &mut Accounts) {
        let later = self.outstanding.split_off(&(last.saturating_add(1)));
        let batch = std::mem::replace(&mut self.outstanding, later);
        assert_eq!(batch.len(), count as usize, "channel {}: shares up to {last} are acknowledged", self.id);
        assert_eq!(
            batch.keys().next_back(),
            Some(&last),
            "channel {}: the last share is one of them",
            self.id
        );
        for (sequence, sent) in batch {
            assert_eq!(sent.flaw, Flaw::None, "channel {}: share {sequence} was acknowledged", self.id);
            accounts.acknowledge(self.key, sent.credit, sent.block);
        }
    }

    /// `SubmitShares.Error`.
    pub fn rejected(&mut self, sequence: u32, code: &str, clock_jumps: bool, accounts: &mut Accounts) {
        let sent = self.outstanding.remove(&sequence);
        let sent = sent.unwrap_or_else(|| panic!("channel {}: share {sequence} is answered twice", self.id));
        let excused = clock_jumps && code == "invalid-share";
        assert!(
            LATE.contains(&code) || sent.flaw.codes().contains(&code) || excused,
            "channel {}: share {sequence} ({:?}) was refused as {code}",
            self.id,
            sent.flaw
        );
        if sent.flaw == Flaw::None {
            accounts.refuse(self.key, sent.credit);
        }
    }
}
