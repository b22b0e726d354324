//! Many peers at once that take what they can.

use super::*;

/// Whoever makes a shard keep bytes, with half frames or by not reading, takes from one purse, and those
/// who take the most pay for it.
#[test]
fn half_frames_and_slow_readers_cannot_take_more_than_there_is() {
    const MOST: u64 = 256 * 1024;
    let mut world = World::new(6, |config| {
        config.shards = 1;
        config.limits.buffers = 256 * 1024;
        config.limits.send_buffer = Some(500);
        config.limits.connection_rate = crate::Rate::UNLIMITED;
    });
    let (mut good, good_socket) = world.client();
    let mut crowd: Vec<_> = (0..300).map(|_| world.client()).collect();
    world.shard.handle().send(100).unwrap();
    let mut echoed = 0;
    for round in 0..4u32 {
        for (index, (peer, socket)) in crowd.iter_mut().enumerate() {
            match index % 3 {
                // A frame that ends some other day, a little more of it in each round.
                0 if round == 0 => {
                    let mut frame = vec![0x7b, 0x7a, 1, 0, 8, 0];
                    frame.resize(6 + 2048, 0);
                    let mut bytes = Vec::new();
                    peer.seal_frame(&frame, &mut bytes).unwrap();
                    socket.deliver(&bytes[..1500]);
                }
                0 => socket.deliver(&[0; 100]),
                // A hundred answers, which nobody reads.
                1 => socket.deliver(&sealed(peer, [round])),
                // Half a header.
                _ => socket.deliver(&[round.to_le_bytes()[0]; 3]),
            }
            // In the midst of it, somebody who does what one does, in two pieces.
            if index % 50 == 0 {
                let bytes = sealed(&mut good, [echoed]);
                let (first, second) = bytes.split_at(20);
                for part in [first, second] {
                    good_socket.deliver(part);
                    world.turn(0);
                    assert!(world.shard.stats().buffered <= MOST);
                    assert!(world.shard.bytes_held() as u64 <= world.shard.stats().buffered);
                }
                let mut got = Vec::new();
                while got.len() < 100 {
                    got.extend(received(&mut good, &good_socket.take(usize::MAX)));
                    world.turn(0);
                }
                assert_eq!(got, vec![echoed; 100]);
                echoed += 1;
            }
        }
        world.turn(1);
        assert!(world.shard.stats().buffered <= MOST);
    }
    let stats = world.shard.stats();
    assert!(stats.closed_for("memory") > 50, "{stats:?}");
    assert!(stats.open > 100, "those who took little are still there: {stats:?}");
    assert_eq!(good_socket.ending(), Ending::Open);
    drop(crowd);
    good_socket.close();
    world.settle();
    world.turn(10_000);
    assert_eq!((world.shard.stats().buffered, world.shard.is_over()), (0, true), "all was given back");
}

#[test]
fn those_who_are_there_are_served_before_newcomers() {
    let mut world = World::new(7, |config| config.limits.connection_rate = crate::Rate::UNLIMITED);
    let (mut peer, socket) = world.client();
    let newcomers: Vec<_> = (0..200)
        .map(|_| {
            let newcomer = world.shard.connect(PEER.parse().unwrap()).unwrap();
            newcomer.deliver(&Peer::new(world.trust, &mut world.random).1);
            newcomer
        })
        .collect();
    // The acceptor's queue is emptied in parts.
    (0..2).for_each(|_| world.turn(0));
    let before = world.shard.stats().handshakes;
    socket.deliver(&sealed(&mut peer, [5]));
    world.turn(0);
    assert_eq!(received(&mut peer, &socket.take(usize::MAX)), [5], "in the next turn");
    let stats = world.shard.stats();
    assert!(before < 200 && stats.handshakes - before <= 64, "newcomers have a part of each turn");
    world.settle();
    assert_eq!(world.shard.stats().handshakes, 201);
    assert!(newcomers.iter().all(|newcomer| newcomer.available() > 0));
}

// proves: NS-30
#[test]
fn silent_newcomers_do_not_keep_others_out() {
    let mut world = World::new(8, |config| {
        config.limits.half_open = 10;
        config.limits.half_open_per_address = 10;
        config.limits.connection_rate = crate::Rate::UNLIMITED;
    });
    let silent: Vec<_> = (0..10).map(|_| world.shard.connect(PEER.parse().unwrap()).unwrap()).collect();
    world.turn(0);
    assert!(world.shard.connect(PEER.parse().unwrap()).is_err(), "the house is full");
    world.turn(2001);
    let stats = world.shard.stats();
    assert_eq!(
        (stats.closed_for("handshake_timeout"), stats.open),
        (5, 5),
        "those after the fifth were hurried"
    );
    let _there = world.client();
    world.turn(8000);
    assert_eq!(world.shard.stats().open, 1, "and the others had the usual time");
    drop(silent);
}
