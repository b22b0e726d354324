use {
    super::{EXTENSION_NEGOTIATION, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess},
    crate::codec::Seq,
    std::collections::BTreeSet,
    thiserror::Error,
};

/// The extensions that a server supports, and those without which it serves nobody. One for all of its
/// connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    supported: Box<[u16]>,
    /// One bit for each supported extension, in the same order.
    required: u64,
}

/// Extensions that no server can be configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// Not an id that is negotiated.
    #[error("extension {0:#06x} is not negotiable; ids from 0x0002 to 0x7fff are")]
    NotNegotiable(u16),
    /// Required, but not supported.
    #[error("extension {0:#06x} is required, but not supported; add it to the supported extensions")]
    RequiredButUnsupported(u16),
    /// More than there are bits for.
    #[error("{0} extensions are too many; at most 64 can be supported")]
    TooMany(usize),
}

impl Policy {
    /// Supports `supported` and requires `required`, which must be among them.
    pub fn new(
        supported: impl IntoIterator<Item = u16>,
        required: impl IntoIterator<Item = u16>,
    ) -> Result<Self, PolicyError> {
        let supported: Box<[u16]> = supported.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        if supported.len() > 64 {
            return Err(PolicyError::TooMany(supported.len()));
        }
        if let Some(&id) = supported.iter().find(|&&id| !is_negotiable(id)) {
            return Err(PolicyError::NotNegotiable(id));
        }
        let mut policy = Self { supported, required: 0 };
        for id in required {
            policy.required |= policy.bit(id).ok_or(PolicyError::RequiredButUnsupported(id))?;
        }
        Ok(policy)
    }

    fn bit(&self, extension: u16) -> Option<u64> {
        self.supported.binary_search(&extension).ok().map(|position| 1 << position)
    }

    /// The extensions whose bits are set.
    fn list(&self, bits: u64) -> impl Iterator<Item = u16> {
        let positions = self.supported.iter().enumerate();
        positions.filter(move |(position, _)| bits >> position & 1 == 1).map(|(_, &extension)| extension)
    }
}

/// Core and negotiation itself are not asked for (AM-10); the top bit is the channel bit's.
fn is_negotiable(extension: u16) -> bool {
    (EXTENSION_NEGOTIATION + 1..=0x7fff).contains(&extension)
}

/// One connection's negotiation as the server sees it. Its scope is the connection (EX-19).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerNegotiation {
    /// One bit for each extension of the policy.
    confirmed: u64,
    warned: bool,
}

/// A server's reply to [`RequestExtensions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The listed extensions may be used from now on.
    Success(RequestExtensionsSuccess<'static>),
    /// None may be used. The client may ask again.
    Error(RequestExtensionsError<'static>),
    /// As `Error`, after the client was told already what is required: close the connection once the
    /// reply is flushed (EX-11).
    ErrorAndClose(RequestExtensionsError<'static>),
}

/// A client that went on without an extension that the server requires. The connection ends (EX-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("extension {missing:#06x} is required here; request it right after SetupConnection.Success")]
pub struct Unnegotiated {
    /// The first of them.
    pub missing: u16,
}

impl ServerNegotiation {
    /// Answers a request, and remembers what it confirmed.
    ///
    /// Asking again replaces what was confirmed before, as is needed after `ChannelEndpointChanged`.
    pub fn answer(&mut self, policy: &Policy, request: &RequestExtensions<'_>) -> Answer {
        let mut wanted = 0;
        let mut unsupported = BTreeSet::new();
        for extension in &request.requested_extensions {
            match policy.bit(extension) {
                Some(bit) => wanted |= bit,
                None if extension == EXTENSION_NEGOTIATION => {}
                None => drop(unsupported.insert(extension)),
            }
        }
        let missing = policy.required & !wanted;
        let request_id = request.request_id;
        // An error when something required is missing (EX-10), or all of the request is unsupported
        // (EX-09). Otherwise what is supported (EX-12), which may be nothing if nothing was asked (EX-18).
        if missing == 0 && (wanted != 0 || unsupported.is_empty()) {
            self.confirmed = wanted;
            return Answer::Success(RequestExtensionsSuccess {
                request_id,
                supported_extensions: sequence(policy.list(wanted)),
            });
        }
        self.confirmed = 0;
        let error = RequestExtensionsError {
            request_id,
            unsupported_extensions: sequence(unsupported),
            required_extensions: sequence(policy.list(missing)),
        };
        if missing == 0 {
            return Answer::Error(error);
        }
        if std::mem::replace(&mut self.warned, true) {
            Answer::ErrorAndClose(error)
        } else {
            Answer::Error(error)
        }
    }

    /// Whether an extension may be used on this connection (EX-04).
    pub fn is_confirmed(&self, policy: &Policy, extension: u16) -> bool {
        policy.bit(extension).is_some_and(|bit| self.confirmed & bit != 0)
    }

    /// To be checked before any message but [`RequestExtensions`] is processed (EX-11).
    pub fn check_required(&self, policy: &Policy) -> Result<(), Unnegotiated> {
        match policy.list(policy.required & !self.confirmed).next() {
            Some(missing) => Err(Unnegotiated { missing }),
            None => Ok(()),
        }
    }
}

fn sequence(extensions: impl IntoIterator<Item = u16>) -> Seq<'static, u16, 2> {
    Seq::<u16, 2>::new(extensions).expect("distinct 16-bit ids other than 0x0001 are at most 65,535")
}

/// One connection's negotiation as the client sees it.
///
/// Send [`ClientNegotiation::request`] right after `SetupConnection.Success`, if there is one, and
/// nothing else until the reply (EX-05, EX-06).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientNegotiation {
    /// Extensions that this client can honour.
    able: BTreeSet<u16>,
    requested: BTreeSet<u16>,
    confirmed: BTreeSet<u16>,
    request_id: u16,
    waiting: bool,
    retried: bool,
}

