//! A device that has said who it is, and has no channel yet.

use std::io::Result;

use sv2::Frame;
use sv2::codec::{F32, Str0_255};
use sv2::mining::{MiningFromServer, OpenStandardMiningChannel};

use super::link::Link;
use super::{Kind, random_payout_key, set_up};
use crate::assay::Addresses;

/// A connection after its set-up.
pub struct Newcomer {
    link: Link,
}

impl Newcomer {
    /// Connects, checks the pool's certificate, and sets the connection up.
    pub fn connect(pool: &Addresses) -> Result<Newcomer> {
        let authority = pool.authority.parse().expect("the ready line has an authority key");
        let mut link = Link::connect(&pool.stratum, authority)?;
        set_up(&mut link, Kind::Standard)?;
        Ok(Newcomer { link })
    }

    /// Asks for a channel, without waiting for the answer.
    pub fn ask_for_channel(&mut self) -> Result<()> {
        self.link.queue(&OpenStandardMiningChannel {
            request_id: 0,
            user_identity: Str0_255::truncated(&random_payout_key()),
            nominal_hash_rate: F32::new(1e6),
            max_target: [0xff; 32],
        });
        self.link.flush()
    }

    /// Waits for the pool's next message.
    pub fn answer(&mut self, mut take: impl FnMut(MiningFromServer<'_>)) -> Result<()> {
        let mut answered = false;
        while !answered {
            self.link.wait_for_frames(|frame: Frame<'_>| {
                if !std::mem::replace(&mut answered, true) {
                    take(MiningFromServer::decode(frame).expect("the pool sends valid messages"));
                }
            })?;
        }
        Ok(())
    }
}
