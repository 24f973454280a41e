//! Address of the management listener: of this machine's loopback interface, or a Unix socket. Nothing that it serves is
//! meant for another machine.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// What is before the path of a Unix socket.
const UNIX_PREFIX: &str = "unix:";

/// Address of the management listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ManagementAddress {
    /// A port of the loopback interface.
    Loopback(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Error of a text that is no address for the management listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an address of the loopback interface and a port, such as 127.0.0.1:9464, or unix: and the path of a socket"
)]
pub struct AddressError;

impl FromStr for ManagementAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            return if path.is_empty() { Err(AddressError) } else { Ok(Self::Unix(path.into())) };
        }
        let address: SocketAddr = text.parse().map_err(|_| AddressError)?;
        if address.ip().is_loopback() { Ok(Self::Loopback(address)) } else { Err(AddressError) }
    }
}

impl TryFrom<String> for ManagementAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for ManagementAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

impl ManagementAddress {
    /// Listens on the address. A socket that a node left, and on which nobody listens, is replaced.
    ///
    /// # Errors
    /// The error of the operating system; [`io::ErrorKind::AddrInUse`] if something else has the address.
    pub async fn listen(&self) -> io::Result<ManagementListener> {
        match self {
            Self::Loopback(address) => Ok(ManagementListener::Tcp(TcpListener::bind(address).await?)),
            Self::Unix(path) => {
                remove_abandoned(path).await?;
                let listener = UnixListener::bind(path)?;
                Ok(ManagementListener::Unix(listener, SocketFile(path.clone())))
            }
        }
    }

    /// Connects to the address.
    ///
    /// # Errors
    /// The error of the operating system.
    pub async fn connect(&self) -> io::Result<ManagementStream> {
        match self {
            Self::Loopback(address) => TcpStream::connect(address).await.map(ManagementStream::Tcp),
            Self::Unix(path) => UnixStream::connect(path).await.map(ManagementStream::Unix),
        }
    }
}

/// Removes the file of a socket on which nobody listens.
async fn remove_abandoned(path: &Path) -> io::Result<()> {
    // A connection to a file that is no socket is refused too, and such a file is left alone.
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match UnixStream::connect(path).await {
        Err(error) if is_socket && error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        // Another node serves, or it is no socket: binding says so.
        _ => Ok(()),
    }
}

/// The management listener.
pub enum ManagementListener {
    /// On a port.
    Tcp(TcpListener),
    /// On a Unix socket, whose file is removed when the listener is dropped.
    Unix(UnixListener, SocketFile),
}

/// The file of a socket. Dropping it removes the file.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

impl ManagementListener {
    /// Accepts a connection.
    ///
    /// # Errors
    /// The error of the operating system.
    pub async fn accept(&self) -> io::Result<ManagementStream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| ManagementStream::Tcp(stream)),
            Self::Unix(listener, _) => {
                listener.accept().await.map(|(stream, _)| ManagementStream::Unix(stream))
            }
        }
    }
}

/// A connection to the management listener, on either side.
pub enum ManagementStream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl AsyncRead for ManagementStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for ManagementStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_has_an_address() {
        for good in ["127.0.0.1:9464", "127.9.9.9:1", "[::1]:9464", "unix:management.sock", "unix:/run/a b"] {
            assert_eq!(good.parse::<ManagementAddress>().unwrap().to_string(), good);
        }
        for bad in
            ["", "unix:", "0.0.0.0:9464", "[::]:9464", "192.0.2.7:1", "localhost:1", "127.0.0.1", "/run/a"]
        {
            assert_eq!(bad.parse::<ManagementAddress>(), Err(AddressError), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_a_killed_node_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("management.sock");
        let address = ManagementAddress::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = address.listen().await.unwrap();
        let again = address.listen().await.map(drop);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "not a socket").unwrap();
        assert!(address.listen().await.is_err());
        assert!(path.exists(), "a file that is no socket is left alone");
    }
}
