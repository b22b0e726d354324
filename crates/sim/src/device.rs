//! A device: connects, sets up, opens channels, mines, and breaks rules when its run says so.

mod link;

use crate::{
    accounts::Accounts,
    chance::Chance,
    channel::{Channel, Flaw},
    profile::Profile,
    trace::Trace,
    wire::Wire,
};
use engine::simulation::{Peer, VirtualSocket};
use link::Link;
use sv2::{
    Frame,
    codec::{F32, Str0_255},
    mining::{MiningFromServer, OpenExtendedMiningChannel, OpenStandardMiningChannel, UpdateChannel},
    noise::Trust,
    setup::{MiningSetupFlags, Protocol, SetupConnection, SetupReply},
};
use work::PayoutKey;

/// A device with so many shares unanswered waits.
const PATIENCE: usize = 30;

/// Everything of a run that a device works with.
pub struct Desk<'a> {
    pub now: u64,
    pub unix: u32,
    pub chance: &'a mut Chance,
    pub faults: &'a Profile,
    pub trace: &'a mut Trace,
    pub accounts: &'a mut Accounts,
    /// Calendars have jumped in this run.
    pub clock_jumps: bool,
}

/// What a device is.
pub struct Device {
    pub name: usize,
    pub trust: Trust,
    pub keys: Vec<PayoutKey>,
    pub standard: bool,
    pub standard_jobs_only: bool,
    /// Channels that it wants.
    pub wanted: usize,
    /// Shares that it tries to send in a step, in thousandths.
    pub eagerness: u32,
    link: Option<Link>,
    /// It connects again at this time.
    pub connects_at: u64,
}

