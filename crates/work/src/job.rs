//! What is mined: the chain tip that work extends, and jobs.
//!
//! Both are shared by all channels of a pool (`Arc`) and never change. A channel adds only its
//! extranonce prefix, so all that does not depend on it is computed once, here: the SHA-256 state
//! after the whole blocks of the coinbase that come before the extranonce, and what a share on each
//! rung of the ladder is worth.

use {
    crate::{
        extranonce,
        sha256::{self, BLOCK},
        target::{CompactError, Difficulty, Target},
        units::Ehash,
    },
    std::fmt::{self, Debug, Formatter},
    thiserror::Error,
};

/// The bits of a header's version that miners may roll: BIP323, 24 bits (MP-04, LIM-15).
pub const VERSION_ROLLING_MASK: u32 = 0x1fff_ffe0;
/// The most levels of a merkle path that are accepted; 16 are realistic (LIM-10).
pub const MAX_MERKLE_PATH: usize = 32;
/// The most bytes of a coinbase's part before or after the extranonce (LIM-09).
pub const MAX_COINBASE_PART: usize = 65_535;

/// A stripped coinbase begins with its version and the count of inputs, then the null outpoint.
const SCRIPT_LEN_AT: usize = 4 + 1 + 36;
/// Blocks that an extranonce can lie in, in bytes: it is not longer than a block.
const WINDOW: usize = 2 * BLOCK;
/// What consensus allows the coinbase's script to be long (MP-44, LIM-07).
const SCRIPT_LEN: std::ops::RangeInclusive<u8> = 2..=100;

/// What a share on one rung of the ladder must meet, and what it is then worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rung {
    pub target: Target,
    pub credit: Ehash,
    pub difficulty: Difficulty,
}

/// The block that work builds on: what `SetNewPrevHash` says.
pub struct Tip {
    prev_hash: [u8; 32],
    nbits: u32,
    min_ntime: u32,
    /// From the network target to the easiest that earns anything.
    rungs: Box<[Rung]>,
}

impl Tip {
    /// The tip `prev_hash` (internal byte order), on which headers carry `nbits` and a time of at
    /// least `min_ntime`.
    pub fn new(prev_hash: [u8; 32], nbits: u32, min_ntime: u32) -> Result<Self, CompactError> {
        let network = Target::from_compact(nbits)?;
        let last = Target::ladder_step(network, Target::MAX);
        let rungs = (0..=last)
            .map(|k| {
                let target = Target::ladder(network, k);
                Rung { target, credit: Target::credit(target, network), difficulty: target.difficulty() }
            })
            .collect();
        Ok(Self { prev_hash, nbits, min_ntime, rungs })
    }

    /// Hash of the block that is extended, in internal byte order.
    pub const fn prev_hash(&self) -> &[u8; 32] {
        &self.prev_hash
    }

    /// The compact network target.
    pub const fn nbits(&self) -> u32 {
        self.nbits
    }

    /// The least time a header may carry, in Unix seconds.
    pub const fn min_ntime(&self) -> u32 {
        self.min_ntime
    }

    /// What a block must meet.
    pub fn network_target(&self) -> Target {
        self.rungs[0].target
    }

    /// The rung `k`, or the last if there are not so many.
    pub(crate) fn rung(&self, k: u8) -> &Rung {
        self.rungs.get(usize::from(k)).unwrap_or_else(|| self.rungs.last().expect("there is rung 0"))
    }

    /// Whether past jobs on `other` are still good on this one.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        self.prev_hash == other.prev_hash && self.nbits == other.nbits
    }
}

impl Debug for Tip {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tip")
            .field("prev_hash", &Hex(&self.prev_hash))
            .field("nbits", &self.nbits)
            .field("min_ntime", &self.min_ntime)
            .finish()
    }
}

struct Hex<'a>(&'a [u8]);

impl Debug for Hex<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The parts of which a [`Job`] is made; those of `NewExtendedMiningJob`.
#[derive(Debug, Clone)]
pub struct JobParts {
    /// Unique among the jobs that are valid on any channel that gets it (MP-84 to MP-88).
    pub id: u32,
    /// The header's version, of which miners may roll the bits of [`VERSION_ROLLING_MASK`].
    pub version: u32,
    /// Whether they may (extended channels; a standard job has no such field).
    pub version_rolling_allowed: bool,
    /// Serialised coinbase without witness, up to the extranonce (MP-92).
    pub coinbase_prefix: Vec<u8>,
    /// … and from behind the extranonce.
    pub coinbase_suffix: Vec<u8>,
    /// Siblings on the way from the coinbase to the merkle root, the deepest first.
    pub merkle_path: Vec<[u8; 32]>,
    /// Bytes of the full extranonce.
    pub extranonce_len: usize,
}

