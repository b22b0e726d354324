//! Devices with sockets, threads and a real clock against a pool that validates what they find.

mod scripted_pool;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use device::{
    ChannelKind, Device, DeviceConfig, DeviceEvent, DeviceHandle, DeviceState, PoolAddress, Timing,
};
use scripted_pool::{Behaviour, Order, PATIENCE, ScriptedPool, Seen, identity};
use sv2::noise::Identity;
use work::HashRate;

fn address(pool: &ScriptedPool) -> PoolAddress {
    PoolAddress::verified("127.0.0.1", pool.address().port(), pool.authority)
}

fn config(pools: Vec<PoolAddress>, channel: ChannelKind) -> DeviceConfig {
    let mut config = DeviceConfig::new(pools, "somebody.worker");
    config.channel = channel;
    config.threads = 2;
    // Slow enough to leave the machine to others, fast enough for many shares a second.
    config.max_hash_rate = Some(HashRate::new(400_000));
    config.timing = Timing {
        retry_first: Duration::from_millis(20),
        retry_most: Duration::from_millis(200),
        return_after: Duration::from_millis(200),
        tick: Duration::from_millis(50),
        ..Timing::default()
    };
    config
}

fn start(config: DeviceConfig) -> (DeviceHandle, Receiver<DeviceEvent>) {
    let (sender, events) = bounded(10_000);
    (Device::start(config, sender).unwrap(), events)
}

fn wait_for(
    events: &Receiver<DeviceEvent>,
    what: &str,
    wanted: impl Fn(&DeviceEvent) -> bool,
) -> DeviceEvent {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match events.recv_deadline(deadline) {
            Ok(event) if wanted(&event) => return event,
            Ok(_) => (),
            Err(error) => panic!("{what} did not happen: {error}"),
        }
    }
}

/// Shares that come too late for their block are nobody's fault; all others must be good.
fn assert_no_mistakes(seen: &Seen) {
    let mistakes: Vec<_> = seen.rejected.iter().filter(|(code, _)| **code != "stale-share").collect();
    assert!(mistakes.is_empty(), "{mistakes:?}");
}

fn mines_through_blocks_and_jobs(channel: ChannelKind, behaviour: Behaviour, standard_jobs: bool) {
    let pool = ScriptedPool::start(&identity(), behaviour);
    let mut config = config(vec![address(&pool)], channel);
    config.requires_standard_jobs = standard_jobs;
    let (device, _events) = start(config);
    let mut goal = 0;
    for order in [Order::NewBlock, Order::NewJob, Order::NewBlock, Order::NewJob] {
        goal = pool.until("shares", |seen| seen.accepted >= goal + 10).accepted;
        pool.order(order);
    }
    pool.until("shares", |seen| seen.accepted >= goal + 10);
    let stats = device.stop();
    let seen = pool.until("the end", |seen| seen.open_connections == 0);
    assert_no_mistakes(&seen);
    assert_eq!(seen.closed_channels, 1, "the device said that it leaves");
    assert_eq!((seen.connections, stats.connections), (1, 1));
    // What the device counts is what the pool counts.
    assert_eq!(stats.shares_accepted, seen.accepted);
    assert_eq!(stats.credit, seen.credit);
    assert_eq!(stats.shares_rejected, seen.rejected.values().sum::<u64>());
    assert_eq!(stats.shares_submitted, stats.shares_accepted + stats.shares_rejected);
    assert!(stats.blocks_found >= seen.blocks);
    assert_eq!((stats.state, stats.hash_rate), (DeviceState::Stopped, HashRate::ZERO));
}

// proves: MD-01 MD-03 MD-05 MD-06 MP-60 MP-137 MP-118
#[test]
fn a_minimal_device_mines_standard_jobs() {
    mines_through_blocks_and_jobs(ChannelKind::Standard, Behaviour::default(), true);
}

