//! The service manager is told when the server serves, and when it stops.

mod support;

use std::os::unix::net::UnixDatagram;

use support::{PATIENCE, serve, terminate, within};

/// The next message to the service manager.
fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).expect("a message in time");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_told_that_it_serves_and_that_it_stops() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let environment = [("NOTIFY_SOCKET".to_owned(), path.display().to_string())];
    let data = directory.path().join("data");
    let mut server = serve(&data, "127.0.0.1:0", &[], &environment);
    let mut server = server.stderr(std::process::Stdio::null()).spawn().expect("the binary");
    let ready = tokio::task::block_in_place(|| told(&socket));
    assert_eq!(ready, "READY=1\nSTATUS=serving\n");
    terminate(&server).await;
    let stopping = tokio::task::block_in_place(|| told(&socket));
    assert_eq!(stopping, "STOPPING=1\nSTATUS=stopping\n");
    let ended = within("the end", server.wait()).await.expect("an exit status");
    assert!(ended.success());
}
