//! The demo as plain lines, for pipes and logs.

use std::time::Instant;

use super::is_over;
use super::scene::Scene;
use crate::amount;
use crate::output;
use crate::shutdown::Shutdown;

/// Plays until `end`; silent lets nothing out.
pub fn play(scene: &mut Scene, shutdown: &Shutdown, end: Instant, silent: bool) {
    if !silent {
        output::line(format_args!(
            "two miners, one pool, one chain; a block every {} hashes",
            amount::grouped(scene.block_hashes)
        ));
    }
    loop {
        let over = is_over(scene, shutdown, end);
        let lines = scene.catch_up();
        if !silent {
            for line in lines {
                output::line(format_args!("{:>6.1} s  {line}", scene.started.elapsed().as_secs_f32()));
            }
        }
        if over {
            return;
        }
    }
}
