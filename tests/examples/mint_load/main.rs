//! How fast the mint is: claims, swaps and melts a second, with 1 and 10 proofs and some clients at a time, beside `cdk-mintd`
//! on the same machine, in the same run and with the same kind of database. Prints a table.
//!
//! `mint_load [--operations N] [--rounds N] [--only assay|cdk-mintd]`, or `mint_load --miners`, which tells what miners notice of a
//! mint under load; the programs are those of the system tests, and
//! `cdk-mintd` is `$ASSAY_CDK_MINTD` or the one that `cargo xtask bench mint` installed. Tokens are made and blinded before the
//! clock runs, so that clients cost little beside the mints.

mod drive;
mod miners;
mod mints;
mod table;
mod tokens;

use cdk::nuts::Proofs;
use drive::{Client, Figures, drive};
use mints::{AssayMintOnLedger, CdkMintd, Mint};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokens::{Outputs, melt_body, swap_body};

/// Clients that ask at one time, each waiting for its answer.
const CLIENTS: [usize; 3] = [1, 8, 32];
/// Proofs of a token, and the amount of each: so many satoshi are worth a melt.
const PROOFS: [(usize, u64); 2] = [(1, 64), (10, 8)];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A paid quote becomes tokens, signed for by its key (NUT-20).
    Claim,
    /// Tokens become as many others.
    Swap,
    /// Tokens pay an invoice: the quote and the payment.
    Melt,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// What clients do.
    pub operation: Operation,
    /// Proofs of each token.
    pub proofs: usize,
    /// How many do it at one time.
    pub clients: usize,
}

/// Figures of each mint, a list of rounds each.
pub type Results = BTreeMap<Cell, BTreeMap<&'static str, Vec<Figures>>>;

struct Arguments {
    operations: usize,
    rounds: usize,
    only: Option<String>,
    miners: bool,
}

fn main() {
    let Arguments { operations, rounds, only, miners } = arguments();
    if miners {
        println!("{}", miners::measure(rounds));
        return;
    }
    let mut results = Results::new();
    let mut failures = Vec::new();
    for round in 1..=rounds {
        for name in [AssayMintOnLedger::NAME, CdkMintd::NAME] {
            if only.as_ref().is_some_and(|only| only != name) {
                continue;
            }
            eprintln!("round {round} of {rounds}: {name}");
            let mut mint: Box<dyn Mint> = match name {
                AssayMintOnLedger::NAME => {
                    Box::new(AssayMintOnLedger::apart(operations * CLIENTS.len() * PROOFS.len()))
                }
                _ => Box::new(CdkMintd::start()),
            };
            // A mint that answers no more ends its round, and not the measurement.
            let measured = AssertUnwindSafe(|| measure(mint.as_mut(), operations, &mut results));
            if catch_unwind(measured).is_err() {
                failures.push(format!("{name} stopped answering in round {round}"));
            }
        }
    }
    println!("{}", table::render(&results, operations, rounds));
    failures.iter().for_each(|failure| println!("{failure}; its log is above the table.\n"));
}

fn arguments() -> Arguments {
    let mut words = std::env::args().skip(1);
    let mut arguments = Arguments { operations: 200, rounds: 3, only: None, miners: false };
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--operations" => arguments.operations = value().parse().expect("--operations needs a number"),
            "--rounds" => arguments.rounds = value().parse().expect("--rounds needs a number"),
            "--miners" => arguments.miners = true,
            "--only" => arguments.only = Some(value()),
            other => panic!("not understood: {other}"),
        }
    }
    arguments
}

/// All rows on a fresh mint. What is claimed is swapped, and what was swapped is melted.
fn measure(mint: &mut dyn Mint, operations: usize, results: &mut Results) {
    let client = Client::new(&mint.url());
    let keyset = tokens::keyset(&client, &mint.unit());
    for clients in CLIENTS {
        for (proofs, amount) in PROOFS {
            let quotes = mint.quotes(operations, amount * proofs as u64);
            let made = || -> Vec<Outputs> {
                (0..operations).map(|_| Outputs::new(&keyset, amount, proofs)).collect()
            };
            let outputs = made();
            let bodies: Vec<String> =
                quotes.iter().zip(&outputs).map(|(quote, outputs)| outputs.claim_body(quote)).collect();
            let path = format!("/v1/mint/{}", mint.method());
            let (answers, claims) = drive(mint.id(), &mint.url(), operations, clients, |client, number| {
                client.post(&path, &bodies[number])
            });
            let claimed = proofs_of(outputs, &answers, &keyset);

            let outputs = made();
            let pairs = claimed.into_iter().zip(&outputs);
            let bodies: Vec<String> = pairs.map(|(inputs, outputs)| swap_body(inputs, outputs)).collect();
            let (answers, swaps) = drive(mint.id(), &mint.url(), operations, clients, |client, number| {
                client.post("/v1/swap", &bodies[number])
            });
            let swapped = proofs_of(outputs, &answers, &keyset);

            let invoices = mint.invoices(operations, amount * proofs as u64);
            let inputs: Vec<String> = swapped.into_iter().map(|proofs| tokens::json(&proofs)).collect();
            let unit = mint.unit();
            let (answers, melts) = drive(mint.id(), &mint.url(), operations, clients, |client, number| {
                let request = serde_json::json!({ "unit": unit, "request": invoices[number] });
                let quote = client.post("/v1/melt/quote/bolt11", &request.to_string());
                client.post("/v1/melt/bolt11", &melt_body(&quote["quote"], &inputs[number]))
            });
            for answer in &answers {
                assert_eq!(answer["state"], "PAID", "a melt was not paid: {answer}");
            }
            for (operation, figures) in
                [(Operation::Claim, claims), (Operation::Swap, swaps), (Operation::Melt, melts)]
            {
                eprintln!(
                    "  {operation:?} {proofs} proofs, {clients} clients: {}/s, {} us of processor",
                    figures.rate, figures.processor_us
                );
                let cell = Cell { operation, proofs, clients };
                results.entry(cell).or_default().entry(mint.name()).or_default().push(figures);
            }
        }
    }
}

fn proofs_of(outputs: Vec<Outputs>, answers: &[serde_json::Value], keyset: &tokens::Keyset) -> Vec<Proofs> {
    outputs.into_iter().zip(answers).map(|(outputs, answer)| outputs.proofs(answer, keyset)).collect()
}
