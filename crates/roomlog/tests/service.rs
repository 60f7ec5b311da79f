//! The service manager is told when the server serves, and when it stops; the image of a container
//! is built with a compiler that will do, and starts what it should.

mod support;

use std::{
    os::unix::net::UnixDatagram,
    process::{Command, Output},
};

use support::{PATIENCE, serve, terminate, within};

const CONTAINERFILE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/Containerfile"));

/// What follows an instruction of the Containerfile, the last time that it is there.
fn instruction(name: &str) -> &str {
    let last = CONTAINERFILE.lines().filter_map(|line| line.strip_prefix(name)).next_back();
    last.expect(name).trim()
}

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

/// Runs `roomlog config` with the variables and the command of the image.
fn config_of_the_image(more: &[&str]) -> Output {
    let variables = instruction("ENV").split(' ').map(|it| it.split_once('=').expect("a value"));
    assert_eq!((instruction("ENTRYPOINT"), instruction("CMD")), (r#"["roomlog"]"#, r#"["serve"]"#));
    // It takes the flags of `serve`, and refuses what that refuses.
    let mut config = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    config.arg("config").args(more).env_clear().envs(variables).output().expect("run")
}

#[test]
fn a_container_serves_its_volume_at_its_port_and_nobody_without_being_told_to() {
    let refused = config_of_the_image(&[]);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("no access control"), "{why}");
    let open = config_of_the_image(&["--insecure-open"]);
    let settings = String::from_utf8_lossy(&open.stdout);
    let (volume, port) = (instruction("VOLUME"), instruction("EXPOSE"));
    assert!(settings.contains(&format!("data = \"{volume}\"")), "{settings}");
    assert!(settings.contains(&format!("listen = \"0.0.0.0:{port}\"")), "{settings}");
}

#[test]
fn the_compiler_of_the_image_is_not_older_than_the_code_needs() {
    let version = |text: &str| {
        let parts = text.split('.').map(|part| part.parse::<u32>().expect("a version"));
        parts.collect::<Vec<_>>()
    };
    let builder = CONTAINERFILE.split_once("/rust:").expect("an image of Rust").1;
    let (builder, _) = builder.split_once('-').expect("a version and a system");
    let needed = env!("CARGO_PKG_RUST_VERSION");
    assert!(version(builder) >= version(needed), "{builder} is older than {needed}");
}
