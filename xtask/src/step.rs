//! Running commands: one line says what is done, and a failure names the command, how it ended and what to do.

use anyhow::{Context, Result, bail};
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// How many of a log's last lines are shown when its command fails.
const SHOWN_ON_FAILURE: usize = 25;

/// Says in one line what is being done.
pub fn say(line: impl Display) {
    println!("xtask: {line}");
}

/// The command line as a person would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The cargo that started this program, or the one on the path.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether the command can be started and succeeds; its output is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs the command with its output on the terminal.
pub fn run(command: &mut Command, remedy: &str) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command, remedy))?;
    if !status.success() {
        bail!("`{}` ended with {status}; {remedy}", shown(command));
    }
    Ok(())
}

/// Runs the command and returns what it wrote on standard output.
pub fn output(command: &mut Command, remedy: &str) -> Result<String> {
    let done = command.stderr(Stdio::inherit()).output().with_context(|| cannot_start(command, remedy))?;
    if !done.status.success() {
        bail!("`{}` ended with {}; {remedy}", shown(command), done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs the command with all output appended to `log`; each line of standard output is also given to `on_line`.
/// A failure shows the end of the log.
pub fn run_logged(
    command: &mut Command,
    log: &Path,
    remedy: &str,
    mut on_line: impl FnMut(&str),
) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(log)?;
    writeln!(file, "$ {}", shown(command))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file.try_clone()?);
    let mut child = command.spawn().with_context(|| cannot_start(command, remedy))?;
    let stdout = child.stdout.take().expect("standard output is piped");
    for_each_line(stdout, |line| {
        on_line(line);
        writeln!(file, "{line}")
    })?;
    let status = child.wait()?;
    if !status.success() {
        let text = std::fs::read(log)?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(SHOWN_ON_FAILURE)..] {
            eprintln!("    {line}");
        }
        bail!("`{}` ended with {status}; {remedy}; the whole log is {}", shown(command), log.display());
    }
    Ok(())
}

/// Gives each line to `on_line` as soon as it is complete. Bytes that are not UTF-8 are replaced.
pub fn for_each_line(
    source: impl std::io::Read,
    mut on_line: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<()> {
    let mut reader = BufReader::new(source);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        on_line(text.trim_end_matches(['\r', '\n']))?;
        line.clear();
    }
    Ok(())
}

fn cannot_start(command: &Command, remedy: &str) -> String {
    format!("`{}` could not be started; {remedy}", shown(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_command_and_remedy() {
        let error = run(Command::new("false").arg("x"), "turn it into `true`").unwrap_err().to_string();
        assert!(error.contains("`false x`") && error.ends_with("turn it into `true`"), "{error}");
        let error = output(&mut Command::new("/no/such/program"), "install it").unwrap_err().to_string();
        assert!(error.contains("/no/such/program") && error.ends_with("install it"), "{error}");
    }

    #[test]
    fn lines_arrive_whole_and_without_their_ends() {
        let mut seen = Vec::new();
        let push = |line: &str| -> std::io::Result<()> {
            seen.push(line.to_owned());
            Ok(())
        };
        for_each_line(&b"one\r\ntwo \xff\n\nlast"[..], push).unwrap();
        assert_eq!(seen, ["one", "two \u{fffd}", "", "last"]);
    }
}
