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

use crate::{
    show::counted,
    stderr::{message, warning},
};

/// The seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// A certificate that is valid for so few days should have been renewed: ACME clients do so 30 days before.
pub(crate) const EXPIRES_SOON_DAYS: u64 = 14;

/// Between two warnings of a certificate that expires.
const WARN_EVERY: Duration = Duration::from_secs(DAY_S);

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

/// For how many days the certificate is valid; 0 if it has expired, `None` if that is not known.
pub(crate) fn days_left(tls: &Tls) -> Option<u64> {
    let left = tls.expires()?.duration_since(SystemTime::now()).ok();
    Some(left.map_or(0, |left| left.as_secs().div_ceil(DAY_S)))
}

/// Warns of a certificate that should have been renewed, once per [`WARN_EVERY`].
fn warn_of_expiry(tls: &Tls, warned: &mut Option<Instant>) {
    let Some(days) = days_left(tls).filter(|days| *days <= EXPIRES_SOON_DAYS) else { return };
    if warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
        return;
    }
    *warned = Some(Instant::now());
    if days == 0 {
        warning!("the TLS certificate has expired: clients refuse it; renew it");
    } else {
        let days = counted(days, "day", "days");
        warning!("the TLS certificate expires within {days}; renew it");
    }
}

/// Reads both files, as SIGHUP asks for.
pub(crate) async fn reload(tls: &Arc<Tls>) {
    match on_a_thread(tls, Tls::reload).await {
        Some(Ok(())) => match days_left(tls) {
            Some(0) => warning!("the TLS certificate was reloaded; it has expired"),
            Some(days) => {
                let days = counted(days, "day", "days");
                message!("the TLS certificate was reloaded; it is valid for {days}");
            }
            None => message!("the TLS certificate was reloaded"),
        },
        Some(Err(why)) => {
            warning!("the TLS certificate was not reloaded, the one before stays in use: {why}");
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
