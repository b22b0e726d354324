//! A wallet on a devchain, and what one does with it.

use {
    bitcoin::{
        Address, Amount, Block, FeeRate, Network, OutPoint, ScriptBuf, Transaction, Txid,
        key::{Keypair, Secp256k1},
        secp256k1::SecretKey,
    },
    node::{ChainEvent, Devchain, DevchainConfig, Node, Polled, Tip, Watch},
    onchain::{Keys, OnchainConfig, OnchainError, OnchainWallet, Opened, Payout, PayoutId, PayoutStatus},
    std::{fs, path::Path, sync::Arc},
    tempfile::TempDir,
};

const NOW: u32 = 1_750_000_000;
/// Short, so that tests are; every rule that knows it knows it from the configuration.
pub const MATURITY: u32 = 4;
pub const SUBSIDY: Amount = Amount::from_sat(50_000_000);
pub const RATE: FeeRate = FeeRate::from_sat_per_kwu(2_510);

pub struct Rig {
    pub chain: Devchain,
    pub wallet: OnchainWallet,
    pub directory: TempDir,
}

pub fn devchain() -> Devchain {
    let config = DevchainConfig { maturity: MATURITY, subsidy: SUBSIDY, ..DevchainConfig::default() };
    Devchain::new(config, Arc::new(|| NOW)).unwrap()
}

pub fn birth(chain: &Devchain) -> OnchainConfig {
    OnchainConfig {
        birthday: Tip { height: 0, hash: chain.block_hash(0).unwrap().unwrap() },
        maturity: MATURITY,
    }
}

pub fn open(chain: &Devchain, directory: &Path, keys: Keys) -> Result<Opened, OnchainError> {
    OnchainWallet::open(directory, Arc::new(chain.clone()), keys, birth(chain))
}

/// Takes in what has happened to the chain. Returns the events.
pub fn catch_up(node: &Arc<dyn Node>, wallet: &OnchainWallet) -> Vec<ChainEvent> {
    let mut watch = Watch::from(Arc::clone(node), wallet.followed().unwrap(), 200);
    let mut events = Vec::new();
    loop {
        match watch.poll().unwrap() {
            Polled::Event(event) => {
                wallet.follow(event).unwrap();
                wallet.follow(event).expect("an event may come twice");
                events.push(event);
            }
            Polled::AtTip => break,
            Polled::Away(error) => panic!("{error}"),
        }
    }
    assert_eq!(wallet.followed().unwrap(), node.tip().unwrap());
    events
}

pub fn id(text: &str) -> PayoutId {
    PayoutId::new(text).unwrap()
}

/// Somebody's address, another one for each number.
pub fn recipient(number: u8) -> ScriptBuf {
    let secp = Secp256k1::new();
    let pair = Keypair::from_secret_key(&secp, &SecretKey::from_slice(&[number.max(1); 32]).unwrap());
    if number.is_multiple_of(2) {
        return Address::p2tr(&secp, pair.x_only_public_key().0, None, Network::Regtest).script_pubkey();
    }
    ScriptBuf::new_p2wpkh(&bitcoin::CompressedPublicKey(pair.public_key()).wpubkey_hash())
}

pub fn nobody() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

impl Rig {
    pub fn new() -> Rig {
        let (chain, directory) = (devchain(), tempfile::tempdir().unwrap());
        let opened = open(&chain, directory.path(), Keys::Kept).unwrap();
        assert!(opened.new_phrase.is_some());
        Rig { chain, wallet: opened.wallet, directory }
    }

    /// A rig whose wallet has so many coins that can be spent.
    pub fn with_coins(coins: u32) -> Rig {
        let rig = Rig::new();
        rig.mine(coins);
        rig.mine_others(MATURITY);
        rig
    }

    pub fn node(&self) -> Arc<dyn Node> {
        Arc::new(self.chain.clone())
    }

    /// Blocks whose coinbases pay the wallet.
    pub fn mine(&self, blocks: u32) {
        for _ in 0..blocks {
            self.chain.mine_block(self.wallet.payout_script().into()).unwrap();
        }
        self.catch_up();
    }

    /// Blocks of others.
    pub fn mine_others(&self, blocks: u32) {
        for _ in 0..blocks {
            self.chain.mine_block(nobody()).unwrap();
        }
        self.catch_up();
    }

    /// Replaces the last blocks by empty ones of others, and one more.
    pub fn reorganise(&self, depth: u32) {
        let fork = self.chain.block_hash(self.height() - depth).unwrap().unwrap();
        self.chain.mine_fork(&fork, depth + 1).unwrap();
    }

    pub fn height(&self) -> u32 {
        self.chain.tip().unwrap().height
    }

    pub fn catch_up(&self) -> Vec<ChainEvent> {
        catch_up(&self.node(), &self.wallet)
    }

    /// What is left when the process is killed now: the files as they are.
    pub fn kill(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(self.directory.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let opened = open(&self.chain, copy.path(), Keys::Kept).unwrap();
        assert!(opened.new_phrase.is_none());
        assert_eq!(opened.wallet.payout_script(), self.wallet.payout_script());
        (self.wallet, self.directory) = (opened.wallet, copy);
    }

    pub fn request(&self, name: &str, number: u8, sats: u64) -> Payout {
        let max_fee = self.wallet.estimate(&recipient(number), Amount::from_sat(sats), RATE).unwrap();
        self.wallet.request(&id(name), &recipient(number), Amount::from_sat(sats), max_fee).unwrap()
    }

    pub fn status(&self, name: &str) -> PayoutStatus {
        self.wallet.payout(&id(name)).unwrap().unwrap().status
    }

    pub fn send(&self) {
        for sent in self.wallet.broadcast_pending().unwrap() {
            sent.outcome.unwrap();
        }
    }

    /// What the best chain has paid to a script, spent or not.
    pub fn received(&self, script: &ScriptBuf) -> Vec<Amount> {
        let transactions = self.blocks().into_iter().flat_map(|block| block.txdata);
        let outputs = transactions.flat_map(|transaction| transaction.output);
        outputs.filter(|output| output.script_pubkey == *script).map(|output| output.value).collect()
    }

    /// What the blocks of the best chain pay to the pool.
    pub fn rewards(&self) -> Amount {
        let script = self.wallet.payout_script();
        let coinbases = self.blocks().into_iter().flat_map(|mut block| block.txdata.swap_remove(0).output);
        coinbases.filter(|output| output.script_pubkey.as_script() == script).map(|output| output.value).sum()
    }

    fn blocks(&self) -> Vec<Block> {
        let hashes = (0..=self.height()).map(|height| self.chain.block_hash(height).unwrap().unwrap());
        hashes.map(|hash| self.chain.block(&hash).unwrap()).collect()
    }

    pub fn transaction(&self, txid: Txid) -> Transaction {
        let mut all = self.blocks().into_iter().flat_map(|block| block.txdata);
        all.find(|transaction| transaction.compute_txid() == txid).expect("it is on the chain")
    }

    pub fn value(&self, outpoint: OutPoint) -> Amount {
        self.transaction(outpoint.txid).output[outpoint.vout as usize].value
    }
}
