//! What `assay` says to people and to programs: configurations that cannot work, `--check`, the demo.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use assay_system_tests::assay::{
    AssayPool, PATIENCE, PoolSettings, assay, config_file, number, one_json_object, payout_key, run_assay,
};
use assay_system_tests::process::{self, Finished, Process, run};
use assay_system_tests::real_node::RealNode;

/// A mistake in a configuration.
struct Mistake {
    /// What is replaced in a configuration that works.
    replace: &'static str,
    /// By what.
    with: &'static str,
    /// What the error has to name: the field, what is wrong, the remedy.
    told: &'static [&'static str],
}

const MISTAKES: [Mistake; 14] = [
    Mistake { replace: "[pool]", with: "[pool]\ncolour = \"blue\"", told: &["colour", "unknown field"] },
    Mistake { replace: "[pool]", with: "[colours]\nblue = 1\n[pool]", told: &["colours", "unknown field"] },
    Mistake {
        replace: "shares_per_minute = 240",
        with: "shares_per_minute = \"many\"",
        told: &["shares_per_minute"],
    },
    Mistake {
        replace: "shares_per_minute = 240",
        with: "shares_per_minute = 0",
        told: &["pool.shares_per_minute", "write"],
    },
    Mistake {
        replace: "min_share_hashes = 131072",
        with: "min_share_hashes = 1",
        told: &["pool.min_share_hashes", "write"],
    },
    Mistake { replace: "payout_script = \"0020", with: "default_payout_key = \"0020", told: &["pool."] },
    Mistake {
        replace: "payout_script = \"0020",
        with: "payout_script = \"zz20",
        told: &["pool.payout_script", "hex"],
    },
    Mistake {
        replace: "payout_script = \"0020",
        with: "payout_address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\npayout_script = \"0020",
        told: &["pool.payout_address", "pool.payout_script", "remove"],
    },
    Mistake {
        replace: "tag = \"assay",
        with: "tag = \"a text that is too long for any coinbase, assay",
        told: &["pool.tag", "at most"],
    },
    Mistake { replace: "q = 3", with: "q = 64", told: &["[epochs]"] },
    Mistake {
        replace: "network = \"signet\"",
        with: "network = \"sygnet\"",
        told: &["node.network", "write"],
    },
    Mistake {
        replace: "network = \"signet\"",
        with: "network = \"bitcoin\"",
        told: &["node.network", "signet"],
    },
    Mistake {
        replace: "url = \"http://127.0.0.1:",
        with: "url = \"ftp://127.0.0.1:",
        told: &["node.url", "http://"],
    },
    Mistake { replace: "cookie_file = \"", with: "cookie_file = \"/nowhere", told: &["/nowhere", "cookie"] },
];

