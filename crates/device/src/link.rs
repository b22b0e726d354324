//! Threads that wait for the network: one that connects, one that reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};
use engine::client::{Client, ClientConfig, Hangup, Reader, Writer};
use sv2::Header;

use crate::config::{PoolAddress, Timing};
use crate::crew::Found;

/// Largest payload that a device has to understand: a job with both coinbase parts and a merkle path.
const FRAME_LIMIT: u32 = 1 << 18;

/// What reaches the supervisor.
pub enum Input {
    /// A frame came.
    Frame {
        /// The connection that it came on.
        connection: u64,
        /// Its header.
        header: Header,
        /// Its plaintext.
        payload: Vec<u8>,
    },
    /// A connection is of no use any more.
    Gone {
        /// Which.
        connection: u64,
        /// Why.
        reason: String,
    },
    /// A search thread found something.
    Found(Found),
    /// An attempt to connect came to its end.
    Dialled {
        /// Which.
        dial: u64,
        /// The connection, or why there is none.
        result: Result<Box<Client>, String>,
    },
    /// The device is to stop.
    Stop,
}

/// Connects in a thread of its own, as names and addresses can take their time. It ends by itself.
pub fn dial(dial: u64, address: PoolAddress, timing: Timing, inputs: Sender<Input>) {
    let report = inputs.clone();
    let connect = move || {
        let config = ClientConfig {
            trust: address.trust,
            connect_timeout: timing.connect,
            handshake_timeout: timing.handshake,
            write_timeout: timing.write,
            frame_limit: FRAME_LIMIT,
        };
        let client = Client::connect_host((address.host.as_str(), address.port), &config);
        let result = client.map(Box::new).map_err(|error| error.to_string());
        // Nobody listens any more: the device has stopped.
        drop(inputs.send(Input::Dialled { dial, result }));
    };
    if let Err(error) = std::thread::Builder::new().name("dial".to_owned()).spawn(connect) {
        drop(report.try_send(Input::Dialled { dial, result: Err(error.to_string()) }));
    }
}

/// One connection: this side writes, a thread reads.
pub struct Link {
    id: u64,
    writer: Writer,
    hangup: Hangup,
    closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    failed: Option<String>,
}

impl Link {
    /// Starts to read.
    ///
    /// # Errors
    /// The system's reason why there is no thread.
    pub fn start(id: u64, client: Client, inputs: Sender<Input>) -> std::io::Result<Link> {
        let hangup = client.hangup();
        let (reader, writer) = client.split();
        let closed = Arc::new(AtomicBool::new(false));
        let receiver = Receiver { id, reader, inputs, closed: Arc::clone(&closed) };
        let thread = std::thread::Builder::new().name("reader".to_owned()).spawn(move || receiver.run())?;
        Ok(Link { id, writer, hangup, closed, reader: Some(thread), failed: None })
    }

    /// Which connection this is.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Puts a plaintext frame into the next write.
    pub fn queue(&mut self, frame: &[u8]) {
        if let Err(error) = self.writer.queue_encoded(frame, None) {
            self.failed.get_or_insert(error.to_string());
        }
    }

    /// Writes what was queued.
    ///
    /// # Errors
    /// Why the connection is of no use any more.
    pub fn flush(&mut self) -> Result<(), String> {
        match self.failed.take() {
            Some(reason) => Err(reason),
            None => self.writer.flush().map_err(|error| error.to_string()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        self.hangup.now();
        if self.reader.take().is_some_and(|reader| reader.join().is_err()) {
            tracing::error!("a reader thread had panicked");
        }
    }
}

struct Receiver {
    id: u64,
    reader: Reader,
    inputs: Sender<Input>,
    closed: Arc<AtomicBool>,
}

impl Receiver {
    fn run(mut self) {
        loop {
            let connection = self.id;
            let (input, last) = match self.reader.recv(None) {
                Ok(frame) => (
                    Input::Frame { connection, header: frame.header, payload: frame.payload.to_vec() },
                    false,
                ),
                Err(error) => (Input::Gone { connection, reason: error.to_string() }, true),
            };
            if !self.hand_over(input) || last {
                return;
            }
        }
    }

    /// Waits while the supervisor is busy, but not for one that waits for this thread to end.
    fn hand_over(&self, input: Input) -> bool {
        let mut input = input;
        while !self.closed.load(Ordering::Acquire) {
            match self.inputs.send_timeout(input, Duration::from_millis(20)) {
                Ok(()) => return true,
                Err(SendTimeoutError::Timeout(back)) => input = back,
                Err(SendTimeoutError::Disconnected(_)) => return false,
            }
        }
        false
    }
}
