//! Frames arrive whole and in order however TCP cuts them.

mod echo;

use {
    echo::*,
    engine::client::ClientError,
    std::{
        io::Write,
        sync::Arc,
        thread,
        time::{Duration, Instant},
    },
    sv2::Message,
};

// proves: FR-21
#[test]
fn many_clients_get_their_own_frames_back() {
    let server = serve(|config| config.shards = 2);
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let server = &server;
            scope.spawn(move || {
                let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
                for round in 0..20u8 {
                    for (index, client) in clients.iter_mut().enumerate() {
                        let size = usize::from(round) * 37 % 1500;
                        let mut payload = vec![round ^ thread; size];
                        payload.push(u8::try_from(index).unwrap());
                        echo(client, &payload);
                    }
                }
            });
        }
    });
    server
        .wait_for_stats("all frames are counted", |stats| stats.frames_in == 800 && stats.frames_out == 800);
    let stats = server.engine.stats();
    assert!(
        (0..2).all(|shard| stats.shard(shard).unwrap().accepted == 20),
        "connections are dealt out evenly"
    );
}

// proves: FR-21
#[test]
fn frames_that_come_byte_by_byte() {
    let server = serve(|config| config.shards = 1);
    let mut raw = server.raw();
    for payload in [&b""[..], b"one", &[7; 100]] {
        for byte in raw.sealed(&plain(ECHO, payload)) {
            raw.socket.write_all(&[byte]).unwrap();
        }
        assert_eq!(raw.recv(), (ECHO, payload.to_vec()));
    }
}

// proves: FR-21
#[test]
fn many_frames_in_one_write_are_answered_in_order() {
    let server = serve(|config| config.shards = 1);
    let mut client = server.client();
    // Longer than several reads of the server, so that frames straddle its reads.
    for index in 0..5000u32 {
        client.writer().queue_encoded(&plain(ECHO, &index.to_le_bytes()), None).unwrap();
    }
    assert!(client.writer().queued() > 200_000);
    let (mut reader, mut writer) = client.split();
    let sender = thread::spawn(move || writer.flush());
    for index in 0..5000u32 {
        let frame = reader.recv(in_time()).unwrap();
        assert_eq!((frame.header.msg_type, frame.payload), (ECHO, &index.to_le_bytes()[..]));
    }
    sender.join().unwrap().unwrap();
    assert!(reader.try_buffered().unwrap().is_none());
}

// proves: FR-21
#[test]
fn every_cut_of_two_frames_is_joined_again() {
    let server = serve(|config| config.shards = 1);
    let mut raw = server.raw();
    let length = raw.sealed(&plain(ECHO, b"first")).len() + raw.sealed(&plain(ECHO, b"second one")).len();
    let mut raw = server.raw();
    for cut in 1..length {
        let mut bytes = raw.sealed(&plain(ECHO, b"first"));
        bytes.extend(raw.sealed(&plain(ECHO, b"second one")));
        raw.socket.write_all(&bytes[..cut]).unwrap();
        // Let the server see the cut where it can: the first frame is answered before the rest is sent.
        let seen = cut >= sv2::noise::sealed_frame_len(5);
        if seen {
            assert_eq!(raw.recv(), (ECHO, b"first".to_vec()));
        }
        raw.socket.write_all(&bytes[cut..]).unwrap();
        if !seen {
            assert_eq!(raw.recv(), (ECHO, b"first".to_vec()));
        }
        assert_eq!(raw.recv(), (ECHO, b"second one".to_vec()));
    }
}

// proves: FR-21
#[test]
fn frames_of_many_chunks_pass_both_ways() {
    let server = serve(|config| {
        config.shards = 1;
        config.limits.backlog = 32 << 20;
    });
    let mut client = server.client();
    client.writer().queue_encoded(&plain(LIMIT, &(8u32 << 20).to_le_bytes()), None).unwrap();
    client.writer().flush().unwrap();
    expect_frame(&mut client, LIMIT, &(8u32 << 20).to_le_bytes());
    for size in [65_518, 65_519, 65_520, 200_000, 3_000_000] {
        let payload: Vec<u8> =
            (0..size).map(|index: u32| index.to_le_bytes()[0] ^ index.to_le_bytes()[1]).collect();
        let writer = client.writer();
        writer.queue_encoded(&plain(ECHO, &payload), None).unwrap();
        writer.queue_encoded(&plain(ECHO, b"and a small one"), None).unwrap();
        writer.flush().unwrap();
        expect_frame(&mut client, ECHO, &payload);
        expect_frame(&mut client, ECHO, b"and a small one");
    }
}

