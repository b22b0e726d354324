//! What the wallet holds, for the page that shows it beside what is owed.

use {
    crate::coins::{self, Coins},
    bitcoin::Amount,
    node::Tip,
    serde::Serialize,
};

/// The wallet's sums after one block. They serialise as satoshi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reserves {
    /// The last block that the wallet has followed.
    pub as_of: Tip,
    /// Coins in blocks that may be spent now.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub mature: Amount,
    /// Change of payouts that wait for a block; it may be spent, too.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub change: Amount,
    /// Coinbases that may not be spent yet.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub immature: Amount,
    /// The same, one by one, the next first.
    pub maturing: Vec<Maturing>,
    /// Amounts and most fees of payouts that wait for a batch: to be paid from the sums above.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub requested: Amount,
    /// Amounts and fees of payouts that wait for a block: already taken out of the sums above.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub under_way: Amount,
}

/// A coinbase that may not be spent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Maturing {
    /// Height of the tip at which it may be spent, in the block after it.
    pub height: u32,
    /// What it is worth.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub amount: Amount,
}

impl Reserves {
    pub(crate) fn new(as_of: Tip, coins: &Coins, requested: Amount, under_way: Amount) -> Reserves {
        let maturing: Vec<Maturing> =
            coins.immature.iter().map(|(&height, &amount)| Maturing { height, amount }).collect();
        Reserves {
            as_of,
            mature: coins::sum(&coins.mature),
            change: coins::sum(&coins.change),
            immature: maturing.iter().map(|coin| coin.amount).sum(),
            maturing,
            requested,
            under_way,
        }
    }

    /// All that the wallet owns.
    pub fn total(&self) -> Amount {
        self.mature + self.change + self.immature
    }

    /// What can be promised to new payouts now; nothing when more is promised than may be spent.
    pub fn available(&self) -> Amount {
        (self.mature + self.change).checked_sub(self.requested).unwrap_or(Amount::ZERO)
    }
}
