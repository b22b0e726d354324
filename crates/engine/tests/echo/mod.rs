//! A server that echoes, and clients that look at every byte.
#![allow(dead_code)] // Each test program uses its part.

use {
    crossbeam_channel::{Receiver, Sender, unbounded},
    engine::{
        Close, ConnId, Connections, Engine, EngineConfig, Handler, Link,
        client::{Client, ClientConfig, Trust},
    },
    rand::rngs::OsRng,
    std::{
        io::{Read, Write},
        net::{SocketAddr, TcpStream},
        sync::Arc,
        time::{Duration, Instant},
    },
    sv2::{
        Frame, HEADER_LEN, Header,
        noise::{ACT_2_LEN, AuthoritySecret, Identity, Initiator, Opened, Opener, Sealer, Validity},
    },
};

/// Long enough for a machine that is busy with something else; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Message types of the echo server, in an extension nobody has.
pub const EXTENSION: u16 = 0x7abc;
pub const ECHO: u8 = 1;
/// Payload: how many frames (u32) of how many bytes (u32) to send, numbered.
pub const FLOOD: u8 = 2;
/// Answers, then finishes.
pub const FINISH: u8 = 3;
/// Answers, then is an error.
pub const FAIL: u8 = 4;
/// Payload: new frame limit (u32).
pub const LIMIT: u8 = 5;
/// Payload: milliseconds (u32) after which the frame comes back.
pub const LATER: u8 = 6;

/// Payload: milliseconds (u32) after which the connection ends.
pub const GIVE_UP: u8 = 7;

pub enum Command {
    Broadcast(Arc<[u8]>),
    To(ConnId, Vec<Arc<[u8]>>),
    /// Sends to each; before every one but the first, waits for a word.
    Stepwise(Arc<[u8]>, Receiver<()>),
    /// Answers with the number of open connections.
    Count(Sender<usize>),
    /// Finishes every connection.
    FinishAll,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Opened(ConnId),
    Closed(ConnId, &'static str),
    Timer(ConnId),
}

pub struct Echo {
    events: Sender<Event>,
}

impl Handler for Echo {
    type Conn = Vec<u8>;
    type Command = Command;

    fn opened(&mut self, link: &mut Link<'_>) -> Vec<u8> {
        let _ = self.events.send(Event::Opened(link.id()));
        Vec::new()
    }

    fn frame(&mut self, later: &mut Vec<u8>, link: &mut Link<'_>, frame: Frame<'_>) -> Result<(), Close> {
        match frame.header.msg_type {
            FLOOD => {
                let (count, size) = (number(frame.payload, 0), number(frame.payload, 4));
                for index in 0..count {
                    let mut payload = vec![index.to_le_bytes()[0]; size as usize];
                    payload[..4].copy_from_slice(&index.to_le_bytes());
                    link.send_encoded(&plain(FLOOD, &payload), None);
                }
                return Ok(());
            }
            LIMIT => link.set_frame_limit(number(frame.payload, 0)),
            LATER | GIVE_UP => {
                *later = plain(frame.header.msg_type, frame.payload);
                link.set_timer(Duration::from_millis(number(frame.payload, 0).into()));
                return Ok(());
            }
            _ => {}
        }
        link.send_encoded(&plain(frame.header.msg_type, frame.payload), None);
        match frame.header.msg_type {
            FINISH => {
                link.close_after_flush(Close::Finished("as asked".into()));
                link.send_encoded(&plain(ECHO, b"too late"), None);
                Ok(())
            }
            FAIL => Err(Close::Protocol("as asked".into())),
            _ => Ok(()),
        }
    }

    fn closed(&mut self, _: Vec<u8>, id: ConnId, why: &Close) {
        let _ = self.events.send(Event::Closed(id, why.label()));
    }

    fn command(&mut self, command: Command, conns: &mut Connections<'_, Self>) {
        match command {
            Command::Broadcast(frame) => conns.for_each(|_, link| link.send_encoded(&frame, None)),
            Command::To(id, frames) => {
                for frame in frames {
                    if let Some((_, mut link)) = conns.get(id) {
                        link.send_encoded(&frame, None);
                    }
                }
            }
            Command::Stepwise(frame, go) => {
                let mut first = true;
                conns.for_each(|_, link| {
                    if !std::mem::take(&mut first) {
                        go.recv_timeout(PATIENCE).expect("the client before has its frame");
                    }
                    link.send_encoded(&frame, None);
                });
            }
            Command::Count(answer) => {
                let mut visited = 0;
                conns.for_each(|_, _| visited += 1);
                assert_eq!(visited, conns.len());
                let _ = answer.send(visited);
            }
            Command::FinishAll => conns.for_each(|_, link| {
                link.send_encoded(&plain(ECHO, b"goodbye"), None);
                link.close_after_flush(Close::Finished("all".into()));
            }),
        }
    }

