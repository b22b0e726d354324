//! Arbitrary sequences of operations against a model that remembers everything.

use {
    super::*,
    crate::job,
    proptest::{collection::vec, prelude::*},
    std::collections::HashSet,
};

#[derive(Debug, Clone)]
enum Operation {
    Future(u8),
    Active(u8, u8),
    Activate(u8, u8),
    Custom(u8, u8),
    Prefix(u8),
    Update(u64, u8),
    Adjust(u32),
    Share { job: u8, nonce: u8, ntime: u8, bit: u8, rolled: u8 },
    Repeat(u8),
    TakeAck,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let share = (0u8..12, any::<u8>(), 0u8..3, 0u8..20, 0u8..3)
        .prop_map(|(job, nonce, ntime, bit, rolled)| Share { job, nonce, ntime, bit, rolled });
    prop_oneof![
        2 => (0u8..12).prop_map(Future),
        2 => (0u8..12, 0u8..3).prop_map(|(job, ntime)| Active(job, ntime)),
        2 => (0u8..12, 0u8..4).prop_map(|(job, tip)| Activate(job, tip)),
        1 => (0u8..12, 0u8..4).prop_map(|(job, tip)| Custom(job, tip)),
        1 => (0u8..4).prop_map(Prefix),
        1 => (any::<u64>(), 0u8..12).prop_map(|(rate, k)| Update(rate, k)),
        1 => any::<u32>().prop_map(Adjust),
        20 => share,
        4 => any::<u8>().prop_map(Repeat),
        2 => Just(TakeAck),
    ]
}

/// Tips on which every 2nd, 256th, 2nd and 1024th hash is a block; two of them share a prev_hash.
fn a_tip(n: u8) -> Arc<Tip> {
    let nbits = [0x207f_ffff, NBITS, 0x207f_ffff, 0x1f40_0000][usize::from(n % 4)];
    Arc::new(Tip::new([n.min(2); 32], nbits, MIN_NTIME + u32::from(n)).unwrap())
}

/// Jobs that differ less than their ids: the same work under several.
fn a_job(id: u8) -> Arc<Job> {
    job_with(id.into(), |parts| {
        parts.coinbase_suffix[6] = id % 3;
        parts.version_rolling_allowed = !id.is_multiple_of(5);
    })
}

/// A channel, and what it should have counted.
struct Model {
    channel: Channel,
    millis: u64,
    submitted: Vec<(StandardShare, [u8; 8])>,
    seen: HashSet<[u8; 32]>,
    /// Shares accepted and the sum of their difficulties, in 2^-64; and what acknowledgements said.
    accepted: (u32, u128),
    acknowledged: (u32, u128),
}

impl Model {
    fn new(extended: bool) -> Self {
        let policy = Arc::new(Policy { past_jobs: 3, future_jobs: 3, ..Policy::default() });
        let channel = if extended {
            Channel::extended(1, unique(0).extended(8).unwrap(), REQUEST, &a_tip(0), &policy, 0)
        } else {
            Channel::standard(1, unique(0).standard(), REQUEST, &a_tip(0), &policy, 0)
        };
        Self {
            channel: channel.unwrap(),
            millis: 0,
            submitted: Vec::new(),
            seen: HashSet::new(),
            accepted: (0, 0),
            acknowledged: (0, 0),
        }
    }

