//! One connection of an attack.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

use device::ChannelKind;
use mio::net::TcpStream;
use rand::{Rng, RngCore};
use socket2::SockRef;
use sv2::codec::{F32, Str0_255};
use sv2::mining::{OpenStandardMiningChannel, SubmitSharesStandard, UpdateChannel};
use sv2::setup::SetupConnection;
use sv2::{Frame, Header};

use super::attack::AttackKind;
use crate::link::{Input, Link, Lost, Outbox, Scratch, begin};
use crate::session::{Desk, Session};

/// Payload that an oversized frame announces: more than any client has to say.
const OVERSIZED: u32 = 1 << 20;
/// Sealed header of a frame.
const SEALED_HEADER: usize = 22;
/// Bytes of the handshake's first message.
const ACT_1: usize = 64;
/// Received bytes that a slow reader's kernel keeps for it: as few as it lets one ask for.
const SMALL_WINDOW: usize = 2048;
/// Message types of `SetupConnection` and `SubmitSharesStandard`.
const SETUP_CONNECTION: u8 = 0x00;
const SUBMIT_SHARES_STANDARD: u8 = 0x1a;

enum Wire {
    /// Bytes that are no Stratum V2, or only the beginning of it.
    Raw {
        socket: TcpStream,
        bytes: Vec<u8>,
        sent: usize,
    },
    Noise {
        link: Box<Link>,
        session: Box<Session>,
    },
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    /// The handshake is done.
    Encrypted,
    /// Its channel has work.
    Ready,
}

/// See the module.
pub(super) struct Attacker {
    kind: AttackKind,
    /// Tells it from others of its kind, which do the same a bit differently.
    number: u64,
    wire: Wire,
    pub stage: Stage,
    sequence: u32,
    /// The rest of what is sent byte by byte.
    dripping: Vec<u8>,
    /// The share that is sent again and again.
    share: Option<SubmitSharesStandard>,
    /// What it asked for was done; nothing more is to be expected of it.
    pub done: bool,
}

impl Attacker {
    /// Begins to connect.
    pub(super) fn connect(
        kind: AttackKind,
        number: u64,
        to: SocketAddr,
        from: Option<IpAddr>,
        user: &str,
    ) -> Result<Self, Lost> {
        let raw = |bytes| -> Result<Wire, Lost> {
            Ok(Wire::Raw {
                socket: begin(to, from).map_err(|error| Lost::connecting(&error))?,
                bytes,
                sent: 0,
            })
        };
        let wire = match kind {
            AttackKind::Garbage => raw(garbage(number))?,
            AttackKind::FakeHandshake => raw(random(ACT_1))?,
            AttackKind::HalfHandshake => raw(random(usize::try_from(number).unwrap_or(0) % ACT_1))?,
            AttackKind::Drip if !number.is_multiple_of(2) => raw(Vec::new())?,
            _ => {
                let link = Box::new(Link::connect(to, from)?);
                Wire::Noise { link, session: Box::new(Session::new(user.to_owned(), 1)) }
            }
        };
        let mut attacker = Self {
            kind,
            number,
            wire,
            stage: Stage::Connecting,
            sequence: 0,
            dripping: Vec::new(),
            share: None,
            done: false,
        };
        if kind == AttackKind::SlowReader {
            // A larger window only makes the attack begin later.
            let _ = SockRef::from(&*attacker.socket()).set_recv_buffer_size(SMALL_WINDOW);
        }
        Ok(attacker)
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match &mut self.wire {
            Wire::Raw { socket, .. } => socket,
            Wire::Noise { link, .. } => &mut link.socket,
        }
    }

    /// The socket can take something.
    pub(super) fn writable(&mut self, scratch: &mut Scratch) -> Result<(), Lost> {
        match &mut self.wire {
            Wire::Noise { link, .. } => link.writable(scratch),
            Wire::Raw { socket, bytes, sent } => {
                if socket.peer_addr().is_err() {
                    return match socket.take_error() {
                        Ok(Some(error)) => Err(Lost::connecting(&error)),
                        _ => Ok(()),
                    };
                }
                self.stage = Stage::Ready;
                while *sent < bytes.len() {
                    match socket.write(&bytes[*sent..]) {
                        Ok(count) => *sent += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(Lost::Io(error.kind())),
                    }
                }
                Ok(())
            }
        }
    }

