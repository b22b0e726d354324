//! What a channel should do, written from the rules and without regard to speed: every job and every header is
//! remembered, hashes are made byte by byte, targets are compared and divided as digits.

use crate::wide::{Wide, sha256d};
use std::collections::HashSet;
use std::sync::Arc;
use work::{
    Accepted, Ack, Channel, Job, Now, Policy, Rejection, Request, RequestError, StandardShare, StoreError,
    Target, Tip,
};

/// BIP323.
const ROLLED_BITS: u32 = 0x1fff_ffe0;
const FUTURE_SECONDS: u32 = 7200;
/// Most jobs of a kind that a channel keeps, whatever the policy says.
const MOST_JOBS: u8 = 100;
/// Shares beyond the budget that only blocks may use.
const BLOCKS_BEYOND_BUDGET: usize = 64;
/// Hashes that a channel may remember although the process has no memory to spare: three in four of 256.
const OWN_SHARES: usize = 192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Future,
    Past,
    Active,
}

#[derive(Debug, Clone)]
struct Known {
    job: Arc<Job>,
    state: State,
    min_ntime: u32,
    prefix: Vec<u8>,
    /// What shares on it must meet; of a future job it is not known yet.
    target: Target,
}

/// What the model says of a share.
#[derive(Debug)]
pub enum Verdict {
    Accepted(Expected),
    Rejected(Rejection),
    /// The job is dead for so long that it need not be remembered.
    Forgotten([Rejection; 2]),
}

/// What an accepted share should bring.
#[derive(Debug)]
pub struct Expected {
    header: [u8; 80],
    hash: [u8; 32],
    target: Target,
    is_block: bool,
    extranonce: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    policy: Policy,
    /// Bytes that the miner rolls; `None` on standard channels.
    pub rollable: Option<u8>,
    max_target: Target,
    prefix: Vec<u8>,
    tip: Arc<Tip>,
    started: bool,
    jobs: Vec<Known>,
    /// Ids in the order in which they died, as far as a channel must remember them.
    dead: Vec<u32>,
    /// Those that it need not.
    forgotten: HashSet<u32>,
    credited: HashSet<[u8; 32]>,
    /// The process has no memory to spare for shares.
    poor: bool,
    /// How often blocks took memory all the same.
    doublings: u32,
    accepted: (u64, Wide),
    acknowledged: (u64, Wide),
    last_sequence_number: u32,
}

impl Model {
    pub fn new(
        policy: Policy,
        request: Request,
        prefix: &[u8],
        rollable: Option<u8>,
        tip: &Arc<Tip>,
        channel: &Channel,
    ) -> Self {
        let poor = !policy.memory.grow(0, 1);
        policy.memory.give(usize::from(!poor));
        let model = Self {
            policy,
            rollable,
            max_target: request.max_target,
            prefix: prefix.to_vec(),
            tip: tip.clone(),
            started: false,
            jobs: Vec::new(),
            dead: Vec::new(),
            forgotten: HashSet::new(),
            credited: HashSet::new(),
            poor,
            doublings: 0,
            accepted: (0, Wide::ZERO),
            acknowledged: (0, Wide::ZERO),
            last_sequence_number: 0,
        };
        model.compare(channel);
        model
    }

    pub fn prefix_len(&self) -> usize {
        self.prefix.len()
    }

    pub fn full_len(&self) -> usize {
        self.prefix.len() + usize::from(self.rollable.unwrap_or(0))
    }

    fn limit(&self, state: State) -> usize {
        match state {
            State::Future => self.policy.future_jobs.clamp(1, MOST_JOBS).into(),
            State::Past => self.policy.past_jobs.min(MOST_JOBS).into(),
            State::Active => 1,
        }
    }

    fn check_job(&self, job: &Job) -> Result<(), StoreError> {
        if job.extranonce_len() != self.full_len() {
            return Err(StoreError::ExtranonceLength { have: self.full_len(), got: job.extranonce_len() });
        }
        if self.policy.fixed_version && job.version_rolling_allowed() {
            return Err(StoreError::VersionRolling);
        }
        Ok(())
    }

    fn check_id(&self, job: &Job) -> Result<(), StoreError> {
        match self.jobs.iter().any(|known| known.job.id() == job.id()) {
            true => Err(StoreError::IdInUse(job.id())),
            false => Ok(()),
        }
    }

