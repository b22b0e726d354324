//! The blocking client: whom it trusts, how long it waits, how it ends.

mod echo;

use {
    echo::*,
    engine::client::{Client, ClientConfig, ClientError, Trust},
    rand::rngs::OsRng,
    std::{
        net::{SocketAddr, TcpListener},
        thread,
        time::{Duration, Instant},
    },
    sv2::noise::{AuthoritySecret, HandshakeError},
};

// proves: NS-19 NS-20 NS-02
#[test]
fn only_the_authority_that_was_named_is_trusted() {
    let server = serve(|config| config.shards = 1);
    let stranger = AuthoritySecret::generate(&mut OsRng).public();
    let refused = Client::connect(&[server.address()], &ClientConfig::new(Trust::Authority(stranger)));
    assert!(matches!(refused, Err(ClientError::Handshake(HandshakeError::Certificate(_)))));
    assert_eq!(server.next_closed(), "peer");
    assert_eq!(server.engine.stats().read().frames_in, 0, "nothing was said to a stranger");
    let mut careless = Client::connect(&[server.address()], &ClientConfig::new(Trust::AnyServer)).unwrap();
    echo(&mut careless, b"encrypted, to whoever it is");
}

#[test]
fn the_next_address_is_tried() {
    let server = serve(|config| config.shards = 1);
    let nobody = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let config = server.client_config();
    assert!(matches!(Client::connect(&[], &config), Err(ClientError::NoAddress)));
    assert!(matches!(Client::connect(&[nobody], &config), Err(ClientError::Connect { .. })));
    let mut client = Client::connect(&[nobody, server.address()], &config).unwrap();
    assert_eq!(client.peer().unwrap(), server.address());
    echo(&mut client, b"found");
    let mut client = Client::connect_host(("127.0.0.1", server.address().port()), &config).unwrap();
    echo(&mut client, b"found by name");
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut config = ClientConfig::new(Trust::AnyServer);
    config.handshake_timeout = Duration::from_millis(50);
    let silent: SocketAddr = listener.local_addr().unwrap();
    assert!(matches!(Client::connect(&[silent], &config), Err(ClientError::HandshakeTimeout)));
}

#[test]
fn receiving_waits_no_longer_than_the_deadline_and_loses_nothing() {
    let server = serve(|config| config.shards = 1);
    let mut client = server.client();
    client.writer().queue_encoded(&plain(LATER, &100u32.to_le_bytes()), None).unwrap();
    client.writer().flush().unwrap();
    let mut timeouts = 0;
    loop {
        match client.recv(Some(Instant::now() + Duration::from_millis(5))) {
            Ok(frame) => break assert_eq!(frame.payload, 100u32.to_le_bytes()),
            Err(ClientError::Timeout) => timeouts += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(timeouts > 0);
    // A deadline in the past still gives what is there.
    client.writer().queue_encoded(&flood(3, 10), None).unwrap();
    client.writer().flush().unwrap();
    assert_eq!(number(client.recv(in_time()).unwrap().payload, 0), 0);
    server.wait_for_stats("all are sent", |stats| stats.frames_out == 4);
    for expected in 1..3 {
        assert_eq!(
            number(client.recv(Some(Instant::now() - Duration::from_secs(1))).unwrap().payload, 0),
            expected
        );
    }
}

#[test]
fn hanging_up_wakes_a_receiver() {
    let server = serve(|config| config.shards = 1);
    let client = server.client();
    let hangup = client.hangup();
    let (mut reader, mut writer) = client.split();
    let receiver = thread::spawn(move || reader.recv(None).map(|_| ()));
    hangup.now();
    assert!(matches!(receiver.join().unwrap(), Err(ClientError::Closed)));
    assert_eq!(server.next_closed(), "peer");
    assert!(writer.send(&sv2::setup::ChannelEndpointChanged { channel_id: 1 }).is_err());
}

#[test]
fn finishing_still_receives() {
    let server = serve(|config| config.shards = 1);
    let (mut reader, mut writer) = server.client().split();
    writer.queue_encoded(&plain(ECHO, b"last"), None).unwrap();
    writer.finish().unwrap();
    assert_eq!(reader.recv(in_time()).unwrap().payload, b"last");
    assert!(matches!(reader.recv(in_time()), Err(ClientError::Closed)));
    assert!(matches!(writer.flush(), Err(ClientError::Closed)));
}

// proves: NS-34
#[test]
fn a_write_given_up_half_way_ends_the_connection() {
    let server = serve(|config| {
        config.shards = 1;
        config.limits.backlog = 256 * 1024;
        config.timeouts.write_stall = PATIENCE;
    });
    let mut config = server.client_config();
    config.write_timeout = Duration::from_millis(100);
    let mut client = Client::connect(&[server.address()], &config).unwrap();
    // Nobody reads the answers, so the server stops reading, and a write stalls somewhere in a frame.
    let failed = (0..50_000).find_map(|_| {
        for _ in 0..50 {
            client.writer().queue_encoded(&plain(ECHO, &[3; 2000]), None).unwrap();
        }
        client.writer().flush().err()
    });
    assert!(matches!(failed, Some(ClientError::Io(_))), "{failed:?}");
    // The rest of that frame can never be sent: nothing else may take its place.
    assert!(matches!(client.writer().flush(), Err(ClientError::Closed)));
    drop(client);
    let label = server.next_closed();
    assert!(["peer_mid_frame", "peer", "io"].contains(&label), "{label}");
}
