//! `getblocktemplate` (BIP 22, 23, 145) read into a [`Template`].

use {
    crate::{
        NodeError, Template, TemplateId, TemplateTx,
        template::{COINBASE_SEQUENCE, COINBASE_VERSION, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT},
    },
    bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Txid, Wtxid},
    hex::FromHex,
    serde::Deserialize,
};

pub(super) const METHOD: &str = "getblocktemplate";
/// A challenge that any block meets.
const OP_TRUE_CHALLENGE: &str = "51";
/// What an id begins with that no node has given.
const PROVISIONAL: char = '+';

#[derive(Deserialize)]
pub(super) struct Answer {
    version: i32,
    previousblockhash: BlockHash,
    transactions: Vec<Tx>,
    coinbasevalue: u64,
    longpollid: Option<String>,
    mintime: u32,
    curtime: u32,
    bits: String,
    height: u32,
    sigoplimit: Option<u64>,
    weightlimit: Option<u64>,
    default_witness_commitment: Option<String>,
    signet_challenge: Option<String>,
}

#[derive(Deserialize)]
struct Tx {
    data: String,
    txid: Txid,
    hash: Wtxid,
    fee: u64,
    sigops: u64,
    weight: u64,
}

impl Answer {
    pub(super) fn into_template(self) -> Result<Template, NodeError> {
        if let Some(challenge) = self.signet_challenge.filter(|challenge| challenge != OP_TRUE_CHALLENGE) {
            return Err(NodeError::SignetNeedsSigner { challenge });
        }
        let bits = u32::from_str_radix(&self.bits, 16).map_err(|_| malformed("bits"))?;
        let commitment = match &self.default_witness_commitment {
            Some(script) => Some(ScriptBuf::from_bytes(bytes(script, "default_witness_commitment")?)),
            None => None,
        };
        let transactions = self.transactions.into_iter().map(Tx::read).collect::<Result<Vec<_>, _>>()?;
        let id = template_id(&self.previousblockhash, self.longpollid.as_deref());
        let template = Template {
            id,
            height: self.height,
            version: self.version,
            prev_hash: self.previousblockhash,
            nbits: CompactTarget::from_consensus(bits),
            min_time: self.mintime,
            // Bitcoin Core never gives less, but a node whose clock stands still might.
            cur_time: self.curtime.max(self.mintime),
            coinbase_value: Amount::from_sat(self.coinbasevalue),
            coinbase_version: COINBASE_VERSION,
            // The call does not tell; what Bitcoin Core 30 puts into its own coinbases, and BIP 54 wants.
            coinbase_sequence: COINBASE_SEQUENCE,
            coinbase_locktime: self.height.saturating_sub(1),
            transactions: transactions.into(),
            witness_commitment: commitment,
            merkle_path: Box::default(),
            weight_limit: self.weightlimit.unwrap_or(MAX_BLOCK_WEIGHT).min(MAX_BLOCK_WEIGHT),
            sigops_limit: self.sigoplimit.unwrap_or(MAX_BLOCK_SIGOPS_COST).min(MAX_BLOCK_SIGOPS_COST),
        };
        Ok(template.complete()?)
    }
}

/// Reads the result of a `getblocktemplate` call.
///
/// # Errors
/// When it is none, or when its parts do not fit together.
pub fn read_template(result: &[u8]) -> Result<Template, NodeError> {
    let answer: Answer = serde_json::from_slice(result)
        .map_err(|error| NodeError::Malformed { method: METHOD, what: error.to_string() })?;
    answer.into_template()
}

impl Tx {
    fn read(self) -> Result<TemplateTx, NodeError> {
        let raw = bytes(&self.data, "data of a transaction")?.into_boxed_slice();
        Ok(TemplateTx {
            raw,
            txid: self.txid,
            wtxid: self.hash,
            weight: self.weight,
            sigops_cost: self.sigops,
            fee: Amount::from_sat(self.fee),
        })
    }
}

/// Names tip and long-poll id: the tip, so that a change can be seen on another connection than the long poll's.
fn template_id(tip: &BlockHash, long_poll_id: Option<&str>) -> TemplateId {
    TemplateId(format!("{tip} {}", long_poll_id.unwrap_or_default()).into())
}

/// Names work on a tip of which the node has made no template yet.
pub(super) fn provisional_id(tip: &BlockHash) -> TemplateId {
    TemplateId(format!("{PROVISIONAL}{tip}").into())
}

/// What an id says of its template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) tip: BlockHash,
    pub(super) long_poll_id: Option<String>,
    /// The node's own template is still to be asked for.
    pub(super) provisional: bool,
}

