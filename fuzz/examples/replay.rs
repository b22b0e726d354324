//! Runs a target over inputs, without a fuzzer: `replay TARGET FILE…`.

use assay_fuzz::targets::TARGETS;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        return Err(io::Error::other(format!("usage: replay TARGET FILE…; targets: {}", names.join(" "))));
    };
    for file in arguments {
        println!("{file}");
        (target.body)(&fs::read(file)?);
    }
    Ok(())
}
