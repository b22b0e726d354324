//! The chain on which `cargo xtask bench` compares pools: a real node with IPC, its mempool full enough for templates
//! with a merkle path of 12 steps, and new blocks when they are asked for.
//!
//! `measured_chain start BLOCKS` starts it with so many blocks found beforehand, says in one JSON line where everything
//! is, and ends when its standard input does.
//! `measured_chain block SOCKET` has a block made, and prints the Unix time in microseconds at which the node got it.
//! The node lives in `$TMPDIR`.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use assay_system_tests::proof_of_work::solve;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::signet::{
    Candidate, PREPARED_HEIGHT, candidate, families, payout_script, prepared_blocks,
};
use bitcoin::Block;
use bitcoin::consensus::encode::serialize_hex;
use serde_json::json;

/// 220 coins with so many children each are 2,420 transactions; with the coinbase, 12 steps lead to their root.
const CHILDREN: u32 = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["start", blocks] => serve(blocks.parse().expect("a number of blocks")),
        ["block", socket] => {
            let mut answer = String::new();
            let mut chain = UnixStream::connect(socket).expect("the chain runs");
            chain.read_to_string(&mut answer).expect("the chain answers");
            println!("{answer}");
        }
        other => panic!("not understood: {other:?}"),
    }
}

fn serve(blocks: usize) {
    let node = RealNode::start_with_ipc();
    for transaction in families(CHILDREN) {
        node.rpc("sendrawtransaction", &json!([serialize_hex(&transaction)]));
    }
    let mut blocks = empty_blocks(blocks);
    let socket = node.directory().join("block.sock");
    let listener = UnixListener::bind(&socket).expect("the node's directory can be written");
    let place = json!({
        "url": node.url(),
        "cookie_file": node.cookie_file(),
        "data_dir": node.directory(),
        "block_socket": socket,
        "payout_script": payout_script().to_hex_string(),
        "transactions": node.mempool_size(),
    });
    println!("{place}");
    // The owner's end of the pipe closes, however the owner ends.
    let ended = Arc::new(AtomicBool::new(false));
    let watch = (Arc::clone(&ended), socket);
    std::thread::spawn(move || {
        let (ended, socket) = watch;
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
        let _ = UnixStream::connect(socket);
    });
    for client in listener.incoming() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let block = blocks.pop_front().expect("the owner said how many blocks it needs");
        make_block(&node, &block, client.expect("a client that asked for a block"));
    }
}

/// Hands the block in and tells when.
fn make_block(node: &RealNode, block: &Block, mut client: UnixStream) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_micros();
    node.submit(block);
    // A client that did not wait for the answer does not need it.
    let _ = write!(client, "{at}");
}

/// `count` blocks upon the prepared chain, a quarter of a second each, each upon the one before it, that leave the mempool as it is.
fn empty_blocks(count: usize) -> VecDeque<Block> {
    let mut tip = prepared_blocks().pop().expect("the prepared chain has blocks");
    let heights = PREPARED_HEIGHT + 1..;
    let blocks = heights.take(count).map(|height| {
        let mut block = candidate(&Candidate {
            height,
            parent: tip.block_hash(),
            time: tip.header.time + 1,
            bits: tip.header.bits,
            coins: 1,
            note: b"measured",
        });
        while !solve(&mut block.header) {
            block.header.time += 1;
        }
        tip = block.clone();
        block
    });
    blocks.collect()
}
