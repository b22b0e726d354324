//! `assay demo`: a chain, a pool and two miners in one process, from nothing to eHash in a minute.

mod plain;
mod scene;
mod story;
mod summary;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::logging;
use crate::output;
use crate::shutdown::{MAX_SECONDS, Shutdown};
use scene::Scene;

/// How long the demo runs when nobody says otherwise.
const DEFAULT_SECONDS: u64 = 40;

/// How much longer it may take until there is something to show, if luck is bad.
const EXTRA: Duration = Duration::from_secs(60);

/// How often the view is drawn.
const FRAME: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Arguments {
    /// Run for so many seconds; longer only if no epoch was closed by then.
    #[arg(long, default_value_t = DEFAULT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=MAX_SECONDS))]
    seconds: u64,
    /// Print exactly one JSON object at the end, and nothing else.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let on_screen = !arguments.json && std::io::stdout().is_terminal();
    // Log lines would tear the view apart; ASSAY_LOG brings them back elsewhere.
    logging::start(logging::LogFormat::Text, "error");
    let shutdown = Shutdown::install(None)?;
    let mut scene = Scene::set_up(&shutdown.stop())?;
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let result = if on_screen {
        view::play(&mut scene, &shutdown, end)
    } else {
        plain::play(&mut scene, &shutdown, end, arguments.json);
        Ok(())
    };
    let summary = scene.tear_down()?;
    result?;
    if arguments.json {
        output::line(summary.json());
    } else {
        output::line(summary.text());
    }
    Ok(if summary.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the play is over: at its end, once there is something to show; or at a signal.
fn is_over(scene: &Scene, shutdown: &Shutdown, end: Instant) -> bool {
    if shutdown.wait(FRAME) {
        return true;
    }
    let now = Instant::now();
    now >= end && (scene.has_something_to_show() || now >= end + EXTRA)
}
