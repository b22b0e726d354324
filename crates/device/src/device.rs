//! The device as it runs: sockets, threads and a clock around [`Session`].
//!
//! One thread supervises. Everything that happens reaches it through one bounded queue: frames from the
//! connection's reader thread, headers from the search threads, the results of dialling, the order to
//! stop. It never blocks on anything but that queue and a write with a time-out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use engine::client::Client;
use sv2::Frame;
use work::HashRate;

use crate::config::{ConfigError, DeviceConfig};
use crate::crew::{Crew, Found, RateWindow};
use crate::event::{DeviceEvent, DeviceState, DeviceStats};
use crate::kernel;
use crate::link::{self, Input, Link};
use crate::pools::{Destination, Pools};
use crate::session::{Action, Carry, End, Session};

/// Things that may wait for the supervisor; who has more to say waits.
const INPUT_QUEUE: usize = 256;
/// Inputs handled before the answers to them are written.
const INPUT_BATCH: usize = 64;
/// How long the speed is measured at the start.
const MEASURE_FOR: Duration = Duration::from_millis(100);
/// The hash rate that is shown covers this.
const RATE_SPAN: Duration = Duration::from_secs(10);
/// The hash rate that the pool is told is based on at least this.
const RATE_SETTLED: Duration = Duration::from_secs(5);

/// A CPU mining device.
#[derive(Debug)]
pub struct Device;

impl Device {
    /// Starts mining. Events go to `events`; one that finds the queue full is dropped and counted.
    ///
    /// # Errors
    /// What is wrong with the configuration, or that the system has no threads to give.
    pub fn start(config: DeviceConfig, events: Sender<DeviceEvent>) -> Result<DeviceHandle, ConfigError> {
        config.check()?;
        let (sender, inputs) = bounded(INPUT_QUEUE);
        let crew = Crew::start(config.threads, config.max_hash_rate, &sender)?;
        let shared =
            Arc::new(Shared { stats: Mutex::new(DeviceStats::default()), dropped: AtomicU64::new(0) });
        let supervisor = Supervisor {
            pools: Pools::new(&config.pools, config.timing),
            rate: RateWindow::new(RATE_SPAN),
            next_tick: Instant::now(),
            config: Arc::new(config),
            crew,
            inputs,
            sender: sender.clone(),
            events,
            shared: Arc::clone(&shared),
            carry: Carry::default(),
            nominal: HashRate::ZERO,
            dial: 0,
            probe: None,
            handover: None,
            stopping: false,
        };
        let thread = std::thread::Builder::new().name("device".to_owned()).spawn(move || supervisor.run())?;
        Ok(DeviceHandle { shared, sender, thread: Some(thread) })
    }
}

/// A running device. Dropping it stops the device.
#[derive(Debug)]
pub struct DeviceHandle {
    shared: Arc<Shared>,
    sender: Sender<Input>,
    thread: Option<JoinHandle<()>>,
}

impl DeviceHandle {
    /// The figures at this moment.
    pub fn stats(&self) -> DeviceStats {
        self.shared.snapshot()
    }

    /// Stops in good order: pending shares get a moment to be acknowledged, the channel is closed, all
    /// threads end. Returns the final figures.
    pub fn stop(mut self) -> DeviceStats {
        self.end();
        self.shared.snapshot()
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // If it is not there to listen, it has ended already.
        drop(self.sender.send(Input::Stop));
        if thread.join().is_err() {
            tracing::error!("the device's thread had panicked");
        }
    }
}

impl Drop for DeviceHandle {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug)]
struct Shared {
    stats: Mutex<DeviceStats>,
    dropped: AtomicU64,
}

impl Shared {
    fn snapshot(&self) -> DeviceStats {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stats.events_dropped = self.dropped.load(Ordering::Relaxed);
        stats
    }