// proves: MD-02 MP-159 MP-48 MP-08
#[test]
fn a_standard_channel_mines_the_jobs_of_its_group() {
    let behaviour = Behaviour { group_jobs: true, ..Behaviour::default() };
    mines_through_blocks_and_jobs(ChannelKind::Standard, behaviour, false);
}

// proves: MD-10 MP-94 MP-120 MP-118
#[test]
fn an_extended_channel_mines_its_own_jobs() {
    mines_through_blocks_and_jobs(ChannelKind::Extended, Behaviour::default(), false);
}

// proves: MP-159 MP-155 MP-48
#[test]
fn an_extended_channel_mines_the_jobs_of_its_group() {
    let behaviour = Behaviour { group_jobs: true, ..Behaviour::default() };
    mines_through_blocks_and_jobs(ChannelKind::Extended, behaviour, false);
}

// proves: CM-10 MP-91
#[test]
fn versions_stay_as_they_are_where_the_server_demands_it() {
    let behaviour = Behaviour { requires: 0b01, ..Behaviour::default() };
    mines_through_blocks_and_jobs(ChannelKind::Standard, behaviour, false);
}

// proves: CM-10 MP-30
#[test]
fn a_server_without_standard_channels_is_served_with_extended_ones() {
    let behaviour = Behaviour { requires: 0b10, ..Behaviour::default() };
    let pool = ScriptedPool::start(&identity(), behaviour);
    let mut config = config(vec![address(&pool)], ChannelKind::Standard);
    // The server refuses this flag; the second attempt does without.
    config.requires_standard_jobs = true;
    let (device, _events) = start(config);
    let seen = pool.until("shares", |seen| seen.accepted >= 5);
    assert_eq!(seen.setups.iter().map(|(flags, ..)| *flags).collect::<Vec<_>>(), [1, 0]);
    drop(device);
}

fn two_pools_of_one_operator() -> (Arc<Identity>, ScriptedPool, ScriptedPool) {
    let identity = identity();
    let first = ScriptedPool::start(&identity, Behaviour::default());
    let second = ScriptedPool::start(&identity, Behaviour::default());
    (identity, first, second)
}

// proves: RC-01 RC-03 RC-06 NS-31 CM-09 SM-10
#[test]
fn a_reconnect_is_followed_with_everything_done_anew() {
    let (_, first, second) = two_pools_of_one_operator();
    let (device, _events) = start(config(vec![address(&first)], ChannelKind::Extended));
    first.until("shares", |seen| seen.accepted >= 5);
    first.order(Order::Reconnect(String::new(), second.address().port()));
    let seen = second.until("shares at the new place", |seen| seen.accepted >= 5);
    assert_eq!(seen.setups, [(0, b"127.0.0.1".to_vec(), second.address().port())]);
    let left = first.until("the end", |seen| seen.open_connections == 0);
    let stats = device.stop();
    let seen = second.seen();
    assert_eq!(stats.shares_accepted, left.accepted + seen.accepted, "pending shares were acknowledged");
    assert_no_mistakes(&left);
    assert_no_mistakes(&seen);
}

// proves: RC-04
#[test]
fn a_redirect_to_somebody_else_is_not_trusted() {
    let pool = ScriptedPool::start(&identity(), Behaviour::default());
    let thief = ScriptedPool::start(&identity(), Behaviour::default());
    let (device, events) = start(config(vec![address(&pool)], ChannelKind::Standard));
    pool.until("shares", |seen| seen.accepted >= 2);
    pool.order(Order::Reconnect(String::new(), thief.address().port()));
    wait_for(&events, "the return", |event| {
        matches!(event, DeviceEvent::Disconnected { pool, retry_in: Some(_), .. }
            if pool.ends_with(&format!(":{}", thief.address().port())))
    });
    let before = pool.seen();
    pool.until("shares at the pool", |seen| seen.accepted > before.accepted && seen.connections == 2);
    assert!(thief.seen().setups.is_empty(), "the thief learned nothing, not even a name");
    drop(device);
}

