//! Work on a new tip before the node has made a template for it.
//!
//! A node tells of a block two milliseconds after it has it, and makes a template of thousands of transactions in fifty. A
//! miner that waits for it works on a block that nobody needs any more; on a template without transactions it may win at
//! least the subsidy.

use {
    super::{Link, gbt},
    crate::{
        Chain, NodeError, Template, Tip,
        template::{COINBASE_SEQUENCE, COINBASE_VERSION, witness_commitment},
    },
    bitcoin::{Amount, BlockHash, CompactTarget},
    serde::Deserialize,
    serde_json::json,
    std::{
        sync::{Arc, PoisonError},
        time::Instant,
    },
};

/// Blocks between changes of difficulty.
const RETARGET_INTERVAL: u32 = 2016;
/// Seconds that the first block after a change of difficulty may lie before the last one before it (BIP 94; the node asks
/// for it on every chain).
const MAX_TIMEWARP: u32 = 600;
/// Subsidy of the first blocks.
const FIRST_SUBSIDY: Amount = Amount::from_int_btc(50);

/// What one template has of the next: the rest follows from the tip.
#[derive(Clone, Copy)]
pub(super) struct Newest {
    version: i32,
    /// The node's clock, Unix seconds…
    cur_time: u32,
    /// …at this moment.
    at: Instant,
    weight_limit: u64,
    sigops_limit: u64,
}

impl Newest {
    pub(super) fn of(template: &Template) -> Self {
        Self {
            version: template.version,
            cur_time: template.cur_time,
            at: Instant::now(),
            weight_limit: template.weight_limit,
            sigops_limit: template.sigops_limit,
        }
    }
}

#[derive(Deserialize)]
struct Header {
    height: u32,
    time: u32,
    mediantime: u32,
    confirmations: i64,
}

#[derive(Deserialize)]
struct MiningInfo {
    next: Option<NextBlock>,
}

#[derive(Deserialize)]
struct NextBlock {
    height: u32,
    bits: String,
}

impl Link {
    /// A template without transactions on this tip. None if it is not the tip any more, or if the node does not tell
    /// enough: Bitcoin Core does since version 29.
    pub(super) fn provisional_template(&self, tip: &BlockHash) -> Result<Option<Template>, NodeError> {
        let Some(newest) = *self.newest.lock().unwrap_or_else(PoisonError::into_inner) else {
            return Ok(None);
        };
        let header: Header = self.call("getblockheader", &json!([tip, true]))?;
        let info: MiningInfo = self.call("getmininginfo", &json!([]))?;
        let height = header.height.saturating_add(1);
        let Some(next) = info.next.filter(|next| next.height == height && header.confirmations == 1) else {
            return Ok(None);
        };
        let Ok(bits) = u32::from_str_radix(&next.bits, 16) else { return Ok(None) };
        self.status.saw_tip(Tip { height: header.height, hash: *tip });
        let min_time = min_time(height, &header);
        let passed = u32::try_from(newest.at.elapsed().as_secs()).unwrap_or(u32::MAX);
        let template = Template {
            id: gbt::provisional_id(tip),
            height,
            version: newest.version,
            prev_hash: *tip,
            nbits: CompactTarget::from_consensus(bits),
            min_time,
            cur_time: newest.cur_time.saturating_add(passed).max(min_time),
            coinbase_value: subsidy(self.config.chain, height),
            coinbase_version: COINBASE_VERSION,
            coinbase_sequence: COINBASE_SEQUENCE,
            coinbase_locktime: header.height,
            transactions: Arc::new([]),
            // Not needed; as the node would have it in a block without transactions, which then is the same work.
            witness_commitment: Some(witness_commitment(&[])),
            merkle_path: Box::default(),
            weight_limit: newest.weight_limit,
            sigops_limit: newest.sigops_limit,
        };
        Ok(Some(template.complete()?))
    }
}

/// The earliest time of the block on this header (MP-104).
fn min_time(height: u32, header: &Header) -> u32 {
    let past_median = header.mediantime.saturating_add(1);
    if height.is_multiple_of(RETARGET_INTERVAL) {
        past_median.max(header.time.saturating_sub(MAX_TIMEWARP))
    } else {
        past_median
    }
}

/// What a block of this height may create.
fn subsidy(chain: Chain, height: u32) -> Amount {
    let interval = match chain {
        Chain::Regtest => 150,
        _ => 210_000,
    };
    Amount::from_sat(FIRST_SUBSIDY.to_sat().checked_shr(height / interval).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsidy_halves() {
        for (chain, height, expected) in [
            (Chain::Main, 0, 5_000_000_000),
            (Chain::Main, 209_999, 5_000_000_000),
            (Chain::Main, 210_000, 2_500_000_000),
            (Chain::Main, 840_000, 312_500_000),
            (Chain::Main, 6_929_999, 1),
            (Chain::Main, 6_930_000, 0),
            (Chain::Main, u32::MAX, 0),
            (Chain::Signet, 150, 5_000_000_000),
            (Chain::Regtest, 150, 2_500_000_000),
        ] {
            assert_eq!(subsidy(chain, height), Amount::from_sat(expected), "{chain} {height}");
        }
    }

    #[test]
    fn the_first_block_after_a_retarget_is_not_far_behind_the_last_before() {
        let header = Header { height: 2015, time: 10_000, mediantime: 5_000, confirmations: 1 };
        assert_eq!(min_time(2015, &header), 5_001);
        assert_eq!(min_time(2016, &header), 9_400);
        assert_eq!(min_time(2016, &Header { mediantime: 9_900, ..header }), 9_901);
    }
}
