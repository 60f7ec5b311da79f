//! A proxy that can be cut: a wire through which nothing goes for a while, and nothing is lost either.
//!
//! While it is cut, what was on its way stays where it is, and arrives late when the wire is whole again:
//! that is what a network does, and what old publishes do to a journal. A cut at a byte stops what a
//! program says at the same place in every run, whatever else the machine is doing.

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

/// Bytes that are carried at once.
const CARRIED: usize = 64 << 10;

/// A wire to a port on loopback.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    /// How many bytes it still carries to that port; none either way when there are none left.
    left: watch::Sender<u64>,
    task: AbortHandle,
}

impl Proxy {
    /// A whole wire to a port.
    ///
    /// # Errors
    ///
    /// No port is free, or there is no runtime.
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

    /// Lets nothing through.
    pub fn cut(&self) {
        self.cut_after(0);
    }

    /// Lets so many bytes through to the port, then nothing.
    pub fn cut_after(&self, bytes: u64) {
        self.left.send_replace(bytes);
    }

    /// Comes back when nothing goes through.
    pub async fn is_cut(&self) {
        until(&self.left, |left| left == 0).await;
    }

    /// Lets everything through, and what was held back first.
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
            is_whole(&left).await;
            let Ok(far) = TcpStream::connect(target).await else { return };
            let _small_frames_at_once = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::select! {
                () = carry(near_in, far_out, &left, take) => {}
                () = carry(far_in, near_out, &left, |_, wanted| wanted) => {}
            }
        });
    }
}

async fn is_whole(left: &watch::Sender<u64>) {
    until(left, |left| left > 0).await;
}

async fn until(left: &watch::Sender<u64>, is_so: impl Fn(u64) -> bool) {
    let mut left = left.subscribe();
    let _never_closed_as_the_sender_is_here = left.wait_for(|left| is_so(*left)).await.is_ok();
}

/// How many of the wanted bytes may go through now; they are left no more.
fn take(left: &watch::Sender<u64>, wanted: usize) -> usize {
    let mut taken = 0;
    left.send_if_modified(|left| {
        taken = usize::try_from(*left).unwrap_or(usize::MAX).min(wanted);
        // A whole wire stays whole.
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
    let mut bytes = vec![0; CARRIED];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        let mut rest = &bytes[..read];
        while !rest.is_empty() {
            is_whole(left).await;
            let (now, later) = rest.split_at(take(left, rest.len()));
            if to.write_all(now).await.is_err() {
                return;
            }
            rest = later;
        }
    }
}
