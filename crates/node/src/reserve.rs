//! Room that a template keeps free for the coinbase.

use bitcoin::TxOut;

/// Weight of the block header (TD-10).
pub(crate) const HEADER_WEIGHT: u64 = 320;
/// Weight of the longest transaction count that a block can have (TD-10).
pub(crate) const TX_COUNT_WEIGHT: u64 = 12;
/// Version, input count, outpoint, script length, sequence and locktime of a coinbase without witness (TD-11).
const LEGACY_COINBASE_WEIGHT: u64 = 200;
/// The same with marker, flag and the witness reserved value (TD-11).
const SEGWIT_COINBASE_WEIGHT: u64 = 236;
/// A scriptSig of 100 bytes (TD-12).
const SCRIPT_SIG_WEIGHT: u64 = 400;
/// The longest output count (TD-12).
const OUTPUT_COUNT_WEIGHT: u64 = 12;
/// The output with the witness commitment (TD-12).
const COMMITMENT_WEIGHT: u64 = 188;
/// Bitcoin Core reserves no less than this, whatever it is asked for (TD-15, LIM-20).
const FLOOR_WEIGHT: u64 = 2_000;

/// What a template leaves to header, transaction count and coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockReserve {
    /// Weight units.
    pub weight: u64,
    /// Cost of signature operations, in the unit of a block's limit of 80,000 (AM-30).
    pub sigops: u64,
}

impl BlockReserve {
    /// For a coinbase with witness commitment whose own outputs take up to `max_additional_size` bytes (TD-13, TD-14).
    pub const fn segwit(max_additional_size: u32, max_additional_sigops: u16) -> Self {
        let fixed = SEGWIT_COINBASE_WEIGHT + COMMITMENT_WEIGHT;
        Self::new(fixed, max_additional_size, max_additional_sigops)
    }

    /// For a coinbase without witness (TD-13, TD-14).
    pub const fn legacy(max_additional_size: u32, max_additional_sigops: u16) -> Self {
        Self::new(LEGACY_COINBASE_WEIGHT, max_additional_size, max_additional_sigops)
    }

    const fn new(fixed: u64, max_additional_size: u32, max_additional_sigops: u16) -> Self {
        let total = HEADER_WEIGHT
            + TX_COUNT_WEIGHT
            + SCRIPT_SIG_WEIGHT
            + OUTPUT_COUNT_WEIGHT
            + fixed
            + 4 * max_additional_size as u64;
        let weight = if total < FLOOR_WEIGHT { FLOOR_WEIGHT } else { total };
        Self { weight, sigops: max_additional_sigops as u64 }
    }
}

/// What an output's script costs of a block's 80,000: four for each legacy signature operation (TD-17).
pub fn output_sigops_cost(output: &TxOut) -> u64 {
    4 * output.script_pubkey.count_sigops_legacy() as u64
}

#[cfg(test)]
mod tests {
    use {
        super::*,
        bitcoin::{Amount, ScriptBuf, opcodes::all::OP_CHECKSIG, script::Builder},
    };

    // proves: TD-10 TD-11 TD-12 TD-13 TD-14 TD-15 TD-16 LIM-20
    #[test]
    fn totals_of_the_specification_with_cores_floor() {
        let case = |size: u32, segwit: u64, legacy: u64| {
            assert_eq!(BlockReserve::segwit(size, 400), BlockReserve { weight: segwit, sigops: 400 });
            assert_eq!(BlockReserve::legacy(size, 7), BlockReserve { weight: legacy, sigops: 7 });
        };
        case(0, 2_000, 2_000);
        case(208, 2_000, 2_000);
        case(209, 2_004, 2_000);
        case(264, 1_168 + 4 * 264, 2_000);
        case(265, 1_168 + 4 * 265, 944 + 4 * 265);
        case(100_000, 401_168, 400_944);
        case(u32::MAX, 1_168 + 4 * u64::from(u32::MAX), 944 + 4 * u64::from(u32::MAX));
    }

    // proves: TD-17
    #[test]
    fn sigops_of_output_scripts() {
        let cost =
            |script: ScriptBuf| output_sigops_cost(&TxOut { value: Amount::ZERO, script_pubkey: script });
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let key: bitcoin::PublicKey = key.parse().unwrap();
        assert_eq!(cost(ScriptBuf::new_p2pkh(&key.pubkey_hash())), 4);
        assert_eq!(cost(ScriptBuf::new_p2wpkh(&key.wpubkey_hash().unwrap())), 0);
        let secp = bitcoin::key::Secp256k1::verification_only();
        assert_eq!(cost(ScriptBuf::new_p2tr(&secp, key.inner.x_only_public_key().0, None)), 0);
        assert_eq!(cost(Builder::new().push_key(&key).push_opcode(OP_CHECKSIG).into_script()), 4);
    }
}
