//! A scripted SV1 miner that does real work: it speaks JSON lines as firmware does, builds its own headers and
//! searches them with one thread.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{CompactTarget, Target};
use hex::DisplayHex;
use serde_json::{Value, json};

use crate::proof_of_work::Search;

/// Nonces tried between looks at what the server has sent.
const STRIDE: u32 = 1 << 18;

/// Version bits that general purpose miners ask to roll: BIP320's.
const WANTED_MASK: u32 = 0x1fff_e000;

/// Time for one answer of the server.
const ANSWER: Duration = Duration::from_secs(20);

/// What a miner has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Shares that the server accepted.
    pub accepted: u32,
    /// Errors of the shares that it refused.
    pub refused: Vec<String>,
    /// Accepted shares that were blocks.
    pub blocks: u32,
    /// Jobs received.
    pub jobs: u32,
}

/// Whether the miner negotiates version rolling (BIP310) and uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRolling {
    /// `mining.configure` first, as cgminer does; six parameters in `mining.submit`.
    Negotiated,
    /// Never asked for, as by the smallest devices; five parameters.
    Never,
}

/// A connected and authorised miner.
#[derive(Debug)]
pub struct Sv1Miner {
    socket: TcpStream,
    lines: Receiver<Value>,
    user: String,
    next_id: u64,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
    extranonce2: u64,
    mask: Option<u32>,
    next_difficulty: Option<Difficulty>,
    difficulty: Difficulty,
    job: Option<Job>,
    pending: HashMap<u64, bool>,
    tally: Tally,
}

/// A share to be sent.
struct Share {
    version_bits: u32,
    extranonce2: Vec<u8>,
    ntime: u32,
    nonce: u32,
    is_block: bool,
}

#[derive(Clone, Debug)]
struct Job {
    id: String,
    prev_hash: [u8; 32],
    coinbase: [Vec<u8>; 2],
    merkle_branch: Vec<[u8; 32]>,
    version: u32,
    bits: u32,
    ntime: u32,
}

/// SV1's difficulty: a floating point number by convention. It is turned into a target once, at the edge.
#[derive(Clone, Copy, Debug)]
struct Difficulty(Target);

impl Sv1Miner {
    /// Connects to `address`, subscribes and authorises as `user`, and waits for the first job.
    pub fn connect(address: SocketAddr, user: &str, rolling: VersionRolling) -> Sv1Miner {
        let socket = TcpStream::connect(address).expect("the translator listens");
        socket.set_nodelay(true).expect("a connected socket");
        let lines = read_lines(socket.try_clone().expect("a connected socket"));
        let mut miner = Sv1Miner {
            socket,
            lines,
            user: user.to_owned(),
            next_id: 1,
            extranonce1: Vec::new(),
            extranonce2_size: 0,
            extranonce2: 0,
            mask: None,
            next_difficulty: None,
            // Nothing is found until the server has named a difficulty.
            difficulty: Difficulty(Target::ZERO),
            job: None,
            pending: HashMap::new(),
            tally: Tally::default(),
        };
        if rolling == VersionRolling::Negotiated {
            let wanted = json!([["version-rolling"], {"version-rolling.mask": format!("{WANTED_MASK:08x}")}]);
            let granted = miner.call("mining.configure", &wanted);
            assert_eq!(granted["version-rolling"], true, "{granted}");
            miner.mask = Some(hex_number(&granted["version-rolling.mask"]));
        }
        let subscription = miner.call("mining.subscribe", &json!(["assay-system-test/1.0"]));
        miner.extranonce1 = hex_bytes(&subscription[1]);
        miner.extranonce2_size =
            subscription[2].as_u64().and_then(|size| usize::try_from(size).ok()).expect("a size");
        let authorised = miner.call("mining.authorize", &json!([user, "x"]));
        assert_eq!(authorised, true);
        let deadline = Instant::now() + ANSWER;
        while miner.job.is_none() {
            miner.take_line(deadline, "a first job");
        }
        miner
    }

