//! How often channels and connections may do what costs the pool something.
//!
//! A channel that floods is ended alone. Its connection follows only when too many of its channels did, or when what is
//! refused on it comes from no channel at all.

use work::Rate;

use crate::config::ChannelLimits;

/// Requests at once beside an open for every channel that a connection may have.
const REQUEST_BURST: u32 = 1000;

/// Channels of one connection that may be ended as floods in a minute; one in so many of its channels is more.
const ENDED_CHANNELS: u32 = 8;

/// So many channels together are allowed as many refused shares as one of them alone is.
const REFUSALS_TOGETHER: u32 = 10;

/// The rates that follow from the limits.
pub(super) struct Allowance {
    /// Shares of one channel.
    pub shares: Rate,
    /// Refused shares of one channel.
    pub bad_shares: Rate,
    /// Shares that a connection sends for channels that were closed.
    pub crossing: Rate,
    refusals_per_minute: u32,
    requests_per_minute: u32,
    request_burst: u32,
}

impl Allowance {
    /// `shares_per_minute` is what vardiff aims at.
    pub(super) fn new(limits: &ChannelLimits, shares_per_minute: u32) -> Self {
        let bad = limits.invalid_shares_per_minute;
        let (shares, crossing) = match limits.shares_over_aim {
            0 => (Rate::UNLIMITED, Rate::UNLIMITED),
            times => {
                let per_minute = shares_per_minute.saturating_mul(times);
                let burst = limits.share_burst.max(per_minute / 60);
                // What a channel may send before it is ended may be under way when another one is.
                (Rate::per_minute(per_minute, burst), Rate::per_minute(bad, burst.max(bad)))
            }
        };
        Self {
            shares,
            crossing,
            bad_shares: Rate::per_minute(bad, bad),
            refusals_per_minute: bad,
            requests_per_minute: limits.requests_per_minute,
            request_burst: REQUEST_BURST + u32::from(limits.channels_per_connection),
        }
    }

    /// Opening, updating and closing channels, negotiating, and what nobody understands, on a connection with so many
    /// channels. A proxy that connects opens all of its channels at once.
    pub(super) fn requests(&self, channels: usize) -> Rate {
        let channels = saturate(channels).saturating_add(1);
        Rate::per_minute(self.requests_per_minute.saturating_mul(channels), self.request_burst)
    }

    /// What may be refused on a connection with so many channels, and is the fault of none of them, before it is ended
    /// (PO-09).
    pub(super) fn refusals(&self, channels: usize) -> Rate {
        self.as_of_channels(1, channels)
    }

    /// Refused shares of all its channels together before it is ended. More than the channels may have refused that are
    /// ended before their connection is.
    pub(super) fn bad_shares_together(&self, channels: usize) -> Rate {
        self.as_of_channels(ENDED_CHANNELS + 1, channels)
    }

    /// What `least` channels may have refused, and more where there are many.
    fn as_of_channels(&self, least: u32, channels: usize) -> Rate {
        let times = (saturate(channels) / REFUSALS_TOGETHER).saturating_add(least);
        let per_minute = self.refusals_per_minute.saturating_mul(times);
        Rate::per_minute(per_minute, per_minute)
    }

    /// Channels ended as floods before their connection, which has so many left, is ended, too.
    pub(super) fn floods(&self, channels: usize) -> Rate {
        let most = ENDED_CHANNELS + saturate(channels) / ENDED_CHANNELS;
        Rate::per_minute(most, most)
    }
}

fn saturate(channels: usize) -> u32 {
    u32::try_from(channels).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use work::Bucket;

    use super::*;

    /// How many at once.
    fn burst(rate: Rate) -> u32 {
        let mut bucket = Bucket::default();
        (0..u32::MAX).find(|_| !bucket.take(rate, 0)).unwrap()
    }

    #[test]
    fn a_proxy_opens_all_its_channels_at_once_and_then_a_few() {
        let limits =
            ChannelLimits { channels_per_connection: 500, requests_per_minute: 30, ..Default::default() };
        let allowance = Allowance::new(&limits, 12);
        assert_eq!(burst(allowance.requests(0)), 1500);
        let (mut bucket, mut served) = (Bucket::default(), 0);
        for second in 0..600 {
            served += (0..10_000).filter(|_| bucket.take(allowance.requests(0), second * 1000)).count();
        }
        assert!((1500 + 299..=1500 + 301).contains(&served), "{served}");
    }

    #[test]
    fn limits_grow_with_the_channels_but_less() {
        let allowance = Allowance::new(&ChannelLimits::default(), 12);
        let bad = burst(allowance.bad_shares);
        assert_eq!((burst(allowance.refusals(9)), burst(allowance.refusals(10))), (bad, 2 * bad));
        let together = |channels| burst(allowance.bad_shares_together(channels));
        assert_eq!((together(9), together(10)), (9 * bad, 10 * bad));
        assert_eq!((burst(allowance.floods(0)), burst(allowance.floods(80))), (8, 18));
    }

    #[test]
    fn the_share_limit_follows_the_aim_and_can_be_off() {
        let of = |aim, shares_over_aim| {
            let limits = ChannelLimits { shares_over_aim, share_burst: 10, ..ChannelLimits::default() };
            Allowance::new(&limits, aim).shares
        };
        assert_eq!(of(12, 0), Rate::UNLIMITED);
        assert_eq!(of(12, 500), Rate::per_minute(6000, 100));
        assert_eq!(of(1, 1), Rate::per_minute(1, 10));
        // A load test's aim: never in its way.
        assert_eq!(of(60_000_000, 500), Rate::per_minute(u32::MAX, u32::MAX / 60));
    }
}
