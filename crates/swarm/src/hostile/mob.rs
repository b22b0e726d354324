//! The thread that attacks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::attack::{Attack, AttackKind, Turn};
use super::attacker::{Attacker, Stage};
use crate::SwarmError;
use crate::board::{Board, Reasons};
use crate::link::{Lost, Scratch};
use crate::plan::Fleet;
use crate::process;
use crate::run::Tally;
use crate::session::Desk;

/// Turns are taken no more often than this.
const BEAT: Duration = Duration::from_millis(1);
/// How far behind everything else the attackers stand in the queue for a processor.
const BACKGROUND: i32 = 10;
const EVENTS: usize = 1024;
/// Messages that leave in one write.
const MOST_AT_ONCE: u64 = 64;

/// What one attack did and what became of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damage {
    /// Connections begun.
    pub connections: u64,
    /// … of which the handshake came to its end.
    pub handshakes: u64,
    /// Messages sent, those of setting up excepted.
    pub messages: u64,
    /// Turns that could do nothing: not connected yet, or the server takes nothing more.
    pub idle_turns: u64,
    /// Messages that the server sent.
    pub received: u64,
    /// Connections that the server closed or refused, by the reason.
    pub ended: Reasons,
}

/// The attackers of one kind.
struct Squad {
    attack: Attack,
    members: Vec<Option<Box<Attacker>>>,
    /// Token of the first member.
    first: usize,
    turns: u64,
    next: usize,
    damage: Damage,
}

/// What the attackers share.
struct Shared {
    address: SocketAddr,
    from: Vec<IpAddr>,
    user: String,
    poll: Poll,
    scratch: Scratch,
    fleet: Fleet,
    board: Board,
    tally: Tally,
}

/// A mob at work. Dropping it ends it.
pub(crate) struct Mob {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<MobReport>>,
}

/// What a mob did.
#[derive(Default)]
pub(crate) struct MobReport {
    pub damages: Vec<(Attack, Damage)>,
    /// Processor time of its thread.
    pub cpu: Duration,
}

