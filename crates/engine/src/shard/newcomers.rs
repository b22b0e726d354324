//! Handshakes: after everybody else, and for a part of the time.
//!
//! One takes as long as some hundred shares. So newcomers are only noted while those who are there are
//! served, and have their turn when the others had theirs: a crowd that comes back together takes a
//! quarter of a busy shard, and all of an idle one.

use {
    super::Shard,
    crate::{
        Handler,
        close::Close,
        connection::{Session, State},
        link::{Link, NEVER, Wishes},
        sniff::{Opening, opening},
        table::Table,
    },
    std::time::Duration,
    sv2::noise::{ACT_1_LEN, Responder},
};

/// Handshakes in one turn, whatever the clock says.
const HANDSHAKES: usize = 64;
/// What handshakes may take of any turn. One takes about half of it, or as long as some hundred shares.
const HANDSHAKE_TIME: Duration = Duration::from_micros(300);
/// In longer turns handshakes get this part of what the others took, which is a quarter of the whole.
const HANDSHAKE_PART: u32 = 3;

impl<H: Handler> Shard<H> {
    /// Goes on with the handshakes of newcomers, for a part of the time.
    pub(super) fn welcome(&mut self) {
        let waiting = self.table.newcomers.len();
        if waiting == 0 {
            return;
        }
        let spent = self.table.desk.clock.since_turn();
        let last_round = Duration::from_nanos(self.board.shards[usize::from(self.table.shard)].last_round());
        let lags = last_round > self.table.desk.rules.long_round;
        let until = spent + handshake_time(spent, lags);
        for _ in 0..waiting.min(HANDSHAKES) {
            let Some((slot, generation)) = self.table.newcomers.pop_front() else { return };
            let Some(connection) = self.table.slab.get_exact(slot, generation) else { continue };
            connection.queued = false;
            self.read(slot);
            self.look_for_commands();
            if self.table.desk.clock.since_turn() >= until {
                return;
            }
        }
    }

    /// Takes the first message of the handshake; answers when it is complete.
    pub(super) fn handshake(&mut self, slot: u32, count: usize) {
        let Table { slab, desk, .. } = &mut self.table;
        let Some(connection) = slab.get_mut(slot) else { return };
        let inbox = &mut connection.inbox;
        if inbox.is_empty() {
            inbox.need(ACT_1_LEN);
        }
        let surplus = match inbox.top_up(&mut self.input[..count], &mut desk.purse) {
            Ok(surplus) => surplus,
            Err(used_up) => return self.end(slot, used_up.into()),
        };
        let text = match opening(inbox.bytes()) {
            // The place where a port for both protocols hands the connection to its SV1 front.
            Opening::Json => Some("JSON, as Stratum V1 does,"),
            Opening::Text => Some("text"),
            Opening::Undecided | Opening::Binary => None,
        };
        if let Some(text) = text {
            return self.end(slot, Close::NotNoise(text));
        }
        // Nobody can encrypt before having read our answer.
        if !surplus.is_empty() {
            return self.end(slot, Close::NotNoise("something else"));
        }
        let Some(act_1) = inbox.bytes().first_chunk::<ACT_1_LEN>().copied() else { return };
        inbox.free(&mut desk.purse);
        self.answer(slot, &act_1);
    }

    /// Answers a handshake and shows the connection to the handler.
    fn answer(&mut self, slot: u32, act_1: &[u8; ACT_1_LEN]) {
        let now = u64::from(self.table.desk.clock.unix());
        let (act_2, transport) = match Responder::new(&self.identity).step(act_1, now, &mut self.random) {
            Ok(answer) => answer,
            Err(error) => return self.end(slot, Close::Handshake(error)),
        };
        let id = self.table.id(slot);
        let Table { slab, desk, open, .. } = &mut self.table;
        let Some(connection) = slab.get_mut(slot) else { return };
        connection.permit.established();
        connection.phase_ends = NEVER;
        connection.last_frame = desk.clock.tick;
        desk.stats.handshakes += 1;
        desk.out.extend_from_slice(&act_2);
        let (mut sealer, opener) = transport.split();
        let mut wishes = Wishes { timer: NEVER, frame_limit: desk.rules.frame_before_setup, end: None };
        let mut link = Link { id, peer: connection.peer, sealer: &mut sealer, wishes: &mut wishes, desk };
        let conn = self.handler.opened(&mut link);
        connection.state = State::Open(Session { sealer, opener, wishes, conn });
        *open += 1;
        self.table.finish(slot);
        self.reap();
    }
}

/// How long newcomers may be served in a turn in which the others took `spent`. While the shard `lags`,
/// it is one handshake a turn.
fn handshake_time(spent: Duration, lags: bool) -> Duration {
    if lags { Duration::ZERO } else { (spent / HANDSHAKE_PART).max(HANDSHAKE_TIME) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_get_a_quarter_of_a_busy_shard() {
        #[track_caller]
        fn case(spent_micros: u64, lags: bool, expected_micros: u64) {
            let time = handshake_time(Duration::from_micros(spent_micros), lags);
            assert_eq!(time, Duration::from_micros(expected_micros));
        }
        case(0, false, 300);
        case(900, false, 300);
        case(30_000, false, 10_000);
        case(30_000, true, 0);
    }
}
