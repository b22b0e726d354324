//! Writes what each target begins with, its seeds and the inputs that were kept, to a directory of its own: `seeds DIR` makes
//! `DIR/<target>/…`.

use assay_fuzz::kept;
use assay_fuzz::targets::TARGETS;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let Some(dir) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: seeds DIR"));
    };
    for target in TARGETS {
        let dir = dir.join(target.name);
        fs::create_dir_all(&dir)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(dir.join(format!("seed-{number:03}")), seed)?;
        }
        for (number, input) in kept::read(target.name)?.into_iter().enumerate() {
            fs::write(dir.join(format!("kept-{number:05}")), input)?;
        }
    }
    Ok(())
}
