//! Events as bytes: a version byte, then the fields. Numbers are LEB128; keys and hashes stand as they are.

use crate::{Batch, BlockHash, ChainBlock, Epoch, Event, FoundBlock, Msats, Params, Source};
use std::collections::HashMap;
use thiserror::Error;
use work::{Ehash, PayoutKey};

const VERSION: u8 = 1;

const CREATED: u8 = 1;
const CREDITS: u8 = 2;
const BLOCK_FOUND: u8 = 3;
const BLOCK_CONNECTED: u8 = 4;
const BLOCK_DISCONNECTED: u8 = 5;
const TIP: u8 = 6;
const EPOCH_FROZEN: u8 = 7;
const EPOCH_RETIRED: u8 = 8;
const PARAMS_CHANGED: u8 = 9;
const LEASE_TAKEN: u8 = 10;

/// Keys that a decoder remembers, so that each is checked against the curve once and not once a row.
const KNOWN_KEYS_MAX: usize = 1 << 18;

/// Bytes that are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Written by a newer program.
    #[error("journal encoding {0} is newer than this program, which knows {VERSION}: upgrade assay")]
    Version(u8),
    /// An event that this program does not know.
    #[error("event kind {0} is unknown")]
    Kind(u8),
    /// The bytes end within a field.
    #[error("the event ends within a field")]
    Short,
    /// Bytes follow after the last field.
    #[error("{0} bytes follow the event")]
    Long(usize),
    /// A number too large for its field.
    #[error("a number is too large for its field")]
    Number,
    /// A number that has a shorter form, which is the one that is written.
    #[error("a number is not written in its shortest form")]
    Form,
    /// 32 bytes that are no payout key.
    #[error("a payout key is no point of the curve")]
    Key,
}

