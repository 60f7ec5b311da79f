//! The port on which a process listens, for a server whose standard error is not read.

use std::{fs, net::SocketAddr, time::Duration};

use tokio::process::Child;

/// Waits until the process listens on a port of 127.0.0.1.
pub(crate) async fn listened(process: &mut Child) -> SocketAddr {
    let pid = process.id().expect("a running process");
    loop {
        if let Some(address) = listens(pid) {
            return address;
        }
        let ended = process.try_wait().expect("a status");
        assert_eq!(ended, None, "the server ended before it listened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn listens(pid: u32) -> Option<SocketAddr> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let sockets: Vec<String> = files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = local.strip_prefix("0100007F:").filter(|_| *state == "0A")?;
        let port = u16::from_str_radix(port, 16).ok()?;
        sockets.iter().any(|socket| socket == inode).then(|| ([127, 0, 0, 1], port).into())
    })
}
