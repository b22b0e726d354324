use {
    crate::noise::{AuthorityKey, AuthorityKeyError},
    std::{fmt, str::FromStr},
    thiserror::Error,
};

const SCHEME: &str = "stratum2+tcp://";

/// Where a server is and what proves that it is the right one: `stratum2+tcp://host:port/authority-key`
/// (NS-24).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The key that the server's certificate must be signed with. Without one, a client refuses unless it
    /// was told to trust any server (NS-20).
    pub authority: Option<AuthorityKey>,
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Another scheme, or none.
    #[error("the URL must start with `{SCHEME}`, as in `{SCHEME}pool.example:34254/<authority key>`")]
    Scheme,
    /// No host.
    #[error("the URL names no host; write it after `{SCHEME}`")]
    Host,
    /// No port, or none that exists.
    #[error("the URL needs a port from 1 to 65535 after the host, as in `pool.example:34254`")]
    Port,
    /// Something other than an authority key after the slash.
    #[error("the authority key in the URL is wrong: {0}")]
    Authority(#[from] AuthorityKeyError),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let rest = url.trim().strip_prefix(SCHEME).ok_or(EndpointError::Scheme)?;
        let (address, key) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = address.rsplit_once(':').ok_or(EndpointError::Port)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => host,
            // Without brackets the last group of an IPv6 address would be taken for the port.
            None if host.contains(':') => return Err(EndpointError::Port),
            None => host,
        };
        if host.is_empty() {
            return Err(EndpointError::Host);
        }
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(EndpointError::Port)?;
        let authority = if key.is_empty() { None } else { Some(key.parse()?) };
        Ok(Self { host: host.to_owned(), port, authority })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{SCHEME}[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{SCHEME}{}:{}", self.host, self.port)?;
        }
        match &self.authority {
            Some(key) => write!(f, "/{key}"),
            None => Ok(()),
        }
    }
}
