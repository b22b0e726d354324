use super::*;
use proptest::prelude::*;

fn wanted(number: i64, script: ScriptBuf, sats: u64) -> Wanted {
    let id = PayoutId::new(number.to_string()).unwrap();
    Wanted { number, id, script, amount: Amount::from_sat(sats), max_fee: Amount::MAX_MONEY }
}

fn script(len: usize) -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51; len])
}

#[test]
fn everybody_pays_for_their_own_output() {
    let rate = FeeRate::from_sat_per_vb(2).unwrap();
    let (short, long) = (wanted(1, script(22), 1_000), wanted(2, script(34), 1_000));
    // Outputs of 31 and 43 bytes; 101 satoshi for the rest.
    let fee = Amount::from_sat(2 * (31 + 43) + 101);
    assert_eq!(shares(fee, &[&short, &long], rate), [2 * 31 + 51, 2 * 43 + 50].map(Amount::from_sat));
}

#[test]
fn equal_payouts_have_outputs_of_their_own() {
    let payouts = [wanted(1, script(22), 5), wanted(2, script(22), 5), wanted(3, script(34), 5)];
    let payouts: Vec<&Wanted> = payouts.iter().collect();
    let outputs = [2, 0, 1].map(|place: usize| output(payouts[place])).to_vec();
    assert_eq!(outputs_of(&unfunded(outputs), &payouts).unwrap(), [1, 2, 0]);
    let lacking = [2, 0].map(|place: usize| output(payouts[place])).to_vec();
    assert!(outputs_of(&unfunded(lacking), &payouts).is_err());
}

proptest! {
    /// The parts are the whole, whatever the weights, and no part of the rest differs by more than one satoshi.
    #[test]
    fn shares_sum_to_the_fee(
        lens in proptest::collection::vec(22..35_usize, 1..200),
        rate in 250..1_250_000_u64,
        more in 0..10_000_000_u64,
    ) {
        let rate = FeeRate::from_sat_per_kwu(rate);
        let payouts: Vec<Wanted> = (0..).zip(lens).map(|(number, len)| wanted(number, script(len), 1_000)).collect();
        let payouts: Vec<&Wanted> = payouts.iter().collect();
        let outputs: Vec<TxOut> = payouts.iter().map(|payout| output(payout)).collect();
        let fee = rate * unfunded(outputs).weight() + Amount::from_sat(more);
        let shares = shares(fee, &payouts, rate);
        prop_assert_eq!(shares.iter().copied().sum::<Amount>(), fee);
        for (payout, share) in payouts.iter().zip(&shares) {
            for (other, its) in payouts.iter().zip(&shares) {
                if payout.script == other.script {
                    prop_assert!(share.to_sat().abs_diff(its.to_sat()) <= 1);
                }
            }
        }
    }
}