    /// Mines until `enough` says so of what was seen.
    ///
    /// # Panics
    /// With `what` when that takes longer than `timeout`.
    pub fn mine_until(&mut self, what: &str, timeout: Duration, enough: impl Fn(&Tally) -> bool) -> Tally {
        let deadline = Instant::now() + timeout;
        while !enough(&self.tally) {
            assert!(
                Instant::now() < deadline,
                "not within {timeout:?}: {what}; seen so far: {:?}",
                self.tally
            );
            self.search_once();
            loop {
                match self.lines.try_recv() {
                    Ok(line) => self.handle(line),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        panic!("the translator closed the connection: {:?}", self.tally)
                    }
                }
            }
        }
        self.tally.clone()
    }

    /// Searches one stride of one header that was never searched before, and submits the first share in it.
    fn search_once(&mut self) {
        let job = self.job.clone().expect("connected means that there is a job");
        self.extranonce2 += 1;
        let extranonce2 =
            self.extranonce2.to_be_bytes()[8_usize.saturating_sub(self.extranonce2_size)..].to_vec();
        // Any value will do, as long as it differs from the job's own in most headers.
        let version_bits =
            self.mask.map_or(0, |mask| (u32::try_from(self.extranonce2).unwrap_or(0) * 0x2000) & mask);
        let version = (job.version & !self.mask.unwrap_or(0)) | version_bits;
        let header = job.header(version, &[&self.extranonce1[..], &extranonce2].concat());
        let mut search = Search::new(&header);
        if let Some(nonce) = search.find(self.difficulty.0, 0..STRIDE) {
            let network = Target::from_compact(CompactTarget::from_consensus(job.bits));
            let is_block = Target::from_le_bytes(search.hash(nonce)) <= network;
            self.submit(&job.id, &Share { version_bits, extranonce2, ntime: job.ntime, nonce, is_block });
        }
    }

    fn submit(&mut self, job_id: &str, share: &Share) {
        let (ntime, nonce) = (format!("{:08x}", share.ntime), format!("{:08x}", share.nonce));
        let mut params =
            vec![json!(self.user), json!(job_id), json!(share.extranonce2.to_lower_hex_string())];
        params.extend([json!(ntime), json!(nonce)]);
        if self.mask.is_some() {
            params.push(json!(format!("{:08x}", share.version_bits)));
        }
        let id = self.send("mining.submit", &Value::Array(params));
        self.pending.insert(id, share.is_block);
    }

    fn send(&mut self, method: &str, params: &Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let line = format!("{}\n", json!({"id": id, "method": method, "params": params}));
        self.socket.write_all(line.as_bytes()).expect("the translator reads");
        id
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        let deadline = Instant::now() + ANSWER;
        loop {
            let line = self.receive(deadline, method);
            if line["id"] == id {
                assert!(line["error"].is_null(), "{method}: {line}");
                return line["result"].clone();
            }
            self.handle(line);
        }
    }

    fn take_line(&mut self, deadline: Instant, what: &str) {
        let line = self.receive(deadline, what);
        self.handle(line);
    }

    fn receive(&self, deadline: Instant, what: &str) -> Value {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines
            .recv_timeout(left)
            .unwrap_or_else(|error| panic!("the translator does not send {what}: {error}"))
    }

    fn handle(&mut self, line: Value) {
        let params = &line["params"];
        match line["method"].as_str() {
            Some("mining.notify") => {
                self.tally.jobs += 1;
                self.job = Some(Job::parse(params));
                // As in cgminer, a difficulty counts from the next job on.
                self.difficulty = self.next_difficulty.take().unwrap_or(self.difficulty);
            }
            Some("mining.set_difficulty") => self.next_difficulty = Some(Difficulty::parse(&params[0])),
            Some("mining.set_extranonce") => self.extranonce1 = hex_bytes(&params[0]),
            Some("mining.set_version_mask") => self.mask = self.mask.map(|_| hex_number(&params[0])),
            Some(other) => panic!("a method that no miner knows: {other}"),
            None => self.answered(&line),
        }
    }

    fn answered(&mut self, line: &Value) {
        let id = line["id"].as_u64().expect("answers carry our ids");
        let is_block = self.pending.remove(&id).expect("only shares are still unanswered");
        if line["result"] == true {
            self.tally.accepted += 1;
            self.tally.blocks += u32::from(is_block);
        } else {
            self.tally.refused.push(line["error"].to_string());
        }
    }
}

impl Job {
    fn parse(params: &Value) -> Job {
        let mut prev_hash = array(&params[1]);
        // SV1 sends the hash as eight words, each in the other byte order.
        for word in prev_hash.chunks_exact_mut(4) {
            word.reverse();
        }
        Job {
            id: params[0].as_str().expect("a job id").to_owned(),
            prev_hash,
            coinbase: [hex_bytes(&params[2]), hex_bytes(&params[3])],
            merkle_branch: params[4].as_array().expect("a merkle branch").iter().map(array).collect(),
            version: hex_number(&params[5]),
            bits: hex_number(&params[6]),
            ntime: hex_number(&params[7]),
        }
    }