    fn update(&self, change: impl FnOnce(&mut DeviceStats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

struct Supervisor {
    config: Arc<DeviceConfig>,
    pools: Pools,
    crew: Crew,
    inputs: Receiver<Input>,
    sender: Sender<Input>,
    events: Sender<DeviceEvent>,
    shared: Arc<Shared>,
    rate: RateWindow,
    next_tick: Instant,
    carry: Carry,
    nominal: HashRate,
    /// Counts attempts to connect and connections, so that late news of earlier ones are recognised.
    dial: u64,
    /// The attempt to reach the preferred pool while another one is in use.
    probe: Option<u64>,
    /// A fresh connection to the preferred pool.
    handover: Option<Client>,
    stopping: bool,
}

impl Supervisor {
    fn run(mut self) {
        self.nominal = self.initial_rate();
        while !self.stopping {
            let destination = self.pools.destination();
            let delay = match self.connect(&destination) {
                Some(Ok(client)) => self.mine(destination, client),
                Some(Err(reason)) => {
                    let delay = self.pools.unreachable(Instant::now(), &mut rand::thread_rng());
                    self.disconnected(&destination, reason, Some(delay));
                    delay
                }
                None => break,
            };
            self.pause(delay);
        }
        self.state(DeviceState::Stopped, DeviceState::Stopped.to_string());
        self.shared.update(|stats| {
            stats.pool = None;
            stats.hash_rate = HashRate::ZERO;
        });
        self.event(DeviceEvent::Stopped);
    }

    fn initial_rate(&self) -> HashRate {
        let measured = || {
            let threads =
                std::num::NonZeroUsize::new(self.config.threads).unwrap_or(std::num::NonZeroUsize::MIN);
            kernel::measure(threads, MEASURE_FOR)
        };
        let rate = self.config.nominal_hash_rate.unwrap_or_else(measured);
        self.config.max_hash_rate.map_or(rate, |limit| rate.min(limit))
    }

    /// Connects. `None`: the device is to stop.
    fn connect(&mut self, destination: &Destination) -> Option<Result<Client, String>> {
        let pool = destination.address.host_port();
        self.state(DeviceState::Connecting, format!("connecting to {pool}"));
        self.shared.update(|stats| stats.pool = Some(pool.clone()));
        self.event(DeviceEvent::Connecting { pool });
        let dial = self.dial(destination);
        loop {
            match self.next_input(None) {
                Some(Input::Dialled { dial: of, result }) if of == dial => {
                    return Some(result.map(|client| *client));
                }
                Some(input) => self.idle_input(input),
                None => (),
            }
            if self.stopping {
                return None;
            }
        }
    }

    fn dial(&mut self, destination: &Destination) -> u64 {
        self.dial += 1;
        link::dial(self.dial, destination.address.clone(), self.config.timing, self.sender.clone());
        self.dial
    }

    /// Waits before the next attempt.
    fn pause(&mut self, delay: Duration) {
        let until = Instant::now() + delay;
        while !self.stopping && Instant::now() < until {
            if let Some(input) = self.next_input(Some(until)) {
                self.idle_input(input);
            }
        }
    }

    /// An input while there is no session.
    fn idle_input(&mut self, input: Input) {
        match input {
            Input::Stop => self.stopping = true,
            Input::Found(_) => self.carry.tally.drop_stale(),
            Input::Dialled { .. } | Input::Frame { .. } | Input::Gone { .. } => (),
        }
    }

    /// The next input, at most until `deadline` or the next tick.
    fn next_input(&mut self, deadline: Option<Instant>) -> Option<Input> {
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + self.config.timing.tick;
            self.sample(now);
        }
        let until = deadline.map_or(self.next_tick, |deadline| deadline.min(self.next_tick));
        match self.inputs.recv_deadline(until) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            // Cannot be: the supervisor itself holds a sender. If it were so, nobody could stop it.
            Err(RecvTimeoutError::Disconnected) => Some(Input::Stop),
        }
    }

    fn sample(&mut self, now: Instant) {
        let hashes = self.crew.hashes();
        self.rate.sample(now, hashes);
        let hash_rate = self.rate.rate().unwrap_or(HashRate::ZERO);
        self.shared.update(|stats| {
            stats.hashes = hashes;
            stats.hash_rate = hash_rate;
        });
    }

    /// Mines over a fresh connection until it ends. Says how long to wait before the next.
    fn mine(&mut self, destination: Destination, client: Client) -> Duration {
        let (mut destination, mut client) = (destination, client);
        loop {
            let (end, mined) = self.one_session(&destination, client);
            if end == End::Stopped {
                self.stopping = true;
                self.disconnected(&destination, end.to_string(), None);
                return Duration::ZERO;
            }
            let Some(preferred) = self.handover.take() else {
                let delay = self.pools.ended(&end, mined, Instant::now(), &mut rand::thread_rng());
                self.disconnected(&destination, end.to_string(), Some(delay));
                return delay;
            };
            self.disconnected(&destination, end.to_string(), Some(Duration::ZERO));
            self.pools.returned();
            destination = self.pools.preferred();
            client = preferred;
        }
    }

    fn one_session(&mut self, destination: &Destination, client: Client) -> (End, Duration) {
        let pool = destination.address.host_port();
        self.state(DeviceState::Opening, format!("opening a channel at {pool}"));
        self.shared.update(|stats| {
            stats.connections += 1;
            stats.pool = Some(pool.clone());
        });
        self.event(DeviceEvent::Connected { pool });
        self.dial += 1;
        let mut link = match Link::start(self.dial, client, self.sender.clone()) {
            Ok(link) => link,
            Err(error) => return (End::ConnectionLost(error.to_string()), Duration::ZERO),
        };
        let endpoint = (destination.address.host.as_str(), destination.address.port);
        let carry = std::mem::take(&mut self.carry);
        let config = Arc::clone(&self.config);
        let mut session =
            Session::new(config, endpoint, destination.lessons, self.nominal, carry, Instant::now());
        self.rate.clear();
        let end = self.attend(&mut session, &mut link);
        let mined = session.mined_for(Instant::now());
        self.nominal = session.nominal();
        self.crew.board().post(None);
        self.carry = session.into_carry();
        self.publish(None);
        (end, mined)
    }

    /// Feeds the session until it ends.
    fn attend(&mut self, session: &mut Session, link: &mut Link) -> End {
        loop {
            if let Some(end) = self.perform(session, link) {
                return end;
            }
            self.publish(Some(session));
            let mut next = self.next_input(session.deadline());
            let now = Instant::now();
            for _ in 0..INPUT_BATCH {
                let Some(input) = next else { break };
                self.input(input, session, link, now);
                next = self.inputs.try_recv().ok();
            }
            if let Some(input) = next {
                self.input(input, session, link, now);
            }
            session.tick(now);
            self.look_around(session, now);
        }
    }

    fn input(&mut self, input: Input, session: &mut Session, link: &Link, now: Instant) {
        match input {
            Input::Frame { connection, header, payload } if connection == link.id() => {
                session.frame(Frame { header, payload: &payload }, now);
            }
            Input::Gone { connection, reason } if connection == link.id() => session.disconnected(reason),
            Input::Found(found) => session.found(&found),
            Input::Stop => session.leave(End::Stopped, now),
            Input::Dialled { dial, result } if self.probe == Some(dial) => {
                self.probe = None;
                match result {
                    Ok(client) => {
                        self.handover = Some(*client);
                        session.leave(End::Returning, now);
                    }
                    Err(_) => self.pools.return_failed(now),
                }
            }
            // Late news of an earlier connection.
            Input::Frame { .. } | Input::Gone { .. } | Input::Dialled { .. } => (),
        }
    }

    /// What is due from time to time while mining.
    fn look_around(&mut self, session: &mut Session, now: Instant) {
        if self.rate.covered() >= RATE_SETTLED.min(self.config.timing.update_channel)
            && let Some(rate) = self.rate.rate()
        {
            session.measured(rate, now);
        }
        if self.probe.is_none() && self.handover.is_none() && self.pools.return_due(now) {
            let preferred = self.pools.preferred();
            self.probe = Some(self.dial(&preferred));
        }
    }

    /// Does what the session wants done; what it sends leaves in one write.
    fn perform(&mut self, session: &mut Session, link: &mut Link) -> Option<End> {
        let mut end = None;
        while let Some(action) = session.poll() {
            match action {
                Action::Send(frame) => link.queue(&frame),
                Action::Work(work) => {
                    if work.is_some() {
                        self.state(DeviceState::Mining, DeviceState::Mining.to_string());
                    }
                    self.crew.board().post(work);
                }
                Action::Event(event) => self.event(event),
                Action::End(why) => end = Some(why),
            }
        }
        if let Err(reason) = link.flush() {
            session.disconnected(reason);
        }
        end
    }

    fn disconnected(&mut self, destination: &Destination, reason: String, retry_in: Option<Duration>) {
        let pool = destination.address.host_port();
        self.state(DeviceState::Waiting, format!("{pool}: {reason}"));
        self.event(DeviceEvent::Disconnected { pool, reason, retry_in });
    }

    fn state(&self, state: DeviceState, text: String) {
        self.shared.update(|stats| {
            stats.state = state;
            stats.state_text = text;
        });
    }

    fn event(&self, event: DeviceEvent) {
        tracing::debug!(%event);
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn publish(&self, session: Option<&Session>) {
        let tally = session.map_or(&self.carry.tally, Session::tally);
        let targets = session.and_then(Session::targets);
        let hashes = self.crew.hashes();
        self.shared.update(|stats| {
            stats.hashes = hashes;
            stats.shares_submitted = tally.submitted();
            stats.shares_accepted = tally.accepted();
            stats.shares_outstanding = tally.outstanding();
            stats.shares_unanswered = tally.unanswered();
            stats.shares_dropped = tally.dropped();
            stats.difficulty_sum = tally.difficulty_sum();
            stats.credit = tally.credit();
            stats.blocks_found = tally.blocks();
            if stats.shares_rejected != tally.rejected() {
                stats.shares_rejected = tally.rejected();
                stats.rejected_by_code.clone_from(tally.rejected_by_code());
            }
            stats.target = targets.map(|(target, _)| target);
            stats.network_target = targets.map(|(_, network)| network);
            stats.difficulty = targets.map(|(target, _)| target.difficulty()).unwrap_or_default();
        });
    }
}

impl From<Found> for Input {
    fn from(found: Found) -> Self {
        Input::Found(found)
    }
}
