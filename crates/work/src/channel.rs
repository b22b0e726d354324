//! A channel as the server keeps it: its jobs, the target and prefix that each of them came with,
//! what was credited on the current tip, and what has yet to be acknowledged.
//!
//! A channel owns little: jobs and tips are shared, and what it remembers of a job are 16 bytes. The
//! merkle root (standard) or SHA-256 state (extended) is kept for the newest job, and the root also for
//! the last other job that a share came for.

mod validate;

use {
    crate::{
        ack::{Ack, Acks},
        duplicates::Duplicates,
        extranonce::{self, Extranonce},
        job::{Job, Tip},
        memory::ShareMemory,
        sha256,
        store::{Entry, IdInUse, JobStore, Limits, State},
        target::Target,
        units::HashRate,
        vardiff::Vardiff,
    },
    std::sync::Arc,
    thiserror::Error,
};

/// What a server demands of all its channels.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How many shares vardiff aims at.
    pub shares_per_minute: u32,
    /// The easiest target given to anybody, whatever they ask for; [`Target::MAX`] for no such limit.
    pub easiest_target: Target,
    /// How many superseded jobs of the current tip still take shares.
    pub past_jobs: u8,
    /// How many future jobs are kept.
    pub future_jobs: u8,
    /// How many shares a channel may send on one tip. It bounds the memory of the duplicate filter, to
    /// 22 bytes a share.
    pub shares_per_tip: u32,
    /// Bounds the memory of all duplicate filters together.
    pub memory: Arc<ShareMemory>,
    /// `REQUIRES_FIXED_VERSION` was announced: nobody may roll the version.
    pub fixed_version: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            shares_per_minute: 12,
            easiest_target: Target::MAX,
            past_jobs: 8,
            future_jobs: 16,
            shares_per_tip: 1 << 15,
            memory: Arc::default(),
            fixed_version: false,
        }
    }
}

impl Policy {
    /// The most jobs of a kind, so that an index of 8 bits can tell all their prefixes apart.
    const MOST_JOBS: u8 = 100;

    fn limits(&self) -> Limits {
        Limits { future: self.future_jobs.min(Self::MOST_JOBS), past: self.past_jobs.min(Self::MOST_JOBS) }
    }
}

/// What a client says of itself in `Open…MiningChannel` and `UpdateChannel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// `nominal_hash_rate`; zero if no device is attached (MP-39).
    pub rate: HashRate,
    /// The easiest target it can work with (MP-40, MP-145).
    pub max_target: Target,
}

/// Which messages a channel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Header-only mining.
    Standard,
    /// The miner rolls so many bytes of the extranonce.
    Extended {
        /// `extranonce_size`.
        rollable: u8,
    },
}

/// Why a channel cannot be opened or updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// EC-06, EC-16.
    #[error("max_target is harder than the network target, so blocks would be lost; raise it")]
    MaxTargetOutOfRange,
    /// LIM-06.
    #[error("extranonce of {0} bytes: at most {max} fit into the protocol", max = extranonce::MAX_LEN)]
    ExtranonceTooLong(usize),
}

impl RequestError {
    /// The `error_code` of `OpenMiningChannel.Error` and `UpdateChannel.Error`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MaxTargetOutOfRange => "max-target-out-of-range",
            Self::ExtranonceTooLong(_) => "min-extranonce-size-too-large",
        }
    }
}

/// Why a job, tip or prefix cannot be sent on a channel: sending it would break the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StoreError {
    /// MP-84, MP-85.
    #[error("job id {0} belongs to another job that is still valid on this channel")]
    IdInUse(u32),
    /// MP-100.
    #[error("job {0} was not sent as a future job on this channel, so SetNewPrevHash must not name it")]
    NotFuture(u32),
    /// SM-14.
    #[error("a job to be mined at once needs a SetNewPrevHash before it")]
    NoTip,
    /// MP-21, MP-73.
    #[error("full extranonce of {got} bytes on a channel that has {have}")]
    ExtranonceLength {
        /// Of the channel.
        have: usize,
        /// Of the job or with the new prefix.
        got: usize,
    },
    /// MP-28.
    #[error("the job allows version rolling although REQUIRES_FIXED_VERSION was announced")]
    VersionRolling,
    /// MP-162.
    #[error("custom jobs are for extended channels")]
    StandardChannel,
}

