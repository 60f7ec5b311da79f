//! A TCP proxy that can be cut: it delays data and loses none.
//!
//! What is in flight while it is cut arrives late, once it is mended, as in a network partition. A
//! cut at a byte stops a program at the same place in every run.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::AbortHandle,
};

/// The size of the copy buffer, in bytes.
const BUFFER: usize = 64 << 10;

/// A proxy to a port on loopback.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    /// How many more bytes it carries to that port; at 0 it carries none either way.
    left: watch::Sender<u64>,
    task: AbortHandle,
}

impl Proxy {
    /// A proxy to a port, not cut. Needs a tokio runtime.
    ///
    /// # Errors
    /// If no port is free.
    pub fn to(port: u16) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let here = listener.local_addr()?.port();
        let listener = TcpListener::from_std(listener)?;
        let left = watch::Sender::new(u64::MAX);
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let task = tokio::spawn(serve(listener, target, left.clone())).abort_handle();
        Ok(Self { port: here, left, task })
    }

    /// The port it listens on, on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.cut_after(0);
    }

    /// Cuts it after this many more bytes to the port.
    pub fn cut_after(&self, bytes: u64) {
        self.left.send_replace(bytes);
    }

    /// Waits until it is cut.
    pub async fn is_cut(&self) {
        until(&self.left, |left| left == 0).await;
    }

    /// Mends it; delayed data goes first.
    pub fn mend(&self) {
        self.left.send_replace(u64::MAX);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, left: watch::Sender<u64>) {
    while let Ok((near, _)) = listener.accept().await {
        let left = left.clone();
        tokio::spawn(async move {
            is_mended(&left).await;
            let Ok(far) = TcpStream::connect(target).await else { return };
            let _best_effort = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::select! {
                () = carry(near_in, far_out, &left, take) => {}
                () = carry(far_in, near_out, &left, |_, wanted| wanted) => {}
            }
        });
    }
}

async fn is_mended(left: &watch::Sender<u64>) {
    until(left, |left| left > 0).await;
}

async fn until(left: &watch::Sender<u64>, condition: impl Fn(u64) -> bool) {
    let mut left = left.subscribe();
    let _ = left.wait_for(|left| condition(*left)).await.is_ok();
}

/// Takes up to this many bytes from the allowance.
fn take(left: &watch::Sender<u64>, wanted: usize) -> usize {
    let mut taken = 0;
    left.send_if_modified(|left| {
        taken = usize::try_from(*left).unwrap_or(usize::MAX).min(wanted);
        let is_counted = *left < u64::MAX;
        if is_counted {
            *left -= taken as u64;
        }
        is_counted
    });
    taken
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    left: &watch::Sender<u64>,
    take: impl Fn(&watch::Sender<u64>, usize) -> usize,
) {
    let mut bytes = vec![0; BUFFER];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        let mut rest = &bytes[..read];
        while !rest.is_empty() {
            is_mended(left).await;
            let (now, later) = rest.split_at(take(left, rest.len()));
            if to.write_all(now).await.is_err() {
                return;
            }
            rest = later;
        }
    }
}
