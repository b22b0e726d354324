//! When an epoch's eHash will have its value.

use crate::{Block, Epoch, EpochInfo, Params};
use serde::Serialize;

/// An epoch, and what it still waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// The epoch.
    #[serde(flatten)]
    pub info: EpochInfo,
    /// Its parameters.
    pub params: Params,
    /// The epoch that is open now.
    pub open_epoch: Epoch,
    /// The chain's height, once known.
    pub tip: Option<u32>,
    /// The last epoch during which a block found pays this one.
    pub collects_until: Epoch,
    /// Height of the tip at which all its blocks so far are final; `None` if it waits for none. Blocks to come may move it.
    pub final_at: Option<u32>,
}

impl Outlook {
    pub(crate) fn new(
        info: EpochInfo,
        params: &[(Epoch, Params)],
        open_epoch: Epoch,
        tip: Option<u32>,
        unsettled: &[Block],
    ) -> Outlook {
        let params_of = |epoch: Epoch| {
            let last = params.iter().rev().find(|(first, _)| *first <= epoch);
            last.map_or_else(Params::default, |(_, params)| *params)
        };
        let own = params_of(info.epoch);
        let collects_until = own.collects_until(info.epoch);
        let waits_for =
            unsettled.iter().filter(|block| block.epoch > info.epoch && block.epoch <= collects_until);
        let final_at =
            waits_for.map(|block| block.height.saturating_add(params_of(block.epoch).maturity - 1)).max();
        Outlook { info, params: own, open_epoch, tip, collects_until, final_at }
    }

    /// Blocks that the chain has to grow by until all of the epoch's blocks so far are final.
    pub fn blocks_to_go(&self) -> Option<u32> {
        Some(self.final_at?.saturating_sub(self.tip?))
    }
}
