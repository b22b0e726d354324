//! `assay`: run, or mine on, a Bitcoin pool without accounts.

use std::process::ExitCode;

fn main() -> ExitCode {
    assay::run()
}
