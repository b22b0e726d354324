//! Which rung of the ladder a channel is on, so that it sends about as many shares as is wished for.
//!
//! Two cumulative sums watch the shares that count, one for too many and one for too few. Such a sum
//! grows only while the rate is off and falls back to nothing while it is right, so a real change is
//! seen within shares, and chance is not mistaken for one: at the right rate a channel keeps its target
//! for hours. Where nothing has been heard of a channel yet, silence itself is the measure: after five
//! shares' worth of it the target is eased quickly until one arrives.
//!
//! Everything is an integer. Time counts in *ticks*: a millisecond is as many ticks as shares are wished
//! per minute, and so a share is worth [`SHARE`] of them.

/// Ticks that one share on the current rung is worth.
const SHARE: u64 = 60_000;

/// Too many: the sum gains a share's worth per share and loses 2.4 per share wished for. Up to 1.41
/// times the wished rate (half a rung) it falls.
const UP_ALARM: u64 = 12 * SHARE;
const UP_LOSS: (u64, u64) = (12, 5);
/// A rate is not computed from less time than this, in milliseconds: the clock is too coarse.
const SHORTEST_WINDOW: u64 = 5;
/// Too few: the sum gains 0.4 shares' worth per share wished for, so silence gives the alarm after
/// 17.5 of them, and loses one per share. Down to 0.71 times the wished rate it falls.
const DOWN_ALARM: u64 = 7 * SHARE;
const DOWN_GAIN: (u64, u64) = (2, 5);
/// The most rungs that one alarm for too few eases by, if there were shares.
const DOWN_MOST: u8 = 4;

/// Shares that a new channel owes, by its nominal hash rate, before its silence means something: it
/// happens by chance once in 150 channels.
const PATIENCE_SHARES: u128 = 5;
/// How long a search stays on a rung, in tenths of the time between wished shares, …
const SEARCH_PACE: u64 = 3;
/// … and how many rungs it goes at once.
const SEARCH_STRIDE: u8 = 3;
/// A measurement ends after so many shares, or after the time in which so many are wished for.
const MEASURE: u64 = 8 * SHARE;
/// Silence never eases further than this from where shares last came: a big miner that comes back
/// after a pause must not flood the server.
const EASE_MOST: u8 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No share yet: the nominal hash rate is all that is known.
    Fresh,
    /// Nor after patience: easing quickly.
    Searching,
    /// The search found it: counting, to go where it belongs at once.
    Measuring,
    /// Watched by the sums.
    Steady,
}

/// Keeps a channel's share rate near the one wished for.
#[derive(Debug)]
pub(crate) struct Vardiff {
    /// When the sums were last brought up to date, in milliseconds; so are all times here.
    last: u64,
    /// When the rung changed.
    moved: u64,
    /// When the sum for too many was last nothing, …
    window_start: u64,
    /// … and what has arrived since.
    window: u32,
    up: u32,
    down: u32,
    /// What has arrived since the rung changed.
    since_move: u32,
    /// For how long a fresh channel may be silent.
    patience: u32,
    phase: Phase,
    rung: u8,
    /// The rung on which the last share arrived; far away if there was none.
    proven: u8,
}

impl Vardiff {
    /// Starts on `rung`, where, by the nominal hash rate, a share takes `share_millis`.
    pub fn new(rung: u8, share_millis: u128, now: u64) -> Self {
        Self {
            last: now,
            moved: now,
            window_start: now,
            window: 0,
            up: 0,
            down: 0,
            since_move: 0,
            patience: u32::try_from(share_millis.saturating_mul(PATIENCE_SHARES)).unwrap_or(u32::MAX),
            phase: Phase::Fresh,
            rung,
            proven: u8::MAX,
        }
    }

    /// The network target changed: `rung` of the new ladder is what the old rung was.
    pub fn move_ladder(&mut self, rung: u8) {
        self.proven = if self.proven == u8::MAX { u8::MAX } else { rung };
        self.rung = rung;
    }

    /// The rung for jobs to come.
    pub const fn rung(&self) -> u8 {
        self.rung
    }

    /// Counts an accepted share that was found at the target of `rung`.
    pub fn record(&mut self, rung: u8, shares_per_minute: u32, now: u64) {
        let ticks = ticks_between(self.last, now, shares_per_minute);
        let loss = part(ticks, UP_LOSS);
        if u64::from(self.up) <= loss {
            self.up = 0;
            self.window = 0;
            // The pause before this share belongs to the window, or a burst after a stalled network would
            // look like a rise of the rate.
            self.window_start = self.last;
        } else {
            self.up -= saturate(loss);
        }
        self.down = saturate(u64::from(self.down) + part(ticks, DOWN_GAIN));
        self.last = self.last.max(now);

        // Shares of easier jobs, still on their way when the target changed, are worth less. Those of
        // harder ones would be worth more, but one of them says too little to be believed.
        let weight = SHARE >> rung.saturating_sub(self.rung).min(63);
        self.up = saturate(u64::from(self.up) + weight);
        self.window = saturate(u64::from(self.window) + weight);
        self.since_move = saturate(u64::from(self.since_move) + weight);
        self.down = saturate(u64::from(self.down).saturating_sub(weight));
        if weight == SHARE {
            self.proven = self.rung;
            self.phase = match self.phase {
                Phase::Fresh => Phase::Steady,
                Phase::Searching => Phase::Measuring,
                other => other,
            };
        }
    }

