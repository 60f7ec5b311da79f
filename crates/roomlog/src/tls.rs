//! Keeps the certificate of a running server up to date.
//!
//! Enters: SIGHUP; time. Leaves: a reload of both files, and a line that says whether they were taken.
//! Invariant: files that change are read once they have been the same for a whole [`INTERVAL`]: whoever
//! renews a certificate writes two files, one after the other.

use std::{
    convert::Infallible,
    future::pending,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use roomlog_server::Tls;

use crate::stderr::{message, warning};

/// A certificate that expires within this time should have been renewed: ACME clients do so 30 days before.
pub(crate) const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Between two warnings of a certificate that expires.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(10);

/// Reloads the files whenever they change, for as long as it is polled.
pub(crate) async fn watch(tls: Option<&Arc<Tls>>) -> Infallible {
    let Some(tls) = tls else { return pending().await };
    let (mut last, mut warned) = (None, None);
    loop {
        warn_of_expiry(tls, &mut warned);
        tokio::time::sleep(INTERVAL).await;
        let now = on_a_thread(tls, Tls::stamps).await;
        if let Some(now) = now
            && last == Some(now)
            && tls.is_stale(now)
        {
            reload(tls).await;
        }
        last = now;
    }
}

/// Warns of a certificate that should have been renewed, once per [`WARN_EVERY`].
fn warn_of_expiry(tls: &Tls, warned: &mut Option<Instant>) {
    let Some(expires) = tls.expires() else { return };
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    if left > EXPIRES_SOON || warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
        return;
    }
    *warned = Some(Instant::now());
    if left.is_zero() {
        warning!("the TLS certificate has expired: clients refuse it; renew it");
    } else {
        let days = left.as_secs() / (24 * 60 * 60);
        warning!("the TLS certificate expires in {days} days; renew it");
    }
}

/// Reads both files, as SIGHUP asks for.
pub(crate) async fn reload(tls: &Arc<Tls>) {
    match on_a_thread(tls, Tls::reload).await {
        Some(Ok(())) => message!("the TLS certificate was reloaded"),
        Some(Err(why)) => {
            message!("the TLS certificate was not reloaded, the one before stays in use: {why}");
        }
        None => {}
    }
}

/// A file system may take its time, and the task accepts connections. `None` if the runtime stops.
async fn on_a_thread<T: Send + 'static>(
    tls: &Arc<Tls>,
    does: impl FnOnce(&Tls) -> T + Send + 'static,
) -> Option<T> {
    let tls = tls.clone();
    tokio::task::spawn_blocking(move || does(&tls)).await.ok()
}
