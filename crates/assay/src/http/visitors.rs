//! How many may read pages at once, and for how long: whoever sends nothing, or reads nothing, takes the place of
//! somebody else only for a while, and memory and descriptors are bounded.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections at once; more wait in the kernel.
const MOST: usize = 64;

/// How long a connection may last, whatever it is used for. A page takes milliseconds, and who comes again connects again.
const LIFETIME: Duration = Duration::from_secs(30);

/// Accepts connections while there is room for them.
pub struct Visitors {
    listener: TcpListener,
    places: Arc<Semaphore>,
    lifetime: Duration,
}

impl Visitors {
    pub fn new(listener: TcpListener) -> Self {
        Self::with(listener, MOST, LIFETIME)
    }

    fn with(listener: TcpListener, most: usize, lifetime: Duration) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(most)), lifetime }
    }
}

impl Listener for Visitors {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
        let (socket, peer) = Listener::accept(&mut self.listener).await;
        (Visitor { socket, ends: Box::pin(sleep(self.lifetime)), _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself.
pub struct Visitor {
    socket: TcpStream,
    ends: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Visitor {
    /// The socket, until the time is over.
    fn socket(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.ends.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut self.socket)),
        }
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.socket(cx) {
            Ok(socket) => socket.poll_read(cx, buf),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.socket(cx) {
            Ok(socket) => socket.poll_write(cx, buf),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket(cx) {
            Ok(socket) => socket.poll_flush(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use axum::{Router, routing::get};

    use super::*;

    #[test]
    fn idle_visitors_leave_their_places_to_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let visitors = Visitors::with(listener, 2, Duration::from_millis(300));
        let pages = Router::new().route("/", get(|| async { "here" }));
        std::thread::spawn(move || runtime.block_on(async { axum::serve(visitors, pages).await }));

        let connect = || {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream
        };
        // Half a request, nothing, and then somebody who wants a page.
        let mut slow = connect();
        slow.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
        let mut silent = connect();
        let mut third = connect();
        third.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        third.read_to_string(&mut page).unwrap();
        assert!(page.ends_with("here"), "{page}");
        for end in [&mut slow, &mut silent] {
            // The end of the stream, or a reset: both are an end.
            let mut rest = Vec::new();
            let _ = end.read_to_end(&mut rest);
            assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&rest));
        }
    }
}
