//! Credentials for the node.

use {
    crate::NodeError,
    base64::{Engine, prelude::BASE64_STANDARD},
    std::{
        fmt,
        path::PathBuf,
        sync::{Mutex, PoisonError},
    },
};

/// How to log in to the node.
#[derive(Clone, PartialEq, Eq)]
pub enum RpcAuth {
    /// The file `.cookie` in the node's data directory, new at each of its starts.
    Cookie(PathBuf),
    /// As in the node's `rpcauth` or `rpcuser` and `rpcpassword`.
    UserPassword {
        /// Name without a colon.
        user: String,
        /// Never shown.
        password: String,
    },
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
            Self::UserPassword { user, .. } => {
                f.debug_struct("UserPassword").field("user", user).field("password", &"…").finish()
            }
        }
    }
}

/// The `Authorization` header in use.
pub(super) struct Credentials {
    auth: RpcAuth,
    /// Kept between calls; a cookie is read again when the node refuses it, as a restart makes a new one.
    header: Mutex<Option<String>>,
}

impl Credentials {
    pub(super) fn new(auth: RpcAuth) -> Self {
        Self { auth, header: Mutex::new(None) }
    }

    /// The header's value, read from the cookie file if there is none yet.
    pub(super) fn header(&self, url: &str) -> Result<String, NodeError> {
        let mut header = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(header) = &*header {
            return Ok(header.clone());
        }
        let login = match &self.auth {
            RpcAuth::UserPassword { user, password } => format!("{user}:{password}"),
            RpcAuth::Cookie(path) => {
                std::fs::read_to_string(path).map_err(|error| NodeError::Unauthorised {
                    url: url.into(),
                    remedy: format!(
                        "cookie file {} cannot be read ({error}); start the node, or correct `cookie`",
                        path.display()
                    ),
                })?
            }
        };
        let fresh = format!("Basic {}", BASE64_STANDARD.encode(login.trim_end()));
        *header = Some(fresh.clone());
        Ok(fresh)
    }

    /// Forgets a header that the node refused. Returns whether another one may be found by asking again.
    pub(super) fn refused(&self, refused: &str) -> bool {
        let mut header = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        if header.as_deref() == Some(refused) {
            *header = None;
        }
        matches!(self.auth, RpcAuth::Cookie(_))
    }

    pub(super) fn remedy(&self) -> String {
        match &self.auth {
            RpcAuth::Cookie(path) => {
                format!("cookie file {} is another node's; correct `cookie`", path.display())
            }
            RpcAuth::UserPassword { user, .. } => {
                format!(
                    "user `{user}` or its password is wrong; compare `rpcauth` in the node's bitcoin.conf"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_text_hides_the_password() {
        let auth = RpcAuth::UserPassword { user: "alice".into(), password: "hunter2".into() };
        let text = format!("{auth:?}");
        assert!(text.contains("alice"));
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn a_cookie_is_read_again_after_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        let credentials = Credentials::new(RpcAuth::Cookie(path.clone()));
        assert!(credentials.header("url").unwrap_err().to_string().contains("start the node"));

        std::fs::write(&path, "__cookie__:a\n").unwrap();
        let first = credentials.header("url").unwrap();
        assert_eq!(first, format!("Basic {}", BASE64_STANDARD.encode("__cookie__:a")));
        std::fs::write(&path, "__cookie__:b").unwrap();
        assert_eq!(credentials.header("url").unwrap(), first);
        assert!(credentials.refused(&first));
        assert_ne!(credentials.header("url").unwrap(), first);
    }
}