    /// Something came, or the server has closed its side. Slow readers do not look.
    pub(super) fn readable(&mut self, scratch: &mut Scratch, desk: &mut Desk<'_>) -> Result<(), Lost> {
        if self.kind == AttackKind::SlowReader && self.stage == Stage::Ready {
            return Ok(());
        }
        let Self { kind, number, wire, stage, done, .. } = self;
        let (link, session) = match wire {
            Wire::Noise { link, session } => (link, session),
            Wire::Raw { socket, .. } => {
                let count = socket.read(&mut scratch.input).map_err(|error| Lost::Io(error.kind()));
                return match count {
                    Ok(0) => Err(Lost::Closed("without an answer")),
                    Ok(_) => {
                        *done = *kind == AttackKind::FakeHandshake;
                        Ok(())
                    }
                    Err(Lost::Io(ErrorKind::WouldBlock)) => Ok(()),
                    Err(error) => Err(error),
                };
            }
        };
        link.read(scratch, true, |input, outbox| match input {
            Input::Encrypted => {
                *stage = Stage::Encrypted;
                match kind {
                    AttackKind::Silent | AttackKind::OneFrameFin => Ok(()),
                    AttackKind::SetupVariation => setup_variation(*number, outbox),
                    AttackKind::Oversized if number.is_multiple_of(2) => oversized(SETUP_CONNECTION, outbox),
                    _ => session.input(input, outbox, desk),
                }
            }
            Input::Frame(_) if *stage == Stage::Encrypted && *kind == AttackKind::SetupVariation => {
                desk.tally.received += 1;
                Ok(())
            }
            Input::Frame(_) => session.input(input, outbox, desk),
        })?;
        if self.stage == Stage::Encrypted && session.is_ready() {
            self.stage = Stage::Ready;
            let Some(mut outbox) = link.outbox(&mut scratch.output) else { return Ok(()) };
            match self.kind {
                AttackKind::Oversized => oversized(SUBMIT_SHARES_STANDARD, &mut outbox)?,
                AttackKind::Malformed => malformed(self.number, &mut outbox)?,
                _ => {}
            }
        }
        link.flush(scratch)
    }

    /// Whether what it sent before has not left yet.
    pub(super) fn is_blocked(&self) -> bool {
        match &self.wire {
            Wire::Raw { .. } => false,
            Wire::Noise { link, .. } => link.is_blocked(),
        }
    }

    /// Sends so many messages in one write, as far as it has come so far. Says how many left.
    pub(super) fn attack(
        &mut self,
        times: u64,
        scratch: &mut Scratch,
        desk: &mut Desk<'_>,
    ) -> Result<u64, Lost> {
        if self.kind == AttackKind::Drip {
            return self.drip(scratch).map(|()| 1);
        }
        let Self { kind, wire: Wire::Noise { link, session }, sequence, share, .. } = self else {
            return Ok(0);
        };
        let Some(mut outbox) = link.outbox(&mut scratch.output) else { return Ok(0) };
        for _ in 0..times {
            *sequence = sequence.wrapping_add(1);
            message(*kind, *sequence, session, share, &mut outbox, desk)?;
        }
        link.flush(scratch)?;
        Ok(times)
    }

    /// One frame, and then the end of the stream.
    pub(super) fn one_frame_and_out(
        &mut self,
        scratch: &mut Scratch,
        desk: &mut Desk<'_>,
    ) -> Result<(), Lost> {
        let Wire::Noise { link, session } = &mut self.wire else { return Ok(()) };
        let Some(mut outbox) = link.outbox(&mut scratch.output) else { return Ok(()) };
        session.input(Input::Encrypted, &mut outbox, desk)?;
        link.flush(scratch)?;
        Err(Lost::Left)
    }

    fn drip(&mut self, scratch: &mut Scratch) -> Result<(), Lost> {
        match &mut self.wire {
            Wire::Raw { socket, .. } => match socket.write(&random(1)) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => Err(Lost::Io(error.kind())),
                _ => Ok(()),
            },
            Wire::Noise { link, session } => {
                if self.dripping.is_empty() {
                    let Some(mut outbox) = link.outbox(&mut scratch.output) else { return Ok(()) };
                    session.probe(&mut outbox, ChannelKind::Standard)?;
                    self.dripping = std::mem::take(&mut scratch.output);
                    self.dripping.reverse();
                }
                scratch.output.extend(self.dripping.pop());
                link.flush(scratch)
            }
        }
    }
}