/// A job as the channel remembers it.
#[derive(Debug)]
struct Slot {
    job: Arc<Job>,
    min_ntime: u32,
    /// Of the tip's ladder; taken when the job became active (MP-142, MP-143).
    rung: u8,
    /// Index of the prefix that was in force when the job was sent (MP-70).
    prefix: u8,
    state: State,
}

impl Entry for Slot {
    fn id(&self) -> u32 {
        self.job.id()
    }

    fn state(&self) -> State {
        self.state
    }

    fn set_state(&mut self, state: State) {
        self.state = state;
    }
}

/// What the shares on one job have in common.
#[derive(Debug)]
struct Computed {
    job_id: u32,
    what: Common,
}

#[derive(Debug)]
enum Common {
    Nothing,
    /// On standard channels: the merkle root.
    Root([u8; 32]),
    /// On extended ones: the SHA-256 state after coinbase and prefix.
    Midstate(sha256::State),
}

/// A channel of a server.
#[derive(Debug)]
pub struct Channel {
    id: u32,
    kind: Kind,
    /// A first `SetNewPrevHash` was sent.
    started: bool,
    /// Index of the prefix in force.
    prefix: u8,
    policy: Arc<Policy>,
    tip: Arc<Tip>,
    max_target: Target,
    nominal: HashRate,
    /// The one in force and those that valid jobs still use; nearly always one.
    prefixes: Vec<Extranonce>,
    jobs: JobStore<Slot>,
    /// Of the newest job.
    computed: Computed,
    /// A standard channel's last other job that a share came for, and its merkle root. Most channels have none.
    other_root: Option<Box<(u32, [u8; 32])>>,
    seen: Duplicates,
    acks: Acks,
    vardiff: Vardiff,
}

impl Channel {
    /// A standard channel, whose whole extranonce is `prefix`.
    pub fn standard(
        id: u32,
        prefix: Extranonce,
        request: Request,
        tip: &Arc<Tip>,
        policy: &Arc<Policy>,
        now_millis: u64,
    ) -> Result<Self, RequestError> {
        Self::open(id, Kind::Standard, prefix, request, tip, policy, now_millis)
    }

    /// An extended channel, whose miner rolls `rollable` bytes behind `prefix`.
    pub fn extended(
        id: u32,
        (prefix, rollable): (Extranonce, u8),
        request: Request,
        tip: &Arc<Tip>,
        policy: &Arc<Policy>,
        now_millis: u64,
    ) -> Result<Self, RequestError> {
        Self::open(id, Kind::Extended { rollable }, prefix, request, tip, policy, now_millis)
    }

    fn open(
        id: u32,
        kind: Kind,
        prefix: Extranonce,
        request: Request,
        tip: &Arc<Tip>,
        policy: &Arc<Policy>,
        now_millis: u64,
    ) -> Result<Self, RequestError> {
        // A client that must not be told the network target would keep its blocks to itself (MP-149).
        if request.max_target < tip.network_target() {
            return Err(RequestError::MaxTargetOutOfRange);
        }
        let mut channel = Self {
            id,
            kind,
            started: false,
            prefix: 0,
            policy: policy.clone(),
            tip: tip.clone(),
            max_target: request.max_target,
            nominal: request.rate,
            prefixes: vec![prefix],
            jobs: JobStore::new(),
            computed: Computed { job_id: 0, what: Common::Nothing },
            other_root: None,
            seen: Duplicates::default(),
            acks: Acks::default(),
            vardiff: Vardiff::new(0, 0, now_millis),
        };
        if channel.full_extranonce_len() > extranonce::MAX_LEN {
            return Err(RequestError::ExtranonceTooLong(channel.full_extranonce_len()));
        }
        channel.restart_vardiff(channel.nominal_rung(request.rate), now_millis);
        Ok(channel)
    }