    /// Begins to measure anew: what was heard and not heard before says nothing about the miner.
    pub fn restart(&mut self, now: u64) {
        self.go(self.rung.into(), self.rung, now);
    }

    /// Goes to another rung if the rate asks for it, at most to `easiest`. Tells whether it did.
    pub fn adjust(&mut self, shares_per_minute: u32, easiest: impl FnOnce() -> u8, now: u64) -> bool {
        let ticks_since = |then| ticks_between(then, now, shares_per_minute);
        let here = self.rung;
        if u64::from(self.up) >= UP_ALARM && self.last.saturating_sub(self.window_start) >= SHORTEST_WINDOW {
            let time = ticks_between(self.window_start, self.last, shares_per_minute);
            let rungs = log2_rounded(self.window.into(), time);
            if rungs <= 0 {
                // A burst after a pause that counts with it: the rate is not too high.
                self.up = 0;
                self.window = 0;
                self.window_start = self.last;
                return false;
            }
            self.go(i32::from(here) - rungs, here, now);
            self.phase = Phase::Steady;
            return self.rung != here;
        }
        let (rungs, next) = match self.phase {
            Phase::Fresh if now.saturating_sub(self.moved) >= u64::from(self.patience) => {
                (i32::from(SEARCH_STRIDE), Phase::Searching)
            }
            Phase::Searching if ticks_since(self.moved) * 10 >= SHARE * SEARCH_PACE => {
                (i32::from(SEARCH_STRIDE), Phase::Searching)
            }
            Phase::Measuring
                if u64::from(self.since_move) >= MEASURE || ticks_since(self.moved) >= MEASURE =>
            {
                (-log2_rounded(self.since_move.into(), ticks_since(self.moved)), Phase::Steady)
            }
            Phase::Steady if u64::from(self.down) + part(ticks_since(self.last), DOWN_GAIN) >= DOWN_ALARM => {
                let short = if self.since_move == 0 {
                    1
                } else {
                    log2_rounded(ticks_since(self.moved), self.since_move.into())
                };
                (short.clamp(1, DOWN_MOST.into()), Phase::Steady)
            }
            _ => return false,
        };
        let limit = easiest().min(self.proven.saturating_add(EASE_MOST)).max(here);
        if rungs > 0 && limit == here {
            return false;
        }
        self.go(i32::from(here) + rungs, limit, now);
        self.phase = next;
        if rungs > 0 && next == Phase::Steady {
            // Should the silence go on, the next rung takes half as long.
            self.down = saturate(DOWN_ALARM / 2);
        }
        self.rung != here
    }

    fn go(&mut self, rung: i32, limit: u8, now: u64) {
        self.rung = u8::try_from(rung.max(0)).unwrap_or(u8::MAX).min(limit);
        self.last = self.last.max(now);
        self.moved = self.last;
        self.window_start = self.last;
        self.window = 0;
        self.up = 0;
        self.down = 0;
        self.since_move = 0;
    }
}

/// At most what [`saturate`] holds, so that no product of it overflows.
fn ticks_between(then: u64, now: u64, shares_per_minute: u32) -> u64 {
    let ticks = now.saturating_sub(then).saturating_mul(shares_per_minute.max(1).into());
    ticks.min(u32::MAX.into())
}

fn part(ticks: u64, (numerator, denominator): (u64, u64)) -> u64 {
    ticks * numerator / denominator
}

/// The sums end long before what 32 bits hold, 71,582 shares.
fn saturate(ticks: u64) -> u32 {
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// `log2(a / b)`, rounded.
fn log2_rounded(a: u64, b: u64) -> i32 {
    let (a, b) = (u128::from(a.max(1)), u128::from(b.max(1)));
    if a < b {
        return -log2_rounded_up_to_half(b, a);
    }
    log2_rounded_up_to_half(a, b)
}

/// For `a ≥ b`: how often `b` doubles until it is within `√2 ≈ 181/128` of `a`.
fn log2_rounded_up_to_half(a: u128, b: u128) -> i32 {
    let mut doublings = 0;
    while a * 128 > (b << doublings) * 181 {
        doublings += 1;
    }
    doublings
}

#[cfg(test)]
mod tests;
