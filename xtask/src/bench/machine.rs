//! What a result depends on besides the pools: the machine, the versions, the day.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Facts for the head of a result, each with its name.
pub type Facts = Vec<(&'static str, String)>;

/// Our program, and whether it was built for this measurement.
#[derive(Clone, Copy)]
pub struct Ours<'a> {
    pub path: &'a Path,
    pub built_here: bool,
}

/// Somebody else's program: its name, where it is, and what asks it for its version.
pub type Peer<'a> = (&'static str, &'a Path, &'static str);

/// Where and with what the measurement takes place.
pub fn facts(root: &Path, ours: Ours<'_>, peers: &[Peer<'_>]) -> Facts {
    let cpu = read("/proc/cpuinfo");
    let memory = read("/proc/meminfo");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let first_line = |program: &Path, argument| {
        let text = said(Command::new(program).arg(argument));
        text.lines().next().unwrap_or("unknown").to_owned()
    };
    let mut facts = vec![
        ("date", said(Command::new("date").args(["-u", "+%F %H:%M UTC"]))),
        ("processor", format!("{}, {cores} cores{}", model(&cpu), extensions(&cpu))),
        ("memory", gigabytes(&memory)),
        ("kernel", said(Command::new("uname").arg("-sr"))),
        ("system", system(&read("/etc/os-release"))),
        ("load before", quietness(&read("/proc/loadavg"))),
        ("assay", format!("{}, {}", first_line(ours.path, "--version"), origin(root, ours))),
        ("compiler", said(Command::new("rustc").arg("--version"))),
    ];
    facts.extend(peers.iter().map(|(name, path, argument)| (*name, first_line(path, argument))));
    facts
}

/// `2026-11-21`
pub fn day() -> String {
    said(Command::new("date").args(["-u", "+%F"]))
}

/// The load of the last 1, 5 and 15 minutes, and whether it was too much.
fn quietness(load: &str) -> String {
    let averages = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    match load.split('.').next().map(str::parse::<u32>) {
        Some(Ok(0)) => averages,
        _ => format!("{averages}: **not a quiet machine**, read the figures as a show that this works"),
    }
}

fn origin(root: &Path, ours: Ours<'_>) -> String {
    if !ours.built_here {
        return ours.path.display().to_string();
    }
    let git = |arguments: &[&str]| said(Command::new("git").arg("-C").arg(root).args(arguments));
    let unchanged = git(&["status", "--porcelain", "--untracked-files=no"]).is_empty();
    let changed = if unchanged { "" } else { " with uncommitted changes" };
    format!("commit {}{changed}", git(&["rev-parse", "--short", "HEAD"]))
}

fn model(cpu: &str) -> &str {
    cpu_field(cpu, "model name").unwrap_or("unknown")
}

/// Those that make hashing and encryption fast.
fn extensions(cpu: &str) -> String {
    let flags: Vec<&str> = cpu_field(cpu, "flags").unwrap_or_default().split(' ').collect();
    let known = [("sha_ni", "SHA-NI"), ("avx2", "AVX2"), ("avx512f", "AVX-512")];
    let has = known.iter().filter(|(flag, _)| flags.contains(flag));
    let names: Vec<&str> = has.map(|(_, name)| *name).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

fn cpu_field<'a>(cpu: &'a str, name: &str) -> Option<&'a str> {
    let line = cpu.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().strip_prefix(':')?.trim())
}

fn gigabytes(memory: &str) -> String {
    let line = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map_or("unknown".to_owned(), |kilobytes| format!("{} GB", (kilobytes + 500_000) / 1_000_000))
}

fn system(release: &str) -> String {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// What a command prints, or nothing.
fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        let cpu = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f sha_ni\n";
        assert_eq!(model(cpu), "AMD EPYC");
        assert_eq!(extensions(cpu), " (SHA-NI, AVX2, AVX-512)");
        assert_eq!((model(""), extensions("").as_str()), ("unknown", ""));
        assert_eq!(quietness("0.31 1.26 1.65 1/200 4\n"), "0.31 1.26 1.65");
        assert!(quietness("25.57 24.32 20.98 1/200 4\n").starts_with("25.57 24.32 20.98: **not"));
        assert_eq!(gigabytes("MemTotal:       24626532 kB\nMemFree: 1 kB\n"), "25 GB");
        assert_eq!(system("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
    }
}