pub(super) fn encode(event: &Event) -> (u8, Vec<u8>) {
    let mut out = vec![VERSION];
    let kind = match event {
        Event::Created(params) => {
            put_params(&mut out, params);
            CREATED
        }
        Event::Credits(batch) => {
            put_batch(&mut out, batch);
            CREDITS
        }
        Event::BlockFound(FoundBlock { hash, prev_hash, height, reward }) => {
            out.extend_from_slice(&hash.to_bytes());
            out.extend_from_slice(&prev_hash.to_bytes());
            put(&mut out, u64::from(*height));
            put(&mut out, reward.get());
            BLOCK_FOUND
        }
        Event::BlockConnected(ChainBlock { hash, height, reward }) => {
            out.extend_from_slice(&hash.to_bytes());
            put(&mut out, u64::from(*height));
            put(&mut out, reward.get());
            BLOCK_CONNECTED
        }
        Event::BlockDisconnected(hash) => {
            out.extend_from_slice(&hash.to_bytes());
            BLOCK_DISCONNECTED
        }
        Event::Tip { height } => {
            put(&mut out, u64::from(*height));
            TIP
        }
        Event::EpochFrozen(epoch) => {
            put(&mut out, u64::from(epoch.get()));
            EPOCH_FROZEN
        }
        Event::EpochRetired { epoch, swept } => {
            put(&mut out, u64::from(epoch.get()));
            put(&mut out, swept.get());
            EPOCH_RETIRED
        }
        Event::ParamsChanged { first_epoch, params } => {
            put(&mut out, u64::from(first_epoch.get()));
            put_params(&mut out, params);
            PARAMS_CHANGED
        }
        Event::LeaseTaken => LEASE_TAKEN,
    };
    (kind, out)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Parameters come last. Those that end no epoch say nothing of it, as all did once.
fn put_params(out: &mut Vec<u8>, params: &Params) {
    out.push(params.q);
    put(out, u64::from(params.window));
    put(out, u64::from(params.fee_ppm));
    put(out, u64::from(params.maturity));
    if params.redeem_blocks > 0 {
        put(out, u64::from(params.redeem_blocks));
    }
}

/// Amounts are sums of powers of two as large as a share's worth: trailing zeros are counted, not written.
fn put_batch(out: &mut Vec<u8>, batch: &Batch) {
    out.reserve(16 + batch.credits.len() * 40);
    put(out, u64::from(batch.source.front));
    put(out, u64::from(batch.source.shard));
    put(out, batch.sequence);
    for (key, amount) in batch.credits.iter().filter(|(_, amount)| !amount.is_zero()) {
        let zeros = amount.get().trailing_zeros();
        out.push(u8::try_from(zeros).expect("a u64 has at most 63 trailing zeros"));
        put(out, amount.get() >> zeros);
        out.extend_from_slice(key.as_bytes());
    }
}

/// Reads events. It remembers keys it has seen, as checking that one lies on the curve is what takes time.
#[derive(Debug, Default)]
pub struct Decoder {
    known: HashMap<[u8; 32], PayoutKey>,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// The event in a row.
    ///
    /// # Errors
    /// On any bytes that [`super::Row::append`] would not have written.
    pub fn decode(&mut self, kind: u8, payload: &[u8]) -> Result<Event, DecodeError> {
        let mut fields = Fields(payload);
        match fields.byte()? {
            VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let event = match kind {
            CREATED => Event::Created(fields.params()?),
            CREDITS => Event::Credits(self.batch(&mut fields)?),
            BLOCK_FOUND => Event::BlockFound(FoundBlock {
                hash: fields.hash()?,
                prev_hash: fields.hash()?,
                height: fields.u32()?,
                reward: fields.msats()?,
            }),
            BLOCK_CONNECTED => Event::BlockConnected(ChainBlock {
                hash: fields.hash()?,
                height: fields.u32()?,
                reward: fields.msats()?,
            }),
            BLOCK_DISCONNECTED => Event::BlockDisconnected(fields.hash()?),
            TIP => Event::Tip { height: fields.u32()? },
            EPOCH_FROZEN => Event::EpochFrozen(Epoch(fields.u32()?)),
            EPOCH_RETIRED => Event::EpochRetired { epoch: Epoch(fields.u32()?), swept: fields.msats()? },
            PARAMS_CHANGED => {
                Event::ParamsChanged { first_epoch: Epoch(fields.u32()?), params: fields.params()? }
            }
            LEASE_TAKEN => Event::LeaseTaken,
            kind => return Err(DecodeError::Kind(kind)),
        };
        match fields.0.len() {
            0 => Ok(event),
            more => Err(DecodeError::Long(more)),
        }
    }

    fn batch(&mut self, fields: &mut Fields<'_>) -> Result<Batch, DecodeError> {
        let source = Source { front: fields.u16()?, shard: fields.u16()? };
        let sequence = fields.number()?;
        let mut credits = Vec::with_capacity(fields.0.len() / 34);
        while !fields.0.is_empty() {
            let zeros = u32::from(fields.byte()?);
            let odd = fields.number()?;
            if odd & 1 == 0 {
                return Err(DecodeError::Form);
            }
            let amount = odd.checked_shl(zeros).filter(|a| a >> zeros == odd).ok_or(DecodeError::Number)?;
            credits.push((self.key(fields.bytes()?)?, Ehash::new(amount)));
        }
        Ok(Batch { source, sequence, credits })
    }

    /// The key with these bytes.
    ///
    /// # Errors
    /// When they are no point of the curve.
    pub fn key(&mut self, bytes: [u8; 32]) -> Result<PayoutKey, DecodeError> {
        if let Some(key) = self.known.get(&bytes) {
            return Ok(*key);
        }
        let key = PayoutKey::from_bytes(bytes).map_err(|_| DecodeError::Key)?;
        if self.known.len() >= KNOWN_KEYS_MAX {
            self.known.clear();
        }
        self.known.insert(bytes, key);
        Ok(key)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return Err(DecodeError::Number);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                // One event has one encoding, or rows that differ could say the same.
                return if byte == 0 && shift > 0 { Err(DecodeError::Form) } else { Ok(number) };
            }
        }
        Err(DecodeError::Number)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.number()?.try_into().map_err(|_| DecodeError::Number)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.number()?.try_into().map_err(|_| DecodeError::Number)
    }

    fn msats(&mut self) -> Result<Msats, DecodeError> {
        self.number().map(Msats::new)
    }

    fn hash(&mut self) -> Result<BlockHash, DecodeError> {
        self.bytes().map(BlockHash::from_bytes)
    }

    fn params(&mut self) -> Result<Params, DecodeError> {
        let (q, window, fee_ppm, maturity) = (self.byte()?, self.u16()?, self.u32()?, self.u32()?);
        let redeem_blocks = if self.0.is_empty() { None } else { Some(self.u32()?) };
        match redeem_blocks {
            Some(0) => Err(DecodeError::Form),
            some => Ok(Params { q, window, fee_ppm, maturity, redeem_blocks: some.unwrap_or(0) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::test_key;
    use proptest::prelude::*;

    fn events() -> impl Strategy<Value = Event> {
        let hash = || any::<[u8; 32]>().prop_map(BlockHash::from_bytes);
        let reward = || any::<u64>().prop_map(Msats::new);
        let params = || {
            let redeem_blocks = prop_oneof![Just(0), any::<u32>()];
            (any::<u8>(), any::<u16>(), any::<u32>(), any::<u32>(), redeem_blocks).prop_map(
                |(q, window, fee_ppm, maturity, redeem_blocks)| Params {
                    q,
                    window,
                    fee_ppm,
                    maturity,
                    redeem_blocks,
                },
            )
        };
        let amount = (1..u64::MAX, 0u32..64).prop_map(|(n, shift)| Ehash::new((n << shift).max(1)));
        let credits = prop::collection::vec(((0u8..20).prop_map(test_key), amount), 0..20);
        prop_oneof![
            params().prop_map(Event::Created),
            (any::<u16>(), any::<u16>(), any::<u64>(), credits).prop_map(
                |(front, shard, sequence, credits)| {
                    Event::Credits(Batch { source: Source { front, shard }, sequence, credits })
                }
            ),
            (hash(), hash(), any::<u32>(), reward()).prop_map(|(hash, prev_hash, height, reward)| {
                Event::BlockFound(FoundBlock { hash, prev_hash, height, reward })
            }),
            (hash(), any::<u32>(), reward()).prop_map(|(hash, height, reward)| Event::BlockConnected(
                ChainBlock { hash, height, reward }
            )),
            hash().prop_map(Event::BlockDisconnected),
            any::<u32>().prop_map(|height| Event::Tip { height }),
            any::<u32>().prop_map(|epoch| Event::EpochFrozen(Epoch(epoch))),
            (any::<u32>(), reward())
                .prop_map(|(epoch, swept)| Event::EpochRetired { epoch: Epoch(epoch), swept }),
            (any::<u32>(), params())
                .prop_map(|(e, params)| Event::ParamsChanged { first_epoch: Epoch(e), params }),
            Just(Event::LeaseTaken),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(event in events()) {
            let (kind, payload) = encode(&event);
            prop_assert_eq!(Decoder::new().decode(kind, &payload), Ok(event));
            // A row cut short is an error or (between two credits) fewer credits, never a panic.
            for end in 0..payload.len() {
                let _ = Decoder::new().decode(kind, &payload[..end]);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(kind in 0u8..12, payload in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(event) = Decoder::new().decode(kind, &payload) {
                prop_assert_eq!(encode(&event), (kind, payload));
            }
        }
    }

    #[test]
    fn a_share_takes_35_bytes() {
        let credits = vec![(test_key(1), Ehash::new((1 << 50) >> 37)); 10];
        let batch = Batch { source: Source { front: 0, shard: 0 }, sequence: 1, credits };
        assert_eq!(encode(&Event::Credits(batch)).1.len(), 4 + 10 * 34);
    }

    #[test]
    fn parameters_of_before_end_no_epoch() {
        let params = Params { redeem_blocks: 0, ..Params::default() };
        let old = [1, 3, 16, 0x90, 0x4e, 100];
        assert_eq!(Decoder::new().decode(CREATED, &old), Ok(Event::Created(params)));
        assert_eq!(encode(&Event::Created(params)), (CREATED, old.to_vec()));
        let zero = [1, 3, 16, 0x90, 0x4e, 100, 0];
        assert_eq!(Decoder::new().decode(CREATED, &zero), Err(DecodeError::Form));
    }

    #[test]
    fn foreign_rows_say_why() {
        #[track_caller]
        fn case(kind: u8, payload: &[u8], want: DecodeError) {
            assert_eq!(Decoder::new().decode(kind, payload), Err(want));
        }
        case(TIP, &[], DecodeError::Short);
        case(TIP, &[1], DecodeError::Short);
        case(TIP, &[2, 5], DecodeError::Version(2));
        case(99, &[1], DecodeError::Kind(99));
        case(TIP, &[1, 5, 0], DecodeError::Long(1));
        case(TIP, &[1, 0xff, 0xff, 0xff, 0xff, 0x7f], DecodeError::Number);
        let mut bad_key = vec![1, 0, 0, 1, 0, 1];
        bad_key.extend([0xff; 32]);
        case(CREDITS, &bad_key, DecodeError::Key);
        case(TIP, &[1, 0x85, 0], DecodeError::Form);
        for amount in [0, 2] {
            let mut not_odd = vec![1, 0, 0, 1, 0, amount];
            not_odd.extend(test_key(1).as_bytes());
            case(CREDITS, &not_odd, DecodeError::Form);
        }
    }
}