    fn header(&self, version: u32, extranonce: &[u8]) -> [u8; 80] {
        let coinbase = sha256d::Hash::hash(&[&self.coinbase[0][..], extranonce, &self.coinbase[1]].concat());
        let merkle_root = self.merkle_branch.iter().fold(coinbase, |left, right| {
            let mut engine = sha256d::Hash::engine();
            engine.input(left.as_byte_array());
            engine.input(right);
            sha256d::Hash::from_engine(engine)
        });
        let mut header = [0; 80];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(&self.prev_hash);
        header[36..68].copy_from_slice(merkle_root.as_byte_array());
        header[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&self.bits.to_le_bytes());
        header
    }
}

impl Difficulty {
    /// The target of difficulty `value`: that of difficulty 1 divided by it, rounded to the strict side.
    #[expect(
        clippy::float_arithmetic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "SV1's wire form"
    )]
    fn parse(value: &Value) -> Difficulty {
        let difficulty =
            value.as_f64().filter(|difficulty| *difficulty > 0.0).expect("a positive difficulty");
        // Difficulty 1 is 0xffff at bit 208. Thirty-two more bits of the quotient are plenty.
        let quotient = (65535.0 * 4_294_967_296.0 / difficulty) * (1.0 - 1e-9);
        let mut bytes = [0; 32];
        if quotient >= 1_208_925_819_614_629_174_706_176.0 {
            // Two to the eightieth: easier than any hash.
            return Difficulty(Target::from_be_bytes([0xff; 32]));
        }
        // Bits 176 and up of the target hold the quotient.
        bytes[..10].copy_from_slice(&(quotient as u128).to_be_bytes()[6..]);
        Difficulty(Target::from_be_bytes(bytes))
    }
}

fn read_lines(socket: TcpStream) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(socket).lines().map_while(Result::ok) {
            let parsed =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}"));
            if sender.send(parsed).is_err() {
                break;
            }
        }
    });
    receiver
}

fn hex_bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("not a hex string: {value}"));
    hex::FromHex::from_hex(text).unwrap_or_else(|error| panic!("not hex: {error}: {text}"))
}

fn hex_number(value: &Value) -> u32 {
    let text = value.as_str().unwrap_or_else(|| panic!("not a hex string: {value}"));
    u32::from_str_radix(text, 16).unwrap_or_else(|error| panic!("not a number in hex: {error}: {text}"))
}

fn array(value: &Value) -> [u8; 32] {
    hex_bytes(value).try_into().unwrap_or_else(|bytes: Vec<u8>| panic!("{} bytes instead of 32", bytes.len()))
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::blockdata::constants::genesis_block;

    use super::*;

    #[test]
    fn difficulty_one_is_the_customary_target() {
        let one = Difficulty::parse(&json!(1.0)).0;
        assert!(one <= Target::MAX);
        assert!(one.difficulty_float() < 1.000_001);
        let thousandth = Difficulty::parse(&json!(0.001)).0;
        assert!((0.000_999..0.001_001).contains(&thousandth.difficulty_float()));
        assert_eq!(Difficulty::parse(&json!(1e-30)).0, Target::from_be_bytes([0xff; 32]));
    }

    #[test]
    fn headers_are_those_of_bitcoin() {
        let genesis = genesis_block(Network::Signet);
        let coinbase = bitcoin::consensus::encode::serialize(&genesis.txdata[0]);
        let mut swapped = genesis.header.prev_blockhash.to_byte_array();
        for word in swapped.chunks_exact_mut(4) {
            word.reverse();
        }
        let (start, rest) = coinbase.split_at(40);
        let (extranonce, end) = rest.split_at(8);
        let params = json!([
            "1",
            swapped.to_lower_hex_string(),
            start.to_lower_hex_string(),
            end.to_lower_hex_string(),
            [],
            "00000001",
            format!("{:08x}", genesis.header.bits.to_consensus()),
            format!("{:08x}", genesis.header.time),
            true,
        ]);
        let header = Job::parse(&params).header(1, extranonce);
        assert_eq!(Search::new(&header).hash(genesis.header.nonce), genesis.block_hash().to_byte_array());
    }
}
