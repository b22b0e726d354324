//! `assay wallet` as people and programs use it.

// By its package's name, as the rig has it.
extern crate mint as assay_mint;

#[allow(dead_code)]
#[path = "../../mint/tests/rig/mod.rs"]
mod rig;

use rig::Rig;
use serde_json::{Value, json};
use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;
use work::PayoutKey;

/// Runs `assay wallet` on a directory, with a text on its standard input.
fn run(dir: &Path, words: &[&str], input: &str) -> Output {
    let mut child = start(dir, words);
    // A command that reads nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn start(dir: &Path, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["wallet", "--dir"])
        .arg(dir)
        .args(words)
        .env_remove("HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn text(dir: &Path, words: &[&str]) -> String {
    said(&run(dir, words, ""))
}

/// One object on one line, and nothing else.
fn object(dir: &Path, words: &[&str], input: &str) -> Value {
    let text = said(&run(dir, &[&["--json"], words].concat(), input));
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn refusal(dir: &Path, words: &[&str]) -> String {
    let output = run(dir, words, "");
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_wallet_is_made_and_shows_its_keys_without_a_mint() {
    let dir = TempDir::new().unwrap();
    let (dir, other) = (dir.path().join("a"), dir.path().join("b"));
    let none = refusal(&dir, &["key"]);
    assert!(none.contains("there is no wallet in") && none.contains("assay wallet init"), "{none}");

    let made = object(&dir, &["init", "--mint", "http://127.0.0.1:1"], "");
    let words = made["words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 12);
    let device: PayoutKey = made["payout_key"].as_str().unwrap().parse().unwrap();
    let again = refusal(&dir, &["init"]);
    assert!(again.contains("already") && !again.contains(words), "{again}");

    assert_eq!(object(&dir, &["key"], ""), json!({ "payout_key": device.to_string(), "epoch": null }));
    let shown = text(&dir, &["key"]);
    assert!(shown.contains(&format!("payout key for the device: {device}")), "{shown}");
    assert!(shown.contains('█') && shown.contains('▀'), "a QR code: {shown}");
    let keys: Vec<_> = ["0", "7", "7"]
        .map(|epoch| object(&dir, &["key", "--epoch", epoch], "")["payout_key"].clone())
        .into();
    assert!(keys[0] != keys[1] && keys[1] == keys[2] && keys[0] != made["payout_key"]);

    let shown = text(&other, &["init"]);
    assert!(shown.contains("Write them down") && shown.contains("Payout key"), "{shown}");
    // Nobody asked for the words again.
    for words_of in [text(&dir, &["key"]), text(&dir, &["balance", "--offline"]), text(&dir, &["history"])] {
        assert!(!words_of.contains(words));
    }
    assert_eq!(
        object(&dir, &["balance", "--offline"], ""),
        json!({ "epochs": [], "sats": null, "notes": [] })
    );
    assert_eq!(object(&dir, &["history"], ""), json!({ "history": [] }));

    for (dir, command, told) in [
        (&other, &["claim"][..], "--mint"),
        (&dir, &["claim"], "http://127.0.0.1:1/v1/keysets does not answer"),
        (&dir, &["send", "0", "5"], "holds 0 of eHash of epoch 0"),
        (&dir, &["receive", "rubbish"], "this is no token"),
        (&dir, &["redeem", "3", "--to", "ecash"], "does not answer"),
        (&dir, &["redeem", "sat", "--to", "nowhere"], "write `ecash`, or a Bitcoin address"),
        (&dir, &["redeem", "soon", "--to", "ecash"], "write an epoch's number, or `sat`"),
        (&dir, &["key", "--epoch", "2147483647"], "there is no key for epoch 2147483647"),
        (&dir, &["claim", "--mint", "mint.example"], "no mint's address"),
    ] {
        let refused = refusal(dir, command);
        assert!(refused.contains(told), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ehash_is_claimed_sent_received_and_restored() {
    let mut rig = Rig::start().await;
    let dir = TempDir::new().unwrap();
    let (alice, bob, again) = (dir.path().join("alice"), dir.path().join("bob"), dir.path().join("again"));
    let mint = format!("http://{}", rig.address);
    let made = object(&alice, &["init", "--mint", &mint], "");
    object(&bob, &["init", "--mint", &mint], "");
    let key: PayoutKey = made["payout_key"].as_str().unwrap().parse().unwrap();
    rig.credit(&[(key, 1000)]);
    // The mint answers on the other thread while this one waits for a program.
    tokio::task::spawn_blocking(move || {
        let due = object(&alice, &["balance"], "");
        assert_eq!((&due["epochs"][0]["held"], &due["epochs"][0]["unclaimed"]), (&json!(0), &json!(1000)));
        let claimed = object(&alice, &["claim"], "");
        assert_eq!(claimed["epochs"], json!([{ "epoch": 0, "claimed": 1000 }]));
        assert!(text(&alice, &["claim"]).contains("nothing new to claim"));
        let token = text(&alice, &["send", "0", "300"]);
        assert!(said(&run(&bob, &["receive", "-"], &token)).contains("received 300 "));
        let balance = object(&alice, &["balance"], "");
        assert_eq!(balance["epochs"][0]["held"], json!(700));
        assert!(text(&alice, &["history"]).contains("claimed   1,000"));
        let words = made["words"].as_str().unwrap();
        let restored = object(&again, &["restore", "--mint", &mint], words);
        assert_eq!(restored["epochs"], json!([{ "epoch": 0, "held": 700, "unclaimed": 0 }]));
        assert_eq!(object(&again, &["balance"], "")["epochs"], balance["epochs"]);
        let wrong = run(&dir.path().join("none"), &["restore", "--mint", &mint], "one two three");
        let told = String::from_utf8(wrong.stderr).unwrap();
        assert!(
            !wrong.status.success() && told.contains("no seed phrase") && !told.contains("three"),
            "{told}"
        );
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_are_killed_lose_and_double_nothing() {
    let mut rig = Rig::start().await;
    let dir = TempDir::new().unwrap();
    let dir = dir.path().join("wallet");
    let made = object(&dir, &["init", "--mint", &format!("http://{}", rig.address)], "");
    let key: PayoutKey = made["payout_key"].as_str().unwrap().parse().unwrap();
    let mut credited = 0;
    // The mint answers on the other thread while this one waits for programs.
    tokio::task::block_in_place(|| {
        for milliseconds in (0..96).step_by(4) {
            rig.credit(&[(key, 1000)]);
            credited += 1000;
            let mut claim = start(&dir, &["claim"]);
            thread::sleep(Duration::from_millis(milliseconds));
            // It may have ended.
            let _ = claim.kill();
            claim.wait().unwrap();
        }
        let claimed = object(&dir, &["claim"], "");
        assert_eq!(claimed["refused"], json!([]), "{claimed}");
        let balance = object(&dir, &["balance"], "");
        assert_eq!(balance["epochs"][0]["held"], json!(credited));
        assert_eq!(balance["epochs"][0]["unclaimed"], json!(0));
        assert_eq!(balance["notes"], json!([]));
        assert_eq!(text(&dir, &["send", "0", &credited.to_string()]).lines().count(), 1);
    });
    assert_eq!(rig.issued(0).await, credited);
}