    /// Its id on its connection.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Which messages it speaks.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The target for jobs to come: that of `Open…Success`, and then of each `SetTarget`.
    pub fn target(&self) -> Target {
        // After the network target rose above what the client allows, its limit holds (MP-145); shares are
        // then validated against the network target.
        self.tip.rung(self.vardiff.rung()).target.min(self.max_target)
    }

    /// The extranonce prefix for jobs to come.
    pub fn prefix(&self) -> &[u8] {
        self.prefix_at(self.prefix)
    }

    /// How many bytes of the extranonce the miner rolls; none on standard channels.
    pub const fn rollable(&self) -> u8 {
        match self.kind {
            Kind::Standard => 0,
            Kind::Extended { rollable } => rollable,
        }
    }

    /// Prefix and rollable bytes; equal in all channels of a group (MP-21).
    pub fn full_extranonce_len(&self) -> usize {
        self.prefix().len() + usize::from(self.rollable())
    }

    /// The id of the job that is mined.
    pub fn active_job(&self) -> Option<u32> {
        self.jobs.active().map(Entry::id)
    }

    /// The merkle root of a valid job on this channel: what `NewMiningJob` carries on a standard one.
    pub fn merkle_root(&self, job_id: u32) -> Option<[u8; 32]> {
        let slot = self.jobs.get(job_id).filter(|_| self.kind == Kind::Standard)?;
        let known = self.known_root(job_id);
        Some(known.unwrap_or_else(|| slot.job.merkle_root(self.prefix_at(slot.prefix))))
    }

    /// A standard channel's merkle root of a valid job, if it is kept.
    fn known_root(&self, job_id: u32) -> Option<[u8; 32]> {
        match (&self.computed, &self.other_root) {
            (Computed { job_id: newest, what: Common::Root(root) }, _) if *newest == job_id => Some(*root),
            (_, Some(other)) if other.0 == job_id => Some(other.1),
            _ => None,
        }
    }

    /// A job was sent without `min_ntime`: it waits for a `SetNewPrevHash` (SM-13).
    pub fn add_future(&mut self, job: &Arc<Job>) -> Result<(), StoreError> {
        let slot = self.slot(job, 0)?;
        self.jobs.add_future(slot, self.policy.limits()).map_err(|IdInUse| StoreError::IdInUse(job.id()))?;
        self.compute(job.id());
        Ok(())
    }

    /// A job was sent with `min_ntime`: it is mined at once (SM-14).
    pub fn add_active(&mut self, job: &Arc<Job>, min_ntime: u32) -> Result<(), StoreError> {
        if !self.started {
            return Err(StoreError::NoTip);
        }
        let slot = self.slot(job, min_ntime)?;
        self.jobs.add_active(slot, self.policy.limits()).map_err(|IdInUse| StoreError::IdInUse(job.id()))?;
        self.compute(job.id());
        Ok(())
    }

    /// `SetNewPrevHash` names a future job: it is mined at once on the new tip, with the target that is
    /// now in force, and all other jobs die (SM-15).
    ///
    /// Returns the target if it had to move because the network target did: `SetTarget` then goes out
    /// before the `SetNewPrevHash`.
    pub fn activate(&mut self, job_id: u32, tip: &Arc<Tip>) -> Result<Option<Target>, StoreError> {
        let Some(slot) = self.jobs.activate(job_id, self.policy.limits()) else {
            return Err(StoreError::NotFuture(job_id));
        };
        slot.min_ntime = tip.min_ntime();
        let moved = self.set_tip(tip);
        let rung = self.vardiff.rung();
        if let Some(slot) = self.jobs.active_mut() {
            slot.rung = rung;
        }
        self.started = true;
        Ok(moved)
    }

