//! What peers cannot do to the server, or to each other.

mod echo;

use {
    echo::*,
    engine::{Refusal, client::Client},
    rand::{RngCore, rngs::OsRng},
    std::{
        io::Write,
        net::{Shutdown, TcpStream},
        sync::Arc,
        time::Duration,
    },
};

fn short(config: &mut engine::EngineConfig) {
    config.shards = 1;
    config.timeouts.linger = Duration::from_millis(200);
}

#[test]
fn a_reader_that_never_reads_is_dropped_and_others_notice_nothing() {
    let server = serve(|config| {
        short(config);
        config.limits.backlog = 64 * 1024;
        config.limits.send_buffer = Some(4096);
    });
    let deaf = server.raw();
    let deaf_id = server.opened(1)[0];
    let mut good = server.client();
    server.opened(1);
    let frame: Arc<[u8]> = plain(ECHO, &[9; 16 * 1024]).into();
    // The kernel buffers some megabytes at most on either side.
    for _ in 0..4096 {
        server.engine.handles()[0].send(Command::Broadcast(Arc::clone(&frame))).unwrap();
        expect_frame(&mut good, ECHO, &[9; 16 * 1024]);
        if !server.events.is_empty() {
            break;
        }
    }
    assert_eq!(server.events.recv_timeout(PATIENCE), Ok(Event::Closed(deaf_id, "slow_reader")));
    echo(&mut good, b"still here");
    server.wait_for_stats("the slow reader is gone", |stats| stats.open == 1);
    drop(deaf);
}

#[test]
fn a_peer_that_sends_and_does_not_read_is_paused_and_then_dropped() {
    let server = serve(|config| {
        short(config);
        config.limits.backlog = 256 * 1024;
        config.limits.send_buffer = Some(4096);
        config.timeouts.write_stall = Duration::from_millis(300);
    });
    let mut deaf = server.raw();
    deaf.socket.set_nonblocking(true).unwrap();
    let frame = plain(ECHO, &[1; 1500]);
    // Sends until the server takes no more: it has stopped reading, so what it buffers is bounded.
    let mut refused = false;
    for _ in 0..100_000 {
        let sealed = deaf.sealed(&frame);
        match deaf.socket.write(&sealed) {
            Ok(count) if count == sealed.len() => {}
            _ => {
                refused = true;
                break;
            }
        }
    }
    assert!(refused, "the server must not read what it cannot answer");
    assert_eq!(server.next_closed(), "write_stalled");
    echo(&mut server.client(), b"still here");
}

// proves: NS-34
#[test]
fn a_late_reader_gets_every_byte_in_order() {
    let server = serve(|config| {
        short(config);
        config.limits.backlog = 16 << 20;
        config.limits.send_buffer = Some(64 * 1024);
    });
    let mut client = server.client();
    client.writer().queue_encoded(&flood(3000, 2000), None).unwrap();
    client.writer().flush().unwrap();
    // More than the kernel takes: partial writes happen in the middle of frames, and none is sealed twice.
    echo_after_flood(&mut client, 3000, 2000);
    // A backlog that comes and goes.
    for _ in 0..20 {
        client.writer().queue_encoded(&flood(40, 10_000), None).unwrap();
        client.writer().flush().unwrap();
        echo_after_flood(&mut client, 40, 10_000);
    }
}

fn echo_after_flood(client: &mut Client, count: u32, size: usize) {
    client.writer().queue_encoded(&plain(ECHO, b"end"), None).unwrap();
    client.writer().flush().unwrap();
    for index in 0..count {
        let frame = client.recv(in_time()).unwrap();
        assert_eq!((frame.header.msg_type, frame.payload.len()), (FLOOD, size));
        assert_eq!(number(frame.payload, 0), index);
    }
    expect_frame(client, ECHO, b"end");
}

// proves: NS-30
#[test]
fn handshakes_that_are_not_finished_end_in_time() {
    let server = serve(|config| {
        short(config);
        config.timeouts.handshake = Duration::from_millis(100);
    });
    let mut sockets: Vec<_> = [0, 1, 63]
        .into_iter()
        .map(|length| {
            let mut socket = TcpStream::connect(server.address()).unwrap();
            socket.write_all(&vec![0xa5; length]).unwrap();
            socket
        })
        .collect();
    assert!(sockets.iter_mut().all(closes));
    server.wait_for_stats("all have ended", |stats| {
        stats.closed_for("handshake_timeout") == 3 && stats.handshakes_failed == 3 && stats.open == 0
    });
    // The time-out is the handshake's alone.
    let mut client = server.client();
    std::thread::sleep(Duration::from_millis(150));
    echo(&mut client, b"established");
}

