//! The pool's whole side of a connection, from the handshake to the ledger's disk, driven by any sequence of messages,
//! bytes, times, blocks and failures.
//!
//! Every request has at most one answer, and exactly one when all is quiet; only good shares are acknowledged, all of
//! them, and not before they are durable; every job can be mined as sent; memory stays bounded.

mod client;
mod world;

use crate::input::Input;
use client::{Client, Known, Sent};
use engine::simulation::Peer;
use pool::PoolTotals;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::time::Duration;
use sv2::catalogue::CATALOGUE;
use sv2::codec::{B0_32, B0_64K, B0_255, F32, Seq0_64K, Seq0_255, Str0_255};
use sv2::extensions::RequestExtensions;
use sv2::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SetCustomMiningJob,
    SubmitSharesExtended, SubmitSharesStandard, UpdateChannel,
};
use sv2::noise::Trust;
use sv2::setup::{MiningSetupFlags, SetupConnection};
use sv2::{ErrorCode, Header, Sender};
use work::{Kind, Target};
use world::{SHARES_PER_TIP, World};

/// Connections of one play.
const CLIENTS: usize = 3;

/// What the engine may hold for so few connections.
const MEMORY: usize = CLIENTS * ((1 << 18) + (1 << 17) + (1 << 12)) + (1 << 16);

/// How the pool is configured, then what happens.
pub fn session(data: &[u8]) {
    play(data);
}

fn play(data: &[u8]) -> PoolTotals {
    let mut input = Input::new(data);
    let mut play = Play { world: World::new(input.flag()), clients: Vec::new(), numbers: 0, settled: true };
    play.connect();
    for _ in 0..150 {
        if input.is_empty() {
            break;
        }
        play.step(&mut input);
        assert!(play.world.pool.bytes_held(0) <= MEMORY);
    }
    play.end()
}

struct Play {
    world: World,
    clients: Vec<Client>,
    /// Request ids and sequence numbers: none is used twice.
    numbers: u32,
    /// Nothing has happened that the clients do not know of.
    settled: bool,
}

impl Play {
    fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    fn connect(&mut self) {
        if self.clients.len() == CLIENTS {
            return;
        }
        let mut rng = StdRng::seed_from_u64(self.clients.len() as u64);
        let (peer, act_1) = Peer::new(Trust::AnyServer, &mut rng);
        let address = ([127, 0, 0, 1], 1000).into();
        let Ok(socket) = self.world.pool.connect(0, address) else { return };
        self.clients.push(Client::new(socket, peer, &act_1));
        self.settle();
    }

