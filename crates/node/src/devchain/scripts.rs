//! May this input spend that output? For the few scripts that a devchain knows.

use {
    super::checks::Reason,
    bitcoin::{
        CompressedPublicKey, Script, Transaction, TxOut, Witness, XOnlyPublicKey, ecdsa,
        hashes::{Hash, sha256},
        key::Secp256k1,
        secp256k1::{Message, VerifyOnly},
        sighash::{Prevouts, SighashCache},
        taproot,
    },
};

/// Anybody may spend.
pub(super) const OP_TRUE: u8 = 0x51;

const REFUSED: Reason = "mandatory-script-verify-flag-failed";
const UNKNOWN: Reason = "mandatory-script-verify-flag-failed (devchain does not know this script)";

/// Checks every input of a transaction whose outputs to spend are `prevouts`, in the order of the inputs.
pub(super) fn check(
    secp: &Secp256k1<VerifyOnly>,
    transaction: &Transaction,
    prevouts: &[TxOut],
) -> Result<(), Reason> {
    assert_eq!(transaction.input.len(), prevouts.len(), "the caller looked up every input");
    let mut cache = SighashCache::new(transaction);
    for (index, (input, prevout)) in transaction.input.iter().zip(prevouts).enumerate() {
        let script = prevout.script_pubkey.as_script();
        if !input.script_sig.is_empty() {
            return Err(UNKNOWN);
        }
        if script.as_bytes() == [OP_TRUE] {
            if !input.witness.is_empty() {
                return Err("mandatory-script-verify-flag-failed (Witness provided for non-witness script)");
            }
        } else if script.is_p2wsh() {
            check_p2wsh(script, &input.witness)?;
        } else if script.is_p2wpkh() {
            check_p2wpkh(secp, &mut cache, index, prevout, &input.witness)?;
        } else if script.is_p2tr() {
            check_key_path(secp, &mut cache, index, prevouts, &input.witness)?;
        } else {
            return Err(UNKNOWN);
        }
    }
    Ok(())
}

fn check_p2wsh(script: &Script, witness: &Witness) -> Result<(), Reason> {
    let witness_script = witness.last().ok_or(REFUSED)?;
    let program = sha256::Hash::hash(witness_script);
    if script.as_bytes()[2..] != program.to_byte_array() {
        return Err(REFUSED);
    }
    // With another item below it the stack would not be clean.
    let spends = witness.len() == 1 && witness_script == [OP_TRUE];
    if spends { Ok(()) } else { Err(UNKNOWN) }
}

fn check_p2wpkh(
    secp: &Secp256k1<VerifyOnly>,
    cache: &mut SighashCache<&Transaction>,
    index: usize,
    prevout: &TxOut,
    witness: &Witness,
) -> Result<(), Reason> {
    let [signature, key] = witness.to_vec().try_into().map_err(|_| REFUSED)?;
    let key = CompressedPublicKey::from_slice(&key).map_err(|_| REFUSED)?;
    if prevout.script_pubkey.as_bytes()[2..] != key.wpubkey_hash().to_byte_array() {
        return Err(REFUSED);
    }
    let signature = ecdsa::Signature::from_slice(&signature).map_err(|_| REFUSED)?;
    let hash = cache
        .p2wpkh_signature_hash(index, &prevout.script_pubkey, prevout.value, signature.sighash_type)
        .map_err(|_| REFUSED)?;
    secp.verify_ecdsa(&Message::from(hash), &signature.signature, &key.0).map_err(|_| REFUSED)
}

fn check_key_path(
    secp: &Secp256k1<VerifyOnly>,
    cache: &mut SighashCache<&Transaction>,
    index: usize,
    prevouts: &[TxOut],
    witness: &Witness,
) -> Result<(), Reason> {
    let [signature]: [Vec<u8>; 1] = witness.to_vec().try_into().map_err(|_| UNKNOWN)?;
    let signature = taproot::Signature::from_slice(&signature).map_err(|_| REFUSED)?;
    let program = &prevouts[index].script_pubkey.as_bytes()[2..];
    let key = XOnlyPublicKey::from_slice(program).map_err(|_| REFUSED)?;
    let hash = cache
        .taproot_key_spend_signature_hash(index, &Prevouts::All(prevouts), signature.sighash_type)
        .map_err(|_| REFUSED)?;
    secp.verify_schnorr(&signature.signature, &Message::from(hash), &key).map_err(|_| REFUSED)
}

#[cfg(test)]
mod tests;