    /// A custom job was accepted: it is born active on its own tip (SM-20, MP-170). What was mined
    /// before is superseded if that is the same tip (MP-171), and dies otherwise (MP-172).
    ///
    /// Returns the target as [`Self::activate`] does.
    pub fn add_custom(&mut self, job: &Arc<Job>, tip: &Arc<Tip>) -> Result<Option<Target>, StoreError> {
        if self.kind == Kind::Standard {
            return Err(StoreError::StandardChannel);
        }
        if self.jobs.get(job.id()).is_some() {
            return Err(StoreError::IdInUse(job.id()));
        }
        let mut slot = self.slot(job, tip.min_ntime())?;
        let limits = self.policy.limits();
        let same_tip = self.started && tip.continues(&self.tip);
        let moved = self.set_tip(tip);
        slot.rung = self.vardiff.rung();
        let added = if same_tip {
            self.jobs.add_active(slot, limits)
        } else {
            self.jobs.add_active_on_new_tip(slot, limits)
        };
        debug_assert!(added.is_ok(), "looked for above");
        self.started = true;
        self.compute(job.id());
        Ok(moved)
    }

    /// `SetExtranoncePrefix`: for jobs sent from now on (SM-18, MP-70, MP-71).
    pub fn set_prefix(&mut self, prefix: Extranonce) -> Result<(), StoreError> {
        if prefix.len() != self.prefix().len() {
            let got = prefix.len() + usize::from(self.rollable());
            return Err(StoreError::ExtranonceLength { have: self.full_extranonce_len(), got });
        }
        let known = self.prefixes.iter().position(|known| *known == prefix);
        let unused = |index: &usize| self.jobs.iter().all(|slot| usize::from(slot.prefix) != *index);
        let index = match known.or_else(|| (0..self.prefixes.len()).find(unused)) {
            Some(index) => index,
            None => {
                self.prefixes.push(prefix);
                self.prefixes.len() - 1
            }
        };
        self.prefixes[index] = prefix;
        self.prefix = u8::try_from(index).expect("one of at most 201 jobs uses each other prefix");
        Ok(())
    }

    /// `UpdateChannel`. Returns the target if it moved: `SetTarget` is to be sent (MP-55). A change of
    /// the nominal hash rate moves it by as much, so that what vardiff has learned is kept.
    pub fn update(&mut self, request: Request, now_millis: u64) -> Result<Option<Target>, RequestError> {
        if request.max_target < self.tip.network_target() {
            return Err(RequestError::MaxTargetOutOfRange);
        }
        let before = self.target();
        let (old, new) = (self.nominal, request.rate);
        self.max_target = request.max_target;
        self.nominal = new;
        let here = i32::from(self.vardiff.rung());
        let there = if old.is_zero() || new.is_zero() {
            i32::from(self.nominal_rung(new))
        } else {
            here + i32::from(self.nominal_rung(new)) - i32::from(self.nominal_rung(old))
        };
        let there = there.clamp(0, i32::from(self.easiest_rung()));
        if there != here {
            self.restart_vardiff(u8::try_from(there).expect("clamped to at most 50"), now_millis);
        }
        Ok(self.moved_from(before))
    }

    /// Lets vardiff look at the share rate: after shares, and about once a second without. Returns the
    /// target if it moved: `SetTarget` is to be sent, and a fresh job, without which silence cannot end
    /// (MP-146). Not to be called while there is no work to be done: silence then means nothing.
    pub fn adjust(&mut self, now_millis: u64) -> Option<Target> {
        let before = self.target();
        let (tip, policy, max_target) = (&self.tip, &self.policy, self.max_target);
        let easiest = || easiest_rung(tip, policy, max_target);
        self.vardiff.adjust(policy.shares_per_minute, easiest, now_millis);
        self.moved_from(before)
    }

    /// Has vardiff measure anew from now on: the server stood still, and what it heard and did not hear meanwhile says
    /// nothing about the miner.
    pub fn restart_measuring(&mut self, now_millis: u64) {
        self.vardiff.restart(now_millis);
    }

