//! Clients that ask as fast as they are answered, and what that came to.

use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than any answer that counts.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The kernel counts a process's time in hundredths of a second.
const TICK_US: u128 = 10_000;

/// One connection to a mint.
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    pub fn new(url: &str) -> Client {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None);
        Client { agent: config.http_status_as_error(false).build().into(), url: url.to_owned() }
    }

    /// The answer to a request that must succeed.
    pub fn post(&self, path: &str, body: &str) -> Value {
        let request = self.agent.post(format!("{}{path}", self.url)).content_type("application/json");
        read(request.send(body).expect("the mint answers"), path)
    }

    pub fn get(&self, path: &str) -> Value {
        read(self.agent.get(format!("{}{path}", self.url)).call().expect("the mint answers"), path)
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>, path: &str) -> Value {
    let status = answer.status();
    let body = answer.body_mut().read_to_string().expect("a whole answer");
    assert!(status.is_success(), "{path}: {status}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// What a run of operations came to.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Operations a second.
    pub rate: u128,
    /// The median of their durations.
    pub p50: Duration,
    /// Of a hundred, the second slowest.
    pub p99: Duration,
    /// Processor time of the mint for each, in microseconds.
    pub processor_us: u128,
}

/// Has `clients` do operations `0..count` of the mint with process id `id`, and gives what they were answered.
pub fn drive<T: Send>(
    id: u32,
    url: &str,
    count: usize,
    clients: usize,
    operation: impl Fn(&Client, usize) -> T + Sync,
) -> (Vec<T>, Figures) {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    let (before, start) = (processor_time(id), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let client = Client::new(url);
                let mut own = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let asked = Instant::now();
                    let answer = operation(&client, number);
                    own.push((number, asked.elapsed(), answer));
                }
                done.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
            });
        }
    });
    let took = start.elapsed();
    let processor_us = (processor_time(id) - before) * TICK_US / count as u128;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, ..)| *number);
    let mut durations: Vec<Duration> = done.iter().map(|(_, took, _)| *took).collect();
    durations.sort();
    let of_hundred = |part: usize| durations[(durations.len() - 1) * part / 100];
    let rate = count as u128 * 1_000_000 / took.as_micros().max(1);
    let figures = Figures { rate, p50: of_hundred(50), p99: of_hundred(99), processor_us };
    (done.into_iter().map(|(.., answer)| answer).collect(), figures)
}

/// Of a process and all its threads, in ticks.
fn processor_time(id: u32) -> u128 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("the mint runs");
    // After the name, which may hold anything: state is the first field, and utime and stime are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    fields.split_ascii_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u128>().expect("ticks")).sum()
}
