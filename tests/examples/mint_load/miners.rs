//! What miners notice of a mint under full load in their pool's process: when their shares are acknowledged.

use crate::PROOFS;
use crate::drive::{Client, drive};
use crate::mints::{AssayMintOnLedger, Mint};
use crate::tokens::{self, Outputs, swap_body};
use assay_system_tests::assay::{AssayPool, number, one_json_object, run_assay};
use cdk::nuts::Proofs;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Devices, and the shares that they send in a second, all together: far beyond what as many devices would.
const DEVICES: &str = "100";
const SHARES: &str = "1000";
/// How long each measurement takes.
const SECONDS: &str = "10";
const PATIENCE: Duration = Duration::from_secs(120);
/// Clients of the mint.
const CLIENTS: usize = 8;
/// Tokens that are swapped again and again meanwhile.
const TOKENS: usize = 200;

/// Measures with the mint idle and under load, in turns, and gives a table.
pub fn measure(rounds: usize) -> String {
    let mut mint = AssayMintOnLedger::in_pool(TOKENS);
    let mut text = format!(
        "{SHARES} shares a second of {DEVICES} devices; the mint idle, then swapping tokens of ten proofs for {CLIENTS} clients.\n\n\
         | round | mint | swaps /s at best | acknowledged, p50 | p99 |\n|---|---|---|---|---|\n"
    );
    let (id, url) = (mint.id(), mint.url());
    let client = Client::new(&url);
    let keyset = tokens::keyset(&client, &mint.unit());
    let (proofs, amount) = PROOFS[1];
    let quotes = mint.quotes(TOKENS, amount * proofs as u64);
    let mut held: Vec<Proofs> = quotes
        .iter()
        .map(|quote| {
            let outputs = Outputs::new(&keyset, amount, proofs);
            let answer = client.post("/v1/mint/ehash", &outputs.claim_body(quote));
            outputs.proofs(&answer, &keyset)
        })
        .collect();
    for round in 1..=rounds {
        let quiet = shares(mint.pool());
        text += &row(round, "idle", 0, &quiet);
        let stop = AtomicBool::new(false);
        let (loaded, rate) = std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut rates = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let outputs: Vec<Outputs> =
                        (0..TOKENS).map(|_| Outputs::new(&keyset, amount, proofs)).collect();
                    let bodies: Vec<String> = std::mem::take(&mut held)
                        .into_iter()
                        .zip(&outputs)
                        .map(|(inputs, outputs)| swap_body(inputs, outputs))
                        .collect();
                    let swap = |client: &Client, number: usize| client.post("/v1/swap", &bodies[number]);
                    let (answers, figures) = drive(id, &url, TOKENS, CLIENTS, swap);
                    rates.push(figures.rate);
                    let signed = outputs.into_iter().zip(&answers);
                    held = signed.map(|(outputs, answer)| outputs.proofs(answer, &keyset)).collect();
                }
                // While the devices look for the shares that they will send, they take the processor from everybody.
                rates.into_iter().max().expect("one batch at least")
            });
            let loaded = shares(mint.pool());
            stop.store(true, Ordering::Relaxed);
            (loaded, load.join().expect("no panic"))
        });
        text += &row(round, "loaded", rate, &loaded);
    }
    text
}

/// Shares for a while, as the load tool reports them.
fn shares(pool: &AssayPool) -> Value {
    let url = pool.url();
    let words =
        ["swarm", "throughput", "--json", "--kind", "extended", "--connections", DEVICES, "--rate", SHARES];
    let finished = run_assay(&[&words[..], &["--seconds", SECONDS, "--pool", &url]].concat(), PATIENCE);
    assert!(finished.status.success(), "{finished:?}");
    one_json_object(finished.stdout.lines().last().expect("a report"))
}

fn row(round: usize, mint: &str, rate: u128, report: &Value) -> String {
    let tenths = |name: &str| {
        let tenths = number(&report[name]) / 100;
        format!("{}.{} ms", tenths / 10, tenths % 10)
    };
    format!("| {round} | {mint} | {rate} | {} | {} |\n", tenths("ack_p50_us"), tenths("ack_p99_us"))
}