    fn apply(&mut self, operation: Operation) -> Result<(), TestCaseError> {
        let channel = &mut self.channel;
        let tip_before = *channel.tip.prev_hash();
        match operation {
            // Whether it is refused does not matter here, as long as nothing breaks.
            Operation::Future(id) => {
                let _ = channel.add_future(&a_job(id));
            }
            Operation::Active(id, ntime) => {
                let _ = channel.add_active(&a_job(id), MIN_NTIME + u32::from(ntime));
            }
            Operation::Activate(id, tip) => {
                let _ = channel.activate(id.into(), &a_tip(tip));
            }
            Operation::Custom(id, tip) => {
                let _ = channel.add_custom(&a_job(id), &a_tip(tip));
            }
            Operation::Prefix(n) => {
                let unique = unique(n.into());
                let prefix = match channel.kind() {
                    Kind::Standard => unique.standard(),
                    Kind::Extended { .. } => unique.extended(8).unwrap().0,
                };
                channel.set_prefix(prefix).unwrap();
            }
            Operation::Update(rate, k) => {
                let max_target = Target::ladder(a_tip(1).network_target(), k);
                let _ = channel.update(Request { rate: HashRate::new(rate), max_target }, self.millis);
            }
            Operation::Adjust(step) => {
                self.millis += u64::from(step % 100_000);
                let before = channel.target();
                let moved = channel.adjust(self.millis);
                prop_assert_eq!(moved.is_some(), before != channel.target());
            }
            Operation::Share { job, nonce, ntime, bit, rolled } => {
                let share = StandardShare {
                    sequence_number: nonce.into(),
                    job_id: job.into(),
                    nonce: nonce.into(),
                    ntime: MIN_NTIME + u32::from(ntime),
                    version: VERSION ^ if bit < 5 { 0 } else { 1 << bit },
                };
                self.submit(share, [rolled; 8])?;
            }
            Operation::Repeat(at) => {
                if let Some((share, rolled)) = self.submitted.get(usize::from(at)).copied() {
                    self.submit(share, rolled)?;
                }
            }
            Operation::TakeAck => self.take_ack()?,
        }
        if *self.channel.tip.prev_hash() != tip_before {
            // Should the chain come back to a tip, its headers count anew: the filter is gone.
            self.seen.clear();
        }
        prop_assert!(self.channel.target() <= self.channel.max_target);
        prop_assert!(self.channel.jobs.iter().count() <= 7 && self.channel.prefixes.len() <= 8);
        Ok(())
    }

    fn submit(&mut self, share: StandardShare, rolled: [u8; 8]) -> Result<(), TestCaseError> {
        let channel = &mut self.channel;
        let now = Now { unix: MIN_NTIME, millis: self.millis };
        let rolled_bytes: &[u8] = if channel.kind() == Kind::Standard { &[] } else { &rolled };
        let result = match channel.kind() {
            Kind::Standard => channel.submit_standard(&share, now),
            Kind::Extended { .. } => {
                channel.submit_extended(&ExtendedShare { share, extranonce: rolled_bytes }, now)
            }
        };
        let Ok(accepted) = result else { return Ok(()) };
        let slot = channel.jobs.get(share.job_id).unwrap();
        let tip = &channel.tip;
        let root = slot.job.merkle_root(&channel.prefix_at(slot.prefix).join(rolled_bytes).unwrap());
        let header =
            job::header(share.version, tip.prev_hash(), &root, share.ntime, tip.nbits(), share.nonce);
        let hash = job::header_hash(&header);
        let network = tip.network_target();
        prop_assert_eq!(accepted.block.is_some(), network.is_met_by(&hash));
        prop_assert_eq!(accepted.credit, Target::credit(tip.rung(slot.rung).target, network));
        prop_assert!(self.seen.insert(hash), "counted twice");
        self.submitted.push((share, rolled));
        self.accepted.0 += 1;
        self.accepted.1 +=
            (u128::from(accepted.difficulty.whole()) << 64) + u128::from(accepted.difficulty.fraction());
        Ok(())
    }

    fn take_ack(&mut self) -> Result<(), TestCaseError> {
        if let Some(ack) = self.channel.take_ack() {
            prop_assert!(ack.new_submits_accepted_count > 0);
            self.acknowledged.0 += ack.new_submits_accepted_count;
            self.acknowledged.1 += u128::from(ack.new_shares_sum);
        }
        prop_assert_eq!(self.acknowledged, (self.accepted.0, self.accepted.1 >> 64));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    // proves: MP-124 MP-129 MP-130 MP-132 MP-145
    #[test]
    fn nothing_panics_no_header_counts_twice_and_acks_add_up(
        extended: bool,
        operations in vec(operation(), 1..150),
    ) {
        let mut model = Model::new(extended);
        for operation in operations {
            model.apply(operation)?;
        }
        model.take_ack()?;
    }
}
