//! Which of the wallet's coins may be spent, and when the others may.

use {
    crate::payouts::Pending,
    bdk_wallet::{LocalOutput, Wallet as Bdk, chain::ChainPosition},
    bitcoin::{Amount, OutPoint, Txid},
    std::{
        cmp::Reverse,
        collections::{BTreeMap, HashSet},
    },
};

/// The wallet's unspent coins.
#[derive(Debug, Default)]
pub(crate) struct Coins {
    /// In a block, and mature: a transaction that spends them is valid in the next block.
    pub mature: Vec<LocalOutput>,
    /// Change of payouts that no block holds.
    pub change: Vec<LocalOutput>,
    /// Coinbases that mature, by the height of the tip at which they do.
    pub immature: BTreeMap<u32, Amount>,
}

impl Coins {
    /// Sorts the coins as of the last block. A coinbase may be spent in the block `maturity` above its own.
    ///
    /// BDK's own judgement is not enough: it knows one maturity only, and takes the change of a transaction for good whose
    /// own coins have left the chain.
    pub(crate) fn of(bdk: &Bdk, pending: &[Pending], maturity: u32) -> Coins {
        let tip = bdk.latest_checkpoint().height();
        let taken: HashSet<OutPoint> = inputs(pending).collect();
        let sound = sound(bdk, pending);
        let mut coins = Coins::default();
        for coin in bdk.list_unspent() {
            if taken.contains(&coin.outpoint) {
                continue;
            }
            let txid = coin.outpoint.txid;
            let ChainPosition::Confirmed { anchor, .. } = coin.chain_position else {
                if sound.contains(&txid) {
                    coins.change.push(coin);
                }
                continue;
            };
            let is_coinbase =
                bdk.tx_graph().get_tx(txid).is_some_and(|transaction| transaction.is_coinbase());
            let matures = anchor.block_id.height.saturating_add(maturity).saturating_sub(1);
            if is_coinbase && matures > tip {
                *coins.immature.entry(matures).or_default() += coin.txout.value;
            } else {
                coins.mature.push(coin);
            }
        }
        coins
    }

    /// Those that may be spent now, largest first.
    pub(crate) fn spendable(&self) -> Vec<&LocalOutput> {
        let mut coins: Vec<&LocalOutput> = self.mature.iter().chain(&self.change).collect();
        coins.sort_by_key(|coin| (Reverse(coin.txout.value), coin.outpoint));
        coins
    }
}

/// Sum of coins.
pub(crate) fn sum(coins: &[LocalOutput]) -> Amount {
    coins.iter().map(|coin| coin.txout.value).sum()
}

fn inputs(pending: &[Pending]) -> impl Iterator<Item = OutPoint> {
    pending.iter().flat_map(|pending| pending.transaction.input.iter().map(|input| input.previous_output))
}

/// The transactions among `pending` all of whose coins are in the best chain, or in others that are sound.
fn sound(bdk: &Bdk, pending: &[Pending]) -> HashSet<Txid> {
    if pending.is_empty() {
        return HashSet::new();
    }
    let confirmed: HashSet<Txid> = bdk
        .transactions()
        .filter(|known| known.chain_position.is_confirmed())
        .map(|known| known.tx_node.txid)
        .collect();
    let mut sound = HashSet::new();
    for Pending { txid, transaction, .. } in pending {
        let parents = transaction.input.iter().map(|input| input.previous_output.txid);
        if parents.into_iter().all(|parent| confirmed.contains(&parent) || sound.contains(&parent)) {
            sound.insert(*txid);
        }
    }
    sound
}
