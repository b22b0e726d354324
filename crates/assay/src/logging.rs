//! Log lines: on standard error, for operators; `ASSAY_LOG` chooses what (default `info`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What servers log unless told otherwise. CDK tells of every quote with its key, which is for nobody but its owner, and prints every
/// statement that takes a while.
pub const OF_SERVERS: &str = "info,cdk=warn,cdk_sql_common=error,tokio_postgres=warn";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object an event, for log collectors.
    Json,
}

/// Starts logging; `default_filter` holds unless `ASSAY_LOG` says otherwise.
pub fn start(format: LogFormat, default_filter: &str) {
    let filter = EnvFilter::try_from_env("ASSAY_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // Else a line that cannot be written is told on standard error, which ends the thread when that is the very
        // file on the full disk.
        .log_internal_errors(false);
    // A second start, as in tests that run several roles, keeps the first subscriber.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
