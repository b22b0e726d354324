//! What a node answers to `getblocktemplate`: any text is a template or an error, and from a template a job and a
//! block can be made or it is said why not.

use crate::input::Input;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Block, ScriptBuf, Transaction, TxIn, TxOut, Witness, consensus};
use node::rpc::read_template;
use node::{BlockReserve, Template, fold_merkle_path, max_tag_len};

/// Weight of a block's header and transaction count: part of the reserve, and not of what is free.
const HEADER_AND_COUNT: u64 = 332;

/// What the pool writes into the coinbase, then the node's text.
pub fn template(data: &[u8]) {
    let mut input = Input::new(data);
    let (extranonce_len, tag_len) = (input.below(40), input.below(120));
    let (reserved, sigops) = (input.u16(), input.u16());
    let template = match read_template(input.rest()) {
        Ok(template) => template,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    check(&template, extranonce_len, tag_len);
    let reserve = BlockReserve::segwit(reserved.into(), sigops);
    let trimmed = template.with_reserve(&reserve);
    assert!(trimmed.transactions.len() <= template.transactions.len());
    assert!(template.transactions.starts_with(&trimmed.transactions));
    // A block that is smaller than what is to be left free has no room, however few transactions are kept.
    if template.weight_limit >= reserve.weight {
        assert!(trimmed.free_weight() + HEADER_AND_COUNT >= reserve.weight);
    }
    if template.sigops_limit >= reserve.sigops {
        assert!(trimmed.free_sigops() >= reserve.sigops);
    }
    let lost: u64 =
        template.transactions[trimmed.transactions.len()..].iter().map(|tx| tx.fee.to_sat()).sum();
    assert_eq!(trimmed.coinbase_value.to_sat() + lost, template.coinbase_value.to_sat());
    check(&trimmed, extranonce_len, tag_len);
}

fn check(template: &Template, extranonce_len: usize, tag_len: usize) {
    assert!(template.min_time <= template.cur_time);
    let fees: u64 = template.transactions.iter().map(|tx| tx.fee.to_sat()).sum();
    assert!(fees <= template.coinbase_value.to_sat());
    let outputs = template.pay_all(ScriptBuf::from_bytes(vec![0x51]));
    let tag = vec![b'x'; tag_len];
    let parts = match template.coinbase(extranonce_len, &tag, &outputs) {
        Ok(parts) => parts,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(tag_len <= max_tag_len(extranonce_len));
    let extranonce = vec![7; extranonce_len];
    let coinbase: Transaction =
        consensus::deserialize(&parts.full(&extranonce)).expect("a coinbase is a transaction");
    assert!(coinbase.is_coinbase() && (2..=100).contains(&coinbase.input[0].script_sig.len()));
    assert_eq!(coinbase.compute_txid().to_byte_array(), parts.txid(&extranonce));
    let paid: Amount = coinbase.output.iter().map(|output| output.value).sum();
    assert_eq!(paid, template.coinbase_value);

    let root = template.merkle_root(parts.txid(&extranonce));
    assert_eq!(root, fold_merkle_path(parts.txid(&extranonce), &template.merkle_path));
    let header = template.header(template.version, root, template.cur_time, 1);
    let bytes = template.assemble(&parts, &header, &extranonce).expect("its own header");
    // The node's word for ids is taken; where it is right, so is the block.
    let Ok(block) = consensus::deserialize::<Block>(&bytes) else { return };
    let honest = block.txdata.len() == template.transactions.len() + 1
        && block.txdata.iter().skip(1).zip(template.transactions.iter()).all(|(transaction, given)| {
            transaction.compute_txid() == given.txid && transaction.compute_wtxid() == given.wtxid
        });
    if honest {
        assert!(block.check_merkle_root());
        assert!(template.witness_commitment.is_none() || block.check_witness_commitment());
    }
    let mut wrong = header;
    wrong[40] ^= 1;
    assert!(template.assemble(&parts, &wrong, &extranonce).is_err());
}

fn transaction(number: u32, witness: bool) -> Transaction {
    let witness = if witness { Witness::from_slice(&[[0x51]]) } else { Witness::new() };
    let output = TxOut { value: Amount::from_sat(1), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) };
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::from_consensus(number),
        input: vec![TxIn { witness, ..TxIn::default() }],
        output: vec![output],
    }
}

/// Answers with and without transactions, as Bitcoin Core gives them.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for count in 0..3 {
        for rest in [
            r#","longpollid":"11aa","sigoplimit":80000,"weightlimit":4000000,"signet_challenge":"51""#,
            r#","weightlimit":1400"#,
            r#","default_witness_commitment":"6a24aa21a9ed""#,
            r#","signet_challenge":"5121""#,
        ] {
            let transactions: Vec<String> = (0..count)
                .map(|number| {
                    let transaction = transaction(number, number == 1);
                    format!(
                        r#"{{"data":"{}","txid":"{}","hash":"{}","fee":{},"sigops":4,"weight":{},"depends":[]}}"#,
                        consensus::encode::serialize_hex(&transaction),
                        transaction.compute_txid(),
                        transaction.compute_wtxid(),
                        number * 1000,
                        transaction.weight().to_wu(),
                    )
                })
                .collect();
            let text = format!(
                r#"{{"version":536870912,"previousblockhash":"{}","coinbasevalue":5000003000,"transactions":[{}],"mintime":1001,"curtime":1000,"bits":"1e0377ae","height":{}{rest}}}"#,
                "11".repeat(32),
                transactions.join(","),
                count * 70_000,
            );
            let mut seed = vec![24, 5, 44, 1, 16, 0];
            seed.extend_from_slice(text.as_bytes());
            seeds.push(seed);
        }
    }
    seeds.push([&[24, 5, 0, 0, 0, 0][..], b"null"].concat());
    seeds
}
