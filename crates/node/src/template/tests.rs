use {
    super::*,
    crate::coinbase::tests::{legacy_tx, segwit_tx, template},
};

// proves: TD-30 BW-01
#[test]
fn a_commitment_is_added_when_a_transaction_has_a_witness() {
    let mut bare = template(7, vec![legacy_tx(1), legacy_tx(2)]);
    bare.witness_commitment = None;
    assert_eq!(bare.clone().complete().unwrap().witness_commitment, None);

    bare.transactions = vec![legacy_tx(1), segwit_tx(2)].into();
    let commitment = bare.complete().unwrap().witness_commitment.unwrap();
    assert_eq!(commitment.len(), 38);
    assert!(commitment.as_bytes().starts_with(&COMMITMENT_PREFIX));
}

#[test]
fn a_foreign_commitment_is_refused() {
    let good = template(7, vec![segwit_tx(1), segwit_tx(2)]);
    let mut bad = good.clone();
    bad.transactions = vec![segwit_tx(2), segwit_tx(1)].into();
    assert_eq!(bad.complete().unwrap_err(), TemplateError::WitnessCommitment);

    let mut longer = good.clone();
    let script = [good.witness_commitment.as_ref().unwrap().as_bytes(), &[1, 2, 3]].concat();
    longer.witness_commitment = Some(ScriptBuf::from_bytes(script));
    assert!(longer.complete().is_ok(), "BIP 141 lets more bytes follow");
}

#[test]
fn impossible_templates_are_refused() {
    let case = |change: fn(&mut Template), expected: TemplateError| {
        let mut bad = template(7, vec![segwit_tx(1)]);
        change(&mut bad);
        assert_eq!(bad.complete().unwrap_err(), expected);
    };
    let weight = template(7, vec![segwit_tx(1)]).weight_used();
    case(|t| t.weight_limit = 400, TemplateError::TooHeavy { weight, limit: 400 });
    case(|t| t.sigops_limit = 3, TemplateError::TooManySigops { cost: 4, limit: 3 });
    let (fees, value) = (template(7, vec![segwit_tx(1)]).transactions[0].fee, Amount::ONE_SAT);
    case(|t| t.coinbase_value = Amount::ONE_SAT, TemplateError::Fees { fees, value });
    case(|t| t.min_time = t.cur_time + 1, TemplateError::Time { cur_time: 1_000, min_time: 1_001 });
}

// proves: TD-13 TD-16
#[test]
fn a_reserve_drops_from_the_end_and_keeps_the_books() {
    let full = template(7, (0..10).map(segwit_tx).collect());
    let one = full.transactions[0].weight;
    let reserve = |left: u64, sigops: u64| BlockReserve { weight: MAX_BLOCK_WEIGHT - left, sigops };
    let case = |reserve: BlockReserve, kept: usize| {
        let trimmed = full.with_reserve(&reserve);
        assert_eq!(*trimmed.transactions, full.transactions[..kept]);
        let lost: Amount = full.transactions[kept..].iter().map(|tx| tx.fee).sum();
        assert_eq!(trimmed.coinbase_value + lost, full.coinbase_value);
        let again = trimmed.clone().complete().unwrap();
        assert_eq!(again.merkle_path, trimmed.merkle_path);
        assert_eq!(again.witness_commitment, trimmed.witness_commitment);
    };
    case(reserve(10 * one, 0), 10);
    case(reserve(10 * one - 1, 0), 9);
    case(reserve(one, 0), 1);
    case(reserve(one - 1, 0), 0);
    case(BlockReserve { weight: u64::MAX, sigops: 0 }, 0);
    case(BlockReserve { weight: 2_000, sigops: MAX_BLOCK_SIGOPS_COST - 40 }, 10);
    case(BlockReserve { weight: 2_000, sigops: MAX_BLOCK_SIGOPS_COST - 39 }, 9);
}
