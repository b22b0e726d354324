//! Connections that come and go beside those that stay, each in one of the manners in which connections end.

use socket2::SockRef;
use sv2::ErrorCode;
use sv2::mining::CloseChannel;

use super::{Connection, Instant, Lost, Worker, from_address, nobody, wrapping_micros};

/// What the owner wants of one worker.
#[derive(Clone, Debug)]
pub(crate) struct TurnoverOrder {
    /// Connections of this worker that come and go.
    pub slots: usize,
    /// Connections begun in a second, in thousandths; each ends one that began `slots` connections before.
    pub millirate: u64,
    /// Channels on each.
    pub channels: usize,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Closes its channels, and then the connection.
    Polite,
    /// Closes the connection.
    Closed,
    /// Resets it.
    Reset,
    /// Submits shares and closes without waiting for the answer.
    SharesUnderWay,
    /// Closes in the middle of a frame.
    MidFrame,
    /// Closes in the middle of the handshake's first message.
    MidHandshake,
    /// Closes after the handshake's first message.
    HandshakeUnderWay,
}

/// In turn. Politeness twice, as it is what one hopes for.
const MANNERS: [Manner; 8] = [
    Manner::Polite,
    Manner::SharesUnderWay,
    Manner::Reset,
    Manner::MidHandshake,
    Manner::Closed,
    Manner::MidFrame,
    Manner::Polite,
    Manner::HandshakeUnderWay,
];

/// Bytes of the handshake's first message.
const ACT_1_LEN: usize = 64;
/// Shares that nobody waits for.
const LAST_SHARES: usize = 3;

impl Manner {
    fn of(number: u64) -> Self {
        let index = usize::try_from(number).unwrap_or(0) % MANNERS.len();
        MANNERS[index]
    }

    /// For the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Polite => "polite",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::SharesUnderWay => "shares-under-way",
            Self::MidFrame => "mid-frame",
            Self::MidHandshake => "mid-handshake",
            Self::HandshakeUnderWay => "handshake-under-way",
        }
    }

    /// Bytes of the handshake after which the connection is left, if that is when.
    fn cut(self, number: u64) -> Option<usize> {
        match self {
            // Every length comes in turn; the manners' period is even, and 63 is odd.
            Self::MidHandshake => Some(1 + usize::try_from(number).unwrap_or(0) % (ACT_1_LEN - 1)),
            Self::HandshakeUnderWay => Some(ACT_1_LEN),
            _ => None,
        }
    }
}

/// The connections of one worker that come and go.
#[derive(Debug, Default)]
pub(crate) struct Turnover {
    begun: u64,
    manners: Vec<Manner>,
    /// One for all of them: a pool that keeps an account for each user name does not grow by them.
    user: Option<String>,
}

impl Worker {
    /// Begins the connections that are due, each in the place of the oldest.
    pub(super) fn turn_over(&mut self) {
        loop {
            let Some(run) = self.run.as_ref().filter(|run| run.is_sending()) else { return };
            let Some(order) = run.order.turnover.clone() else { return };
            let elapsed = run.order.started.elapsed().as_nanos();
            let due = elapsed.saturating_mul(order.millirate.into()) / 1_000_000_000_000;
            if order.slots == 0 || u128::from(self.turnover.begun) >= due {
                return;
            }
            self.replace_oldest(&order);
        }
    }

    fn replace_oldest(&mut self, order: &TurnoverOrder) {
        let stay = self.fleet.staying(self.index);
        self.connections.resize_with(stay + order.slots, || None);
        self.turnover.manners.resize(order.slots, Manner::Closed);
        let number = self.turnover.begun;
        self.turnover.begun += 1;
        let slot = usize::try_from(number % order.slots as u64).unwrap_or(0);
        let token = stay + slot;
        let manner = self.turnover.manners[slot];
        self.with(token, |worker, connection| {
            // Those that leave during the handshake were counted when they began.
            if manner.cut(0).is_none() {
                let left = if connection.ready { manner.name() } else { "before-it-was-ready" };
                worker.board.books().left.count(left);
            }
            worker.leave(connection, manner)?;
            Err(Lost::Left)
        });

        let manner = Manner::of(number);
        self.turnover.manners[slot] = manner;
        let fixed = self.fleet.user.as_ref();
        let user = self.turnover.user.get_or_insert_with(|| fixed.cloned().unwrap_or_else(nobody)).clone();
        let from = from_address(&self.fleet.local_addresses, token * self.fleet.threads + self.index);
        self.under_way += 1;
        if let Err(lost) = self.begin(token, order.channels, from, user) {
            self.under_way -= 1;
            self.board.books().failed.count(&lost.to_string());
            return;
        }
        if let Some(bytes) = manner.cut(number)
            && let Some(Some(connection)) = self.connections.get_mut(token)
        {
            connection.link.cut_handshake(bytes);
            self.board.books().left.count(manner.name());
        }
    }

    /// The last that the server hears of a connection.
    fn leave(&mut self, connection: &mut Connection, manner: Manner) -> Result<(), Lost> {
        if manner == Manner::Reset {
            // Without it the connection is closed in order, which is a pity but no error.
            let _ = SockRef::from(&connection.link.socket).set_linger(Some(std::time::Duration::ZERO));
            return Ok(());
        }
        if !connection.ready || connection.link.is_blocked() {
            return Ok(());
        }
        match manner {
            Manner::SharesUnderWay => self.submit_last(connection)?,
            Manner::Polite | Manner::MidFrame => {
                let ids: Vec<u32> = connection.session.channel_ids().collect();
                let Some(mut outbox) = connection.link.outbox(&mut self.scratch.output) else {
                    return Ok(());
                };
                for channel_id in ids {
                    let reason_code = ErrorCode::from_static("done");
                    outbox.send(&CloseChannel { channel_id, reason_code })?;
                }
            }
            _ => {}
        }
        match manner {
            Manner::MidFrame => {
                let half = self.scratch.output.len() / 2;
                connection.link.cut_frame(&mut self.scratch, half)
            }
            _ => connection.link.flush(&mut self.scratch),
        }
    }

    fn submit_last(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let micros = wrapping_micros(Instant::now(), self.epoch);
        let Some((id, submitter)) = connection.session.submitter_at(0) else { return Ok(()) };
        let Some(mut outbox) = connection.link.outbox(&mut self.scratch.output) else { return Ok(()) };
        for _ in 0..LAST_SHARES {
            submitter.find(&mut self.tally);
            submitter.submit(id, micros, &mut outbox, &mut self.tally)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_manner_has_its_turn_and_handshakes_are_cut_everywhere() {
        let mut names = BTreeSet::new();
        let mut cuts = BTreeSet::new();
        for number in 0..2000 {
            let manner = Manner::of(number);
            names.insert(manner.name());
            cuts.extend(manner.cut(number));
        }
        assert_eq!(names.len(), 7);
        assert!(cuts.iter().copied().eq(1..=ACT_1_LEN));
    }
}
