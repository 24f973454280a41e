//! Arguments of `call`.

use std::path::PathBuf;

use clap::Args;

use super::{ENDPOINT_VARIABLE, PROFILE_VARIABLE};

/// Arguments of `call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// Name of the method, such as `ListAgreements`; `call --list` prints the names.
    #[arg(required_unless_present = "list")]
    pub method: Option<String>,
    /// Files with the requests as protobuf JSON, one after the other; `-` is standard input. Where the
    /// caller streams, each file is one stream.
    #[arg(required_unless_present_any = ["example", "list"])]
    pub files: Vec<PathBuf>,
    /// Print the methods, each with what it does.
    #[arg(long, conflicts_with_all = ["method", "example"])]
    pub list: bool,
    /// Print a filled request, and send nothing.
    #[arg(long, conflicts_with = "files")]
    pub example: bool,
    /// Stop after this many messages of a stream of replies, instead of at its end.
    #[arg(long, value_name = "COUNT")]
    pub take: Option<u64>,
    /// The profile: endpoint, CA, certificate, key (TOML).
    #[arg(long, env = PROFILE_VARIABLE, required_unless_present_any = ["example", "list"])]
    pub profile: Option<PathBuf>,
    /// Address of the gateway, `host:port`, instead of the profile's.
    #[arg(long, env = ENDPOINT_VARIABLE)]
    pub endpoint: Option<String>,
    /// Print protobuf JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// File with the token of the person for whom the command is run.
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
}