    /// One thing happens; then, mostly, the pool does all that there is to do.
    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let which = usize::from(what >> 6) % self.clients.len();
        match what % 20 {
            0 => self.connect(),
            1 => self.set_up(which, input),
            2 => self.open(which, input),
            3..10 => self.share(which, input),
            10 => self.update(which, input),
            11 => self.close(which, input),
            12 => self.ask_in_vain(which, input),
            13 => self.send_any_frame(which, input),
            14 => self.break_connection(which, input),
            15 => self.world.pass(Duration::from_millis(u64::from(input.byte()) << input.below(10))),
            16 => self.new_work(input),
            17 => self.world.disk.fail(input.byte() % 3, input.flag()),
            18 => self.clients[which].reads ^= true,
            _ => {}
        }
        self.settled = false;
        if what & 0x20 == 0 {
            self.settle();
        }
    }

    /// Everything that is due is done, and read.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut worked = self.world.step();
            for client in &mut self.clients {
                worked |= client.read(self.world.at.unix, &self.world.disk);
            }
            if !worked {
                self.settled = self.clients.iter().all(|client| client.reads || client.dead);
                return;
            }
        }
        panic!("the pool never rests");
    }

    fn set_up(&mut self, which: usize, input: &mut Input<'_>) {
        let client = &mut self.clients[which];
        if client.set_up_sent || !client.is_open() {
            return;
        }
        client.set_up_sent = true;
        let flags = input.pick(&[0, 1, 4, 5, 2, 0x8000_0000]);
        client.flags = MiningSetupFlags::from_bits(flags);
        let text = Str0_255::from_static("fuzz");
        client.send(&SetupConnection {
            protocol: if input.byte() == 255 { 1 } else { 0 },
            min_version: 2,
            max_version: 2,
            flags,
            endpoint_host: text.clone(),
            endpoint_port: 1,
            vendor: text.clone(),
            hardware_version: text.clone(),
            firmware: text.clone(),
            device_id: text,
        });
    }

    fn open(&mut self, which: usize, input: &mut Input<'_>) {
        let request_id = self.number();
        let client = &mut self.clients[which];
        if !client.set_up {
            return;
        }
        let (how, number) = (input.byte(), input.byte());
        let (user, key) = Client::user(number);
        let user_identity = Str0_255::new(user).expect("a short name");
        let rate = input.pick(&[0.0, 1.0, 1e3, 1e9, 1e18, -1.0, f32::NAN]);
        let nominal_hash_rate = F32::new(rate);
        let max_target = input.pick(&[Target::MAX, Target::DIFFICULTY_1, Target::ZERO]).to_le_bytes();
        client.asks(request_id, Some(key));
        if how & 1 == 0 {
            client.send(&OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            });
        } else {
            let min_extranonce_size = u16::from(how >> 1) % 18;
            client.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            });
        }
    }

    /// A channel of the client's, or a number that is none's.
    fn channel(client: &Client, number: u8) -> u32 {
        let mut ids: Vec<u32> = client.channels.keys().copied().collect();
        ids.sort_unstable();
        match ids.len() {
            0 => u32::from(number),
            _ if number >= 250 => u32::from(number - 250),
            len => ids[usize::from(number) % len],
        }
    }

    fn share(&mut self, which: usize, input: &mut Input<'_>) {
        let sequence_number = self.number();
        let (in_step, unix) = (self.settled, self.world.at.unix);
        let client = &mut self.clients[which];
        let channel_id = Self::channel(client, input.byte());
        let (how, nonce) = (input.byte(), u32::from(input.u16()));
        let knows_not_all = client.knows_not_all;
        let Some(open) = client.channels.get_mut(&channel_id) else {
            if client.set_up {
                let (job_id, ntime, version) = (1, unix, 1 << 29);
                client.stray(sequence_number);
                client.send(&SubmitSharesStandard {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                });
            }
            return;
        };
        let kind = open.work.kind();
        let rolled = match kind {
            Kind::Standard => Vec::new(),
            Kind::Extended { rollable } => vec![how >> 6; rollable.into()],
        };
        let Some(job) = open.work.active() else { return };
        let mut version = job.version();
        let mut ntime = *job.ntimes(0).start();
        let mut job_id = job.job_id();
        let mut known = None;
        match how % 16 {
            0 => version ^= 1 << (how >> 3),
            1 => ntime = ntime.wrapping_sub(1 + u32::from(how >> 4)),
            2 => ntime = unix + 7200 + u32::from(how >> 4),
            3 => job_id = job_id.wrapping_sub(1 + u32::from(how >> 4)),
            _ => {
                let header = job.header(version, &job.merkle_root(&rolled), ntime, nonce);
                let hash = Client::hash(&header);
                let meets = job.target().max(job.tip().network_target()).is_met_by(&hash);
                let credit = job.credit();
                let good = meets && !open.headers.contains(&hash);
                // Beyond the budget of a tip, or if anything is under way, the client cannot tell; nor if it has sent shares that
                // it does not know: one of them may have been this one.
                let alone = in_step && open.shares.is_empty() && !knows_not_all;
                let certain = alone && open.counted < SHARES_PER_TIP;
                if meets {
                    open.headers.insert(hash);
                }
                known = Some(Known { credit, good: (certain || !meets).then_some(good) });
            }
        }
        // Also those of which it does not know whether they count.
        open.counted += 1;
        open.shares.push_back(Sent { sequence_number, known });
        let share = SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version };
        match kind {
            Kind::Standard => client.send(&share),
            Kind::Extended { .. } => {
                let extranonce = B0_32::new(rolled).expect("at most 32 bytes");
                client.send(&SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce,
                });
            }
        }
    }

    fn update(&mut self, which: usize, input: &mut Input<'_>) {
        let client = &mut self.clients[which];
        let channel_id = Self::channel(client, input.byte());
        let rate = input.pick(&[0.0, 1.0, 1e6, 1e12, -1.0, f32::INFINITY]);
        let maximum_target = input.pick(&[Target::MAX, Target::DIFFICULTY_1, Target::ZERO]).to_le_bytes();
        if client.set_up {
            client.updates(channel_id);
            client.send(&UpdateChannel { channel_id, nominal_hash_rate: F32::new(rate), maximum_target });
        }
    }

    fn close(&mut self, which: usize, input: &mut Input<'_>) {
        let client = &mut self.clients[which];
        let channel_id = match input.byte() {
            255 => client.channels.values().next().map_or(1, |open| open.group),
            number => Self::channel(client, number),
        };
        if !client.set_up {
            return;
        }
        client.closes(channel_id);
        client.send(&CloseChannel { channel_id, reason_code: ErrorCode::from_static("enough") });
    }

    /// Requests that the pool grants to nobody, or grants once.
    fn ask_in_vain(&mut self, which: usize, input: &mut Input<'_>) {
        let request_id = self.number();
        let client = &mut self.clients[which];
        if !client.set_up {
            return;
        }
        if input.flag() {
            let request_id = u16::try_from(request_id).expect("plays are short");
            *client.extensions.entry(request_id).or_default() += 1;
            let ids: Vec<u16> = (0..input.below(6)).map(|_| u16::from(input.byte() % 6)).collect();
            let requested_extensions = Seq0_64K::new(ids).expect("a few");
            return client.send(&RequestExtensions { request_id, requested_extensions });
        }
        *client.custom.entry(request_id).or_default() += 1;
        client.send(&SetCustomMiningJob {
            channel_id: Self::channel(client, input.byte()),
            request_id,
            mining_job_token: B0_255::EMPTY,
            version: 0,
            prev_hash: [0; 32],
            min_ntime: 0,
            nbits: 0,
            coinbase_tx_version: 0,
            coinbase_prefix: B0_255::EMPTY,
            coinbase_tx_input_n_sequence: 0,
            coinbase_tx_outputs: B0_64K::EMPTY,
            coinbase_tx_locktime: 0,
            merkle_path: Seq0_255::EMPTY,
        });
    }

    /// A frame with any payload. What it asks for is noted, so that its answer is known when it comes.
    fn send_any_frame(&mut self, which: usize, input: &mut Input<'_>) {
        let number = self.number();
        let client = &mut self.clients[which];
        if !client.is_open() {
            return;
        }
        let entries: Vec<_> = CATALOGUE
            .iter()
            .filter(|entry| {
                entry.sender != Sender::Server && entry.protocol.is_none_or(|of| of.to_wire() == 0)
            })
            .collect();
        let kind = input.byte();
        let (extension_type, msg_type, channel_bit) = match kind {
            240.. => (u16::from(kind - 240), input.byte(), kind & 1 == 1),
            _ => {
                let entry = entries[usize::from(kind) % entries.len()];
                (entry.extension, entry.msg_type, entry.channel_bit)
            }
        };
        let len = usize::from(input.u16() % 700);
        let mut payload = input.bytes(len).to_vec();
        let channel_msg = channel_bit && payload.len() >= 4;
        if std::mem::replace(&mut client.set_up_sent, true) {
            note_request(client, (extension_type, msg_type), number, &mut payload);
        }
        let length = u32::try_from(payload.len()).expect("short");
        let header = Header { extension_type, channel_msg, msg_type, length };
        let header = header.to_bytes().expect("a header that can be written");
        client.send_frame(&[&header[..], &payload].concat());
    }

    fn break_connection(&mut self, which: usize, input: &mut Input<'_>) {
        let client = &mut self.clients[which];
        match input.below(4) {
            0 => client.send_rubbish(input.short()),
            1 => client.finish(),
            2 => client.reset(),
            _ => {}
        }
    }

    fn new_work(&mut self, input: &mut Input<'_>) {
        self.clients.iter_mut().for_each(Client::may_be_overtaken);
        match input.below(4) {
            0 | 1 => self.world.node.new_fees(),
            2 => self.world.node.new_block(false),
            _ => self.world.node.new_block(true),
        }
        self.world.pool.feed_templates();
    }

    /// The disk is well again, everybody reads, and time passes: then nothing may be owed.
    fn end(mut self) -> PoolTotals {
        self.world.disk.fail(0, false);
        self.clients.iter_mut().for_each(|client| client.reads = true);
        for _ in 0..4 {
            self.world.pass(Duration::from_millis(1100));
            self.settle();
        }
        assert!(!self.world.pool.has_failed());
        self.clients.iter_mut().filter(|client| !client.dead).for_each(Client::settled);
        let open: usize = self.clients.iter().map(|client| client.channels.len()).sum();
        let totals = self.world.pool.stats().totals();
        assert_eq!(totals.channels, open as u64);
        let credited = self.world.ledger.books(ledger::State::credited).expect("the disk is well");
        assert_eq!(u128::from(totals.ehash_credited), credited);
        assert_eq!(self.world.disk.credited(), credited, "what is credited is durable");
        let mut drain = self.world.pool.drain();
        self.settle();
        assert!(drain.is_done());
        totals
    }
}

