use {
    super::*,
    bitcoin::{
        Amount, EcdsaSighashType, OutPoint, ScriptBuf, Sequence, TapSighashType, TxIn, Txid,
        absolute::LockTime,
        key::{Keypair, TapTweak},
        secp256k1::All,
        transaction::Version,
    },
};

struct Wallet {
    secp: Secp256k1<All>,
    pair: Keypair,
}

impl Wallet {
    fn new(seed: u8) -> Self {
        let secp = Secp256k1::new();
        let pair = Keypair::from_seckey_slice(&secp, &[seed; 32]).unwrap();
        Self { secp, pair }
    }

    fn p2wpkh(&self) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&CompressedPublicKey(self.pair.public_key()).wpubkey_hash())
    }

    fn p2tr(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr(&self.secp, self.pair.x_only_public_key().0, None)
    }

    fn sign_p2wpkh(&self, tx: &mut Transaction, index: usize, prevout: &TxOut) {
        let sighash_type = EcdsaSighashType::All;
        let hash = SighashCache::new(&*tx)
            .p2wpkh_signature_hash(index, &prevout.script_pubkey, prevout.value, sighash_type)
            .unwrap();
        let signature = self.secp.sign_ecdsa(&Message::from(hash), &self.pair.secret_key());
        let signature = ecdsa::Signature { signature, sighash_type };
        tx.input[index].witness = Witness::p2wpkh(&signature, &self.pair.public_key());
    }

    fn sign_p2tr(&self, tx: &mut Transaction, index: usize, prevouts: &[TxOut]) {
        let sighash_type = TapSighashType::Default;
        let hash = SighashCache::new(&*tx)
            .taproot_key_spend_signature_hash(index, &Prevouts::All(prevouts), sighash_type)
            .unwrap();
        let tweaked = self.pair.tap_tweak(&self.secp, None).to_keypair();
        let signature = self.secp.sign_schnorr_no_aux_rand(&Message::from(hash), &tweaked);
        tx.input[index].witness = Witness::p2tr_key_spend(&taproot::Signature { signature, sighash_type });
    }
}

fn spend(inputs: u32) -> Transaction {
    let input = |vout| TxIn {
        previous_output: OutPoint { txid: Txid::from_byte_array([1; 32]), vout },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: (0..inputs).map(input).collect(),
        output: vec![TxOut { value: Amount::from_sat(900), script_pubkey: ScriptBuf::new() }],
    }
}

fn output(script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(1_000), script_pubkey }
}

fn verify(tx: &Transaction, prevouts: &[TxOut]) -> Result<(), Reason> {
    check(&Secp256k1::verification_only(), tx, prevouts)
}

fn op_true() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![OP_TRUE])
}

#[test]
fn a_wallets_signatures_spend_its_coins() {
    let wallet = Wallet::new(1);
    let prevouts = [output(wallet.p2wpkh()), output(wallet.p2tr()), output(op_true())];
    let mut tx = spend(3);
    wallet.sign_p2wpkh(&mut tx, 0, &prevouts[0]);
    wallet.sign_p2tr(&mut tx, 1, &prevouts);
    assert_eq!(verify(&tx, &prevouts), Ok(()));

    let mut changed = tx.clone();
    changed.output[0].value = Amount::from_sat(901);
    assert_eq!(verify(&changed, &prevouts), Err(REFUSED));
    let mut swapped = tx.clone();
    swapped.input[0].witness = tx.input[1].witness.clone();
    assert_eq!(verify(&swapped, &prevouts), Err(REFUSED));
}

#[test]
fn others_signatures_do_not() {
    let (owner, thief) = (Wallet::new(1), Wallet::new(2));
    let prevouts = [output(owner.p2wpkh())];
    let mut tx = spend(1);
    thief.sign_p2wpkh(&mut tx, 0, &prevouts[0]);
    assert_eq!(verify(&tx, &prevouts), Err(REFUSED));
    let prevouts = [output(owner.p2tr())];
    thief.sign_p2tr(&mut tx, 0, &prevouts);
    assert_eq!(verify(&tx, &prevouts), Err(REFUSED));
}

#[test]
fn op_true_bare_and_as_p2wsh() {
    let mut tx = spend(1);
    assert_eq!(verify(&tx, &[output(op_true())]), Ok(()));
    let p2wsh = [output(op_true().to_p2wsh())];
    assert_eq!(verify(&tx, &p2wsh), Err(REFUSED));
    tx.input[0].witness = Witness::from_slice(&[[OP_TRUE]]);
    assert_eq!(verify(&tx, &p2wsh), Ok(()));
    assert!(verify(&tx, &[output(op_true())]).is_err());
    tx.input[0].witness = Witness::from_slice(&[vec![OP_TRUE], vec![OP_TRUE]]);
    assert_eq!(verify(&tx, &p2wsh), Err(UNKNOWN));
    tx.input[0].witness = Witness::from_slice(&[[0x52]]);
    assert_eq!(verify(&tx, &p2wsh), Err(REFUSED));
}

#[test]
fn scripts_that_are_not_known_are_refused() {
    let mut tx = spend(1);
    for script in [ScriptBuf::new(), ScriptBuf::from_bytes(vec![0x52]), op_true().to_p2sh()] {
        assert_eq!(verify(&tx, &[output(script)]), Err(UNKNOWN));
    }
    tx.input[0].script_sig = op_true();
    assert_eq!(verify(&tx, &[output(op_true())]), Err(UNKNOWN));
}
