//! A thread that serves its part of the connections.

mod turnover;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use rand::RngCore;
use work::PayoutKey;

use crate::board::Board;
use crate::link::{Link, Lost, Scratch};
use crate::plan::Fleet;
use crate::process;
use crate::run::{Ended, Run, RunOrder, Tally};
use crate::session::{Desk, Session};
use crate::stock::{Stock, Task};

use turnover::Turnover;
pub(crate) use turnover::TurnoverOrder;

/// The waker's; connections have their index.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// Events taken at once.
const EVENTS: usize = 1024;
/// Longest sleep.
const LOOK: Duration = Duration::from_millis(50);
/// Sleep while connections are begun at a rate.
const CONNECT_LOOK: Duration = Duration::from_millis(1);

/// What the owner wants.
pub(crate) enum Order {
    /// Set up all connections, each with so many channels.
    Connect(usize),
    /// Open channels on all connections until each has so many.
    Open(usize),
    /// Say what shares are needed for.
    Tasks(Sender<Vec<Task>>),
    /// Shares for a connection's channel.
    Load(Vec<(usize, usize, Stock)>),
    /// Submit them.
    Run(RunOrder),
    /// Submit no more.
    EndRun,
    /// Ask every connection for an answer.
    Probe,
    /// Close all connections.
    Disconnect,
    Quit,
}

/// An order, and where to say that it was taken.
pub(crate) struct Envelope {
    pub order: Order,
    pub taken: Sender<()>,
}

struct Connection {
    link: Link,
    session: Session,
    began: Instant,
    /// Whether it is counted as ready.
    ready: bool,
}

/// Connections that are yet to be begun.
struct Connecting {
    channels: usize,
    since: Instant,
    begun: usize,
}

