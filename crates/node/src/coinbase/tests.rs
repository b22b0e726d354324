use {
    super::*,
    crate::{
        TemplateId, TemplateTx,
        template::{
            COINBASE_SEQUENCE, COINBASE_VERSION, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, witness_commitment,
        },
    },
    bitcoin::{
        Block, BlockHash, CompactTarget, OutPoint, Sequence, Transaction, TxIn, Witness, absolute::LockTime,
        block::Header, consensus, transaction,
    },
    proptest::prelude::*,
};

const SUBSIDY: u64 = 312_500_000;

fn spend(n: u32, witness: Witness) -> TemplateTx {
    let tx = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::from_consensus(n),
        input: vec![TxIn {
            previous_output: OutPoint { txid: bitcoin::Txid::from_byte_array([7; 32]), vout: n },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness,
        }],
        output: vec![TxOut {
            value: Amount::from_sat(n.into()),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
        }],
    };
    TemplateTx {
        raw: consensus::serialize(&tx).into(),
        txid: tx.compute_txid(),
        wtxid: tx.compute_wtxid(),
        weight: tx.weight().to_wu(),
        sigops_cost: 4,
        fee: Amount::from_sat(u64::from(n) * 10 + 1),
    }
}

pub(crate) fn legacy_tx(n: u32) -> TemplateTx {
    spend(n, Witness::new())
}

pub(crate) fn segwit_tx(n: u32) -> TemplateTx {
    spend(n, Witness::from_slice(&[[0x51]]))
}

pub(crate) fn template(height: u32, transactions: Vec<TemplateTx>) -> Template {
    let fees: Amount = transactions.iter().map(|tx| tx.fee).sum();
    Template {
        id: TemplateId("test".into()),
        height,
        version: 0x2000_0000,
        prev_hash: BlockHash::from_byte_array([9; 32]),
        nbits: CompactTarget::from_consensus(0x207f_ffff),
        min_time: 999,
        cur_time: 1_000,
        coinbase_value: Amount::from_sat(SUBSIDY) + fees,
        coinbase_version: COINBASE_VERSION,
        coinbase_sequence: COINBASE_SEQUENCE,
        coinbase_locktime: height.saturating_sub(1),
        witness_commitment: Some(witness_commitment(&transactions)),
        transactions: transactions.into(),
        merkle_path: Box::default(),
        weight_limit: MAX_BLOCK_WEIGHT,
        sigops_limit: MAX_BLOCK_SIGOPS_COST,
    }
    .complete()
    .unwrap()
}

fn script(n: u8) -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51, n])
}

/// Assembles a block and reads it back through the `bitcoin` crate.
#[track_caller]
fn block(template: &Template, parts: &CoinbaseParts, extranonce: &[u8]) -> Block {
    let root = template.merkle_root(parts.txid(extranonce));
    let header = template.header(template.version, root, template.cur_time, 42);
    let bytes = template.assemble(parts, &header, extranonce).unwrap();
    let block: Block = consensus::deserialize(&bytes).unwrap();
    assert_eq!(consensus::serialize(&block), bytes);
    assert_eq!(consensus::serialize::<Header>(&block.header), header);
    block
}

#[track_caller]
fn check(template: &Template, tag: &[u8], extranonce: &[u8], outputs: &[TxOut]) {
    let parts = template.coinbase(extranonce.len(), tag, outputs).unwrap();
    let block = block(template, &parts, extranonce);
    assert!(block.check_merkle_root());
    assert!(block.check_witness_commitment());
    assert!(block.weight().to_wu() <= template.weight_limit);
    assert_eq!(block.txdata.len(), template.transactions.len() + 1);

    let coinbase = &block.txdata[0];
    assert!(coinbase.is_coinbase());
    assert_eq!(coinbase.compute_txid().to_byte_array(), parts.txid(extranonce));
    assert_eq!(consensus::serialize(coinbase), parts.full(extranonce));
    assert_eq!(coinbase.version.0, template.coinbase_version);
    assert_eq!(coinbase.lock_time.to_consensus_u32(), template.coinbase_locktime);
    assert_eq!(coinbase.input[0].sequence.0, template.coinbase_sequence);

    let script_sig = coinbase.input[0].script_sig.as_bytes();
    assert!((2..=100).contains(&script_sig.len()));
    assert!(script_sig.starts_with(Builder::new().push_int(template.height.into()).as_bytes()));
    assert!(script_sig.ends_with(extranonce));
    assert_eq!(coinbase.input[0].script_sig.count_sigops_legacy(), 0);
    assert!(coinbase.input[0].script_sig.is_push_only());

    assert_eq!(coinbase.output[..outputs.len()], *outputs);
    match &template.witness_commitment {
        Some(script) => {
            assert_eq!(coinbase.output.len(), outputs.len() + 1);
            assert_eq!(coinbase.output.last().unwrap().script_pubkey, *script);
            assert_eq!(coinbase.input[0].witness, Witness::from_slice(&[[0; 32]]));
        }
        None => {
            assert_eq!(coinbase.output.len(), outputs.len());
            assert!(coinbase.input[0].witness.is_empty());
        }
    }
}

