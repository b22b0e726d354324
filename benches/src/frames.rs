//! Connections whose handshake is done, and frames that wait to be opened.

use sv2::Message;
use sv2::codec::B0_32;
use sv2::mining::{SubmitSharesExtended, SubmitSharesStandard};
use sv2::noise::{AuthoritySecret, Identity, Initiator, Opener, Responder, Sealer, Trust, Validity};

use crate::SHARES;

/// When all of this happens.
pub const UNIX_NOW: u64 = 1_790_000_000;

/// A server's keys.
pub fn identity() -> Identity {
    let mut rng = rand::thread_rng();
    Identity::new(AuthoritySecret::generate(&mut rng), Validity::default(), UNIX_NOW, &mut rng)
}

/// The client's sealer and the server's opener of a new connection.
pub fn connection(identity: &Identity) -> (Sealer, Opener) {
    let mut rng = rand::thread_rng();
    let client = Initiator::new(Trust::AnyServer, &mut rng);
    let (act_2, server) =
        Responder::new(identity).step(&client.act_1(), UNIX_NOW, &mut rng).expect("any bytes are a key");
    let (sealer, _) = client.finish(&act_2, UNIX_NOW).expect("an honest server").split();
    let (_, opener) = server.split();
    (sealer, opener)
}

/// A share of a standard channel.
pub const fn standard(nonce: u32) -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id: 1,
        sequence_number: nonce,
        job_id: 7,
        nonce,
        ntime: 1_790_000_000,
        version: 0x2000_0000,
    }
}

/// A share of an extended channel that rolls 16 bytes, as most are granted.
pub fn extended(nonce: u32) -> SubmitSharesExtended<'static> {
    let SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } = standard(nonce);
    let extranonce = B0_32::try_from(vec![0xab; 16]).expect("16 bytes are at most 32");
    SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce }
}

/// [`SHARES`] sealed messages, one behind the other, and who can open them.
pub fn sealed<'m, M: Message<'m>>(identity: &Identity, message: impl Fn(u32) -> M) -> (Opener, Vec<u8>) {
    let (mut sealer, opener) = connection(identity);
    let mut wire = Vec::new();
    for nonce in 0..SHARES {
        sealer.seal_message(&message(nonce), &mut wire).expect("a new key");
    }
    (opener, wire)
}