    /// The target of shares on a job that becomes active now: the channel's, but never below the network's.
    fn target_now(&self, channel: &Channel) -> Target {
        channel.target().max(self.tip.network_target())
    }

    fn add(&mut self, job: &Arc<Job>, state: State, min_ntime: u32, channel: &Channel) {
        if state == State::Active {
            self.jobs.iter_mut().filter(|known| known.state == State::Active).for_each(|known| {
                known.state = State::Past;
            });
        }
        self.dead.retain(|&id| id != job.id());
        self.forgotten.remove(&job.id());
        let target = self.target_now(channel);
        let (job, prefix) = (job.clone(), self.prefix.clone());
        self.jobs.push(Known { job, state, min_ntime, prefix, target });
        for state in [State::Future, State::Past] {
            while self.jobs.iter().filter(|known| known.state == state).count() > self.limit(state) {
                let oldest = self.jobs.iter().position(|known| known.state == state).expect("there are some");
                self.dead.push(self.jobs.remove(oldest).job.id());
            }
        }
        self.forget();
    }

    fn kill(&mut self, dies: impl Fn(&Known) -> bool) {
        let (dead, alive) = std::mem::take(&mut self.jobs).into_iter().partition(|known| dies(known));
        self.jobs = alive;
        self.dead.extend(Vec::into_iter(dead).map(|known: Known| known.job.id()));
        self.forget();
    }

    /// All that one tip can leave behind is remembered, and a few more.
    fn forget(&mut self) {
        let future = usize::from(self.policy.future_jobs).min(4);
        let excess = self.dead.len().saturating_sub(self.limit(State::Past) + future + 4);
        self.forgotten.extend(self.dead.drain(..excess));
    }

    fn set_tip(&mut self, tip: &Arc<Tip>) {
        if tip.prev_hash() != self.tip.prev_hash() {
            self.credited.clear();
            self.doublings = 0;
        }
        self.tip = tip.clone();
        self.started = true;
    }

    pub fn add_future(&mut self, job: &Arc<Job>, result: Result<(), StoreError>, channel: &Channel) {
        assert_eq!(result, self.check_job(job).and_then(|()| self.check_id(job)));
        if result.is_ok() {
            self.add(job, State::Future, 0, channel);
        }
    }

    pub fn add_active(
        &mut self,
        job: &Arc<Job>,
        min_ntime: u32,
        result: Result<(), StoreError>,
        channel: &Channel,
    ) {
        let expected = if self.started {
            self.check_job(job).and_then(|()| self.check_id(job))
        } else {
            Err(StoreError::NoTip)
        };
        assert_eq!(result, expected);
        if result.is_ok() {
            self.add(job, State::Active, min_ntime, channel);
        }
    }

    pub fn activate(
        &mut self,
        id: u32,
        tip: &Arc<Tip>,
        result: Result<Option<Target>, StoreError>,
        before: Target,
        channel: &Channel,
    ) {
        let is_future = |known: &Known| known.job.id() == id && known.state == State::Future;
        if !self.jobs.iter().any(is_future) {
            return assert_eq!(result, Err(StoreError::NotFuture(id)));
        }
        assert_eq!(result, Ok(moved(before, channel)));
        self.kill(|known| known.job.id() != id);
        self.set_tip(tip);
        let target = self.target_now(channel);
        let known = &mut self.jobs[0];
        (known.state, known.min_ntime, known.target) = (State::Active, tip.min_ntime(), target);
    }

    pub fn add_custom(
        &mut self,
        job: &Arc<Job>,
        tip: &Arc<Tip>,
        result: Result<Option<Target>, StoreError>,
        before: Target,
        channel: &Channel,
    ) {
        let expected = match self.rollable {
            None => Err(StoreError::StandardChannel),
            Some(_) => self.check_id(job).and_then(|()| self.check_job(job)),
        };
        if let Err(error) = expected {
            return assert_eq!(result, Err(error));
        }
        assert_eq!(result, Ok(moved(before, channel)));
        let same_tip =
            self.started && (tip.prev_hash(), tip.nbits()) == (self.tip.prev_hash(), self.tip.nbits());
        if !same_tip {
            self.kill(|known| known.state != State::Future);
        }
        self.set_tip(tip);
        self.add(job, State::Active, tip.min_ntime(), channel);
    }