// proves: TP-03 TP-04 TV-18 BW-01 BW-02 BW-04 BW-08 BW-09 MP-44 MP-94 LIM-07
#[test]
fn blocks_of_few_and_many_transactions() {
    for count in [0, 1, 2, 3, 4, 5, 252, 253, 1_000] {
        for height in [0, 1, 16, 17, 127, 128, 255, 256, 32_768, 900_000, 8_388_608] {
            let template = template(height, (0..count).map(segwit_tx).collect());
            check(&template, b"/assay/", &[0xac; 24], &template.pay_all(script(1)));
        }
    }
}

// proves: MP-92 BW-03
#[test]
fn parts_are_stripped_and_can_be_unstripped() {
    let template = template(900_000, vec![segwit_tx(1)]);
    let parts = template.coinbase(24, b"tag", &template.pay_all(script(1))).unwrap();
    let extranonce = [5; 24];
    let coinbase = &block(&template, &parts, &extranonce).txdata[0];
    let mut stripped = coinbase.clone();
    stripped.input[0].witness = Witness::new();
    assert_eq!(parts.stripped(&extranonce), consensus::serialize(&stripped));
    assert_eq!(parts.prefix[4], 1, "input count follows the version, no marker");

    let (prefix, suffix) = parts.unstripped();
    assert_eq!([&prefix, &extranonce[..], &suffix].concat(), consensus::serialize(coinbase));
    assert_eq!(prefix[4..6], MARKER_AND_FLAG);
    assert_eq!(prefix.len() + suffix.len() + 24, parts.stripped(&extranonce).len() + 36);
}

// proves: BW-10
#[test]
fn a_template_without_commitment_gives_a_plain_coinbase() {
    let mut template = template(900_000, vec![legacy_tx(1), legacy_tx(2)]);
    template.witness_commitment = None;
    let parts = template.coinbase(24, b"", &template.pay_all(script(1))).unwrap();
    assert!(!parts.has_witness());
    assert_eq!(parts.full(&[1; 24]), parts.stripped(&[1; 24]));
    check(&template, b"", &[1; 24], &template.pay_all(script(1)));
}

// proves: MP-44 LIM-07
#[test]
fn tag_and_extranonce_fill_the_script_sig_to_its_limits() {
    let highest = template(u32::MAX, vec![]);
    for extranonce_len in 0..=MAX_EXTRANONCE_LEN {
        let max = max_tag_len(extranonce_len);
        let outputs = highest.pay_all(script(1));
        check(&highest, &vec![0xac; max], &vec![0xac; extranonce_len], &outputs);
        assert_eq!(
            highest.coinbase(extranonce_len, &vec![0; max + 1], &outputs),
            Err(CoinbaseError::TagTooLong { len: max + 1, max })
        );
    }
    assert_eq!(max_tag_len(24), 68);
    let lowest = template(1, vec![]);
    check(&lowest, b"", b"", &lowest.pay_all(script(1)));
    assert_eq!(
        lowest.coinbase(33, b"", &lowest.pay_all(script(1))),
        Err(CoinbaseError::ExtranonceTooLong { len: 33 })
    );
}

