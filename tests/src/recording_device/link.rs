//! A Stratum V2 connection on a blocking socket, of `sv2` and the standard library alone.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sv2::frame::MAX_PAYLOAD_LEN;
use sv2::noise::{ACT_2_LEN, AuthorityKey, Initiator, Opened, Opener, Sealer, Trust};
use sv2::{Frame, Message};

/// For the handshake and for answers that nothing else can come before.
const PATIENCE: Duration = Duration::from_secs(10);

/// An encrypted connection to a server that has proved its authority.
pub struct Link {
    socket: TcpStream,
    sealer: Sealer,
    opener: Opener,
    /// Received bytes that are not yet a whole frame.
    received: Vec<u8>,
    /// Length that `received` must have before the opener is asked again.
    needed: usize,
    outgoing: Vec<u8>,
}

impl Link {
    /// Connects to `address` and does the Noise handshake.
    pub fn connect(address: &str, authority: AuthorityKey) -> Result<Link> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let initiator = Initiator::new(Trust::Authority(authority), &mut rand::thread_rng());
        socket.write_all(&initiator.act_1())?;
        let mut act_2 = [0; ACT_2_LEN];
        socket.read_exact(&mut act_2)?;
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
        let (sealer, opener) = initiator.finish(&act_2, unix_now).map_err(Error::other)?.split();
        Ok(Link { socket, sealer, opener, received: Vec::new(), needed: 0, outgoing: Vec::new() })
    }

    /// Puts `message` into the next [`Link::flush`].
    pub fn queue<'m>(&mut self, message: &impl Message<'m>) {
        self.sealer.seal_message(message, &mut self.outgoing).expect("the test's messages fit frames");
    }

    /// Writes all that was queued.
    pub fn flush(&mut self) -> Result<()> {
        self.socket.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    /// Gives every frame that has arrived to `handle`, without waiting for more.
    pub fn take_frames(&mut self, handle: impl FnMut(Frame<'_>)) -> Result<()> {
        self.socket.set_nonblocking(true)?;
        let read = self.read();
        self.socket.set_nonblocking(false)?;
        match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.open_frames(handle),
        }
    }

    /// Waits for frames and gives them to `handle`.
    pub fn wait_for_frames(&mut self, handle: impl FnMut(Frame<'_>)) -> Result<()> {
        self.read()?;
        self.open_frames(handle)
    }

    fn read(&mut self) -> Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.socket.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => {
                self.received.extend_from_slice(&chunk[..length]);
                Ok(())
            }
        }
    }

    fn open_frames(&mut self, mut handle: impl FnMut(Frame<'_>)) -> Result<()> {
        let mut start = 0;
        while self.received.len() - start >= self.needed {
            let opened = self.opener.next_frame(&mut self.received[start..], MAX_PAYLOAD_LEN);
            match opened.map_err(Error::other)? {
                Opened::NeedMore(needed) => {
                    self.needed = needed;
                    break;
                }
                Opened::Frame { frame, consumed } => {
                    handle(frame);
                    start += consumed;
                    self.needed = 0;
                }
            }
        }
        self.received.drain(..start);
        Ok(())
    }
}