// proves: NS-01 NS-30
#[test]
fn garbage_is_closed_at_once() {
    let server = serve(short);
    #[track_caller]
    fn case(server: &Server, bytes: &[u8], why: &str) {
        let before = server.engine.stats().read().closed_for(why);
        let mut socket = TcpStream::connect(server.address()).unwrap();
        socket.write_all(bytes).unwrap();
        assert!(closes(&mut socket), "{why}");
        server.wait_for_stats(why, |stats| stats.closed_for(why) == before + 1);
    }
    case(&server, b"{\"id\": 1, \"method\": \"mining.subscribe\", \"params\": []}\n", "not_noise");
    case(&server, b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n", "not_noise");
    // Stratum V2 without encryption: a SetupConnection of 90 bytes.
    let setup = [&[0, 0, 0, 90, 0, 0, 0, 2, 0, 2, 0][..], &[0; 85]].concat();
    case(&server, &setup, "not_noise");
    let mut garbage = [0; 4096];
    OsRng.fill_bytes(&mut garbage);
    garbage[0] = 0xff;
    case(&server, &garbage, "not_noise");
    // A stranger who has read the answer and goes on with garbage.
    let mut raw = server.raw();
    raw.socket.write_all(&garbage).unwrap();
    assert!(raw.is_closed());
    server.wait_for_stats("garbage after the handshake", |stats| stats.closed_for("noise") == 1);
    echo(&mut server.client(), b"still here");
}

#[test]
fn a_frame_over_the_limit_ends_the_connection_at_its_header() {
    let server = serve(short);
    let mut raw = server.raw();
    let sealed = raw.sealed(&plain(ECHO, &[0; 2049]));
    // The header alone is enough to know.
    raw.socket.write_all(&sealed[..22]).unwrap();
    assert_eq!(server.next_closed(), "frame");

    let mut client = server.client();
    echo(&mut client, &[0; 2048]);
    client.writer().queue_encoded(&plain(LIMIT, &3000u32.to_le_bytes()), None).unwrap();
    client.writer().flush().unwrap();
    expect_frame(&mut client, LIMIT, &3000u32.to_le_bytes());
    echo(&mut client, &[0; 3000]);
    let _ = client.writer().queue_encoded(&plain(ECHO, &[0; 3001]), None);
    let _ = client.writer().flush();
    assert_eq!(server.next_closed(), "frame");
}

/// What a pool does to peers that send no `SetupConnection` (CM-19).
#[test]
fn a_handler_sets_a_deadline_of_its_own() {
    let server = serve(short);
    let mut client = server.client();
    client.writer().queue_encoded(&plain(GIVE_UP, &50u32.to_le_bytes()), None).unwrap();
    client.writer().flush().unwrap();
    expect_frame(&mut client, GIVE_UP, b"too late");
    assert!(matches!(client.recv(in_time()), Err(engine::client::ClientError::Closed)));
    assert_eq!(server.next_closed(), "setup_timeout");
}

#[test]
fn silence_ends_a_connection() {
    let server = serve(|config| {
        short(config);
        config.timeouts.idle = Some(Duration::from_millis(150));
    });
    let mut client = server.client();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(40));
        echo(&mut client, b"not idle");
    }
    assert_eq!(server.next_closed(), "idle");
}

#[test]
fn half_a_frame_ends_a_connection() {
    let server = serve(|config| {
        short(config);
        config.timeouts.partial_frame = Duration::from_millis(100);
    });
    let mut raw = server.raw();
    let sealed = raw.sealed(&plain(ECHO, b"hello"));
    let (last, rest) = sealed.split_last().unwrap();
    raw.socket.write_all(rest).unwrap();
    assert_eq!(server.next_closed(), "partial_frame");
    let _ = raw.socket.write_all(&[*last]);
    assert!(raw.is_closed());
}

#[test]
fn connections_beyond_the_limits_are_refused() {
    let server = serve(|config| {
        short(config);
        config.limits.connections = 5;
        config.limits.connections_per_address = 4;
    });
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    server.opened(4);
    let mut refused = TcpStream::connect(server.address()).unwrap();
    assert!(closes(&mut refused));
    server.wait_for_stats("the refusal is counted", |stats| {
        stats.refused_for(Refusal::ConnectionsPerAddress) == 1 && stats.accepted == 4
    });
    drop(clients.pop());
    assert_eq!(server.next_closed(), "peer");
    server.wait_for_stats("the place is free", |stats| stats.open == 3);
    echo(&mut server.client(), b"there is room again");
    clients.iter_mut().for_each(|client| echo(client, b"nobody else noticed"));
}