/// Puts a number of its own into a request, so that its answer is told from others, and remembers it.
fn note_request(client: &mut Client, message: (u16, u8), number: u32, payload: &mut [u8]) {
    let at = match message {
        (0, 0x10 | 0x13) => 0,
        (0, 0x1a | 0x1b | 0x22) => 4,
        (1, 0) => {
            let Some(id) = payload.first_chunk_mut() else { return };
            let number = u16::try_from(number).expect("plays are short");
            *id = number.to_le_bytes();
            *client.extensions.entry(number).or_default() += 1;
            return;
        }
        (0, 0x16) => {
            let id = payload.first_chunk().map_or(0, |id| u32::from_le_bytes(*id));
            client.updates(id);
            return;
        }
        (0, 0x18) => return note_close(client, payload),
        _ => return,
    };
    let Some(slot) = payload.get_mut(at..at + 4) else { return };
    slot.copy_from_slice(&number.to_le_bytes());
    let id = payload.first_chunk().map_or(0, |id| u32::from_le_bytes(*id));
    match message.1 {
        0x10 | 0x13 => client.asks(number, None),
        0x22 => *client.custom.entry(number).or_default() += 1,
        _ => {
            let share = Sent { sequence_number: number, known: None };
            client.knows_not_all = true;
            match client.channels.get_mut(&id) {
                Some(open) => open.shares.push_back(share),
                None => client.stray(number),
            }
        }
    }
}