#[test]
fn outputs_pay_out_exactly_the_blocks_value() {
    let template = template(7, vec![segwit_tx(1)]);
    let value = template.coinbase_value;
    let pay = |sats: u64| TxOut { value: Amount::from_sat(sats), script_pubkey: script(1) };
    let one = Amount::from_sat(1);
    let case = |outputs: &[TxOut], expected| assert_eq!(template.coinbase(24, b"", outputs).err(), expected);
    case(&[pay(value.to_sat())], None);
    case(&[pay(value.to_sat() + 1)], Some(CoinbaseError::Overspent { outputs: value + one, value }));
    case(&[pay(value.to_sat() - 1)], Some(CoinbaseError::Underspent { outputs: value - one, value }));
    case(&[], Some(CoinbaseError::Underspent { outputs: Amount::ZERO, value }));
    let wrapping = Amount::from_sat(u64::MAX);
    case(&[pay(u64::MAX), pay(2)], Some(CoinbaseError::Overspent { outputs: wrapping, value }));

    let outputs = template.pay_remainder(&[pay(10), pay(20)], script(9)).unwrap();
    assert_eq!(outputs[2].value, value - Amount::from_sat(30));
    case(&outputs, None);
    assert_eq!(template.pay_remainder(&[pay(value.to_sat())], script(9)).unwrap().len(), 1);
    assert!(template.pay_remainder(&[pay(value.to_sat() + 1)], script(9)).is_err());
}

// proves: TD-17
#[test]
fn a_coinbase_must_fit_into_what_is_left() {
    let mut template = template(7, vec![]);
    let outputs = template.pay_all(ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::all_zeros()));
    let weight = 4 * template.coinbase(24, b"", &outputs).unwrap().stripped(&[0; 24]).len() as u64 + 36;
    let fixed = crate::reserve::HEADER_WEIGHT + crate::reserve::TX_COUNT_WEIGHT;
    template.weight_limit = fixed + weight;
    assert!(template.coinbase(24, b"", &outputs).is_ok());
    template.weight_limit -= 1;
    let too_heavy = CoinbaseError::TooHeavy { weight, room: weight - 1 };
    assert_eq!(template.coinbase(24, b"", &outputs), Err(too_heavy));

    template.weight_limit += 1;
    template.sigops_limit = 4;
    assert!(template.coinbase(24, b"", &outputs).is_ok());
    template.sigops_limit = 3;
    assert_eq!(template.coinbase(24, b"", &outputs), Err(CoinbaseError::TooManySigops { cost: 4, room: 3 }));
}

#[test]
fn assembly_refuses_what_does_not_belong_together() {
    let template = template(7, vec![segwit_tx(1)]);
    let parts = template.coinbase(24, b"", &template.pay_all(script(1))).unwrap();
    let root = template.merkle_root(parts.txid(&[1; 24]));
    let header = template.header(template.version, root, 1_000, 0);
    let case = |header: &[u8; 80], extranonce: &[u8], expected| {
        assert_eq!(template.assemble(&parts, header, extranonce).unwrap_err(), expected);
    };
    case(&header, &[1; 23], AssembleError::ExtranonceLen { got: 23, expected: 24 });
    case(&header, &[2; 24], AssembleError::MerkleRoot);
    let mut other_tip = header;
    other_tip[4] ^= 1;
    case(&other_tip, &[1; 24], AssembleError::PrevHash);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // proves: TP-03 TP-04 BW-04 BW-09 BW-10 MP-44 MP-92 MP-94 LIM-07
    #[test]
    fn any_coinbase_gives_a_block_that_reads_back(
        height in any::<u32>(),
        witnesses in prop::collection::vec(any::<bool>(), 0..40),
        commit in any::<bool>(),
        extranonce in prop::collection::vec(any::<u8>(), 0..=32),
        tag in prop::collection::vec(any::<u8>(), 0..=60),
        shares in prop::collection::vec(0u64..1_000_000, 0..20),
    ) {
        let make = |(n, witness): (usize, &bool)| {
            let n = u32::try_from(n).unwrap();
            if *witness { segwit_tx(n) } else { legacy_tx(n) }
        };
        let mut template = template(height, witnesses.iter().enumerate().map(make).collect());
        if !commit && !witnesses.contains(&true) {
            template.witness_commitment = None;
        }
        let fixed: Vec<TxOut> = shares
            .iter()
            .map(|sats| TxOut { value: Amount::from_sat(*sats), script_pubkey: script(2) })
            .collect();
        let outputs = template.pay_remainder(&fixed, script(3)).unwrap();
        check(&template, &tag, &extranonce, &outputs);
    }
}