/// One message of a flood.
fn message(
    kind: AttackKind,
    sequence: u32,
    session: &mut Session,
    again: &mut Option<SubmitSharesStandard>,
    outbox: &mut Outbox<'_>,
    desk: &mut Desk<'_>,
) -> Result<(), Lost> {
    let Some(channel_id) = session.channel_ids().next() else {
        return Err(Lost::Refused("it closed the channel".to_owned()));
    };
    let job_id = session.submitter_at(0).and_then(|(_, submitter)| Some(submitter.work()?.0.job_id()));
    let share = SubmitSharesStandard {
        channel_id,
        sequence_number: sequence,
        job_id: job_id.unwrap_or(0),
        nonce: sequence,
        ntime: 0,
        version: 0x2000_0000,
    };
    match kind {
        // To open a channel is a small question with a large answer.
        AttackKind::ChannelOpen | AttackKind::SlowReader => outbox.send(&OpenStandardMiningChannel {
            request_id: sequence.wrapping_add(1),
            user_identity: Str0_255::truncated(session.user()),
            nominal_hash_rate: F32::new(0.0),
            max_target: [0xff; 32],
        }),
        AttackKind::UpdateChannel => {
            // From a toy to all of the network, in large steps.
            let bits = sequence.wrapping_mul(0x0100_0000) & 0x3f00_0000 | 0x4000_0000;
            let nominal_hash_rate = F32::new(f32::from_bits(bits));
            outbox.send(&UpdateChannel { channel_id, nominal_hash_rate, maximum_target: [0xff; 32] })
        }
        AttackKind::WrongChannel => {
            outbox.send(&SubmitSharesStandard { channel_id: channel_id | 1 << 30, ..share })
        }
        AttackKind::WrongJob => outbox.send(&SubmitSharesStandard { job_id: u32::MAX, ..share }),
        AttackKind::DuplicateShare => {
            if again.as_ref().is_none_or(|again| Some(again.job_id) != job_id) {
                let drawn =
                    session.submitter_at(0).and_then(|(id, submitter)| submitter.draw(id, desk.tally));
                *again = drawn;
            }
            let share = again.unwrap_or(share);
            outbox.send(&SubmitSharesStandard { sequence_number: sequence, ..share })
        }
        AttackKind::UnknownMessage => {
            let payload = random(usize::try_from(sequence).unwrap_or(0) % 200);
            let extension_type = if sequence.is_multiple_of(2) { 0 } else { 0x7fff };
            raw_frame(extension_type, 0x80 | u8::try_from(sequence % 0x7f).unwrap_or(0), &payload, outbox)
        }
        // The header's time is one that the job allows, so that the share is hashed before it is refused.
        _ => {
            let ntime = session.submitter_at(0).and_then(|(_, submitter)| submitter.first_ntime());
            outbox.send(&SubmitSharesStandard { ntime: ntime.unwrap_or(0), ..share })
        }
    }
}

fn raw_frame(extension_type: u16, msg_type: u8, payload: &[u8], outbox: &mut Outbox<'_>) -> Result<(), Lost> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let header = Header { extension_type, channel_msg: false, msg_type, length };
    outbox.send_frame(Frame { header, payload })
}

/// A header alone: what it announces does not come.
fn oversized(msg_type: u8, outbox: &mut Outbox<'_>) -> Result<(), Lost> {
    let before = outbox.bytes.len();
    raw_frame(0, msg_type, &vec![0; OVERSIZED as usize], outbox)?;
    outbox.bytes.truncate(before + SEALED_HEADER);
    Ok(())
}

/// A message of a known type that ends too early.
fn malformed(number: u64, outbox: &mut Outbox<'_>) -> Result<(), Lost> {
    // Types 0x10 to 0x1f are those of channels and shares.
    let msg_type = 0x10 | u8::try_from(number % 16).unwrap_or(0);
    raw_frame(0, msg_type, &random(usize::try_from(number).unwrap_or(0) % 7), outbox)
}

fn setup_variation(number: u64, outbox: &mut Outbox<'_>) -> Result<(), Lost> {
    let long = "x".repeat(255);
    let usual = SetupConnection {
        protocol: 0,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: Str0_255::from_static("localhost"),
        endpoint_port: 0,
        vendor: Str0_255::from_static(""),
        hardware_version: Str0_255::from_static(""),
        firmware: Str0_255::from_static(""),
        device_id: Str0_255::from_static(""),
    };
    match number % 10 {
        0 => outbox.send(&SetupConnection { protocol: 1, ..usual }),
        1 => outbox.send(&SetupConnection { protocol: 2, ..usual }),
        2 => outbox.send(&SetupConnection { protocol: 255, ..usual }),
        3 => outbox.send(&SetupConnection { min_version: 3, max_version: u16::MAX, ..usual }),
        4 => outbox.send(&SetupConnection { min_version: 2, max_version: 1, ..usual }),
        5 => outbox.send(&SetupConnection { min_version: 0, max_version: 0, ..usual }),
        6 => outbox.send(&SetupConnection { flags: u32::MAX, ..usual }),
        7 => outbox.send(&SetupConnection {
            endpoint_host: Str0_255::truncated(&long),
            vendor: Str0_255::truncated(&long),
            hardware_version: Str0_255::truncated(&long),
            firmware: Str0_255::truncated(&long),
            device_id: Str0_255::truncated(&long),
            ..usual
        }),
        8 => raw_frame(0, SETUP_CONNECTION, &random(5), outbox),
        // Twice is once too often.
        _ => {
            outbox.send(&usual)?;
            outbox.send(&usual)
        }
    }
}

/// What is no handshake.
fn garbage(number: u64) -> Vec<u8> {
    match number % 5 {
        0 => b"GET / HTTP/1.1\r\nHost: pool\r\nConnection: keep-alive\r\n\r\n".repeat(2),
        // A TLS client's first record.
        1 => [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &random(506)].concat(),
        2 => b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"cpuminer/2.5.1\"]}\n".repeat(2),
        3 => vec![0; 4096],
        _ => random(rand::thread_rng().gen_range(ACT_1..4096)),
    }
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rand::thread_rng().fill_bytes(&mut bytes);
    bytes
}
