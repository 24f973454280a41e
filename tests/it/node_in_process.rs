//! A node that is served in the process of the test, which chooses its clocks.

use std::net::SocketAddr;
use std::path::Path;

use ap_gateway::cli::sandbox;
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Node};
use ap_gateway::store::FatalError;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A node that serves until it is stopped.
pub struct NodeInProcess {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    pub serving: JoinHandle<Result<(), FatalError>>,
}

impl NodeInProcess {
    /// Serves a node of the configuration in a folder, and writes the profiles of its callers.
    pub async fn serve(node: Node, dir: &Path) -> Self {
        let tls = gateway::tls(&Config::load(&dir.join("gateway.toml")).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        sandbox::files::write_profiles(dir, address).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        #[expect(clippy::async_yields_async, reason = "the second future is the cut")]
        let when_stopped = async {
            stopped.await.unwrap_or_default();
            std::future::pending()
        };
        let serving = tokio::spawn(node.serve(listener, tls, None, when_stopped));
        Self { address, stop, serving }
    }

    /// Stops the node, which must end without a fault.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}
