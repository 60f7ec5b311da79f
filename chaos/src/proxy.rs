//! A proxy that can be cut: a wire through which nothing goes for a while, and nothing is lost either.
//!
//! While it is cut, what was on its way stays where it is, and arrives late when the wire is whole again:
//! that is what a network does, and what old publishes do to a journal.

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
pub(crate) struct Proxy {
    pub(crate) port: u16,
    whole: watch::Sender<bool>,
    task: AbortHandle,
}

impl Proxy {
    /// A whole wire to a port.
    pub(crate) fn to(port: u16) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let here = listener.local_addr()?.port();
        let listener = TcpListener::from_std(listener)?;
        let (whole, is_whole) = watch::channel(true);
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let task = tokio::spawn(serve(listener, target, is_whole)).abort_handle();
        Ok(Self { port: here, whole, task })
    }

    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, whole: watch::Receiver<bool>) {
    while let Ok((near, _)) = listener.accept().await {
        let whole = whole.clone();
        tokio::spawn(async move {
            if !is_whole(&mut whole.clone()).await {
                return;
            }
            let Ok(far) = TcpStream::connect(target).await else { return };
            let _small_frames_at_once = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::select! {
                () = carry(near_in, far_out, whole.clone()) => {}
                () = carry(far_in, near_out, whole) => {}
            }
        });
    }
}

async fn is_whole(whole: &mut watch::Receiver<bool>) -> bool {
    whole.wait_for(|whole| *whole).await.is_ok()
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut whole: watch::Receiver<bool>) {
    let mut bytes = vec![0; CARRIED];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        if !is_whole(&mut whole).await || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
