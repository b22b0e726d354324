//! One device's connection: the virtual socket, and what a network does to bytes on their way: delays, cuts, windows.

use crate::{chance::Chance, profile::Profile};
use engine::simulation::{Ending, VirtualSocket};
use std::collections::VecDeque;

/// Bytes that may be on their way before the receiver has read some.
const WINDOW: usize = 64 * 1024;

/// A connection as the network sees it.
pub struct Wire {
    socket: VirtualSocket,
    /// Towards the server: when each piece arrives.
    out: VecDeque<(u64, Vec<u8>)>,
    /// Towards the device.
    back: VecDeque<(u64, Vec<u8>)>,
    last_out: u64,
    last_back: u64,
    /// The device reads only so much at a time until then.
    slow_until: u64,
}

impl Wire {
    /// A connection on a socket.
    pub fn new(socket: VirtualSocket) -> Self {
        Self { socket, out: VecDeque::new(), back: VecDeque::new(), last_out: 0, last_back: 0, slow_until: 0 }
    }

    /// Puts bytes on their way to the server.
    pub fn send(&mut self, bytes: Vec<u8>, now: u64, chance: &mut Chance, faults: &Profile) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let cut = if chance.permille(faults.split) { chance.index(rest.len()) + 1 } else { rest.len() };
            let tail = rest.split_off(cut);
            // Pieces of one connection never overtake each other.
            self.last_out = self.last_out.max(now + delay(chance, faults));
            self.out.push_back((self.last_out, std::mem::replace(&mut rest, tail)));
        }
    }

    /// The device reads little for a while.
    pub fn slow_down(&mut self, until: u64) {
        self.slow_until = until;
    }

    /// Moves what has arrived; returns what the device reads now.
    pub fn pump(&mut self, now: u64, chance: &mut Chance, faults: &Profile) -> Vec<u8> {
        while let Some((_, piece)) = self.out.front().filter(|(due, _)| *due <= now)
            && self.socket.unread() + piece.len() <= WINDOW
        {
            self.socket.deliver(piece);
            self.out.pop_front();
        }
        let most = if now < self.slow_until { chance.index(64) } else { usize::MAX };
        if self.socket.available() > 0 && most > 0 {
            let bytes = self.socket.take(most);
            self.last_back = self.last_back.max(now + delay(chance, faults));
            self.back.push_back((self.last_back, bytes));
        }
        let mut read = Vec::new();
        while let Some((due, _)) = self.back.front() {
            if *due > now {
                break;
            }
            read.extend(self.back.pop_front().into_iter().flat_map(|(_, piece)| piece));
        }
        read
    }

    /// Whether the server has ended the connection and everything that came was read.
    pub fn is_over(&self) -> bool {
        self.back.is_empty()
            && match self.socket.ending() {
                Ending::Open => false,
                Ending::Finished => self.socket.available() == 0,
                Ending::Reset => true,
            }
    }

    /// Whether the server still holds it.
    pub fn is_held(&self) -> bool {
        self.socket.ending() == Ending::Open
    }

    /// Loses the connection: in good order, or with a reset.
    pub fn lose(self, chance: &mut Chance) {
        match chance.index(3) {
            0 => self.socket.close(),
            1 => self.socket.finish(),
            _ => self.socket.reset(),
        }
    }
}

fn delay(chance: &mut Chance, faults: &Profile) -> u64 {
    if faults.delay == 0 { 0 } else { chance.between(0, faults.delay) }
}