/// Reads one of our ids; an id of another node gives none.
pub(super) fn parse_template_id(id: &TemplateId) -> Option<Known> {
    if let Some(tip) = id.0.strip_prefix(PROVISIONAL) {
        return Some(Known { tip: tip.parse().ok()?, long_poll_id: None, provisional: true });
    }
    let (tip, long_poll_id) = id.0.split_once(' ')?;
    let long_poll_id = (!long_poll_id.is_empty()).then(|| long_poll_id.to_owned());
    Some(Known { tip: tip.parse().ok()?, long_poll_id, provisional: false })
}

fn bytes(hex: &str, what: &str) -> Result<Vec<u8>, NodeError> {
    Vec::from_hex(hex).map_err(|_| malformed(what))
}

fn malformed(what: &str) -> NodeError {
    NodeError::Malformed { method: METHOD, what: format!("{what} is not hexadecimal") }
}

#[cfg(test)]
mod tests {
    use {super::*, crate::coinbase::tests::segwit_tx, serde_json::json};

    fn answer() -> serde_json::Value {
        let tx = segwit_tx(3);
        let commitment = crate::template::witness_commitment(std::slice::from_ref(&tx));
        json!({
            "version": 0x2000_0000, "previousblockhash": "11".repeat(32), "coinbasevalue": 5_000_000_031u64,
            "transactions": [{ "data": hex::DisplayHex::to_lower_hex_string(&*tx.raw), "txid": tx.txid,
                "hash": tx.wtxid, "fee": 31, "sigops": 4, "weight": tx.weight, "depends": [] }],
            "longpollid": "11aa", "mintime": 1_001, "curtime": 1_000, "bits": "1e0377ae", "height": 5,
            "sigoplimit": 80_000, "weightlimit": 4_000_000,
            "default_witness_commitment": commitment.to_hex_string(), "signet_challenge": "51",
        })
    }

    fn read(answer: serde_json::Value) -> Result<Template, NodeError> {
        serde_json::from_value::<Answer>(answer).unwrap().into_template()
    }

    // proves: TP-03 MP-104
    #[test]
    fn every_field_arrives() {
        let template = read(answer()).unwrap();
        assert_eq!(template.height, 5);
        assert_eq!(template.version, 0x2000_0000);
        assert_eq!(template.prev_hash.to_string(), "11".repeat(32));
        assert_eq!(template.nbits.to_consensus(), 0x1e03_77ae);
        assert_eq!((template.min_time, template.cur_time), (1_001, 1_001));
        assert_eq!(template.coinbase_value.to_sat(), 5_000_000_031);
        assert_eq!((template.coinbase_locktime, template.coinbase_sequence), (4, 0xffff_fffe));
        assert_eq!(*template.transactions, [TemplateTx { fee: Amount::from_sat(31), ..segwit_tx(3) }]);
        let known = Known { tip: template.prev_hash, long_poll_id: Some("11aa".into()), provisional: false };
        assert_eq!(parse_template_id(&template.id), Some(known));
    }

    #[test]
    fn unusable_answers_are_told_apart() {
        let case = |field: &str, value: serde_json::Value, expected: &str| {
            let mut answer = answer();
            answer[field] = value;
            let text = read(answer).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        };
        case("bits", json!("xyz"), "bits is not hexadecimal");
        case("default_witness_commitment", json!("6a24"), "witness commitment does not match");
        case("default_witness_commitment", json!("6"), "not hexadecimal");
        case("signet_challenge", json!("5121"), "only a challenge of OP_TRUE");
        case("coinbasevalue", json!(30), "more than the coinbase value");
        case("weightlimit", json!(100), "at most 100 weight units");
    }

    // proves: TD-30
    #[test]
    fn a_missing_commitment_is_computed() {
        let mut without = answer();
        without.as_object_mut().unwrap().remove("default_witness_commitment");
        assert_eq!(read(without).unwrap().witness_commitment, read(answer()).unwrap().witness_commitment);
    }

    #[test]
    fn provisional_ids_are_told_apart() {
        let tip = "11".repeat(32).parse().unwrap();
        let known = Known { tip, long_poll_id: None, provisional: true };
        assert_eq!(parse_template_id(&provisional_id(&tip)), Some(known));
        let without_long_poll = parse_template_id(&template_id(&tip, None)).unwrap();
        assert!(!without_long_poll.provisional && without_long_poll.long_poll_id.is_none());
    }

    #[test]
    fn foreign_ids_are_not_understood() {
        for id in ["", "+", "+abc", "abc", "abc def"] {
            assert_eq!(parse_template_id(&TemplateId(id.into())), None);
        }
    }
}