    pub fn set_prefix(&mut self, prefix: &[u8], result: Result<(), StoreError>) {
        let (have, same) = (self.full_len(), prefix.len() == self.prefix.len());
        if same {
            assert_eq!(result, Ok(()));
            self.prefix = prefix.to_vec();
        } else {
            let got = prefix.len() + usize::from(self.rollable.unwrap_or(0));
            assert_eq!(result, Err(StoreError::ExtranonceLength { have, got }));
        }
    }

    pub fn update(
        &mut self,
        request: Request,
        result: Result<Option<Target>, RequestError>,
        before: Target,
        channel: &Channel,
    ) {
        if Wide::of(&request.max_target) < Wide::of(&self.tip.network_target()) {
            return assert_eq!(result, Err(RequestError::MaxTargetOutOfRange));
        }
        self.max_target = request.max_target;
        assert_eq!(result, Ok(moved(before, channel)));
    }

    /// What a share deserves, in the order in which servers look.
    pub fn judge(&self, share: &StandardShare, rolled: &[u8], extended: bool, now: Now) -> Verdict {
        use Rejection::*;
        let id = share.job_id;
        if extended != self.rollable.is_some() {
            return Verdict::Rejected(WrongKind);
        }
        let known = match self.jobs.iter().find(|known| known.job.id() == id) {
            Some(known) if known.state == State::Future => return Verdict::Rejected(FutureJob(id)),
            Some(known) => known,
            None => return self.judge_dead(id),
        };
        let granted = self.rollable.unwrap_or(0);
        if rolled.len() != usize::from(granted) {
            return Verdict::Rejected(ExtranonceSize { granted, got: rolled.len() });
        }
        let changed = share.version ^ known.job.version();
        let standard = self.rollable.is_none();
        let may_roll = !self.policy.fixed_version && (standard || known.job.version_rolling_allowed());
        if !may_roll && changed != 0 {
            return Verdict::Rejected(VersionRolled(share.version));
        }
        if changed & !ROLLED_BITS != 0 {
            return Verdict::Rejected(VersionBits(share.version));
        }
        let min = known.min_ntime;
        let max = now.unix.max(min).saturating_add(FUTURE_SECONDS);
        if share.ntime < min {
            return Verdict::Rejected(TooEarly { ntime: share.ntime, min });
        }
        if share.ntime > max {
            return Verdict::Rejected(TooLate { ntime: share.ntime, max });
        }
        let extranonce = [&known.prefix, rolled].concat();
        let header = self.header(share, &root(&known.job, &extranonce));
        let hash = sha256d(&header);
        if Wide::from_le_bytes(&hash) > Wide::of(&known.target) {
            return Verdict::Rejected(AboveTarget);
        }
        let is_block = Wide::from_le_bytes(&hash) <= Wide::of(&self.tip.network_target());
        if self.credited.contains(&hash) {
            return Verdict::Rejected(Duplicate);
        }
        let budget = usize::try_from(self.policy.shares_per_tip).expect("32 bits fit");
        if self.credited.len() >= budget + if is_block { BLOCKS_BEYOND_BUDGET } else { 0 } {
            return Verdict::Rejected(ShareBudget);
        }
        // Blocks are remembered even so, and their memory serves for others then.
        let filled = OWN_SHARES << self.doublings;
        if self.poor && !is_block && self.credited.len() >= filled {
            return Verdict::Rejected(ShareBudget);
        }
        Verdict::Accepted(Expected { header, hash, target: known.target, is_block, extranonce })
    }

    fn judge_dead(&self, id: u32) -> Verdict {
        let (stale, unknown) = (Rejection::Stale(id), Rejection::UnknownJob(id));
        if self.dead.contains(&id) {
            Verdict::Rejected(stale)
        } else if self.forgotten.contains(&id) {
            Verdict::Forgotten([stale, unknown])
        } else {
            Verdict::Rejected(unknown)
        }
    }

    fn header(&self, share: &StandardShare, root: &[u8; 32]) -> [u8; 80] {
        let mut header = share.version.to_le_bytes().to_vec();
        header.extend(self.tip.prev_hash());
        header.extend(root);
        header.extend(share.ntime.to_le_bytes());
        header.extend(self.tip.nbits().to_le_bytes());
        header.extend(share.nonce.to_le_bytes());
        header.try_into().expect("4 + 32 + 32 + 4 + 4 + 4 bytes")
    }