/// Why parts do not make a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JobError {
    /// LIM-09.
    #[error("coinbase part of {0} bytes: at most {MAX_COINBASE_PART} fit into the protocol")]
    CoinbaseTooLong(usize),
    /// LIM-10.
    #[error("merkle path of {0} levels: at most {MAX_MERKLE_PATH}")]
    MerklePathTooLong(usize),
    /// LIM-06.
    #[error("full extranonce of {0} bytes: at most {max}", max = extranonce::MAX_LEN)]
    ExtranonceTooLong(usize),
    /// MP-92, CW-12.
    #[error(
        "coinbase_tx_prefix is not that of a coinbase without witness: strip marker, flag and witness first"
    )]
    NotStripped,
    /// MP-44.
    #[error("the coinbase's script has {0} bytes: consensus allows 2 to 100")]
    ScriptLength(u8),
    /// CW-32.
    #[error(
        "the coinbase's script is said to have {said} bytes, but {needed} come before or in the extranonce"
    )]
    ScriptTooShort {
        /// The length byte in the prefix.
        said: u8,
        /// What is there already.
        needed: usize,
    },
}

/// A block to be found, but for the chain tip, the extranonce and the header's other free fields.
pub struct Job {
    id: u32,
    version: u32,
    version_rolling_allowed: bool,
    extranonce_len: u8,
    /// Where the extranonce begins in the coinbase.
    extranonce_at: u32,
    /// Length of the coinbase without padding.
    coinbase_len: u32,
    /// The coinbase with zeros for its extranonce, padded to whole blocks of SHA-256.
    coinbase: Box<[u8]>,
    /// SHA-256 state after the whole blocks before the extranonce.
    midstate: sha256::State,
    merkle_path: Box<[[u8; 32]]>,
}

impl Job {
    /// Checks the parts and computes what all channels share.
    pub fn new(parts: JobParts) -> Result<Self, JobError> {
        let JobParts { coinbase_prefix, coinbase_suffix, merkle_path, extranonce_len, .. } = parts;
        for part in [&coinbase_prefix, &coinbase_suffix] {
            if part.len() > MAX_COINBASE_PART {
                return Err(JobError::CoinbaseTooLong(part.len()));
            }
        }
        if merkle_path.len() > MAX_MERKLE_PATH {
            return Err(JobError::MerklePathTooLong(merkle_path.len()));
        }
        if extranonce_len > extranonce::MAX_LEN {
            return Err(JobError::ExtranonceTooLong(extranonce_len));
        }
        check_script(&coinbase_prefix, extranonce_len)?;
        let mut coinbase = coinbase_prefix;
        let extranonce_at = coinbase.len();
        coinbase.resize(extranonce_at + extranonce_len, 0);
        coinbase.extend(coinbase_suffix);
        let coinbase_len = coinbase.len();
        sha256::pad(&mut coinbase);
        let mut midstate = sha256::INITIAL;
        sha256::compress(&mut midstate, &coinbase[..whole_blocks(extranonce_at)]);
        let short = |len| u32::try_from(len).expect("at most MAX_COINBASE_PART twice and an extranonce");
        Ok(Self {
            id: parts.id,
            version: parts.version,
            version_rolling_allowed: parts.version_rolling_allowed,
            extranonce_len: u8::try_from(extranonce_len).expect("at most 32"),
            extranonce_at: short(extranonce_at),
            coinbase_len: short(coinbase_len),
            coinbase: coinbase.into(),
            midstate,
            merkle_path: merkle_path.into(),
        })
    }

    /// Its id.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The header's version before any rolling.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Whether extended channels may roll the version.
    pub const fn version_rolling_allowed(&self) -> bool {
        self.version_rolling_allowed
    }

    /// Bytes of the full extranonce.
    pub fn extranonce_len(&self) -> usize {
        usize::from(self.extranonce_len)
    }

    /// The coinbase up to the extranonce, without witness.
    pub fn coinbase_prefix(&self) -> &[u8] {
        &self.coinbase[..self.extranonce_at()]
    }

    /// The coinbase from behind the extranonce, without witness.
    pub fn coinbase_suffix(&self) -> &[u8] {
        &self.coinbase[self.extranonce_at() + self.extranonce_len()..self.coinbase_len as usize]
    }

    /// The coinbase's siblings, the deepest first.
    pub fn merkle_path(&self) -> &[[u8; 32]] {
        &self.merkle_path
    }

    /// The merkle root with this full extranonce in the coinbase (MP-94).
    ///
    /// # Panics
    /// If it is not as long as [`Self::extranonce_len`].
    pub fn merkle_root(&self, full_extranonce: &[u8]) -> [u8; 32] {
        self.merkle_root_of(None, full_extranonce, &[])
    }

    /// The SHA-256 state after the coinbase up to and with `prefix`, if whole blocks reach further into
    /// it than the state that all channels share. Computed once for a channel and job.
    pub(crate) fn channel_midstate(&self, prefix: &[u8]) -> Option<sha256::State> {
        let shared = whole_blocks(self.extranonce_at());
        let own = whole_blocks(self.extranonce_at() + prefix.len());
        (own > shared).then(|| {
            let (mut state, mut blocks) = (self.midstate, [0; WINDOW]);
            let blocks = self.fill(&mut blocks, (shared, own), prefix, &[]);
            sha256::compress(&mut state, blocks);
            state
        })
    }

