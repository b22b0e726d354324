//! One channel of a recording device: its jobs, its search, and what each of its shares is worth.

use std::collections::{BTreeMap, HashMap};

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use sv2::mining::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess,
    SetNewPrevHash, SubmitSharesError, SubmitSharesSuccess,
};
use work::Target;

use crate::proof_of_work::Search;

/// What became of the shares of one payout key, in eHash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Of all shares that were sent and not refused.
    pub submitted: u64,
    /// Of the shares that the server acknowledged.
    pub acknowledged: u64,
    /// Number of the shares that the server acknowledged.
    pub acknowledged_shares: u64,
}

/// A share that was found.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The job it was found for.
    pub job_id: u32,
    /// Version of the header.
    pub version: u32,
    /// Time of the header.
    pub ntime: u32,
    /// Nonce of the header.
    pub nonce: u32,
    /// What it is worth, in eHash.
    pub credit: u64,
    /// It meets the network's target, too.
    pub is_block: bool,
}

/// An open channel.
pub struct Channel {
    /// Its id on the connection.
    pub id: u32,
    /// The group it belongs to.
    pub group: u32,
    /// Bytes of extranonce that the device may vary; it leaves them zero. None on a standard channel.
    pub rollable: usize,
    prefix: Vec<u8>,
    target: [u8; 32],
    tip: Option<Tip>,
    future: HashMap<u32, Job>,
    active: Option<Active>,
    next_sequence_number: u32,
    repeated_work: Vec<u32>,
    /// eHash of each share that the server has not answered yet.
    unanswered: BTreeMap<u32, u64>,
}

#[derive(Clone, Copy)]
struct Tip {
    prev_hash: [u8; 32],
    nbits: u32,
}

#[derive(Clone, Copy)]
struct Job {
    id: u32,
    version: u32,
    merkle_root: [u8; 32],
}

/// The job that is being searched. Its shares are worth what the target was when it became active.
struct Active {
    job: Job,
    ntime: u32,
    header: [u8; 80],
    search: Search,
    next_nonce: u32,
    target: bitcoin::Target,
    network: bitcoin::Target,
    credit: u64,
}

impl Channel {
    /// From the answer to the request for a standard channel.
    pub fn standard(success: &OpenStandardMiningChannelSuccess<'_>) -> Channel {
        let prefix = success.extranonce_prefix.as_slice();
        Channel::new(success.channel_id, success.group_channel_id, prefix, success.target, 0)
    }

    /// From the answer to the request for an extended channel.
    pub fn extended(success: &OpenExtendedMiningChannelSuccess<'_>) -> Channel {
        let prefix = success.extranonce_prefix.as_slice();
        let rollable = usize::from(success.extranonce_size);
        Channel::new(success.channel_id, success.group_channel_id, prefix, success.target, rollable)
    }

    fn new(id: u32, group: u32, prefix: &[u8], target: [u8; 32], rollable: usize) -> Channel {
        Channel {
            id,
            group,
            rollable,
            prefix: prefix.to_vec(),
            target,
            tip: None,
            future: HashMap::new(),
            active: None,
            next_sequence_number: 0,
            repeated_work: Vec::new(),
            unanswered: BTreeMap::new(),
        }
    }

    /// The whole extranonce, which the server must never hand out again.
    pub fn extranonce(&self) -> Vec<u8> {
        let mut extranonce = self.prefix.clone();
        extranonce.resize(self.prefix.len() + self.rollable, 0);
        extranonce
    }

    /// The target of jobs that become active from now on.
    pub fn set_target(&mut self, target: [u8; 32]) {
        self.target = target;
    }

    /// Expected hashes of a share at that target.
    pub fn share_hashes(&self) -> u128 {
        Target::from_le_bytes(self.target).expected_hashes()
    }

    /// A job with the merkle root in it.
    pub fn new_standard_job(&mut self, job: &NewMiningJob) {
        self.new_job(
            Job { id: job.job_id, version: job.version, merkle_root: job.merkle_root },
            job.min_ntime,
        );
    }

    /// A job whose merkle root depends on the extranonce.
    pub fn new_extended_job(&mut self, job: &NewExtendedMiningJob<'_>) {
        let coinbase =
            [job.coinbase_tx_prefix.as_slice(), &self.extranonce(), job.coinbase_tx_suffix.as_slice()]
                .concat();
        let root = job.merkle_path.iter().fold(sha256d::Hash::hash(&coinbase), |left, right| {
            let mut engine = sha256d::Hash::engine();
            engine.input(left.as_byte_array());
            engine.input(right.as_ref());
            sha256d::Hash::from_engine(engine)
        });
        let merkle_root = root.to_byte_array();
        self.new_job(Job { id: job.job_id, version: job.version, merkle_root }, job.min_ntime);
    }