/// What a client does after a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Go on; [`ClientNegotiation::is_confirmed`] tells what may be used.
    Proceed,
    /// Ask again, with what the server requires.
    Retry(RequestExtensions<'static>),
    /// The server requires extensions that this client cannot honour, or refused them twice: try another
    /// server.
    GiveUp {
        /// What the server requires.
        required: BTreeSet<u16>,
    },
    /// No reply to the request that is outstanding (EX-17). Ignore it.
    Ignore,
}

impl ClientNegotiation {
    /// Wants some extensions, and can honour others where the server requires them.
    pub fn new(wanted: impl IntoIterator<Item = u16>, able: impl IntoIterator<Item = u16>) -> Self {
        let requested: BTreeSet<u16> = wanted.into_iter().filter(|&id| is_negotiable(id)).collect();
        let able = requested.iter().copied().chain(able).collect();
        let waiting = !requested.is_empty();
        Self { able, requested, confirmed: BTreeSet::new(), request_id: 1, waiting, retried: false }
    }

    /// The message to send. `None` if nothing is wanted: then the client says nothing (EX-21).
    pub fn request(&self) -> Option<RequestExtensions<'static>> {
        self.waiting.then(|| RequestExtensions {
            request_id: self.request_id,
            requested_extensions: sequence(self.requested.iter().copied()),
        })
    }

    /// Whether the client has to wait for a reply before it sends anything else (EX-06).
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Whether an extension may be used on this connection (EX-07, EX-08).
    pub fn is_confirmed(&self, extension: u16) -> bool {
        self.confirmed.contains(&extension)
    }

    /// Goes on without extensions, as when the server, which may not know of extensions, stays silent
    /// (EX-14, EX-15).
    pub fn abandon(&mut self) {
        self.waiting = false;
    }

    /// Takes a positive reply. What was not requested is not used, even if the server lists it (EX-18).
    pub fn success(&mut self, reply: &RequestExtensionsSuccess<'_>) -> Next {
        if !self.take_reply(reply.request_id) {
            return Next::Ignore;
        }
        self.confirmed = reply.supported_extensions.iter().filter(|id| self.requested.contains(id)).collect();
        Next::Proceed
    }

    /// Takes a negative reply: retries once with what is required (EX-11), or goes on without (EX-13).
    pub fn error(&mut self, reply: &RequestExtensionsError<'_>) -> Next {
        if !self.take_reply(reply.request_id) {
            return Next::Ignore;
        }
        let required: BTreeSet<u16> = reply.required_extensions.iter().collect();
        if required.is_empty() {
            return Next::Proceed;
        }
        if self.retried || !required.is_subset(&self.able) {
            return Next::GiveUp { required };
        }
        self.retried = true;
        self.waiting = true;
        self.request_id = self.request_id.wrapping_add(1);
        for unsupported in &reply.unsupported_extensions {
            self.requested.remove(&unsupported);
        }
        self.requested.extend(required);
        self.request().map_or(Next::Proceed, Next::Retry)
    }

    fn take_reply(&mut self, request_id: u16) -> bool {
        let expected = self.waiting && request_id == self.request_id;
        if expected {
            self.waiting = false;
        }
        expected
    }
}