    fn timer(&mut self, later: &mut Vec<u8>, link: &mut Link<'_>) -> Result<(), Close> {
        let _ = self.events.send(Event::Timer(link.id()));
        if later[2] == GIVE_UP {
            link.send_encoded(&plain(GIVE_UP, b"too late"), None);
            return Err(Close::SetupTimeout);
        }
        link.send_encoded(later, None);
        Ok(())
    }
}

pub struct Server {
    pub engine: Engine<Command>,
    pub events: Receiver<Event>,
    pub trust: Trust,
}

/// Starts an echo server on a port of its own, configured by `adjust`.
pub fn serve(adjust: impl FnOnce(&mut EngineConfig)) -> Server {
    let authority = AuthoritySecret::generate(&mut OsRng);
    let trust = Trust::Authority(authority.public());
    let identity = Identity::new(authority, Validity::default(), unix_now(), &mut OsRng);
    let mut config = EngineConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::new(identity));
    adjust(&mut config);
    let (sender, events) = unbounded();
    let engine = Engine::start(config, |_, _| Echo { events: sender.clone() }).expect("the engine starts");
    Server { engine, events, trust }
}

impl Server {
    pub fn address(&self) -> SocketAddr {
        self.engine.local_addr()
    }

    pub fn client(&self) -> Client {
        Client::connect(&[self.address()], &self.client_config()).expect("a client connects")
    }

    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new(self.trust);
        config.handshake_timeout = PATIENCE;
        config.connect_timeout = PATIENCE;
        config.write_timeout = PATIENCE;
        config.frame_limit = sv2::MAX_PAYLOAD_LEN;
        config
    }

    pub fn raw(&self) -> Raw {
        Raw::connect(self.address(), self.trust)
    }

    /// Waits until a connection ends, and says why.
    pub fn next_closed(&self) -> &'static str {
        loop {
            match self.events.recv_timeout(PATIENCE).expect("a connection ends") {
                Event::Closed(_, why) => return why,
                Event::Opened(_) | Event::Timer(_) => {}
            }
        }
    }

    /// Waits until so many connections have done their handshake; gives their names.
    pub fn opened(&self, count: usize) -> Vec<ConnId> {
        let mut ids = Vec::new();
        while ids.len() < count {
            if let Event::Opened(id) = self.events.recv_timeout(PATIENCE).expect("a connection opens") {
                ids.push(id);
            }
        }
        ids
    }

    pub fn wait_for_stats(&self, what: &str, ready: impl Fn(&engine::Stats) -> bool) {
        let stats = self.engine.stats();
        wait_for(what, || ready(&stats.read()));
    }
}

/// Waits until `ready`; fails after [`PATIENCE`].
#[track_caller]
pub fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn in_time() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A plaintext frame.
pub fn plain(msg_type: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let header = Header { extension_type: EXTENSION, channel_msg: false, msg_type, length };
    let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
    frame.extend_from_slice(&header.to_bytes().unwrap());
    frame.extend_from_slice(payload);
    frame
}

pub fn number(payload: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(payload[at..at + 4].try_into().unwrap())
}

/// `count` frames of `size` bytes, please.
pub fn flood(count: u32, size: u32) -> Vec<u8> {
    plain(FLOOD, &[count.to_le_bytes(), size.to_le_bytes()].concat())
}

#[track_caller]
pub fn echo(client: &mut Client, payload: &[u8]) {
    client.writer().queue_encoded(&plain(ECHO, payload), None).unwrap();
    client.writer().flush().unwrap();
    expect_frame(client, ECHO, payload);
}

#[track_caller]
pub fn expect_frame(client: &mut Client, msg_type: u8, payload: &[u8]) {
    let frame = client.recv(in_time()).expect("a frame comes");
    assert_eq!((frame.header.msg_type, frame.payload), (msg_type, payload));
}

/// A client whose socket and sealed bytes lie open.
pub struct Raw {
    pub socket: TcpStream,
    pub sealer: Sealer,
    pub opener: Opener,
}

impl Raw {
    pub fn connect(address: SocketAddr, trust: Trust) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let initiator = Initiator::new(trust, &mut OsRng);
        socket.write_all(&initiator.act_1()).unwrap();
        let mut act_2 = [0; ACT_2_LEN];
        socket.read_exact(&mut act_2).expect("the handshake is answered");
        let (sealer, opener) = initiator.finish(&act_2, unix_now()).unwrap().split();
        Self { socket, sealer, opener }
    }

    pub fn sealed(&mut self, plain_frame: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.sealer.seal_frame(plain_frame, None, &mut sealed).unwrap();
        sealed
    }

    pub fn send(&mut self, plain_frame: &[u8]) {
        let sealed = self.sealed(plain_frame);
        self.socket.write_all(&sealed).unwrap();
    }

    /// Receives one frame, reading no more than it takes.
    pub fn recv(&mut self) -> (u8, Vec<u8>) {
        let mut bytes = vec![];
        loop {
            match self.opener.next_frame(&mut bytes, sv2::MAX_PAYLOAD_LEN).unwrap() {
                Opened::Frame { frame, .. } => return (frame.header.msg_type, frame.payload.to_vec()),
                Opened::NeedMore(needed) => {
                    let have = bytes.len();
                    bytes.resize(needed, 0);
                    self.socket.read_exact(&mut bytes[have..]).expect("a frame comes");
                }
            }
        }
    }

    /// Whether the server closes the connection, whatever it sends before.
    pub fn is_closed(&mut self) -> bool {
        closes(&mut self.socket)
    }
}

/// Whether the server closes the connection before our patience ends.
pub fn closes(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sink = [0; 4096];
    loop {
        match socket.read(&mut sink) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock
                        | std::io::ErrorKind::TimedOut
                        | std::io::ErrorKind::Interrupted
                );
            }
        }
    }
}
