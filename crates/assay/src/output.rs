//! Standard output. A reader that has seen enough (`assay … | head`) ends the program, and is no error.

use std::io::{ErrorKind, Write};

/// Writes `text` and a line end.
pub fn line(text: impl std::fmt::Display) {
    raw(format_args!("{text}\n"));
}

/// Writes `text` as it is, at once.
pub fn raw(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        tracing::error!(%error, "standard output cannot be written");
    }
}
