//! Keeps the inputs in a directory for a target, in place of those that it had: `keep TARGET DIR`.

use assay_fuzz::kept;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(target), Some(dir)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: keep TARGET DIR"));
    };
    let inputs = fs::read_dir(dir)?.map(|entry| fs::read(entry?.path())).collect::<io::Result<_>>()?;
    kept::write(&target, inputs)
}
