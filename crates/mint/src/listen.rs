//! The port that wallets connect to.

use std::{io, net::SocketAddr};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted. All wallets come at once when an epoch matures; with the usual 128, those beyond wait
/// for a second, and when there are many more, the system cuts some off.
const BACKLOG: u32 = 4096;

/// Listens for wallets, for as many at one moment as the system allows.
///
/// # Errors
/// When the address cannot be used.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A mint that starts anew does not wait for connections of before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
