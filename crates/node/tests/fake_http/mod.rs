//! An HTTP server that answers as a test tells it to.

use {
    serde_json::{Value, json},
    std::{
        io::{BufRead, BufReader, Read, Write},
        net::{SocketAddr, TcpListener, TcpStream},
        sync::{
            Arc, Mutex,
            atomic::{AtomicBool, Ordering},
        },
        thread,
        time::Duration,
    },
};

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub params: Value,
    pub authorization: String,
}

pub enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    /// These bytes, and the end of the connection.
    Raw(&'static [u8]),
    /// Nothing until the server ends.
    Silence,
}

/// A result without error.
pub fn result(value: Value) -> Reply {
    Reply::Json(200, json!({ "result": value, "error": null, "id": "assay" }))
}

/// An error as bitcoind sends it.
pub fn error(code: i64, message: &str) -> Reply {
    Reply::Json(500, json!({ "result": null, "error": { "code": code, "message": message }, "id": "assay" }))
}

type Answer = dyn Fn(&Call) -> Reply + Send + Sync;

pub struct FakeNode {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    ended: Arc<AtomicBool>,
}

impl FakeNode {
    pub fn start(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (calls, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, end) = (Arc::clone(&calls), Arc::clone(&ended));
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let (seen, end, answer) = (Arc::clone(&seen), Arc::clone(&end), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), &seen, &end, &*answer));
            }
        });
        Self { address, calls, ended }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn count(&self, method: &str) -> usize {
        self.calls().iter().filter(|call| call.method == method).count()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Call>>, ended: &AtomicBool, answer: &Answer) {
    let Some(call) = read_call(&stream) else { return };
    seen.lock().unwrap().push(call.clone());
    let (status, kind, body) = match answer(&call) {
        Reply::Json(status, body) => (status, "application/json", body.to_string()),
        Reply::Text(status, body) => (status, "text/html", body.into()),
        Reply::Raw(bytes) => {
            let _ = stream.write_all(bytes);
            return;
        }
        Reply::Silence => {
            while !ended.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(10));
            }
            return;
        }
    };
    let head = format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
}

fn read_call(stream: &TcpStream) -> Option<Call> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "authorization" => authorization = value.into(),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    Some(Call { method: body["method"].as_str()?.into(), params: body["params"].clone(), authorization })
}
