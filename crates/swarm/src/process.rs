//! What the kernel knows about processes: processor time, resident memory, descriptors, load. Linux's `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A tick of `/proc/<pid>/stat`. `USER_HZ` has been 100 on every Linux since 2.6.
const TICK: Duration = Duration::from_millis(10);

/// Why a process cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such process, or it belongs to somebody else.
    #[error(
        "/proc/{pid}/{file} cannot be read ({error}); give the id of a process that runs on this machine"
    )]
    Unreadable {
        /// As given.
        pid: u32,
        /// Below `/proc/<pid>`.
        file: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// The kernel writes it differently.
    #[error("/proc/{pid}/{file} is not of the form known here")]
    Unknown {
        /// As given.
        pid: u32,
        /// Below `/proc/<pid>`.
        file: &'static str,
    },
}

/// Processor time that a process has used.
///
/// The scheduler's own account of each thread is in nanoseconds; that of the process, which includes threads that have
/// ended, in hundredths of a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuTime {
    process: Duration,
    threads: BTreeMap<u32, Duration>,
    /// How long its threads could have run and got no processor.
    waited: Duration,
}

impl CpuTime {
    /// What was used since an earlier reading of the same process.
    pub fn since(&self, before: &Self) -> Duration {
        let all_live = before.threads.keys().all(|thread| self.threads.contains_key(thread));
        if !all_live || self.threads.is_empty() {
            return self.process.saturating_sub(before.process);
        }
        let used = |(thread, now): (&u32, &Duration)| {
            now.saturating_sub(before.threads.get(thread).copied().unwrap_or_default())
        };
        self.threads.iter().map(used).sum()
    }

    /// How long its threads could have run since then and got no processor, all added up. Less than the truth if one
    /// has ended.
    pub fn waited_since(&self, before: &Self) -> Duration {
        self.waited.saturating_sub(before.waited)
    }
}

/// The processor time of a process up to now.
pub fn cpu_time(pid: u32) -> Result<CpuTime, ProcessError> {
    let process = parse_stat(&read(pid, "stat")?).ok_or(ProcessError::Unknown { pid, file: "stat" })?;
    let times = thread_times(pid).unwrap_or_default();
    let waited = times.values().map(|(_, waited)| *waited).sum();
    let threads = times.into_iter().map(|(thread, (used, _))| (thread, used)).collect();
    Ok(CpuTime { process, threads, waited })
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64, ProcessError> {
    parse_resident(&read(pid, "status")?).ok_or(ProcessError::Unknown { pid, file: "status" })
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> Result<u64, ProcessError> {
    let unreadable = |error| ProcessError::Unreadable { pid, file: "fd", error };
    let mut entries = fs::read_dir(format!("/proc/{pid}/fd")).map_err(unreadable)?;
    entries.try_fold(0, |count, entry| entry.map(|_| count + 1)).map_err(unreadable)
}

/// Processor time of the calling thread.
pub(crate) fn own_thread_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    parse_schedstat(&text).unwrap_or_default().0
}

/// How many descriptors this process may have open.
pub(crate) fn descriptor_limit() -> Option<u64> {
    parse_descriptor_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// The machine's load over the last 1, 5 and 15 minutes, as the kernel writes it.
pub(crate) fn load_average() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    Some(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn read(pid: u32, file: &'static str) -> Result<String, ProcessError> {
    fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file))
        .map_err(|error| ProcessError::Unreadable { pid, file, error })
}

/// None where the kernel keeps no such account.
fn thread_times(pid: u32) -> Option<BTreeMap<u32, (Duration, Duration)>> {
    let mut times = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let entry = entry.ok()?;
        let thread = entry.file_name().to_str()?.parse().ok()?;
        // A thread that ended since the directory was read.
        let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
        times.insert(thread, parse_schedstat(&text)?);
    }
    Some(times)
}

/// User and system time; the process's name before them may hold anything.
fn parse_stat(text: &str) -> Option<Duration> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.saturating_add(system))
}

/// How long it ran, and how long it waited for a processor.
fn parse_schedstat(text: &str) -> Option<(Duration, Duration)> {
    let mut nanos = text.split_ascii_whitespace().map(|field| field.parse().map(Duration::from_nanos));
    Some((nanos.next()?.ok()?, nanos.next()?.ok()?))
}

fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn parse_descriptor_limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_ascii_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        let stat = "16210 (a) b (c) S 1 2 3 0 -1 4194304 88 0 0 0 21 4 0 0 20 0 1 0 521698 2654208 358";
        assert_eq!(parse_stat(stat), Some(Duration::from_millis(250)));
        assert_eq!(parse_stat("16210 (sh) S 1"), None);
        let times = (Duration::from_nanos(216_249_429), Duration::from_nanos(447_786_736));
        assert_eq!(parse_schedstat("216249429 447786736 69\n"), Some(times));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_resident("VmSize:\t  9 kB\nVmRSS:\t    1648 kB\n"), Some(1648 * 1024));
        assert_eq!(parse_resident("VmSize:\t  9 kB\n"), None);
        let limits =
            "Max processes   100  100  processes\nMax open files            20000       524288   files\n";
        assert_eq!(parse_descriptor_limit(limits), Some(20_000));
        assert_eq!(parse_descriptor_limit("Max open files  unlimited unlimited files"), Some(u64::MAX));
    }

    #[test]
    fn the_finer_account_is_used_while_no_thread_has_ended() {
        let time = |process, threads: &[(u32, u64)]| CpuTime {
            process: Duration::from_millis(process),
            threads: threads.iter().map(|&(id, nanos)| (id, Duration::from_nanos(nanos))).collect(),
            waited: Duration::from_millis(process),
        };
        let before = time(100, &[(1, 10), (2, 20)]);
        for (after, expected) in [
            (time(110, &[(1, 15), (2, 27)]), Duration::from_nanos(12)),
            (time(110, &[(1, 15), (2, 27), (3, 100)]), Duration::from_nanos(112)),
            (time(130, &[(1, 15)]), Duration::from_millis(30)),
            (time(130, &[]), Duration::from_millis(30)),
        ] {
            assert_eq!(after.since(&before), expected);
            assert_eq!(after.waited_since(&before), after.waited - before.waited);
            assert_eq!(before.waited_since(&after), Duration::ZERO);
        }
    }

    #[test]
    fn this_process_can_be_observed() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100 * 1024);
        let before = cpu_time(pid).unwrap();
        assert!(cpu_time(pid).unwrap().since(&before) < Duration::from_secs(60));
        assert!(descriptor_limit().unwrap() > 0);
        assert!(descriptors(pid).unwrap() > 2);
        assert!(load_average().is_some());
        let error = cpu_time(u32::MAX).unwrap_err();
        assert!(error.to_string().contains("give the id of a process"), "{error}");
    }
}
