//! Names of chains and of places in them.

use {
    bitcoin::{BlockHash, Network},
    serde::{Deserialize, Serialize},
    std::{fmt, str::FromStr},
};

/// The chain a node is on. Text form is Bitcoin Core's (`getblockchaininfo`), so "main" and "test", plus "devchain".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum Chain {
    /// Bitcoin itself.
    Main,
    /// The third test network.
    Testnet3,
    /// The fourth test network.
    Testnet4,
    /// The public signet or a custom one: they share the name and the genesis block.
    Signet,
    /// A private chain without difficulty.
    Regtest,
    /// The chain inside this process.
    Devchain,
}

const NAMES: [(Chain, &str); 6] = [
    (Chain::Main, "main"),
    (Chain::Testnet3, "test"),
    (Chain::Testnet4, "testnet4"),
    (Chain::Signet, "signet"),
    (Chain::Regtest, "regtest"),
    (Chain::Devchain, "devchain"),
];

impl Chain {
    /// The network whose address format the chain uses. Devchain borrows regtest's.
    pub fn network(self) -> Network {
        match self {
            Self::Main => Network::Bitcoin,
            Self::Testnet3 => Network::Testnet,
            Self::Testnet4 => Network::Testnet4,
            Self::Signet => Network::Signet,
            Self::Regtest | Self::Devchain => Network::Regtest,
        }
    }

    /// The name as `getblockchaininfo` gives it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(chain, _)| *chain == self).map_or("unknown", |(_, name)| name)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A chain name that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chain `{0}` is unknown: use main, test, testnet4, signet, regtest or devchain")]
pub struct UnknownChain(pub String);

impl FromStr for Chain {
    type Err = UnknownChain;

    fn from_str(name: &str) -> Result<Self, UnknownChain> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(chain, _)| *chain)
            .ok_or_else(|| UnknownChain(name.into()))
    }
}

impl TryFrom<String> for Chain {
    type Error = UnknownChain;

    fn try_from(name: String) -> Result<Self, UnknownChain> {
        name.parse()
    }
}

impl From<Chain> for String {
    fn from(chain: Chain) -> String {
        chain.name().into()
    }
}

/// A block's place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tip {
    /// Blocks below it.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
}

impl fmt::Display for Tip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.height, self.hash)
    }
}

/// What a node knows about a block without its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Blocks below it.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// The block it builds on; all zeros for the first block.
    pub prev_hash: BlockHash,
    /// The time in its header, Unix seconds.
    pub time: u32,
    /// Blocks from it to the tip, itself included; none when it is not on the best chain.
    pub confirmations: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (chain, name) in NAMES {
            assert_eq!(chain.to_string(), name);
            assert_eq!(name.parse(), Ok(chain));
            let json = serde_json::to_string(&chain).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Chain>(&json).unwrap(), chain);
        }
        assert_eq!("mainnet".parse::<Chain>(), Err(UnknownChain("mainnet".into())));
    }
}
