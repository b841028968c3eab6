//! A Unix domain socket to listen on, and its file.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// A Unix domain socket to listen on, for [`Endpoint::unix`](crate::Endpoint::unix).
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{Endpoint, ServerParams, UnixSocket};
///
/// let socket = UnixSocket::new("/run/chat/chat.sock").mode(0o660);
/// let params = ServerParams::new(8080).endpoint(Endpoint::unix(socket));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnixSocket {
    path: PathBuf,
    mode: u32,
}

impl UnixSocket {
    /// A socket with its file at this path. Most systems support paths up to about 100 bytes.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o600 }
    }

    /// Sets the permissions of the file: users that may write it may connect. They are set before the first connection
    /// is accepted. Default: `0o600`, the user that the server runs as.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its permissions.
    pub(crate) fn permissions(&self) -> u32 {
        self.mode
    }

    /// Listens. Replaces a stale file, which a server left that no longer runs.
    pub(crate) fn bind(&self, backlog: i32) -> io::Result<BoundSocket> {
        // With a NUL byte, the path would be cut or name an abstract socket.
        if self.path.as_os_str().as_bytes().contains(&0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // The working directory may have changed when the file is removed.
        let path = std::path::absolute(&self.path)?;
        let addr = SockAddr::unix(&path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.bind(&addr) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&path) => {
                fs::remove_file(&path)?;
                socket.bind(&addr)?;
            }
            bound => bound?,
        }
        let file = SocketFile::made(path)?;
        // No peer can connect earlier: until the socket listens, all connections are refused.
        fs::set_permissions(&file.path, Permissions::from_mode(self.mode))?;
        socket.listen(backlog)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok(BoundSocket { listener, file })
    }
}

impl From<&str> for UnixSocket {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

impl From<&Path> for UnixSocket {
    fn from(path: &Path) -> Self {
        Self::new(path)
    }
}

impl From<PathBuf> for UnixSocket {
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

/// Whether this is a socket on which no process listens. Any other file must not be removed. Does not wait: a process
/// whose queue of connections is full listens, too.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    is_socket && connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A listening socket. Its file is removed with it.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    pub(crate) listener: UnixListener,
    file: SocketFile,
}

impl BoundSocket {
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }
}

/// The file of a socket, removed when this is dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn made(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have replaced the file.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Identifies a file independently of its path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener as StdListener, UnixStream};

    use super::*;

    const BACKLOG: i32 = 16;

    fn socket(dir: &tempfile::TempDir) -> UnixSocket {
        UnixSocket::new(dir.path().join("socket"))
    }

    #[tokio::test]
    async fn the_file_has_its_mode_and_goes_with_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        for (socket, mode) in [(socket(&dir), 0o600), (socket(&dir).mode(0o666), 0o666)] {
            let bound = socket.bind(BACKLOG).unwrap();
            let found = fs::metadata(socket.path()).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
            assert!(UnixStream::connect(socket.path()).is_ok());
            drop(bound);
            assert!(!socket.path().exists());
        }
    }

    #[tokio::test]
    async fn the_file_of_a_dead_server_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(&dir);
        // The standard library leaves the file behind, as a killed server does.
        drop(StdListener::bind(socket.path()).unwrap());
        assert!(socket.path().exists());
        let _bound = socket.bind(BACKLOG).unwrap();
        assert!(UnixStream::connect(socket.path()).is_ok());
    }

    #[tokio::test]
    async fn a_socket_that_is_listened_on_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(&dir);
        let first = socket.bind(BACKLOG).unwrap();
        assert_eq!(socket.bind(BACKLOG).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(first.path()).is_ok());
    }

    #[tokio::test]
    async fn a_listener_that_accepts_nothing_is_left_alone_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(&dir);
        let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        busy.bind(&SockAddr::unix(socket.path()).unwrap()).unwrap();
        busy.listen(0).unwrap();
        // Its queue is full: from here on, a `connect` that waits never returns.
        let mut waiting = Vec::new();
        loop {
            let next = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            next.set_nonblocking(true).unwrap();
            if next.connect(&SockAddr::unix(socket.path()).unwrap()).is_err() {
                break;
            }
            waiting.push(next);
        }
        assert_eq!(socket.bind(BACKLOG).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(socket.path().exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(&dir);
        fs::write(socket.path(), "a letter").unwrap();
        assert_eq!(socket.bind(BACKLOG).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(socket.path()).unwrap(), "a letter");
        fs::remove_file(socket.path()).unwrap();
        // The target of a symbolic link is not replaced either.
        drop(StdListener::bind(dir.path().join("other")).unwrap());
        std::os::unix::fs::symlink(dir.path().join("other"), socket.path()).unwrap();
        assert_eq!(socket.bind(BACKLOG).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(dir.path().join("other").exists());
    }

    #[tokio::test]
    async fn a_file_that_has_taken_its_place_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(&dir);
        let first = socket.bind(BACKLOG).unwrap();
        fs::rename(socket.path(), dir.path().join("away")).unwrap();
        let second = socket.bind(BACKLOG).unwrap();
        drop(first);
        assert!(UnixStream::connect(second.path()).is_ok());
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_one_is_an_error() {
        for wrong in [String::new(), "\0hidden".to_owned(), "x".repeat(200)] {
            assert!(UnixSocket::new(wrong).bind(BACKLOG).is_err());
        }
    }
}
