use super::*;

// proves: MP-107
#[test]
fn a_channel_in_its_steady_state_is_small() {
    for mut channel in [standard(), extended()] {
        for number in 1..6 {
            for n in 1..20 {
                channel.add_active(&job(u32::from(number) * 100 + n), MIN_NTIME).unwrap();
            }
            let next = u32::from(number) * 100 + 99;
            channel.add_future(&job(next)).unwrap();
            channel.activate(next, &tip(number + 1)).unwrap();
        }
        for n in 1..20 {
            channel.add_active(&job(5000 + n), MIN_NTIME).unwrap();
        }
        let mut nonce = 0;
        for _ in 0..5 {
            let good = find_share(&channel, 5019, &tip(6), nonce);
            nonce = good.nonce + 1;
            submit(&mut channel, good).unwrap();
        }
        assert_eq!(channel.jobs.iter().count(), 9);
        let (bytes, inline) = (channel.bytes(), size_of::<Channel>());
        assert!(bytes <= 614, "{bytes} bytes, {inline} of them inline");
    }
}

#[test]
fn a_slot_is_small() {
    assert_eq!(size_of::<Slot>(), 16);
}