    /// Ends the batch of accepted shares (MP-129). Taken when their credits are handed to the ledger,
    /// sent when the ledger has them on disk; and before the channel is closed (MP-69, MP-133).
    pub fn take_ack(&mut self) -> Option<Ack> {
        self.acks.take()
    }

    fn prefix_at(&self, index: u8) -> &Extranonce {
        &self.prefixes[usize::from(index)]
    }

    fn slot(&self, job: &Arc<Job>, min_ntime: u32) -> Result<Slot, StoreError> {
        if job.extranonce_len() != self.full_extranonce_len() {
            let (have, got) = (self.full_extranonce_len(), job.extranonce_len());
            return Err(StoreError::ExtranonceLength { have, got });
        }
        if self.policy.fixed_version && job.version_rolling_allowed() {
            return Err(StoreError::VersionRolling);
        }
        let (rung, prefix) = (self.vardiff.rung(), self.prefix);
        Ok(Slot { job: job.clone(), min_ntime, rung, prefix, state: State::Future })
    }

    /// Computes what shares on a job have in common. It is the newest job, so the older one's goes.
    fn compute(&mut self, job_id: u32) {
        let Some(slot) = self.jobs.get(job_id) else { return };
        let prefix = self.prefix_at(slot.prefix);
        let what = match self.kind {
            Kind::Standard => Common::Root(slot.job.merkle_root(prefix)),
            Kind::Extended { .. } => {
                slot.job.channel_midstate(prefix).map_or(Common::Nothing, Common::Midstate)
            }
        };
        self.computed = Computed { job_id, what };
        // An id may come back with another job (MP-88).
        if self.other_root.as_ref().is_some_and(|other| other.0 == job_id) {
            self.other_root = None;
        }
    }

    /// Adopts the tip; returns the target if another ladder moved it.
    fn set_tip(&mut self, tip: &Arc<Tip>) -> Option<Target> {
        let before = self.target();
        if self.tip.prev_hash() != tip.prev_hash() {
            self.seen.clear(&self.policy.memory);
            self.other_root = None;
        }
        let same_ladder = self.tip.nbits() == tip.nbits();
        self.tip = tip.clone();
        if !same_ladder {
            let rung = nearest_rung(tip, before).min(self.easiest_rung());
            self.vardiff.move_ladder(rung);
        }
        self.moved_from(before)
    }

    fn moved_from(&self, before: Target) -> Option<Target> {
        let now = self.target();
        (now != before).then_some(now)
    }

    fn easiest_rung(&self) -> u8 {
        easiest_rung(&self.tip, &self.policy, self.max_target)
    }

    /// Where the wished share rate is nearest, by the nominal hash rate.
    fn nominal_rung(&self, rate: HashRate) -> u8 {
        let wanted = Target::for_hash_rate(rate, self.policy.shares_per_minute);
        nearest_rung(&self.tip, wanted).min(self.easiest_rung())
    }

    fn restart_vardiff(&mut self, rung: u8, now_millis: u64) {
        let hashes = self.tip.rung(rung).target.expected_hashes();
        let share_millis = hashes.saturating_mul(1000) / u128::from(self.nominal.get().max(1));
        self.vardiff = Vardiff::new(rung, share_millis, now_millis);
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.jobs.heap_bytes()
            + self.seen.heap_bytes()
            + self.prefixes.capacity() * size_of::<Extranonce>()
            + self.other_root.as_deref().map_or(0, size_of_val)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.seen.clear(&self.policy.memory);
    }
}

/// The easiest rung that both the server and the client allow.
fn easiest_rung(tip: &Tip, policy: &Policy, max_target: Target) -> u8 {
    Target::ladder_step(tip.network_target(), policy.easiest_target.min(max_target))
}

/// The rung whose target is nearest to `wanted`, as ratios go.
fn nearest_rung(tip: &Tip, wanted: Target) -> u8 {
    Target::ladder_step(tip.network_target(), wanted.eased_by_half_a_rung())
}

#[cfg(test)]
pub(crate) mod tests;