impl Device {
    pub fn new(name: usize, trust: Trust, keys: Vec<PayoutKey>, chance: &mut Chance) -> Self {
        let standard = chance.permille(500);
        Self {
            name,
            trust,
            keys,
            standard,
            standard_jobs_only: standard && chance.permille(400),
            wanted: chance.pick(&[1, 1, 2, 3]),
            eagerness: chance.pick(&[100, 400, 900]),
            link: None,
            connects_at: chance.between(0, 500),
        }
    }

    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Whether the server holds a connection of this device.
    pub fn is_held(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.wire.is_held())
    }

    /// A connection was let in.
    pub fn connected(&mut self, socket: VirtualSocket, desk: &mut Desk<'_>) {
        let (peer, act_1) = Peer::new(self.trust, desk.chance.keys());
        let mut wire = Wire::new(socket);
        wire.send(act_1, desk.now, desk.chance, desk.faults);
        self.link = Some(Link::new(self.name, wire, peer));
        desk.trace.note(format_args!("device {} connects", self.name));
    }

    /// Shares on the present connection that were not answered.
    pub fn unanswered(&self) -> usize {
        let channels = self.link.iter().flat_map(|link| link.channels.values());
        channels.filter(|channel| !channel.closed).map(Channel::unanswered).sum()
    }

    /// Whether it mines: all channels are open and have work.
    pub fn is_mining(&self) -> bool {
        self.link.as_ref().is_some_and(|link| {
            let open = link.channels.values().filter(|channel| !channel.closed);
            let working = open.filter(|channel| channel.work.active().is_some()).count();
            link.set_up && working >= self.wanted
        })
    }

    /// Requests without an answer.
    pub fn asked(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.asked.len())
    }

    /// Loses its connection.
    pub fn lose(&mut self, desk: &mut Desk<'_>) {
        if let Some(link) = self.link.take() {
            link.wire.lose(desk.chance);
            self.connects_at = desk.now + desk.chance.between(0, 2000);
            desk.trace.note(format_args!("device {} is disconnected", self.name));
        }
    }

    /// One step: read, then act. `mines`: new shares are sent.
    pub fn step(&mut self, desk: &mut Desk<'_>, mines: bool) {
        let Some(link) = &mut self.link else { return };
        let bytes = link.wire.pump(desk.now, desk.chance, desk.faults);
        if !bytes.is_empty() {
            let mut frames = Vec::new();
            let keep = |frame: Frame<'_>| frames.push((frame.header, frame.payload.to_vec()));
            let received = link.peer.receive(&bytes, u64::from(desk.unix), keep);
            assert!(received.is_ok() || link.broken, "device {}: {received:?}", self.name);
            for (header, payload) in frames {
                self.frame(Frame { header, payload: &payload }, desk);
            }
        }
        let Some(link) = &self.link else { return };
        if link.wire.is_over() {
            desk.trace.note(format_args!("device {} sees the connection end", self.name));
            return self.lose(desk);
        }
        self.misbehave(desk);
        self.hello(desk);
        if mines {
            self.mine(desk);
        }
    }

    fn misbehave(&mut self, desk: &mut Desk<'_>) {
        let Some(link) = &mut self.link else { return };
        if desk.chance.permille(desk.faults.drop) {
            desk.trace.fault("connection lost");
            return self.lose(desk);
        }
        if desk.chance.permille(desk.faults.slow_reader) {
            desk.trace.fault("slow reader");
            link.wire.slow_down(desk.now + desk.chance.between(100, 5000));
        }
        if desk.chance.permille(desk.faults.garbage) {
            desk.trace.fault("garbage");
            link.broken = true;
            let len = desk.chance.index(200) + 1;
            let mut bytes = desk.chance.bytes(len);
            if link.peer.is_open() && desk.chance.permille(700) {
                // A frame of any kind with any payload, sealed as it should be.
                let mut frame = vec![0, desk.chance.pick(&[0, 0x80]), desk.chance.pick(&KINDS)];
                let length = u32::try_from(bytes.len()).expect("short");
                frame.extend_from_slice(&length.to_le_bytes()[..3]);
                frame.append(&mut bytes);
                // A channel message may be too short to be sent at all.
                let _ = link.peer.seal_frame(&frame, &mut bytes);
            }
            link.wire.send(bytes, desk.now, desk.chance, desk.faults);
        }
    }

    /// Sets up, and asks for channels until there are enough.
    fn hello(&mut self, desk: &mut Desk<'_>) {
        let (standard, wanted) = (self.standard, self.wanted);
        let Some(link) = &mut self.link else { return };
        if !link.peer.is_open() {
            return;
        }
        if !link.said_hello {
            link.said_hello = true;
            let flags =
                if self.standard_jobs_only { MiningSetupFlags::REQUIRES_STANDARD_JOBS.bits() } else { 0 };
            let text = Str0_255::truncated;
            return link.send(
                &SetupConnection {
                    protocol: Protocol::Mining.to_wire(),
                    min_version: 2,
                    max_version: 2,
                    flags,
                    endpoint_host: text("sim"),
                    endpoint_port: 1,
                    vendor: text("sim"),
                    hardware_version: text(""),
                    firmware: text(""),
                    device_id: text(""),
                },
                desk,
            );
        }
        let open = link.channels.values().filter(|channel| !channel.closed).count();
        if !link.set_up || open + link.asked.len() >= wanted || desk.chance.permille(500) {
            return;
        }
        let key = desk.chance.pick(&self.keys);
        let request_id = link.next_request;
        link.next_request += 1;
        link.asked.insert(request_id, key);
        let identity = format!("{key}.{}", self.name);
        let user_identity = Str0_255::truncated(&identity);
        let nominal_hash_rate = F32::new(f32::from(desk.chance.pick(&[1u8, 20, 100])));
        let max_target = [0xff; 32];
        if standard {
            let open = OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target };
            link.send(&open, desk);
        } else {
            let min_extranonce_size = desk.chance.pick(&[0, 4, 8, 16]);
            let open = OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            };
            link.send(&open, desk);
        }
    }

    fn mine(&mut self, desk: &mut Desk<'_>) {
        let Some(link) = &mut self.link else { return };
        let ids: Vec<u32> = link.channels.values().filter(|channel| !channel.closed).map(|c| c.id).collect();
        for id in ids {
            let mut due = Vec::new();
            link.held.retain(|(at, channel, share)| {
                let now = *channel == id && *at <= desk.now;
                if now {
                    due.push(share.clone());
                }
                !now
            });
            while desk.chance.permille(self.eagerness) && due.len() < 4 {
                let flaw = flaw(desk);
                let Some(channel) = link.channels.get(&id).filter(|c| c.unanswered() < PATIENCE) else {
                    break;
                };
                let Some(share) = channel.find(flaw, desk.now, desk.chance) else { break };
                if desk.chance.permille(desk.faults.late) {
                    desk.trace.fault("late share");
                    link.held.push((desk.now + desk.chance.between(100, 6000), id, share));
                } else {
                    due.push(share);
                }
            }
            for share in due {
                link.submit(id, &share, desk);
            }
            if desk.chance.permille(3) {
                let nominal_hash_rate = F32::new(f32::from(desk.chance.pick(&[1u8, 50, 200])));
                link.send(
                    &UpdateChannel { channel_id: id, nominal_hash_rate, maximum_target: [0xff; 32] },
                    desk,
                );
            }
            if desk.chance.permille(desk.faults.drop) {
                desk.trace.fault("channel closed");
                link.close(id, desk);
            }
        }
    }

    fn frame(&mut self, frame: Frame<'_>, desk: &mut Desk<'_>) {
        let Some(link) = &mut self.link else { return };
        if !link.set_up {
            match SetupReply::first(frame) {
                Ok(SetupReply::Success(success)) if success.used_version == 2 => link.set_up = true,
                other => assert!(link.broken, "device {}: {other:?} to SetupConnection", self.name),
            }
            return;
        }
        let message = MiningFromServer::decode(frame);
        let message = message.unwrap_or_else(|error| panic!("device {}: {error} from the pool", self.name));
        desk.trace.note(format_args!("device {} gets {}", self.name, message.name()));
        link.message(message, desk);
    }
}

/// Message types that a mining server knows, and some that nobody does.
const KINDS: [u8; 10] = [0x00, 0x10, 0x13, 0x16, 0x18, 0x1a, 0x1b, 0x22, 0x55, 0xff];

fn flaw(desk: &mut Desk<'_>) -> Flaw {
    if desk.chance.permille(desk.faults.duplicates) {
        desk.trace.fault("duplicate share");
        Flaw::Repeated
    } else if desk.chance.permille(desk.faults.bad_shares) {
        desk.trace.fault("bad share");
        desk.chance.pick(&Flaw::MADE)
    } else {
        Flaw::None
    }
}