impl Mob {
    /// Sends attackers to a pool, from these addresses in turn or from the system's choice.
    pub(crate) fn start(
        fleet: &Fleet,
        attacks: &[Attack],
        from: &[IpAddr],
        user: String,
        address: SocketAddr,
    ) -> Result<Self, SwarmError> {
        let shared = Shared {
            address,
            from: from.to_vec(),
            user,
            poll: Poll::new().map_err(SwarmError::Thread)?,
            scratch: Scratch::default(),
            fleet: Fleet { channels: 1, ..Fleet::new(fleet.pool.clone()) },
            board: Board::default(),
            tally: Tally::default(),
        };
        let mut first = 0;
        let squads = attacks.iter().map(|&attack| {
            let members = (0..attack.connections).map(|_| None).collect();
            let squad = Squad { attack, members, first, turns: 0, next: 0, damage: Damage::default() };
            first += attack.connections;
            squad
        });
        let squads: Vec<Squad> = squads.collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("mob".to_owned())
            .spawn(move || {
                // Attackers are elsewhere: what their machines do must not take the processor from the pool or the good
                // devices here. (On Linux this holds for the thread alone; where it is refused, it is no worse than without.)
                let _ = rustix::process::nice(BACKGROUND);
                rage(shared, squads, &stopped)
            })
            .map_err(SwarmError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends all of it.
    pub(crate) fn stop(mut self) -> MobReport {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Mob {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn rage(mut shared: Shared, mut squads: Vec<Squad>, stopped: &AtomicBool) -> MobReport {
    let (began, cpu) = (Instant::now(), process::own_thread_time());
    let mut events = Events::with_capacity(EVENTS);
    while !stopped.load(Ordering::Relaxed) {
        let beat = Instant::now();
        if shared.poll.poll(&mut events, Some(BEAT)).is_err() {
            continue;
        }
        for event in &events {
            let token = event.token().0;
            let place = squads.partition_point(|squad| squad.first + squad.members.len() <= token);
            if let Some(squad) = squads.get_mut(place) {
                squad.serve(event, &mut shared);
            }
        }
        for squad in &mut squads {
            squad.take_turns(began.elapsed(), &mut shared);
        }
        // What comes meanwhile is taken together: the attackers' own work is kept small beside the server's.
        std::thread::sleep(BEAT.saturating_sub(beat.elapsed()));
    }
    let cpu = process::own_thread_time().saturating_sub(cpu);
    let damages = squads.into_iter().map(|squad| (squad.attack, squad.damage)).collect();
    MobReport { damages, cpu }
}

impl Squad {
    fn serve(&mut self, event: &Event, shared: &mut Shared) {
        let slot = event.token().0 - self.first;
        let Some(mut attacker) = self.members[slot].take() else { return };
        let stage = attacker.stage;
        let result = shared.serve(&mut attacker, event, self.attack.kind);
        self.damage.received += std::mem::take(&mut shared.tally.received);
        if stage == Stage::Connecting && attacker.stage != Stage::Connecting {
            self.damage.handshakes += 1;
        }
        self.keep(slot, attacker, result, shared);
    }

    /// Puts an attacker back in its place, or counts why it is none any more.
    fn keep(&mut self, slot: usize, attacker: Box<Attacker>, result: Result<(), Lost>, shared: &mut Shared) {
        match result {
            Ok(()) if attacker.done => {}
            Ok(()) => self.members[slot] = Some(attacker),
            Err(Lost::Left) => {}
            Err(lost) => {
                shared.scratch.output.clear();
                self.damage.ended.count(&lost.to_string());
            }
        }
    }

    fn take_turns(&mut self, elapsed: Duration, shared: &mut Shared) {
        let due = elapsed.as_nanos() * u128::from(self.attack.rate) / 1_000_000_000;
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        if self.attack.kind == AttackKind::OneFrameFin {
            self.gather(due, shared);
            return;
        }
        while self.turns < due {
            let slot = self.next;
            self.next = (slot + 1) % self.members.len();
            match self.attack.kind.turn() {
                Turn::Connection => {
                    self.turns += 1;
                    self.connect(slot, shared);
                }
                Turn::Message => {
                    // Each member sends its part of what is due in one write.
                    let times = (due - self.turns).div_ceil(self.members.len() as u64).min(MOST_AT_ONCE);
                    self.turns += self.message(slot, times, shared).max(1);
                }
            }
        }
    }

    fn connect(&mut self, slot: usize, shared: &mut Shared) {
        self.members[slot] = None;
        let number = self.damage.connections;
        self.damage.connections += 1;
        match shared.begin(self.attack.kind, number, self.first + slot) {
            Ok(attacker) => self.members[slot] = Some(Box::new(attacker)),
            Err(lost) => self.damage.ended.count(&lost.to_string()),
        }
    }

    /// Returns the turns that it took.
    fn message(&mut self, slot: usize, times: u64, shared: &mut Shared) -> u64 {
        let Some(mut attacker) = self.members[slot].take() else {
            self.connect(slot, shared);
            return 1;
        };
        if attacker.stage != Stage::Ready || attacker.is_blocked() {
            self.members[slot] = Some(attacker);
            self.damage.idle_turns += times;
            return times;
        }
        let (scratch, mut desk) = shared.desk(self.attack.kind);
        let sent = attacker.attack(times, scratch, &mut desk);
        self.damage.messages += *sent.as_ref().unwrap_or(&0);
        self.keep(slot, attacker, sent.map(|_| ()), shared);
        times
    }

    /// Connects one after the other, and once all are there lets all send their frame and close at one moment.
    fn gather(&mut self, due: u64, shared: &mut Shared) {
        while self.turns < due {
            self.turns += 1;
            match self.members.iter().position(Option::is_none) {
                Some(slot) => self.connect(slot, shared),
                None => self.damage.idle_turns += 1,
            }
        }
        let there = |member: &Option<Box<Attacker>>| {
            member.as_ref().is_some_and(|attacker| attacker.stage != Stage::Connecting)
        };
        if !self.members.iter().all(there) {
            return;
        }
        for slot in 0..self.members.len() {
            let Some(mut attacker) = self.members[slot].take() else { continue };
            let (scratch, mut desk) = shared.desk(self.attack.kind);
            let result = attacker.one_frame_and_out(scratch, &mut desk);
            self.damage.messages += u64::from(matches!(result, Err(Lost::Left)));
            self.keep(slot, attacker, result, shared);
        }
    }
}

impl Shared {
    fn begin(&mut self, kind: AttackKind, number: u64, token: usize) -> Result<Attacker, Lost> {
        let from = token.checked_rem(self.from.len()).map(|index| self.from[index]);
        let mut attacker = Attacker::connect(kind, number, self.address, from, &self.user)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(attacker.socket(), Token(token), interest)
            .map_err(|error| Lost::Io(error.kind()))?;
        Ok(attacker)
    }

    fn serve(&mut self, attacker: &mut Attacker, event: &Event, kind: AttackKind) -> Result<(), Lost> {
        if event.is_writable() || event.is_error() {
            attacker.writable(&mut self.scratch)?;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let (scratch, mut desk) = self.desk(kind);
            attacker.readable(scratch, &mut desk)?;
        }
        Ok(())
    }

    fn desk(&mut self, kind: AttackKind) -> (&mut Scratch, Desk<'_>) {
        let Self { scratch, fleet, board, tally, .. } = self;
        let desk = Desk {
            fleet,
            board,
            tally,
            now: Instant::now(),
            millis: 0,
            micros: 0,
            // Ever more channels are the server's burden, and not to be the attacker's.
            submits: kind != AttackKind::ChannelOpen,
        };
        (scratch, desk)
    }
}