#[test]
fn the_second_pool_takes_over_and_the_first_one_gets_its_device_back() {
    let (identity, first, second) = two_pools_of_one_operator();
    let (device, _events) = start(config(vec![address(&first), address(&second)], ChannelKind::Standard));
    first.until("shares", |seen| seen.accepted >= 2);
    assert_eq!(second.seen().connections, 0);
    let port = first.stop();
    second.until("shares at the second pool", |seen| seen.accepted >= 2);
    let first = ScriptedPool::start_on(port, &identity, Behaviour::default());
    first.until("shares at the first pool again", |seen| seen.accepted >= 2);
    let seen = second.until("the end", |seen| seen.open_connections == 0);
    assert_eq!(seen.closed_channels, 1, "it was left in good order");
    let stats = device.stop();
    assert!(stats.shares_accepted >= 6);
}

#[test]
fn a_pool_that_refuses_is_left_for_the_next() {
    let refusing = Behaviour { refuse_channels: true, ..Behaviour::default() };
    let first = ScriptedPool::start(&identity(), refusing);
    let second = ScriptedPool::start(&identity(), Behaviour::default());
    let mut config = config(vec![address(&first), address(&second)], ChannelKind::Standard);
    config.timing.return_after = Duration::from_secs(3600);
    let (device, _events) = start(config);
    second.until("shares", |seen| seen.accepted >= 2);
    assert_eq!(first.seen().connections, 2, "tried twice");
    drop(device);
}

// proves: MD-09 ER-02 ER-03
#[test]
fn rejected_shares_do_not_move_the_device() {
    let behaviour = Behaviour { reject_with: Some("no-such-code-in-any-book"), ..Behaviour::default() };
    let pool = ScriptedPool::start(&identity(), behaviour);
    let (device, _events) = start(config(vec![address(&pool)], ChannelKind::Standard));
    let seen = pool.until("rejections", |seen| seen.rejected.values().sum::<u64>() >= 50);
    assert_eq!(seen.connections, 1);
    let stats = device.stop();
    assert_eq!(stats.rejected_by_code.keys().collect::<Vec<_>>(), ["no-such-code-in-any-book"]);
    assert_eq!((stats.shares_accepted, stats.credit), (0, work::Ehash::ZERO));
}

// proves: MP-66
#[test]
fn a_closed_channel_is_opened_again() {
    let pool = ScriptedPool::start(&identity(), Behaviour::default());
    let (device, events) = start(config(vec![address(&pool)], ChannelKind::Extended));
    let before = pool.until("shares", |seen| seen.accepted >= 2);
    pool.order(Order::CloseChannels);
    let reason = wait_for(&events, "the end of the channel", |event| {
        matches!(event, DeviceEvent::Disconnected { .. })
    });
    assert!(reason.to_string().contains("maintenance"), "{reason}");
    pool.until("shares again", |seen| seen.accepted >= before.accepted + 2 && seen.connections == 2);
    drop(device);
}

#[test]
fn a_device_without_a_pool_waits_and_can_be_stopped() {
    let pool = ScriptedPool::start(&identity(), Behaviour::default());
    let address = address(&pool);
    pool.stop();
    let (device, events) = start(config(vec![address], ChannelKind::Standard));
    for _ in 0..3 {
        wait_for(&events, "an attempt", |event| matches!(event, DeviceEvent::Disconnected { .. }));
    }
    let stats = device.stop();
    assert_eq!((stats.state, stats.connections), (DeviceState::Stopped, 0));
    wait_for(&events, "the last event", |event| *event == DeviceEvent::Stopped);
}

#[test]
fn an_owner_who_does_not_listen_holds_nothing_up() {
    let pool = ScriptedPool::start(&identity(), Behaviour::default());
    let (sender, _events) = bounded(1);
    let device = Device::start(config(vec![address(&pool)], ChannelKind::Standard), sender).unwrap();
    pool.until("shares", |seen| seen.accepted >= 10);
    assert!(device.stop().events_dropped > 0);
}
