//! The operators' door: where `metrics` and backups are served, and where `backup` finds them.
//!
//! ```text
//!  --admin-listen socket       admin.sock in the data directory, for the user of the server
//!  --admin-listen IP:PORT      a TCP address, for Prometheus
//!  --admin-listen off          nothing
//! ```
//!
//! Input: a setting and a data directory. Output: a listener, or a connection to one. Invariants:
//! the socket is never open to other users, not even while it is made; one that a killed server
//! left is replaced, which the lock of the directory makes safe; a file of another kind is not.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    str::FromStr,
};

use roomlog_server::Door;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::{address::Listen, failure::Failure};

/// The socket in the data directory.
const SOCKET: &str = "admin.sock";

/// Where it is made; others cannot enter.
const NEW: &str = ".admin.new";

/// The longest path of a socket in bytes, on the system that takes the least (macOS); Linux takes
/// 107.
const PATH_BYTES: usize = 103;

/// The setting `admin_listen`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum AdminListen {
    #[default]
    Socket,
    Tcp(SocketAddr),
    Off,
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        match typed {
            "socket" => Ok(Self::Socket),
            "off" | "none" => Ok(Self::Off),
            address => address.parse().map(|Listen(address)| Self::Tcp(address)).map_err(|why| {
                format!("{why}; nor is it `socket` ({SOCKET} in the data directory) or `off`")
            }),
        }
    }
}

impl TryFrom<String> for AdminListen {
    type Error = String;

    fn try_from(typed: String) -> Result<Self, String> {
        typed.parse()
    }
}

impl fmt::Display for AdminListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket => f.write_str("socket"),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Off => f.write_str("off"),
        }
    }
}

impl From<AdminListen> for String {
    fn from(listen: AdminListen) -> Self {
        listen.to_string()
    }
}

/// The door of a server that starts.
pub(crate) struct OpenDoor {
    /// Given to the gateway; `None` if the door is off.
    pub(crate) door: Option<Door>,
    /// Where it is, for people; empty if it is off.
    pub(crate) shown: String,
    /// Removes the socket when it is dropped.
    pub(crate) socket: Option<SocketFile>,
}

impl OpenDoor {
    /// Opens a TCP address that is bound, or the socket of a directory whose lock the caller holds.
    pub(crate) fn open(
        listen: AdminListen,
        tcp: Option<TcpListener>,
        data: &Path,
    ) -> Result<Self, Failure> {
        if let Some(listener) = tcp {
            let address = listener.local_addr().map_err(Failure::other)?;
            let shown = format!(", operators http://{address}");
            return Ok(Self { door: Some(Door::Tcp(listener)), shown, socket: None });
        }
        if listen == AdminListen::Off {
            return Ok(Self { door: None, shown: String::new(), socket: None });
        }
        let (listener, socket) = SocketFile::bind(data)?;
        let shown = format!(", operators {}", socket.0.display());
        Ok(Self { door: Some(Door::Unix(listener)), shown, socket: Some(socket) })
    }
}

/// The socket, removed when it is dropped.
pub(crate) struct SocketFile(PathBuf);

impl SocketFile {
    fn bind(data: &Path) -> Result<(UnixListener, Self), Failure> {
        let path = data.join(SOCKET);
        if fs::symlink_metadata(&path).is_ok_and(|file| !file.file_type().is_socket()) {
            return Err(Failure::other(format!(
                "{} is not a socket, and Roomlog did not make it: move it away, or serve operators \
                 elsewhere with --admin-listen",
                path.display()
            )));
        }
        let bound = bind_privately(data, &path).map_err(|why| {
            Failure::other(format!(
                "cannot make the operators' socket {}: {why}; serve operators elsewhere with \
                 --admin-listen 127.0.0.1:7401, or nowhere with --admin-listen off",
                path.display()
            ))
        })?;
        Ok((bound, Self(path)))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _replaced_at_the_next_start = fs::remove_file(&self.0);
    }
}

/// Makes the socket where nobody else can reach it, and gives it its mode before its name.
fn bind_privately(data: &Path, path: &Path) -> io::Result<UnixListener> {
    let private = data.join(NEW);
    match fs::remove_dir_all(&private) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _removed_or_none => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&private)?;
    let new = private.join("s");
    let short = ShortPath::of(&new)?;
    let listener = UnixListener::bind(&short.path)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    fs::remove_dir(&private)?;
    Ok(listener)
}

/// Connects to the socket of a directory.
pub(crate) async fn connect(data: &Path) -> Result<UnixStream, Failure> {
    let path = data.join(SOCKET);
    let connected = match ShortPath::of(&path) {
        Ok(short) => UnixStream::connect(&short.path).await,
        Err(why) => Err(why),
    };
    connected.map_err(|why| {
        let advice = match why.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "start a server with `roomlog serve`, or name the directory of a running one with \
                 --data DIR, or its --admin-listen address with --server http://HOST:PORT"
            }
            io::ErrorKind::PermissionDenied => {
                "only the user that the server runs as may use it: run this as that user"
            }
            _ => "name the --admin-listen address of a running server with --server",
        };
        Failure::other(format!("cannot reach {}: {why}; {advice}", path.display()))
    })
}

/// A path to a socket that fits into its address.
struct ShortPath {
    path: PathBuf,
    /// Holds the link that the path leads through.
    _link: Option<TempDir>,
}

impl ShortPath {
    /// The path itself, or one through a link below the temporary directory if it is too long.
    fn of(path: &Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().len() <= PATH_BYTES {
            return Ok(Self { path: path.into(), _link: None });
        }
        let temporary = tempfile::tempdir()?;
        let link = temporary.path().join("d");
        symlink(fs::canonicalize(directory)?, &link)?;
        Ok(Self { path: link.join(name), _link: Some(temporary) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_is_a_socket_an_address_or_nothing() {
        for (typed, means) in [
            ("socket", AdminListen::Socket),
            ("off", AdminListen::Off),
            ("none", AdminListen::Off),
            ("localhost:7401", AdminListen::Tcp("127.0.0.1:7401".parse().expect("an address"))),
        ] {
            assert_eq!(typed.parse(), Ok(means), "{typed}");
        }
        for wrong in ["", "7401", "admin.sock", "unix:/run/roomlog.sock"] {
            let error = wrong.parse::<AdminListen>().expect_err("no door");
            assert!(error.contains("IP:PORT") && error.contains("`socket`"), "{error}");
        }
    }
}