    /// The merkle root for the extranonce `prefix ‖ rolled`, which is as long as the job's. `midstate` is
    /// what [`Self::channel_midstate`] gave for this prefix.
    pub(crate) fn merkle_root_of(
        &self,
        midstate: Option<&sha256::State>,
        prefix: &[u8],
        rolled: &[u8],
    ) -> [u8; 32] {
        let len = prefix.len() + rolled.len();
        assert_eq!(len, self.extranonce_len(), "an extranonce of another length makes another coinbase");
        let at = self.extranonce_at();
        let from = whole_blocks(if midstate.is_some() { at + prefix.len() } else { at });
        let until = (at + len).next_multiple_of(BLOCK);
        let (mut state, mut blocks) = (*midstate.unwrap_or(&self.midstate), [0; WINDOW]);
        sha256::compress(&mut state, self.fill(&mut blocks, (from, until), prefix, rolled));
        sha256::compress(&mut state, &self.coinbase[until..]);
        merkle_root(sha256::finish_double(&state), &self.merkle_path)
    }

    /// The bytes of the coinbase from `from` until `until`, with `prefix ‖ rolled` for its extranonce. What of that lies
    /// before them or behind them is left out.
    fn fill<'w>(
        &self,
        window: &'w mut [u8; WINDOW],
        (from, until): (usize, usize),
        prefix: &[u8],
        rolled: &[u8],
    ) -> &'w [u8] {
        let window = &mut window[..until - from];
        window.copy_from_slice(&self.coinbase[from..until]);
        let at = self.extranonce_at();
        for (at, part) in [(at, prefix), (at + prefix.len(), rolled)] {
            let (start, end) = (at.max(from), (at + part.len()).min(until));
            if start < end {
                window[start - from..end - from].copy_from_slice(&part[start - at..end - at]);
            }
        }
        window
    }

    fn extranonce_at(&self) -> usize {
        self.extranonce_at as usize
    }
}

impl Debug for Job {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Job {{ id: {}, version: {:#010x}, levels: {} }}",
            self.id,
            self.version,
            self.merkle_path.len()
        )
    }
}

fn whole_blocks(len: usize) -> usize {
    len - len % BLOCK
}

fn check_script(coinbase_prefix: &[u8], extranonce_len: usize) -> Result<(), JobError> {
    let outpoint = coinbase_prefix.get(5..SCRIPT_LEN_AT).ok_or(JobError::NotStripped)?;
    let null = outpoint[..32].iter().all(|&byte| byte == 0) && outpoint[32..] == [0xff; 4];
    // With a witness, marker 0 stands where the count of inputs, 1, belongs.
    if coinbase_prefix[4] != 1 || !null {
        return Err(JobError::NotStripped);
    }
    let said = *coinbase_prefix.get(SCRIPT_LEN_AT).ok_or(JobError::NotStripped)?;
    if !SCRIPT_LEN.contains(&said) {
        return Err(JobError::ScriptLength(said));
    }
    let needed = coinbase_prefix.len() - SCRIPT_LEN_AT - 1 + extranonce_len;
    if needed > usize::from(said) {
        return Err(JobError::ScriptTooShort { said, needed });
    }
    Ok(())
}

/// Folds the coinbase's id with its siblings, the deepest first (MP-94).
pub fn merkle_root(coinbase_txid: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    sha256::double_along(coinbase_txid, path)
}

/// A block header, serialised.
pub fn header(
    version: u32,
    prev_hash: &[u8; 32],
    merkle_root: &[u8; 32],
    ntime: u32,
    nbits: u32,
    nonce: u32,
) -> [u8; 80] {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&version.to_le_bytes());
    header[4..36].copy_from_slice(prev_hash);
    header[36..68].copy_from_slice(merkle_root);
    header[68..72].copy_from_slice(&ntime.to_le_bytes());
    header[72..76].copy_from_slice(&nbits.to_le_bytes());
    header[76..].copy_from_slice(&nonce.to_le_bytes());
    header
}

/// A header's hash in internal byte order.
pub fn header_hash(header: &[u8; 80]) -> [u8; 32] {
    sha256::double_of_header(header)
}

/// Gives out job ids: one source for all jobs that any channel of a pool may see, whether they were
/// addressed to it, to its group, or are custom jobs (MP-86, CW-02).
#[derive(Debug)]
pub struct JobIds {
    next: u32,
}

impl JobIds {
    /// Continues at `first`. To never repeat an id across restarts, its owner remembers where it was.
    pub const fn starting_at(first: u32) -> Self {
        Self { next: first }
    }

    /// The next id: never 0, and after 2^32 of them none that is still `in_use` (MP-87).
    pub fn next(&mut self, in_use: impl Fn(u32) -> bool) -> u32 {
        loop {
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            if id != 0 && !in_use(id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
