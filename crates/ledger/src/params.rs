//! The rules of the books that an operator chooses and publishes.

use crate::{Epoch, Msats};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use work::Ehash;

/// What an epoch is worth and for how long it collects. They belong to an epoch from the moment it opens: a
/// change only touches epochs that are not open yet.
///
/// `q`, `window`, `maturity` and `redeem_blocks` bind the epoch whose eHash they are (its size, for how many epochs after it
/// blocks still pay it, how deep those must be buried, and for how long it is redeemed). `fee_ppm` and `maturity` of the epoch
/// that is open when a block is found bind that block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// An epoch holds exactly `2^50 >> q` eHash: `2^-q` expected blocks.
    pub q: u8,
    /// `N`: an epoch collects from blocks found during the next `N` epochs.
    pub window: u16,
    /// The operator's fee, in millionths of each reward.
    pub fee_ppm: u32,
    /// Confirmations after which a block's reward is final: its own counts as the first.
    pub maturity: u32,
    /// For how many blocks of the chain an epoch is redeemed at least. What nobody redeemed by then may go to later epochs;
    /// 0 promises nothing and ends nothing.
    pub redeem_blocks: u32,
}

/// Why parameters cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParamsError {
    /// `q` beyond [`Params::MAX_Q`].
    #[error("epochs.q is {0}, but it must be 0 to {max}: epochs smaller than 2^-{max} blocks close faster than they can be claimed", max = Params::MAX_Q)]
    Q(u8),
    /// `window` of zero or beyond [`Params::MAX_WINDOW`].
    #[error("epochs.window is {0}, but it must be 1 to {max} epochs", max = Params::MAX_WINDOW)]
    Window(u16),
    /// A fee larger than the reward.
    #[error("epochs.fee_ppm is {0}, but it must be 0 to 1000000 (millionths of the reward)")]
    Fee(u32),
    /// No confirmation at all, or more than anybody will wait for.
    #[error("epochs.maturity is {0}, but it must be 1 to {max} confirmations", max = Params::MAX_MATURITY)]
    Maturity(u32),
}

/// The first field in which two sets of parameters differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamsDifference {
    /// Name of the field, as in the configuration.
    pub field: &'static str,
    /// Its value on the left.
    pub left: u64,
    /// Its value on the right.
    pub right: u64,
}

impl Params {
    /// Largest `q`: bounds how many epochs one share of a whole block's worth can close.
    pub const MAX_Q: u8 = 16;
    /// Largest window: bounds the lines of one block.
    pub const MAX_WINDOW: u16 = 1024;
    /// Largest maturity, about two years of blocks.
    pub const MAX_MATURITY: u32 = 100_000;

    /// Whether each field is within its bounds.
    ///
    /// # Errors
    /// Names the first field that is not, and its bounds.
    pub fn validate(&self) -> Result<(), ParamsError> {
        match self {
            p if p.q > Self::MAX_Q => Err(ParamsError::Q(p.q)),
            p if p.window == 0 || p.window > Self::MAX_WINDOW => Err(ParamsError::Window(p.window)),
            p if p.fee_ppm > 1_000_000 => Err(ParamsError::Fee(p.fee_ppm)),
            p if p.maturity == 0 || p.maturity > Self::MAX_MATURITY => Err(ParamsError::Maturity(p.maturity)),
            _ => Ok(()),
        }
    }

    /// `Q`: how much eHash an epoch of these parameters holds.
    pub fn epoch_size(&self) -> Ehash {
        Ehash::new(Ehash::ONE_BLOCK.get() >> self.q)
    }

    /// The operator's fee on a reward, rounded down.
    pub fn fee(&self, reward: Msats) -> Msats {
        reward
            .mul_div_floor(u64::from(self.fee_ppm), 1_000_000)
            .expect("a valid fee is at most the reward, which fits")
    }

    /// The height from which an epoch may end that becomes redeemable at the height `tip`; none if it does not end by itself.
    pub(crate) fn redeemable_until(&self, tip: Option<u32>) -> Option<u32> {
        let ends = self.redeem_blocks > 0;
        tip.filter(|_| ends).map(|tip| tip.saturating_add(self.redeem_blocks))
    }

    /// The last epoch during which a block still pays `epoch`.
    pub(crate) fn collects_until(&self, epoch: Epoch) -> Epoch {
        epoch.saturating_add(u32::from(self.window))
    }

    /// The first field in which `other` differs, by name; `None` if they agree.
    pub fn difference(&self, other: &Params) -> Option<ParamsDifference> {
        [
            ("q", u64::from(self.q), u64::from(other.q)),
            ("window", u64::from(self.window), u64::from(other.window)),
            ("fee_ppm", u64::from(self.fee_ppm), u64::from(other.fee_ppm)),
            ("maturity", u64::from(self.maturity), u64::from(other.maturity)),
            ("redeem_blocks", u64::from(self.redeem_blocks), u64::from(other.redeem_blocks)),
        ]
        .into_iter()
        .find(|(_, left, right)| left != right)
        .map(|(field, left, right)| ParamsDifference { field, left, right })
    }
}

impl Default for Params {
    /// A pool of about a thousandth of the network: an epoch lasts about a day, matures after two weeks, and is redeemed for a
    /// year.
    fn default() -> Params {
        Params { q: 3, window: 16, fee_ppm: 10_000, maturity: 100, redeem_blocks: 52_560 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_name_the_field() {
        #[track_caller]
        fn case(change: impl FnOnce(&mut Params), want: Option<&str>) {
            let mut params = Params::default();
            change(&mut params);
            match (params.validate(), want) {
                (Ok(()), None) => {}
                (Err(e), Some(field)) => assert!(e.to_string().contains(field), "{e}"),
                (got, _) => panic!("{got:?}"),
            }
        }
        case(|_| {}, None);
        case(|p| p.q = 16, None);
        case(|p| p.q = 17, Some("epochs.q is 17"));
        case(|p| p.window = 0, Some("epochs.window"));
        case(|p| p.window = 1025, Some("epochs.window"));
        case(|p| p.fee_ppm = 1_000_000, None);
        case(|p| p.fee_ppm = 1_000_001, Some("epochs.fee_ppm"));
        case(|p| p.maturity = 0, Some("epochs.maturity"));
        case(|p| p.redeem_blocks = 0, None);
        case(|p| p.redeem_blocks = u32::MAX, None);
    }

    #[test]
    fn the_default_is_the_worked_example() {
        let params = Params::default();
        assert_eq!(params.epoch_size().get(), 140_737_488_355_328);
        assert_eq!(params.fee(Msats::new(314_700_003_000)), Msats::new(3_147_000_030));
    }

    #[test]
    fn epochs_end_after_so_many_blocks() {
        let params = Params { redeem_blocks: 1000, ..Params::default() };
        assert_eq!(params.redeemable_until(Some(900_000)), Some(901_000));
        assert_eq!(params.redeemable_until(Some(u32::MAX)), Some(u32::MAX));
        assert_eq!(params.redeemable_until(None), None);
        assert_eq!(Params { redeem_blocks: 0, ..params }.redeemable_until(Some(5)), None);
    }

    #[test]
    fn a_difference_names_the_field() {
        let params = Params::default();
        assert_eq!(params.difference(&params), None);
        let other = Params { window: 32, ..params };
        assert_eq!(
            params.difference(&other),
            Some(ParamsDifference { field: "window", left: 16, right: 32 })
        );
    }
}