// proves: FR-22
#[test]
fn what_one_update_sends_arrives_in_the_order_of_the_calls() {
    let server = serve(|config| config.shards = 1);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    let ids = server.opened(8);
    let frames: Vec<Arc<[u8]>> = (0..200u32).map(|index| plain(ECHO, &index.to_le_bytes()).into()).collect();
    // Commands to each and to all, interleaved, from one thread: their order holds on every connection.
    for (index, pair) in frames.chunks(2).enumerate() {
        for id in &ids {
            server.engine.handles()[0].send(Command::To(*id, pair.to_vec())).unwrap();
        }
        let mark = plain(FLOOD, &u32::try_from(index).unwrap().to_le_bytes());
        server.engine.handles()[0].send(Command::Broadcast(mark.into())).unwrap();
    }
    for client in &mut clients {
        for index in 0..100u32 {
            expect_frame(client, ECHO, &(2 * index).to_le_bytes());
            expect_frame(client, ECHO, &(2 * index + 1).to_le_bytes());
            expect_frame(client, FLOOD, &index.to_le_bytes());
        }
    }
}

#[test]
fn commands_reach_every_connection_of_every_shard() {
    let server = serve(|config| config.shards = 4);
    let mut clients: Vec<_> = (0..60).map(|_| server.client()).collect();
    let ids = server.opened(60);
    for shard in 0..4 {
        assert_eq!(ids.iter().filter(|id| id.shard() == shard).count(), 15);
    }
    for handle in server.engine.handles() {
        handle.send(Command::Broadcast(plain(ECHO, b"a new block").into())).unwrap();
    }
    for client in &mut clients {
        expect_frame(client, ECHO, b"a new block");
    }
    let (sender, counts) = crossbeam_channel::unbounded();
    for handle in server.engine.handles() {
        handle.send(Command::Count(sender.clone())).unwrap();
    }
    let total: usize = (0..4).map(|_| counts.recv_timeout(PATIENCE).unwrap()).sum();
    assert_eq!(total, 60);
}

/// A new block's first byte leaves before the second client's is encrypted (DESIGN section 3).
#[test]
fn each_client_has_its_frame_before_the_next_one_is_served() {
    let server = serve(|config| config.shards = 1);
    let mut clients: Vec<_> = (0..5)
        .map(|_| {
            let client = server.client();
            server.opened(1);
            client
        })
        .collect();
    let (go, went) = crossbeam_channel::unbounded();
    // The shard is done with the last client before we are: our end of the channel must outlive its.
    let stepwise = Command::Stepwise(plain(ECHO, b"a new block").into(), went.clone());
    server.engine.handles()[0].send(stepwise).unwrap();
    for client in &mut clients {
        // The shard stands still until we say that this one has arrived.
        expect_frame(client, ECHO, b"a new block");
        go.send(()).unwrap();
    }
    drop(went);
}

#[test]
fn a_message_is_sent_encoded_or_typed_alike() {
    let server = serve(|config| config.shards = 1);
    let mut client = server.client();
    let message = sv2::setup::ChannelEndpointChanged { channel_id: 7 };
    client.send(&message).unwrap();
    let frame = client.recv(in_time()).unwrap();
    assert_eq!(sv2::setup::ChannelEndpointChanged::decode(frame.payload).unwrap(), message);
}

#[test]
fn a_timer_fires_once_and_not_early() {
    let server = serve(|config| config.shards = 1);
    let mut client = server.client();
    let start = Instant::now();
    for wait in [3_600_000u32, 50] {
        client.writer().queue_encoded(&plain(LATER, &wait.to_le_bytes()), None).unwrap();
    }
    client.writer().flush().unwrap();
    expect_frame(&mut client, LATER, &50u32.to_le_bytes());
    assert!(start.elapsed() >= Duration::from_millis(50));
    let soon = Some(Instant::now() + Duration::from_millis(20));
    assert!(matches!(client.recv(soon), Err(ClientError::Timeout)));
    echo(&mut client, b"nothing was lost by waiting");
}