// proves: NS-30
#[test]
fn half_open_connections_wait_or_are_refused() {
    let server = serve(|config| {
        short(config);
        config.limits.half_open = 4;
        config.limits.half_open_per_address = 3;
        config.limits.patience = Duration::ZERO;
        config.timeouts.handshake = Duration::from_secs(3600);
    });
    let idle: Vec<_> = (0..3).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    server.wait_for_stats("three are half open", |stats| stats.open == 3);
    let mut refused = TcpStream::connect(server.address()).unwrap();
    assert!(closes(&mut refused));
    server.wait_for_stats("the refusal is counted", |stats| {
        stats.refused_for(Refusal::HalfOpenPerAddress) == 1
    });
    drop(idle);
    server.wait_for_stats("the half-open ones are gone", |stats| stats.open == 0);

    let server = serve(|config| {
        short(config);
        config.limits.half_open = 2;
        config.timeouts.handshake = Duration::from_secs(3600);
    });
    let idle: Vec<_> = (0..2).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    server.wait_for_stats("two are half open", |stats| stats.open == 2);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| echo(&mut server.client(), b"served late, but served"));
        drop(idle);
        waiting.join().unwrap();
    });
    assert_eq!(server.engine.stats().read().refused, [0; Refusal::ALL.len()]);
}

// proves: CM-16
#[test]
fn the_last_words_of_the_server_arrive() {
    let server = serve(short);
    for (ask, label) in [(FINISH, "finished"), (FAIL, "protocol")] {
        let mut client = server.client();
        // More input than the server will read: closing with it unread must not destroy the answer.
        client.writer().queue_encoded(&plain(ask, b"why"), None).unwrap();
        for _ in 0..100 {
            client.writer().queue_encoded(&plain(ECHO, &[0; 1000]), None).unwrap();
        }
        client.writer().flush().unwrap();
        expect_frame(&mut client, ask, b"why");
        assert!(matches!(client.recv(in_time()), Err(engine::client::ClientError::Closed)));
        assert_eq!(server.next_closed(), label);
        drop(client);
        server.wait_for_stats("nothing lingers", |stats| stats.open == 0);
    }
    // A peer that does not close its side does not keep the connection.
    let mut raw = server.raw();
    raw.send(&plain(FINISH, b""));
    assert_eq!(server.next_closed(), "finished");
    server.wait_for_stats("lingering ends", |stats| stats.open == 0);
}

#[test]
fn ends_of_the_stream_are_told_apart() {
    let server = serve(short);
    let raw = server.raw();
    raw.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.next_closed(), "peer");
    let mut raw = server.raw();
    let sealed = raw.sealed(&plain(ECHO, b"hello"));
    raw.socket.write_all(&sealed[..30]).unwrap();
    raw.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.next_closed(), "peer_mid_frame");
}

#[test]
fn connections_that_come_too_fast_wait_and_then_are_refused() {
    let server = serve(|config| {
        short(config);
        config.limits.connection_rate = engine::Rate { per_second: 2, burst: 2 };
        config.limits.patience = Duration::from_millis(600);
    });
    // Two at once, and one more that waits a moment: served late, but served.
    let mut crowd: Vec<_> = (0..3).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    server.wait_for_stats("three are in", |stats| stats.accepted == 3);
    // Twenty at once are more than anybody has patience with.
    crowd.extend((0..20).map(|_| TcpStream::connect(server.address()).unwrap()));
    server.wait_for_stats("most are refused", |stats| stats.refused_for(Refusal::ConnectionRate) >= 10);
    drop(crowd);
    wait_for("somebody is let in again", || {
        let late = Client::connect(&[server.address()], &server.client_config());
        late.map(|mut late| echo(&mut late, b"later it works")).is_ok()
    });
}

#[test]
fn handshakes_that_fail_cost_more_than_good_ones() {
    let server = serve(|config| {
        short(config);
        config.limits.connection_rate = engine::Rate { per_second: 1, burst: 40 };
        config.limits.failure_cost = 20;
        config.limits.patience = Duration::ZERO;
    });
    for _ in 0..10 {
        echo(&mut server.client(), b"good ones cost one each");
    }
    for count in 1..=2 {
        let mut socket = TcpStream::connect(server.address()).unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n").unwrap();
        assert!(closes(&mut socket));
        server.wait_for_stats("it is counted", |stats| stats.closed_for("not_noise") == count);
    }
    let mut refused = TcpStream::connect(server.address()).unwrap();
    assert!(closes(&mut refused));
    server.wait_for_stats("refused", |stats| stats.refused_for(Refusal::ConnectionRate) == 1);
}

#[test]
fn a_crowd_with_half_frames_cannot_use_up_memory() {
    const MOST: u64 = 256 * 1024;
    let server = serve(|config| {
        short(config);
        config.limits.buffers = 256 * 1024;
        config.timeouts.partial_frame = Duration::from_secs(3600);
    });
    let mut good = server.client();
    let mut crowd = Vec::new();
    for index in 0..300u32 {
        let mut raw = server.raw();
        let sealed = raw.sealed(&plain(ECHO, &[0; 2048]));
        raw.socket.write_all(&sealed[..2000]).unwrap();
        crowd.push(raw);
        echo(&mut good, &index.to_le_bytes());
        assert!(server.engine.stats().read().buffered <= MOST);
    }
    server.wait_for_stats("some had to go", |stats| stats.closed_for("memory") > 100);
    echo(&mut good, b"not this one");
    drop((good, crowd));
    server.wait_for_stats("all was given back", |stats| stats.buffered == 0 && stats.open == 0);
}
