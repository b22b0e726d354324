use std::io::Write;

use super::PoolFile;

const GOOD: &str = r#"
data_dir = "/tmp/assay"
[pool]
payout_script = "51"
[node]
url = "http://127.0.0.1:38332"
cookie_file = "/tmp/.cookie"
network = "signet"
"#;

fn resolve(text: &str) -> Result<super::Resolved, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    PoolFile::load(file.path()).and_then(PoolFile::resolve).map_err(|error| format!("{error:#}"))
}

#[test]
fn a_short_file_is_enough() {
    let resolved = resolve(GOOD).unwrap();
    assert_eq!(resolved.payout_script.unwrap().to_hex_string(), "51");
    assert_eq!(resolved.ledger_path.to_str(), Some("/tmp/assay/ledger.db"));
    assert_eq!(resolved.epochs.window, 16);
}

#[test]
fn errors_name_the_field_and_the_remedy() {
    let case = |from: &str, to: &str, wanted: &[&str]| {
        assert!(GOOD.contains(from), "{from}");
        let error = resolve(&GOOD.replace(from, to)).expect_err(to);
        for part in wanted {
            assert!(error.contains(part), "{to}: {error}");
        }
    };
    case("[node]", "paymout = 3\n[node]", &["paymout", "payout_address"]);
    case("payout_script = \"51\"", "", &["pool.payout_address is missing"]);
    case("payout_script = \"51\"", "payout_script = \"5\"", &["pool.payout_script"]);
    case("payout_script = \"51\"", "payout_address = \"x\"", &["pool.payout_address \"x\""]);
    case(
        "payout_script = \"51\"",
        "payout_address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"",
        &["not of the network"],
    );
    case("\"signet\"", "\"signnet\"", &["node.network", "bitcoin, testnet4, signet or regtest"]);
    case("cookie_file = \"/tmp/.cookie\"", "", &["node.cookie_file"]);
    case("cookie_file = \"/tmp/.cookie\"", "user = \"a\"", &["node.password"]);
    case("http://", "https://name:hunter2@", &["node.url"]);
    let error = resolve(&GOOD.replace("http://", "https://name:hunter2@")).expect_err("no http");
    assert!(!error.contains("hunter2"), "{error}");
    case("[node]", "shares_per_minute = 0\n[node]", &["pool.shares_per_minute"]);
    case("[node]", "min_share_hashes = 1\n[node]", &["pool.min_share_hashes"]);
    case("[node]", "default_payout_key = \"bob\"\n[node]", &["pool.default_payout_key", "assay keys payout"]);
    case("[node]", "listen = 3\n[node]", &["pool.listen"]);
    case("[node]", "[epochs]\nq = 99\n[node]", &["[epochs]", "q"]);
    for field in
        ["connections", "channels", "shares_per_tip", "share_memory_mib", "share_burst", "keys_per_epoch"]
    {
        let limit = format!("[limits]\n{field} = 0\n[node]");
        case("[node]", &limit, &[&format!("limits.{field} is 0; write "), "or more"]);
    }
    case(
        "[node]",
        "[limits]\nbuffer_memory_mib = 1\n[node]",
        &["limits.buffer_memory_mib is 1", "pool.shards"],
    );
    case("[node]", "[limits]\nshares_over_aim = 2\n[node]", &["limits.shares_over_aim", "10 or more, or 0"]);
    case("[node]", "[noise]\ncertificate_hours = 0\n[node]", &["noise.certificate_hours"]);
}

#[test]
fn the_example_is_complete_and_correct() {
    let example = include_str!("../../../../docs/assay.example.toml")
        .replace("bc1q…", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
    resolve(&example).unwrap();
    // With every optional field switched on it still parses, so no field is documented that does not exist.
    let all: String = example
        .lines()
        .map(|line| {
            let uncommented = line.strip_prefix("# ").filter(|rest| {
                let section = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let name = section.or_else(|| rest.split_once(" = ").map(|(name, _)| name));
                name.is_some_and(|name| {
                    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                })
            });
            format!("{}\n", uncommented.unwrap_or(line))
        })
        .collect();
    let error = resolve(&all).expect_err("both ways of access and of payout are switched on");
    assert!(error.contains("pool.payout_") || error.contains("default_payout_key"), "{error}");
}

/// The value of a commented field is its default, as the example says.
#[test]
fn the_example_names_every_limit_with_its_default() {
    let example = include_str!("../../../../docs/assay.example.toml");
    let limits = example.split("[limits]").nth(1).unwrap();
    let fields: String = limits
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|l| l.contains(" = "))
        .map(|l| format!("{l}\n"))
        .collect();
    let resolved = resolve(&format!("{GOOD}[limits]\n{fields}")).unwrap();
    let (written, defaults) = (&resolved.file.limits, super::LimitsSection::default());
    assert_eq!(format!("{written:?}"), format!("{defaults:?}"));
    let names = format!("{defaults:?}").matches(": ").count();
    assert_eq!(fields.lines().count(), names, "a limit is missing:\n{fields}");
    assert_eq!(resolved.pool(bitcoin::ScriptBuf::new()).limits, pool::ChannelLimits::default());
}

#[test]
fn rewards_go_to_one_place() {
    let mint = |fields: &str| resolve(&GOOD.replace("[node]", &format!("[mint]\n{fields}\n[node]")));
    let own = resolve(GOOD).unwrap();
    assert!(own.payout_script.is_some() && own.redemption.is_none());
    let own = mint("").unwrap();
    assert!(own.payout_script.is_some() && own.redemption.is_none());
    let without = GOOD.replace("payout_script = \"51\"", "");
    let error = resolve(&without).unwrap_err();
    assert!(error.contains("pool.payout_address is missing") && error.contains("[mint]"), "{error}");
    let wallets = |fields: &str| resolve(&without.replace("[node]", &format!("[mint]\n{fields}\n[node]")));
    let resolved = wallets("fallback_fee_rate = 7").unwrap();
    assert!(resolved.payout_script.is_none());
    assert_eq!(resolved.redemption.unwrap().fallback_fee_rate, bitcoin::FeeRate::from_sat_per_vb_u32(7));
    let case = |fields: &str, expected: &str| {
        let error = wallets(fields).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    case("fallback_fee_rate = 0", "mint.fallback_fee_rate is 0; write 1 to 5000");
    case("payout_seconds = 100000", "mint.payout_seconds is 100000");
    case("receive_descriptor = \"tr()\"", "belong together");
    let both = "receive_descriptor = \"a\"\nchange_descriptor = \"b\"";
    assert!(
        mint(both).unwrap_err().contains("mint.receive_descriptor has no use beside pool.payout_address")
    );
}

#[test]
fn a_password_is_never_shown() {
    let with = |password: &str| {
        GOOD.replace("cookie_file = \"/tmp/.cookie\"", &format!("user = \"a\"\npassword = {password}"))
    };
    let resolved = resolve(&with("123456")).unwrap();
    assert!(!format!("{resolved:?}").contains("123456"));
    let error = resolve(&with("[\"hunter2\"]")).expect_err("a list is no password");
    assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
}