    pub fn check_accepted(&self, accepted: &Accepted, expected: &Expected) {
        let network = Wide::of(&self.tip.network_target()).plus_one();
        let share = Wide::of(&expected.target).plus_one();
        // ⌊2^50 · (Tn + 1) / (Ts + 1)⌋, without a division.
        let credit = accepted.credit.get();
        let worth = network.times(1 << 50);
        assert!(share.times(credit.into()) <= worth && worth < share.times(u128::from(credit) + 1));
        let difficulty =
            (u128::from(accepted.difficulty.whole()) << 64) | u128::from(accepted.difficulty.fraction());
        let target = Wide::of(&expected.target);
        let one = Wide::of(&Target::DIFFICULTY_1).times(1 << 64);
        assert!(target.times(difficulty) <= one);
        assert!(difficulty == u128::MAX || one < target.times(difficulty + 1));
        assert_eq!(accepted.block.is_some(), expected.is_block);
        if let Some(block) = &accepted.block {
            assert_eq!((block.header, block.hash), (expected.header, expected.hash));
            assert_eq!(&block.full_extranonce[..], expected.extranonce);
            assert_eq!(block.tip.prev_hash(), self.tip.prev_hash());
        }
    }

    pub fn book(&mut self, share: &StandardShare, accepted: &Accepted, expected: Expected) {
        assert!(self.credited.insert(expected.hash), "credited twice");
        while self.credited.len() > OWN_SHARES << self.doublings {
            self.doublings += 1;
        }
        self.last_sequence_number = share.sequence_number;
        self.accepted.0 += 1;
        let difficulty =
            (u128::from(accepted.difficulty.whole()) << 64) | u128::from(accepted.difficulty.fraction());
        self.accepted.1 = self.accepted.1.plus(Wide::ONE.times(difficulty));
    }

    /// Acknowledgements name the last share, and together they say what was accepted.
    pub fn acknowledge(&mut self, ack: Option<Ack>) {
        assert_eq!(ack.is_some(), self.accepted.0 > self.acknowledged.0);
        if let Some(ack) = ack {
            assert_eq!(ack.last_sequence_number, self.last_sequence_number);
            self.acknowledged.0 += u64::from(ack.new_submits_accepted_count);
            self.acknowledged.1 = self.acknowledged.1.plus(Wide::ONE.times(ack.new_shares_sum.into()));
        }
        assert_eq!(self.acknowledged.0, self.accepted.0);
        // Whole difficulties: what is behind the point waits for the next batch.
        let said = self.acknowledged.1.times(1 << 64);
        assert!(said <= self.accepted.1 && self.accepted.1 < said.plus(Wide::ONE.times(1 << 64)));
    }

    /// What can be seen of the channel without shares.
    pub fn compare(&self, channel: &Channel) {
        let target = Wide::of(&channel.target());
        assert!(target <= Wide::of(&self.max_target), "easier than the client can work with");
        let network = Wide::of(&self.tip.network_target());
        let easiest = Wide::of(&self.policy.easiest_target);
        assert!(target <= easiest || target <= network, "easier than the server wants");
        assert_eq!(channel.prefix(), self.prefix);
        assert_eq!(channel.full_extranonce_len(), self.full_len());
        let active = self.jobs.iter().find(|known| known.state == State::Active);
        assert_eq!(channel.active_job(), active.map(|known| known.job.id()));
        if let Some(newest) = self.jobs.last() {
            let root = self.rollable.is_none().then(|| root(&newest.job, &newest.prefix));
            assert_eq!(channel.merkle_root(newest.job.id()), root);
        }
    }
}

fn moved(before: Target, channel: &Channel) -> Option<Target> {
    (channel.target() != before).then(|| channel.target())
}

fn root(job: &Job, extranonce: &[u8]) -> [u8; 32] {
    let coinbase = [job.coinbase_prefix(), extranonce, job.coinbase_suffix()].concat();
    job.merkle_path().iter().fold(sha256d(&coinbase), |left, right| sha256d(&[left, *right].concat()))
}
