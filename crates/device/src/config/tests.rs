use super::*;

const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

// proves: NS-24
#[test]
fn pool_urls_are_read_and_written() {
    for (host, port, url) in [
        ("pool.example", 34254, format!("stratum2+tcp://pool.example:34254/{KEY}")),
        ("127.0.0.1", 1, format!("stratum2+tcp://127.0.0.1:1/{KEY}")),
        ("::1", 65535, format!("stratum2+tcp://[::1]:65535/{KEY}")),
    ] {
        let address: PoolAddress = url.parse().unwrap();
        assert_eq!((address.host.as_str(), address.port), (host, port));
        assert!(address.trust == Trust::Authority(KEY.parse().unwrap()));
        assert_eq!(address.to_string(), url);
    }
}

// proves: NS-20
#[test]
fn a_pool_without_a_key_needs_an_explicit_decision() {
    for url in ["stratum2+tcp://pool.example:34254", "stratum2+tcp://pool.example:34254/"] {
        assert_eq!(url.parse::<PoolAddress>(), Err(PoolAddressError::NoAuthorityKey));
    }
    let address = PoolAddress::unverified("pool.example", 34254);
    assert!(address.trust == Trust::AnyServer);
    assert_eq!(address.to_string(), "stratum2+tcp://pool.example:34254");
}

#[test]
fn wrong_urls_say_what_is_wrong() {
    for (url, word) in [
        ("stratum+tcp://pool.example:3333/x", "stratum2+tcp://"),
        ("stratum2+tcp://pool.example/x", "port"),
        ("stratum2+tcp://pool.example:3333/9bXiEd8boQVhq7Wdd", "authority key"),
    ] {
        let error = url.parse::<PoolAddress>().unwrap_err().to_string();
        assert!(error.contains(word), "{url}: {error}");
    }
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let good = || DeviceConfig::new(vec![PoolAddress::unverified("pool", 1)], "user");
    assert!(good().check().is_ok());
    let change = |change: fn(&mut DeviceConfig)| {
        let mut config = good();
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    for (error, field) in [
        (change(|config| config.pools.clear()), "pools"),
        (change(|config| config.threads = 0), "threads"),
        (change(|config| config.threads = 100_000), "threads"),
        (change(|config| config.min_extranonce_size = 33), "min_extranonce_size"),
        (change(|config| config.max_hash_rate = Some(HashRate::new(0))), "max_hash_rate"),
        (change(|config| config.user_identity = "x".repeat(256)), "user_identity"),
        (change(|config| config.vendor.clear()), "vendor"),
        (
            change(|config| {
                config.channel = ChannelKind::Extended;
                config.requires_standard_jobs = true;
            }),
            "requires_standard_jobs",
        ),
    ] {
        assert!(error.starts_with(field), "{error}");
    }
}

#[test]
fn channel_kinds_have_names() {
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        assert_eq!(kind.to_string().parse::<ChannelKind>().unwrap(), kind);
    }
    assert!("group".parse::<ChannelKind>().unwrap_err().to_string().contains("group"));
}