/// See the module.
pub(crate) struct Worker {
    index: usize,
    fleet: Arc<Fleet>,
    board: Arc<Board>,
    address: SocketAddr,
    submits: bool,
    epoch: Instant,
    poll: Poll,
    orders: Receiver<Envelope>,
    connections: Vec<Option<Box<Connection>>>,
    connecting: Option<Connecting>,
    under_way: usize,
    /// Connections by rising deadline of their set-up.
    deadlines: VecDeque<(Instant, usize)>,
    scratch: Scratch,
    tally: Tally,
    run: Option<Run>,
    /// Connections that come and go; they come after those that stay.
    turnover: Turnover,
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub index: usize,
    pub fleet: Arc<Fleet>,
    pub board: Arc<Board>,
    pub address: SocketAddr,
    pub submits: bool,
    pub epoch: Instant,
    pub poll: Poll,
    pub orders: Receiver<Envelope>,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { index, fleet, board, address, submits, epoch, poll, orders } = parts;
        let own = fleet.staying(index);
        Self {
            index,
            fleet,
            board,
            address,
            submits,
            epoch,
            poll,
            orders,
            connections: (0..own).map(|_| None).collect(),
            connecting: None,
            under_way: 0,
            deadlines: VecDeque::new(),
            scratch: Scratch::default(),
            tally: Tally::default(),
            run: None,
            turnover: Turnover::default(),
        }
    }

    /// Works until it is told to quit.
    pub(crate) fn work(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Err(error) = self.poll.poll(&mut events, Some(self.patience())) {
                assert_eq!(
                    error.kind(),
                    std::io::ErrorKind::Interrupted,
                    "polling fails on bad arguments only"
                );
            }
            for event in &events {
                if event.token() != WAKER {
                    self.serve(event);
                }
            }
            if !self.take_orders() {
                return;
            }
            self.connect_more();
            self.enforce_deadlines();
            self.take_turns();
            self.turn_over();
            self.board.add_received(std::mem::take(&mut self.tally.received));
            self.look_at_run();
        }
    }

    fn patience(&self) -> Duration {
        let now = Instant::now();
        let turns_over = self.run.as_ref().is_some_and(|run| run.order.turnover.is_some());
        let connecting = if self.has_to_connect() || turns_over { CONNECT_LOOK } else { LOOK };
        self.run.as_ref().map_or(LOOK, |run| run.patience(now)).min(connecting)
    }

    // --- Orders.

    /// False when the worker is to end.
    fn take_orders(&mut self) -> bool {
        while let Ok(Envelope { order, taken }) = self.orders.try_recv() {
            match order {
                Order::Connect(channels) => {
                    self.connecting = Some(Connecting { channels, since: Instant::now(), begun: 0 });
                }
                Order::Open(channels) => self.open(channels),
                Order::Tasks(answer) => drop(answer.send(self.tasks())),
                Order::Load(stocks) => self.load(stocks),
                Order::Run(order) => self.start_run(order),
                Order::EndRun => {
                    if let Some(run) = &mut self.run {
                        run.end(Ended::Interrupted, Instant::now());
                    }
                }
                Order::Probe => self.probe(),
                Order::Disconnect => self.disconnect(),
                Order::Quit => return false,
            }
            // An owner that is gone needs no answer.
            let _ = taken.send(());
        }
        true
    }

    fn open(&mut self, channels: usize) {
        for token in 0..self.connections.len() {
            self.with(token, |worker, connection| {
                if std::mem::take(&mut connection.ready) {
                    let mut books = worker.board.books();
                    books.ready -= 1;
                    books.channels -= connection.session.channel_count();
                    drop(books);
                    worker.under_way += 1;
                }
                connection.began = Instant::now();
                worker.deadlines.push_back((connection.began + worker.fleet.patience, token));
                let Worker { scratch, board, fleet, tally, .. } = worker;
                let desk = desk(fleet, board, tally, worker.epoch, worker.submits);
                if let Some(mut outbox) = connection.link.outbox(&mut scratch.output) {
                    connection.session.open(channels, &mut outbox, &desk)?;
                }
                connection.link.flush(scratch)
            });
        }
    }

    fn tasks(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (connection, slot) in self.connections.iter_mut().enumerate() {
            let Some(session) = slot.as_mut().filter(|slot| slot.ready).map(|slot| &mut slot.session) else {
                continue;
            };
            for channel in 0..session.channel_count() {
                let work = session.submitter_at(channel).and_then(|(_, submitter)| submitter.work());
                let Some((assignment, rollable)) = work else { continue };
                let assignment = assignment.clone();
                tasks.push(Task { worker: self.index, connection, channel, assignment, rollable });
            }
        }
        tasks
    }

    fn load(&mut self, stocks: Vec<(usize, usize, Stock)>) {
        for (connection, channel, stock) in stocks {
            let Some(Some(slot)) = self.connections.get_mut(connection) else { continue };
            if let Some((_, submitter)) = slot.session.submitter_at(channel) {
                submitter.load(stock, &mut self.tally);
            }
        }
    }

    fn start_run(&mut self, order: RunOrder) {
        let mut turns = Vec::new();
        if order.millirate.is_some() {
            // Successive turns are those of different connections.
            let most = self.connections.iter().flatten().map(|slot| slot.session.channel_count()).max();
            for channel in 0..most.unwrap_or(0) {
                for (token, slot) in self.connections.iter().enumerate() {
                    if slot.as_ref().is_some_and(|slot| channel < slot.session.channel_count()) {
                        turns.push((token, channel));
                    }
                }
            }
        }
        self.run = Some(Run::new(order, turns, process::own_thread_time(), self.scratch.writes));
        for token in 0..self.connections.len() {
            self.with(token, |worker, connection| {
                connection.session.queue_all();
                worker.pump(connection)
            });
        }
    }

    fn probe(&mut self) {
        for token in 0..self.connections.len() {
            self.with(token, |worker, connection| {
                if let Some(mut outbox) = connection.link.outbox(&mut worker.scratch.output) {
                    connection.session.probe(&mut outbox, worker.fleet.kind)?;
                }
                connection.link.flush(&mut worker.scratch)
            });
        }
    }

    fn disconnect(&mut self) {
        self.connecting = None;
        self.deadlines.clear();
        self.under_way = 0;
        let mut books = self.board.books();
        for connection in self.connections.iter_mut().filter_map(Option::take) {
            if connection.ready {
                books.ready -= 1;
                books.channels -= connection.session.channel_count();
            }
        }
    }

    // --- Connections.

    fn has_to_connect(&self) -> bool {
        // Those that come and go have places of their own behind these.
        let own = self.fleet.staying(self.index);
        self.connecting.as_ref().is_some_and(|connecting| connecting.begun < own)
    }

    fn connect_more(&mut self) {
        let threads = self.fleet.threads;
        let most_under_way = self.fleet.under_way.div_ceil(threads);
        while self.has_to_connect() && self.under_way < most_under_way {
            let Some(connecting) = &mut self.connecting else { return };
            if let Some(rate) = self.fleet.connect_rate {
                let due =
                    connecting.since.elapsed().as_micros() * u128::from(rate) / 1_000_000 / threads as u128;
                if connecting.begun as u128 >= due {
                    return;
                }
            }
            let (token, channels) = (connecting.begun, connecting.channels);
            connecting.begun += 1;
            let number = token * threads + self.index;
            let from = from_address(&self.fleet.local_addresses, number);
            self.under_way += 1;
            let user = self.fleet.user.clone().unwrap_or_else(nobody);
            if let Err(lost) = self.begin(token, channels, from, user) {
                self.under_way -= 1;
                self.board.books().failed.count(&lost.to_string());
            }
        }
    }

    fn begin(
        &mut self,
        token: usize,
        channels: usize,
        from: Option<IpAddr>,
        user: String,
    ) -> Result<(), Lost> {
        let began = Instant::now();
        let mut link = Link::connect(self.address, from)?;
        self.poll
            .registry()
            .register(&mut link.socket, Token(token), Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| Lost::Io(error.kind()))?;
        let session = Session::new(user, channels);
        self.connections[token] = Some(Box::new(Connection { link, session, began, ready: false }));
        self.deadlines.push_back((began + self.fleet.patience, token));
        Ok(())
    }

    fn enforce_deadlines(&mut self) {
        let now = Instant::now();
        while let Some(&(deadline, token)) = self.deadlines.front().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.pop_front();
            let patience = self.fleet.patience;
            self.with(token, |_, connection| {
                let late = !connection.ready && connection.began + patience <= deadline;
                if late { Err(Lost::Silent(connection.session.awaits())) } else { Ok(()) }
            });
        }
    }

    /// Does something with a connection, which ends if that fails.
    fn with(&mut self, token: usize, act: impl FnOnce(&mut Self, &mut Connection) -> Result<(), Lost>) {
        let Some(mut connection) = self.connections.get_mut(token).and_then(Option::take) else { return };
        match act(self, &mut connection) {
            Ok(()) => self.connections[token] = Some(connection),
            Err(lost) => self.end(*connection, &lost),
        }
    }

    fn end(&mut self, mut connection: Connection, lost: &Lost) {
        self.scratch.output.clear();
        connection.session.abandon(&mut self.tally);
        let mut books = self.board.books();
        if connection.ready {
            books.ready -= 1;
            books.channels -= connection.session.channel_count();
        } else {
            self.under_way -= 1;
        }
        match lost {
            // Whoever told it to leave has counted it.
            Lost::Left => {}
            _ if connection.ready => books.lost.count(&lost.to_string()),
            _ => books.failed.count(&lost.to_string()),
        }
    }

    fn serve(&mut self, event: &Event) {
        self.with(event.token().0, |worker, connection| {
            if event.is_writable() || event.is_error() {
                connection.link.writable(&mut worker.scratch)?;
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                worker.read(connection, event.is_read_closed())?;
            }
            worker.pump(connection)
        });
    }

    fn read(&mut self, connection: &mut Connection, to_end: bool) -> Result<(), Lost> {
        let Worker { scratch, board, fleet, tally, .. } = self;
        let before = connection.session.channel_count();
        let answered_before = tally.last_answer;
        let mut desk = desk(fleet, board, tally, self.epoch, self.submits);
        let now = desk.now;
        let Connection { link, session, .. } = connection;
        link.read(scratch, to_end, |input, outbox| session.input(input, outbox, &mut desk))?;
        if tally.last_answer != answered_before
            && let Some(run) = &mut self.run
        {
            run.progressed(now);
        }
        let channels = connection.session.channel_count();
        if connection.ready {
            if channels < before {
                self.board.books().channels -= before - channels;
            }
        } else if connection.session.is_ready() {
            connection.ready = true;
            self.under_way -= 1;
            let took = now.saturating_duration_since(connection.began).as_micros();
            let mut books = self.board.books();
            books.ready += 1;
            books.channels += channels;
            books.set_up.record(u64::try_from(took).unwrap_or(u64::MAX));
            books.last_ready = Some(now);
        }
        Ok(())
    }

    /// Sends what there is to send, as far as the windows and the socket allow.
    fn pump(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        loop {
            let mut more = false;
            if let Some(run) = self.run.as_mut().filter(|run| run.is_pipelined())
                && !connection.link.is_blocked()
                && let Some(mut outbox) = connection.link.outbox(&mut self.scratch.output)
            {
                let now = Instant::now();
                if self.tally.outstanding == 0 {
                    run.progressed(now);
                }
                let micros = wrapping_micros(now, self.epoch);
                more = connection.session.refill(run.order.window, micros, &mut outbox, &mut self.tally)?;
            }
            connection.link.flush(&mut self.scratch)?;
            if !more || connection.link.is_blocked() {
                return Ok(());
            }
        }
    }

    // --- The run.

    /// Sends the shares that are due, each in a write of its own.
    fn take_turns(&mut self) {
        loop {
            let now = Instant::now();
            let Some((token, channel)) = self.run.as_mut().and_then(|run| run.due_turn(now)) else { return };
            let submitted = self.tally.submitted;
            self.with(token, |worker, connection| worker.submit_one(connection, channel, now));
            if self.tally.submitted == submitted {
                self.tally.held_back += 1;
            }
        }
    }

    fn submit_one(&mut self, connection: &mut Connection, channel: usize, now: Instant) -> Result<(), Lost> {
        let Some(run) = &mut self.run else { return Ok(()) };
        if connection.link.is_blocked() {
            return Ok(());
        }
        let Some((id, submitter)) = connection.session.submitter_at(channel) else { return Ok(()) };
        let Some(mut outbox) = connection.link.outbox(&mut self.scratch.output) else { return Ok(()) };
        if submitter.is_full(run.order.window) {
            return Ok(());
        }
        if self.tally.outstanding == 0 {
            run.progressed(now);
        }
        let mut micros = wrapping_micros(now, self.epoch);
        if run.order.endless {
            submitter.find(&mut self.tally);
            micros = wrapping_micros(Instant::now(), self.epoch);
        }
        submitter.submit(id, micros, &mut outbox, &mut self.tally)?;
        connection.link.flush(&mut self.scratch)
    }

    fn look_at_run(&mut self) {
        let Some(run) = &mut self.run else { return };
        if !run.is_over(&self.tally, Instant::now()) {
            return;
        }
        let mut tally = std::mem::take(&mut self.tally);
        tally.ended = run.ended();
        tally.cpu = process::own_thread_time().saturating_sub(run.cpu_before);
        tally.writes = self.scratch.writes - run.writes_before;
        let endless = self.run.take().is_some_and(|run| run.order.endless);
        if endless {
            // What was prepared is for the next run.
            for connection in self.connections.iter_mut().flatten() {
                connection.session.forget_unanswered(&mut self.tally);
            }
            self.board.books().tallies.push(tally);
            return;
        }
        // Shares that are left or unanswered are this run's; nothing may be counted against another one.
        let mut rest = Tally { left: tally.left, outstanding: tally.outstanding, ..Tally::default() };
        for connection in self.connections.iter_mut().flatten() {
            connection.session.abandon(&mut rest);
        }
        debug_assert_eq!((rest.left, rest.outstanding), (0, 0), "the sums are those of the channels");
        self.board.books().tallies.push(tally);
    }
}

fn desk<'a>(
    fleet: &'a Fleet,
    board: &'a Board,
    tally: &'a mut Tally,
    epoch: Instant,
    submits: bool,
) -> Desk<'a> {
    let now = Instant::now();
    let millis = now.saturating_duration_since(epoch).as_millis();
    Desk {
        fleet,
        board,
        tally,
        now,
        millis: u64::try_from(millis).unwrap_or(u64::MAX),
        micros: wrapping_micros(now, epoch),
        submits,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "wraps on purpose: only differences matter")]
fn wrapping_micros(now: Instant, epoch: Instant) -> u32 {
    now.saturating_duration_since(epoch).as_micros() as u32
}

fn from_address(addresses: &[IpAddr], number: usize) -> Option<IpAddr> {
    addresses.get(number.checked_rem(addresses.len())?).copied()
}

/// A payout key whose secret nobody knows: load earns nothing for anybody.
pub(crate) fn nobody() -> String {
    loop {
        let mut bytes = [0; 32];
        rand::thread_rng().fill_bytes(&mut bytes);
        // Every other number is a point's coordinate.
        if let Ok(key) = PayoutKey::from_bytes(bytes) {
            return key.to_string();
        }
    }
}
