//! The Bitcoin node that a configuration names.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use node::Node;
use node::rpc::{NodeInfo, RpcNode};

use crate::config::Resolved;
use crate::output;

/// Wrong chain, wrong password, an unreachable node: said at once, instead of waited for in silence.
pub fn connect(resolved: &Resolved) -> Result<Arc<dyn Node>> {
    Ok(Arc::new(reach(resolved)?.0))
}

/// Says whether the node can be used, of a configuration that can.
pub fn check(resolved: &Resolved) -> Result<ExitCode> {
    output::line("configuration: good");
    let (_, info) = reach(resolved)?;
    output::line(format_args!(
        "node: {} at height {}, {} headers",
        info.chain, info.tip.height, info.headers
    ));
    Ok(ExitCode::SUCCESS)
}

fn reach(resolved: &Resolved) -> Result<(RpcNode, NodeInfo)> {
    let node = RpcNode::new(resolved.node.clone())?;
    let info = node.check().with_context(|| {
        format!(
            "the node cannot be used; compare node.url, node.network (\"{}\") and the access in [node] with it",
            resolved.file.node.network
        )
    })?;
    Ok((node, info))
}
