//! Connections that come and go, all at once, under load, and the end of the server.

mod echo;

use {
    echo::*,
    engine::client::ClientError,
    std::{
        net::Shutdown,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        thread,
        time::Duration,
    },
};

/// The reference implementation hangs for good when established connections each send one frame and
/// close together: its buffers wait for frames in a queue whose readers wait for the buffers.
#[test]
fn connections_that_send_one_frame_and_close_together_hang_nobody() {
    for shards in [1, 2, 4] {
        let server = serve(|config| config.shards = shards);
        for _ in 0..2 {
            let mut crowd: Vec<_> = (0..150).map(|_| server.raw()).collect();
            server.opened(150);
            let frames: Vec<_> = crowd.iter_mut().map(|raw| raw.sealed(&plain(ECHO, b"one frame"))).collect();
            thread::scope(|scope| {
                for (crowd, frames) in crowd.chunks_mut(50).zip(frames.chunks(50)) {
                    scope.spawn(move || {
                        for (raw, frame) in crowd.iter_mut().zip(frames) {
                            std::io::Write::write_all(&mut raw.socket, frame).unwrap();
                            raw.socket.shutdown(Shutdown::Both).unwrap();
                        }
                    });
                }
            });
            drop(crowd);
            for _ in 0..150 {
                server.next_closed();
            }
        }
        echo(&mut server.client(), b"still served");
        server.wait_for_stats("every connection has ended", |stats| {
            stats.handshakes == 301 && stats.closed.iter().sum::<u64>() >= 300 && stats.open <= 1
        });
        assert!(server.engine.stats().read().frames_in >= 300, "each frame was served before the close");
    }
}

#[test]
fn commands_while_connections_churn() {
    let server = serve(|config| config.shards = 2);
    let mut steady: Vec<_> = (0..6).map(|_| server.client()).collect();
    server.opened(6);
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let commander = scope.spawn(|| {
            let mut sent = 0u32;
            while !done.load(Relaxed) {
                let frame: Arc<[u8]> = plain(ECHO, &sent.to_le_bytes()).into();
                for handle in server.engine.handles() {
                    handle.send(Command::Broadcast(Arc::clone(&frame))).unwrap();
                }
                sent += 1;
                thread::sleep(Duration::from_micros(500));
            }
            sent
        });
        let churn: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..60 {
                        let mut raw = server.raw();
                        raw.send(&plain(ECHO, b"hello"));
                        match round % 3 {
                            0 => drop(raw.recv()),
                            1 => raw.socket.shutdown(Shutdown::Both).unwrap(),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        churn.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Relaxed);
        commander.join().unwrap()
    });
    // Whoever stayed got every command, in order.
    for client in &mut steady {
        for index in 0..sent {
            expect_frame(client, ECHO, &index.to_le_bytes());
        }
    }
    server.wait_for_stats("the others are gone", |stats| stats.open == 6);
}

#[test]
fn an_id_of_a_connection_that_ended_reaches_nobody() {
    let server = serve(|config| config.shards = 1);
    let first = server.client();
    let old = server.opened(1)[0];
    drop(first);
    assert_eq!(server.next_closed(), "peer");
    server.wait_for_stats("it is gone", |stats| stats.open == 0);
    let mut second = server.client();
    let new = server.opened(1)[0];
    assert_ne!(old, new);
    let handle = &server.engine.handles()[0];
    handle.send(Command::To(old, vec![plain(ECHO, b"for the first").into()])).unwrap();
    handle.send(Command::To(new, vec![plain(ECHO, b"for the second").into()])).unwrap();
    expect_frame(&mut second, ECHO, b"for the second");
}

#[test]
fn handlers_close_everybody_from_a_command() {
    let server = serve(|config| config.shards = 2);
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    server.opened(10);
    for handle in server.engine.handles() {
        handle.send(Command::FinishAll).unwrap();
    }
    for client in &mut clients {
        expect_frame(client, ECHO, b"goodbye");
        assert!(matches!(client.recv(in_time()), Err(ClientError::Closed)));
        assert_eq!(server.next_closed(), "finished");
    }
}

#[test]
fn stopping_serves_what_waits_tells_everybody_and_joins() {
    let server = serve(|config| {
        config.shards = 3;
        config.timeouts.linger = Duration::from_millis(300);
    });
    let mut clients: Vec<_> = (0..9).map(|_| server.client()).collect();
    server.opened(9);
    let half_open = std::net::TcpStream::connect(server.address()).unwrap();
    let handles = server.engine.handles().to_vec();
    for handle in &handles {
        handle.send(Command::Broadcast(plain(ECHO, b"the last job").into())).unwrap();
    }
    let Server { engine, events, .. } = server;
    let stats = engine.stats();
    let address = engine.local_addr();
    engine.stop();
    for client in &mut clients {
        expect_frame(client, ECHO, b"the last job");
        assert!(matches!(client.recv(in_time()), Err(ClientError::Closed)));
    }
    let closed: Vec<_> = events.try_iter().collect();
    assert_eq!(closed.len(), 9);
    assert!(closed.iter().all(|event| matches!(event, Event::Closed(_, "shutdown"))));
    assert_eq!(stats.read().open, 0);
    for handle in handles {
        assert!(handle.send(Command::FinishAll).is_err(), "nobody takes commands any more");
        assert!(handle.try_send(Command::FinishAll).is_err());
    }
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
    drop(half_open);
}
