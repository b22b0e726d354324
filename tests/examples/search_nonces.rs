//! Writes `src/signet_nonces.txt`, after the prepared blocks of the tests' signet have been changed:
//! `cargo run --release -p assay-system-tests --example search_nonces > tests/src/signet_nonces.txt`

fn main() {
    for nonce in assay_system_tests::signet::search_nonces() {
        println!("{nonce}");
    }
}
