mod crowd;

use {
    super::*,
    crate::{Close, ConnId, Connections, Link},
    rand::RngCore,
    std::time::Duration,
    sv2::{
        Frame,
        noise::{AuthoritySecret, Identity, Trust, Validity},
        setup::ChannelEndpointChanged,
    },
};

const UNIX: u32 = 1_750_000_000;
const PEER: &str = "192.0.2.1:4000";

/// Answers every frame with its payload, `copies` times.
struct Echo {
    copies: u32,
    closed: Vec<String>,
}

impl Handler for Echo {
    type Conn = ();
    type Command = u32;

    fn opened(&mut self, _: &mut Link<'_>) {}

    fn frame(&mut self, (): &mut (), link: &mut Link<'_>, frame: Frame<'_>) -> Result<(), Close> {
        let first = frame.payload.first_chunk().ok_or(Close::Protocol("short".into()))?;
        for _ in 0..self.copies {
            link.send(&ChannelEndpointChanged { channel_id: u32::from_le_bytes(*first) });
        }
        Ok(())
    }

    fn command(&mut self, copies: u32, _: &mut Connections<'_, Self>) {
        self.copies = copies;
    }

    fn closed(&mut self, (): (), _: ConnId, why: &Close) {
        self.closed.push(why.to_string());
    }
}

struct World {
    shard: VirtualShard<Echo>,
    trust: Trust,
    start: Instant,
    millis: u64,
    random: StdRng,
}

impl World {
    fn new(seed: u64, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let authority = AuthoritySecret::generate(&mut random);
        let trust = Trust::Authority(authority.public());
        let identity = Identity::new(authority, Validity::default(), u64::from(UNIX), &mut random);
        let mut config = EngineConfig::new(PEER.parse().unwrap(), identity.into());
        change(&mut config);
        let start = Instant::now();
        let at = Moment { instant: start, unix: UNIX };
        let make = |_| Echo { copies: 1, closed: Vec::new() };
        let shard = VirtualShard::new(&config, 0, random.next_u64(), at, make).unwrap();
        Self { shard, trust, start, millis: 0, random }
    }

    fn turn(&mut self, millis: u64) {
        self.millis += millis;
        let instant = self.start + Duration::from_millis(self.millis);
        self.shard.turn(Moment { instant, unix: UNIX });
    }

    /// Turns until nothing is left to do at once.
    fn settle(&mut self) {
        let now = self.start + Duration::from_millis(self.millis);
        while self.shard.next_turn().is_some_and(|at| at <= now) {
            self.turn(0);
        }
    }

    fn client(&mut self) -> (Peer, VirtualSocket) {
        let socket = self.shard.connect(PEER.parse().unwrap()).unwrap();
        let (mut peer, act_1) = Peer::new(self.trust, &mut self.random);
        // Its first half in a packet of its own.
        socket.deliver(&act_1[..30]);
        self.settle();
        socket.deliver(&act_1[30..]);
        self.settle();
        peer.receive(&socket.take(usize::MAX), u64::from(UNIX), |_| panic!("no frame yet")).unwrap();
        assert!(peer.is_open());
        (peer, socket)
    }
}

fn sealed(peer: &mut Peer, numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut out = Vec::new();
    for channel_id in numbers {
        peer.seal(&ChannelEndpointChanged { channel_id }, &mut out).unwrap();
    }
    out
}

fn received(peer: &mut Peer, bytes: &[u8]) -> Vec<u32> {
    let mut numbers = Vec::new();
    let number = |frame: Frame<'_>| numbers.push(u32::from_le_bytes(frame.payload.try_into().unwrap()));
    peer.receive(bytes, u64::from(UNIX), number).unwrap();
    numbers
}

#[test]
fn frames_arrive_however_they_are_cut() {
    let mut world = World::new(1, |_| {});
    let (mut peer, socket) = world.client();
    let bytes = sealed(&mut peer, 0..100);
    for part in bytes.chunks(7) {
        socket.deliver(part);
        world.settle();
    }
    assert_eq!(received(&mut peer, &socket.take(usize::MAX)), (0..100).collect::<Vec<_>>());
    socket.close();
    world.settle();
    assert_eq!(world.shard.handler().closed, ["the peer closed the connection"]);
    assert!(world.shard.is_over());
}

#[test]
fn a_peer_that_reads_late_is_waited_for_and_one_that_does_not_is_dropped() {
    let mut world = World::new(2, |config| config.limits.send_buffer = Some(1000));
    world.shard.handle().send(1000).unwrap();
    let (mut late, late_socket) = world.client();
    let (mut never, never_socket) = world.client();
    late_socket.deliver(&sealed(&mut late, [7]));
    never_socket.deliver(&sealed(&mut never, [8]));
    world.settle();
    assert!(world.shard.bytes_held() > 2 * 20_000);
    let mut got = Vec::new();
    while got.len() < 1000 {
        world.turn(20);
        got.extend(received(&mut late, &late_socket.take(999)));
    }
    assert_eq!(got, vec![7; 1000]);
    world.turn(60_000);
    assert_eq!(world.shard.handler().closed, ["the peer stopped reading"]);
    assert_eq!(world.shard.bytes_held(), 0);
    assert_eq!(never_socket.ending(), Ending::Finished);
}

#[test]
fn a_stop_lets_output_leave() {
    let mut world = World::new(3, |_| {});
    let (mut peer, socket) = world.client();
    socket.deliver(&sealed(&mut peer, [1, 2]));
    world.settle();
    world.shard.stop();
    world.settle();
    assert_eq!(received(&mut peer, &socket.take(usize::MAX)), [1, 2]);
    assert_eq!(socket.ending(), Ending::Finished);
    socket.close();
    world.settle();
    assert!(world.shard.is_over());
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let mut world = World::new(seed, |_| {});
        let mut clients: Vec<_> = (0..4).map(|_| world.client()).collect();
        for (peer, socket) in &mut clients {
            socket.deliver(&sealed(peer, 0..10));
        }
        world.settle();
        clients.iter().flat_map(|(_, socket)| socket.take(usize::MAX)).collect::<Vec<u8>>()
    };
    assert_eq!(run(4), run(4));
    assert_ne!(run(4), run(5));
}