    fn new_job(&mut self, job: Job, min_ntime: Option<u32>) {
        match min_ntime {
            None => {
                self.future.insert(job.id, job);
            }
            Some(ntime) => self.activate(job, ntime),
        }
    }

    /// The chain has a new tip, and the named future job is the work for it.
    pub fn new_prev_hash(&mut self, message: &SetNewPrevHash) {
        self.tip = Some(Tip { prev_hash: message.prev_hash, nbits: message.nbits });
        let job =
            self.future.remove(&message.job_id).expect("SetNewPrevHash names a future job of the channel");
        self.future.clear();
        self.activate(job, message.min_ntime);
    }

    fn activate(&mut self, job: Job, ntime: u32) {
        let tip = self.tip.expect("a job is active only after the first SetNewPrevHash");
        let network = Target::from_compact(tip.nbits).expect("the network's target is valid");
        let credit = Target::credit(Target::from_le_bytes(self.target), network).get();
        let network = bitcoin::Target::from_le_bytes(network.to_le_bytes());
        let header = job.header(tip, ntime);
        let before = self.active.as_ref().filter(|before| before.header == header);
        if before.is_some() {
            self.repeated_work.push(job.id);
        }
        // No header is searched twice, whatever its job is called.
        let next_nonce = before.map_or(0, |before| before.next_nonce);
        let (search, target) = (Search::new(&header), bitcoin::Target::from_le_bytes(self.target));
        self.active = Some(Active { job, ntime, header, search, next_nonce, target, network, credit });
    }

    /// Ids of jobs that were the same work as the job before them, since the last call. A device that starts every
    /// job from nonce 0, as hardware does, finds nothing but duplicates on them.
    pub fn take_repeated_work(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.repeated_work)
    }

    /// Searches the next `nonces` headers of the active job and gives every share in them.
    pub fn search(&mut self, nonces: u32) -> Vec<Share> {
        let Some(active) = &mut self.active else { return Vec::new() };
        let end = active.next_nonce.saturating_add(nonces);
        let mut shares = Vec::new();
        while let Some(nonce) = active.search.find(active.target, active.next_nonce..end) {
            active.next_nonce = nonce + 1;
            let is_block = bitcoin::Target::from_le_bytes(active.search.hash(nonce)) <= active.network;
            let (Job { id: job_id, version, .. }, ntime, credit) = (active.job, active.ntime, active.credit);
            shares.push(Share { job_id, version, ntime, nonce, credit, is_block });
        }
        active.next_nonce = end;
        shares
    }

    /// Books a share that is about to be sent, and gives its sequence number.
    pub fn submit(&mut self, share: &Share, account: &mut Account) -> u32 {
        let sequence_number = self.next_sequence_number;
        self.next_sequence_number += 1;
        self.unanswered.insert(sequence_number, share.credit);
        account.submitted += share.credit;
        sequence_number
    }

    /// Shares that the server has not answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// The server has accepted all unanswered shares up to a sequence number. `Err` if its count is another.
    pub fn acknowledge(
        &mut self,
        success: &SubmitSharesSuccess,
        account: &mut Account,
    ) -> Result<(), String> {
        let later = self.unanswered.split_off(&(success.last_sequence_number + 1));
        let batch = std::mem::replace(&mut self.unanswered, later);
        account.acknowledged += batch.values().sum::<u64>();
        account.acknowledged_shares += batch.len() as u64;
        if batch.len() as u64 == u64::from(success.new_submits_accepted_count) {
            return Ok(());
        }
        Err(format!("{success:?} is for the {} shares {:?}", batch.len(), batch.keys()))
    }

    /// The server has refused a share. Gives the reason, which no share of this device deserves.
    pub fn refuse(&mut self, error: &SubmitSharesError<'_>, account: &mut Account) -> String {
        let credit = self.unanswered.remove(&error.sequence_number);
        account.submitted -= credit.unwrap_or(0);
        if credit.is_some() { error.error_code.to_string() } else { format!("refused twice: {error:?}") }
    }
}

impl Job {
    fn header(&self, tip: Tip, ntime: u32) -> [u8; 80] {
        let mut header = [0; 80];
        header[..4].copy_from_slice(&self.version.to_le_bytes());
        header[4..36].copy_from_slice(&tip.prev_hash);
        header[36..68].copy_from_slice(&self.merkle_root);
        header[68..72].copy_from_slice(&ntime.to_le_bytes());
        header[72..76].copy_from_slice(&tip.nbits.to_le_bytes());
        header
    }
}
