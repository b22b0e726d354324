//! An encrypted connection without any idea of what may be said on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use engine::client::{Client, ClientConfig, ClientError, Trust};
use sv2::mining::MiningFromServer;
use sv2::noise::AuthorityKey;
use sv2::setup::{SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use sv2::{Frame, HEADER_LEN, Header, Message, codec::Str0_255};

use super::PATIENCE;

/// A frame as it came.
#[derive(Clone)]
pub struct Raw {
    pub header: Header,
    pub payload: Vec<u8>,
}

impl Raw {
    /// The message, if the frame is one of this kind.
    pub fn get<'a, M: Message<'a>>(&'a self) -> Option<M> {
        let kind = (self.header.extension_type, self.header.msg_type) == (M::EXTENSION, M::TYPE);
        kind.then(|| {
            assert_eq!(self.header.channel_msg, M::CHANNEL_BIT, "channel bit of {}", M::NAME);
            M::decode(&self.payload).unwrap()
        })
    }

    pub fn is<'a, M: Message<'a>>(&'a self) -> bool {
        self.get::<M>().is_some()
    }

    pub fn frame(&self) -> Frame<'_> {
        Frame { header: self.header, payload: &self.payload }
    }

    pub fn name(&self) -> &'static str {
        match MiningFromServer::decode(self.frame()) {
            Ok(message) => message.name(),
            Err(_) if self.is::<SetupConnectionSuccess>() => SetupConnectionSuccess::NAME,
            Err(_) if self.is::<SetupConnectionError<'_>>() => SetupConnectionError::NAME,
            Err(error) => panic!("the pool must not send this: {error}"),
        }
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

pub struct Wire {
    client: Client,
}

impl Wire {
    pub fn connect(address: SocketAddr, authority: AuthorityKey) -> Self {
        let config = ClientConfig::new(Trust::Authority(authority));
        Self { client: Client::connect(&[address], &config).unwrap() }
    }

    pub fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.client.send(message).unwrap();
    }

    /// Queues a message; what is queued leaves in one write with the next `send` or `flush`.
    pub fn queue<'m>(&mut self, message: &impl Message<'m>) {
        self.client.writer().queue(message).unwrap();
    }

    pub fn flush(&mut self) {
        self.client.writer().flush().unwrap();
    }

    /// Sends bytes that need not be a message, in a frame of any kind.
    pub fn send_frame(&mut self, extension_type: u16, channel_msg: bool, msg_type: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let header = Header { extension_type, channel_msg, msg_type, length };
        let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
        frame.extend_from_slice(&header.to_bytes().unwrap());
        frame.extend_from_slice(payload);
        self.client.writer().queue_encoded(&frame, None).unwrap();
        self.flush();
    }

    pub fn receive(&mut self) -> Raw {
        match self.try_receive(PATIENCE) {
            Ok(raw) => raw,
            Err(error) => panic!("a frame was expected: {error}"),
        }
    }

    pub fn try_receive(&mut self, patience: Duration) -> Result<Raw, ClientError> {
        let frame = self.client.recv(Some(Instant::now() + patience))?;
        Ok(Raw { header: frame.header, payload: frame.payload.to_vec() })
    }

    /// All that comes until the pool closes the connection, which it must do.
    pub fn rest(&mut self) -> Vec<Raw> {
        let mut frames = Vec::new();
        loop {
            match self.try_receive(PATIENCE) {
                Ok(raw) => frames.push(raw),
                Err(ClientError::Closed | ClientError::Io(_)) => return frames,
                Err(error) => panic!("the pool does not close the connection: {error}"),
            }
        }
    }

    /// The set-up that most tests use: mining, version 2.
    pub fn setup_request(flags: u32) -> SetupConnection<'static> {
        SetupConnection {
            protocol: 0,
            min_version: 2,
            max_version: 2,
            flags,
            endpoint_host: Str0_255::from_static("pool.example"),
            endpoint_port: 3333,
            vendor: Str0_255::from_static("assay test 1"),
            hardware_version: Str0_255::from_static("none"),
            firmware: Str0_255::from_static("none"),
            device_id: Str0_255::from_static(""),
        }
    }

    pub fn set_up(&mut self, flags: u32) -> SetupConnectionSuccess {
        self.send(&Self::setup_request(flags));
        let reply = self.receive();
        reply.get().unwrap_or_else(|| panic!("set-up was refused: {reply:?}"))
    }
}
