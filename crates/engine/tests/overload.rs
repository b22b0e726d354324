//! Newcomers, while the shards cannot keep up with those who are there.

mod echo;

use {
    echo::*,
    engine::{Refusal, client::Client},
    std::{net::TcpStream, sync::Arc, thread, time::Duration},
};

/// A server, one of whose shards stands still in the middle of a turn, until something is sent.
fn stand_still(shards: u16) -> (Server, Vec<Client>, crossbeam_channel::Sender<()>) {
    let server = serve(|config| {
        config.shards = shards;
        config.limits.lag = Duration::from_millis(50);
        config.limits.lag_patience = Duration::from_millis(100);
    });
    // Two for each shard: it stops between them.
    let clients: Vec<_> = (0..2 * shards).map(|_| server.client()).collect();
    server.opened(clients.len());
    let (go, wait) = crossbeam_channel::bounded(1);
    let frame: Arc<[u8]> = plain(ECHO, b"step").into();
    server.engine.handles()[0].send(Command::Stepwise(frame, wait)).unwrap();
    // Long enough to be called lagging.
    thread::sleep(Duration::from_millis(100));
    (server, clients, go)
}

#[test]
fn a_server_that_lags_sheds_newcomers_and_takes_them_again_later() {
    let (server, mut clients, go) = stand_still(1);
    let mut refused: Vec<_> = (0..3).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert!(refused.iter_mut().all(closes), "patience has ended: they are told to go elsewhere");
    server.wait_for_stats("they are counted", |stats| stats.refused_for(Refusal::Overload) == 3);
    go.send(()).unwrap();
    for client in &mut clients {
        expect_frame(client, ECHO, b"step");
        echo(client, b"nobody who was there was dropped");
    }
    wait_for("newcomers are let in again", || {
        let late = Client::connect(&[server.address()], &server.client_config());
        late.map(|mut late| echo(&mut late, b"hello")).is_ok()
    });
}

#[test]
fn a_shard_that_lags_gets_no_newcomers_while_another_does_not() {
    let (server, clients, go) = stand_still(2);
    for _ in 0..6 {
        echo(&mut server.client(), b"the other shard is well");
    }
    assert_eq!(server.engine.stats().read().refused, [0; Refusal::ALL.len()]);
    go.send(()).unwrap();
    drop(clients);
}