#[test]
fn a_configuration_that_cannot_work_is_refused_with_the_remedy() {
    let node = RealNode::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let good = config_file(directory.path(), &node, &PoolSettings::default());
    let mut wrong = Vec::new();
    for mistake in &MISTAKES {
        assert!(good.contains(mistake.replace), "{} is not in {good}", mistake.replace);
        let path = directory.path().join("bad.toml");
        fs::write(&path, good.replacen(mistake.replace, mistake.with, 1)).expect("a writable directory");
        let finished = run("assay pool", assay().args(["pool", "--config"]).arg(&path), PATIENCE);
        wrong.extend(refused(&finished, mistake.told).err());
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The program ended with an error that names all of `told`.
fn assert_refused(finished: &Finished, told: &[&str]) {
    assert_eq!(refused(finished, told), Ok(()));
}

/// Whether the program ended with an error that names all of `told`, in the form of an error and its causes; if not,
/// what is wrong.
fn refused(finished: &Finished, told: &[&str]) -> Result<(), String> {
    let form = |line: &&str| line.starts_with("error: ") || line.starts_with("because: ");
    let said: Vec<&str> = finished.stderr.lines().filter(form).collect();
    let complain = |what: &str| Err(format!("{what}: {finished:?}"));
    if finished.status.success() || finished.stdout.contains("ready:") {
        return complain("not refused");
    }
    if !said.first().is_some_and(|line| line.starts_with("error: ")) || finished.stderr.contains("panicked") {
        return complain("no error in words");
    }
    match told.iter().find(|word| !said.iter().any(|line| line.contains(*word))) {
        Some(word) => complain(&format!("{word:?} is not said")),
        None => Ok(()),
    }
}

#[test]
fn a_port_in_use_is_named() {
    let node = RealNode::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let in_use = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = in_use.local_addr().expect("a bound listener").to_string();
    let good = config_file(directory.path(), &node, &PoolSettings::default());
    let path = directory.path().join("assay.toml");
    for (section, field) in [("[pool]", "pool.listen"), ("[http]", "http.listen")] {
        let listen = format!("{section}\nlisten = \"127.0.0.1:0\"");
        fs::write(&path, good.replace(&listen, &format!("{section}\nlisten = \"{taken}\"")))
            .expect("a writable directory");
        let finished = run("assay pool", assay().args(["pool", "--config"]).arg(&path), PATIENCE);
        assert_refused(&finished, &[field, &taken]);
    }
}

#[test]
fn a_node_that_does_not_answer_is_named() {
    let node = RealNode::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nobody = format!("http://127.0.0.1:{}", process::free_port());
    let config = config_file(directory.path(), &node, &PoolSettings::default()).replace(&node.url(), &nobody);
    let path = directory.path().join("assay.toml");
    fs::write(&path, config).expect("a writable directory");
    let finished = run("assay pool", assay().args(["pool", "--check", "--config"]).arg(&path), PATIENCE);
    assert_refused(&finished, &["node.url", &nobody]);
}

#[test]
fn a_missing_file_is_named() {
    assert_refused(
        &run_assay(&["pool", "--config", "/nowhere/assay.toml"], PATIENCE),
        &["/nowhere/assay.toml"],
    );
}

#[test]
fn check_tells_a_good_configuration_from_a_bad_one() {
    let node = RealNode::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("assay.toml");
    fs::write(&path, config_file(directory.path(), &node, &PoolSettings::default()))
        .expect("a writable directory");
    let finished = run("assay pool", assay().args(["pool", "--check", "--config"]).arg(&path), PATIENCE);
    assert!(finished.status.success(), "{finished:?}");

    // The environment wins over the file, and is checked like the file.
    let mut command = assay();
    command.args(["pool", "--check", "--config"]).arg(&path).env("ASSAY_POOL__SHARES_PER_MINUTE", "60000001");
    assert_refused(&run("assay pool", &mut command, PATIENCE), &["pool.shares_per_minute", "60000001"]);
    let mut command = assay();
    command.args(["pool", "--check", "--config"]).arg(&path).env("ASSAY_POOL__COLOUR", "blue");
    assert_refused(&run("assay pool", &mut command, PATIENCE), &["colour"]);
}

#[test]
fn the_environment_overrides_the_file() {
    let node = RealNode::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("assay.toml");
    fs::write(&path, config_file(directory.path(), &node, &PoolSettings::default()))
        .expect("a writable directory");
    let address = format!("127.0.0.1:{}", process::free_port());
    let mut command = assay();
    command.args(["pool", "--config"]).arg(&path).env("ASSAY_POOL__LISTEN", &address);
    let mut pool = Process::spawn("assay pool", &mut command, &directory.path().join("pool.log"));
    let ready = pool.lines().next(PATIENCE).unwrap_or_default();
    assert!(ready.starts_with(&format!("ready: stratum={address} ")), "{ready}");
    assert!(pool.terminate(PATIENCE).success());
}

#[test]
fn a_refused_miner_is_told_why() {
    let node = RealNode::start();
    let pool = AssayPool::start(&node, &PoolSettings::default());
    let mine = |url: &str, user: &str| {
        let arguments = ["mine", "--pool", url, "--user", user, "--threads", "1", "--seconds", "2"];
        run_assay(&arguments, PATIENCE).stdout
    };
    let said = mine(&pool.url(), "somebody");
    assert!(
        said.contains("invalid-user-identity: ")
            && said.contains("payout key")
            && said.contains("assay keys payout"),
        "{said}"
    );

    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().to_str().expect("a path in UTF-8");
    let shown = run_assay(&["keys", "authority", "--data-dir", data], PATIENCE).stdout;
    let stranger = shown.split_whitespace().last().expect("a key");
    let said = mine(&format!("stratum2+tcp://{}/{stranger}", pool.addresses().stratum), &payout_key());
    assert!(said.contains("authority key") && said.contains(stranger), "{said}");

    let usage = run_assay(&["mine", "--pool", "http://pool.example", "--user", "somebody"], PATIENCE);
    assert!(!usage.status.success() && usage.stderr.contains("stratum2+tcp://"), "{usage:?}");
}

#[test]
fn a_ledger_has_one_writer() {
    let node = RealNode::start();
    let pool = AssayPool::start(&node, &PoolSettings::default());
    let config = fs::read_to_string(pool.config_path()).expect("written by the test");
    let elsewhere = config
        .replace(&pool.addresses().stratum, "127.0.0.1:0")
        .replace(&pool.addresses().http, "127.0.0.1:0");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("second.toml");
    fs::write(&path, elsewhere).expect("a writable directory");
    let finished = run("assay pool", assay().args(["pool", "--config"]).arg(&path), PATIENCE);
    assert_refused(&finished, &["ledger.db", "in use"]);
    pool.verify_ledger();
}

#[test]
fn the_demo_ends_with_one_json_object() {
    let _processor = process::processor();
    let finished = run_assay(&["demo", "--json", "--seconds", "60"], Duration::from_secs(120));
    assert!(finished.status.success(), "{finished:?}");
    let summary = one_json_object(&finished.stdout);
    for field in ["shares_accepted", "blocks_found", "blocks_accepted", "epochs_closed", "chain_height"] {
        assert!(number(&summary[field]) >= 1, "{field} in {summary}");
    }
    assert!(summary["shares_rejected"].is_u64(), "{summary}");
    let miners = summary["ehash_credited"].as_object().expect("an object of payout keys");
    assert_eq!(miners.len(), 2, "one standard, one extended: {summary}");
    assert!(
        miners
            .iter()
            .all(|(key, credit)| key.len() == 51 && credit.as_u64().is_some_and(|credit| credit > 0))
    );
}

#[test]
fn keys_are_made_once_and_shown_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().to_str().expect("a path in UTF-8");
    let shown = [(), ()].map(|()| run_assay(&["keys", "authority", "--data-dir", data], PATIENCE));
    assert!(shown.iter().all(|finished| finished.status.success()), "{shown:?}");
    assert_eq!(shown[0].stdout, shown[1].stdout);

    let made = [(), ()].map(|()| one_json_object(&run_assay(&["keys", "payout", "--json"], PATIENCE).stdout));
    let text = |value: &Value, field: &str| value[field].as_str().expect("a string").to_owned();
    assert_ne!(text(&made[0], "payout_key"), text(&made[1], "payout_key"));
    assert_ne!(text(&made[0], "secret"), text(&made[1], "secret"));
    assert_eq!(text(&made[0], "payout_key").len(), 51);
}