fn note_close(client: &mut Client, payload: &[u8]) {
    let Some(id) = payload.first_chunk().map(|id| u32::from_le_bytes(*id)) else { return };
    // Only a message that can be read closes anything.
    if payload.len() < 5 || payload.len() < 5 + usize::from(payload[4]) {
        return;
    }
    client.closes(id);
}

/// Mining on channels of both kinds over blocks and fee changes, with a failing disk, and what ends connections.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let share = |nonce: u8| [3, 0, 9, nonce, 0];
    for (flags, kind) in [(0, 0), (1, 0), (0, 1), (0, 17)] {
        let mut seed = vec![1, 1, flags, 0, 2, kind, 1, 0, 0];
        (0..6).for_each(|nonce| seed.extend(share(nonce)));
        seed.extend([16, 0]);
        seed.extend(share(9));
        seed.extend([16, 2]);
        (10..14).for_each(|nonce| seed.extend(share(nonce)));
        seed.extend([16, 3]);
        (20..24).for_each(|nonce| seed.extend(share(nonce)));
        // Repeated; above the target or not; a version bit; too early; too late; an old job.
        seed.extend(share(23));
        seed.extend([3, 0, 0x30, 1, 0, 3, 0, 0x11, 1, 0, 3, 0, 0x12, 1, 0, 3, 0, 0x13, 1, 0]);
        seed.extend([10, 0, 2, 0, 15, 255, 3, 2, kind, 2, 2, 0, 17, 2, 1]);
        (30..34).for_each(|nonce| seed.extend([3, nonce % 2, 9, nonce, 0]));
        seed.extend([15, 255, 3, 12, 1, 2, 2, 3, 12, 0, 0, 11, 0, 35, 0, 9, 1, 1, 11, 255]);
        seeds.push(seed);
    }
    // A second connection that does not read, one that ends, and one that sends rubbish.
    let mut crowd = vec![0, 1, 0, 0, 2, 0, 1, 0, 0, 0, 65, 0, 0, 66, 1, 2, 0, 0, 82];
    (0..20).for_each(|nonce| crowd.extend([67, 0, 9, nonce, 0, 16, nonce % 3]));
    crowd.extend([78, 0, 5, 1, 2, 3, 4, 5, 0, 129, 4, 0, 130, 0, 3, 0, 0, 142, 1, 14, 2]);
    seeds.push(crowd);
    for frame in crate::samples::frames() {
        let extension = u16::from_le_bytes([frame[0], frame[1] & 0x7f]);
        let position = CATALOGUE
            .iter()
            .filter(|entry| {
                entry.sender != Sender::Server && entry.protocol.is_none_or(|of| of.to_wire() == 0)
            })
            .position(|entry| (entry.extension, entry.msg_type) == (extension, frame[2]));
        let Some(position) = position else { continue };
        let payload = crate::samples::payload(&frame);
        let len = u16::try_from(payload.len()).expect("short").to_le_bytes();
        let kind = u8::try_from(position).expect("a few");
        let mut seed = vec![0, 1, 0, 0, 2, 1, 1, 0, 0, 13, kind];
        seed.extend(len);
        seed.extend_from_slice(payload);
        seed.extend(share(1));
        seeds.push(seed);
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target in which nothing happens would never fail.
    #[test]
    fn the_seeds_mine() {
        let all: Vec<PoolTotals> = seeds().iter().map(|seed| play(seed)).collect();
        let most = |count: fn(&PoolTotals) -> u64| all.iter().map(count).max().unwrap_or(0);
        assert!(most(|totals| totals.shares_accepted) >= 10);
        assert!(most(|totals| totals.shares_rejected) >= 4);
        assert!(most(|totals| totals.channels) >= 1);
    }
}
