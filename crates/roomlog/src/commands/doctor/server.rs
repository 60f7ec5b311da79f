//! The server: its data directory, where it listens, certificate, tokens, and the servers of its cluster.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use roomlog_server::{Tls, Tokens};
use roomlog_sqlite::{Contents, Derived, Directory, OpenError};

use super::{Finding, Report};
use crate::{
    cli::DoorArgs,
    commands::operators::Operators,
    door::AdminListen,
    engines::served,
    failure::Failure,
    settings::Settings,
    show::counted,
    tls::{EXPIRES_SOON_DAYS, days_left},
};

/// Checks the data directory; whether a server runs on it.
pub(super) async fn data(settings: &Settings, report: &mut Report) -> Result<bool, Failure> {
    let about = "data";
    let data = served(&settings.data()?);
    if !data.exists() {
        let text = format!("{} does not exist yet; `serve` makes it", data.display());
        report.add(&Finding::good(about, text))?;
        return Ok(false);
    }
    let shown = data.display();
    let usable = match settings.cluster()? {
        Some(_) => Derived::check_usable(&data),
        None => Directory::check_usable(&data),
    };
    let locked = Directory::lock_stopped(&data);
    let (finding, running) = match (locked, usable) {
        (Err(OpenError::Locked(_)), _) => {
            (Finding::good(about, format_args!("a server uses {shown}")), true)
        }
        (_, Err(why)) => (Finding::problem(about, why), false),
        // Of a directory without a lock no server has ever begun to use.
        (Err(OpenError::Io { error, .. }), _) if error.kind() == std::io::ErrorKind::NotFound => {
            (contents(&data), false)
        }
        (Err(why), _) => (Finding::problem(about, why), false),
        (Ok(_lock), Ok(())) if settings.cluster()?.is_some() => {
            (Finding::good(about, format_args!("{shown} is not in use")), false)
        }
        (Ok(_lock), Ok(())) => (contents(&data), false),
    };
    report.add(&finding)?;
    if running {
        report.add(&door(settings, &data).await)?;
    }
    Ok(running)
}

/// What the directory of a stopped server holds.
fn contents(data: &Path) -> Finding {
    let about = "data";
    let shown = data.display();
    match Contents::of(data) {
        Ok(Contents::Empty) => Finding::good(about, format_args!("{shown} holds no log yet")),
        Ok(Contents::Log) => {
            Finding::good(about, format_args!("{shown} holds a log; no server uses it"))
        }
        Ok(Contents::JournalOnly) => Finding::warning(
            about,
            format_args!("{shown} has no archive.db; the next start makes it from the journal"),
        ),
        Ok(Contents::Backup(backup) | Contents::BackupWithJournal(backup)) => {
            Finding::good(about, format_args!("{shown} is a backup of log {}", backup.log))
        }
        Ok(Contents::PartlyRestored(_)) => Finding::warning(
            about,
            format_args!("a restore into {shown} was interrupted; the next start finishes it"),
        ),
        Err(why) => Finding::problem(about, why),
    }
}

/// Asks the server at its operators' door whether it can commit.
async fn door(settings: &Settings, data: &Path) -> Finding {
    let about = "server";
    let server = match settings.admin_listen() {
        Ok(AdminListen::Off) => {
            return Finding::warning(
                about,
                "it has no operators' door (admin_listen = off): no metrics and no backups",
            );
        }
        Ok(AdminListen::Tcp(address)) => match format!("http://{address}").parse() {
            Ok(address) => Some(address),
            Err(why) => return Finding::problem(about, why),
        },
        Ok(AdminListen::Socket) => None,
        Err(why) => return Finding::problem(about, why),
    };
    let door = DoorArgs { data: Some(data.into()), server, ..DoorArgs::default() };
    let asked = async {
        let mut operators = Operators::reach(&door).await?;
        operators.send(Method::GET, "/readyz", Bytes::new()).await
    };
    match asked.await.map(|answer| answer.status()) {
        Ok(StatusCode::OK) => Finding::good(about, "it is ready, and its operators' door answers"),
        Ok(status) => {
            Finding::problem(about, format_args!("it cannot commit: /readyz is {status}"))
        }
        Err(why) => Finding::problem(about, why),
    }
}

/// Checks what clients see: the address, the certificate, the tokens.
pub(super) async fn public(
    settings: &Settings,
    running: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let listen = settings.listen()?;
    if !running {
        report.add(&can_listen("listen", listen))?;
        if let AdminListen::Tcp(address) = settings.admin_listen()? {
            report.add(&can_listen("admin_listen", address))?;
        }
    }
    let is_open = settings.access.tokens()?.is_none();
    for finding in certificate(settings, listen, is_open) {
        report.add(&finding)?;
    }
    tokens(settings, listen).await.iter().try_for_each(|finding| report.add(finding))
}

fn can_listen(about: &'static str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::good(about, format_args!("{address} is free")),
        Err(why) => Finding::problem(about, format_args!("cannot listen on {address}: {why}")),
    }
}

/// Nothing if there is no certificate, and none is needed.
fn certificate(settings: &Settings, listen: SocketAddr, is_open: bool) -> Vec<Finding> {
    let about = "certificate";
    let files = match settings.tls_files() {
        Ok(Some(files)) => files,
        Ok(None) if listen.ip().is_loopback() || is_open => return Vec::new(),
        Ok(None) => {
            return vec![Finding::warning(
                about,
                format_args!(
                    "none: tokens reach {listen} unencrypted unless a proxy in front of it has TLS"
                ),
            )];
        }
        Err(why) => return vec![Finding::problem(about, why)],
    };
    let tls = match Tls::load(files.0, files.1) {
        Ok(tls) => tls,
        Err(why) => return vec![Finding::problem(about, why)],
    };
    let expiry = match days_left(&tls) {
        None => Finding::warning(about, "when it expires cannot be read"),
        Some(0) => Finding::problem(about, "it has expired; renew it"),
        Some(days) => {
            let shown = counted(days, "day", "days");
            match days > EXPIRES_SOON_DAYS {
                true => Finding::good(about, format_args!("valid for {shown}")),
                false => {
                    Finding::warning(about, format_args!("it expires within {shown}; renew it"))
                }
            }
        }
    };
    let exposed = tls.exposed_key().map(|key| {
        let key = key.display();
        let text = format!("every user of this machine may read {key}; run: chmod 600 {key}");
        Finding::warning("key", text)
    });
    [expiry].into_iter().chain(exposed).collect()
}

async fn tokens(settings: &Settings, listen: SocketAddr) -> Vec<Finding> {
    let about = "tokens";
    let files = match settings.access.tokens() {
        Ok(Some(files)) => files,
        Ok(None) if listen.ip().is_loopback() => {
            let text = "none: every user of this machine may read and write all";
            return vec![Finding::good(about, text)];
        }
        Ok(None) => {
            return vec![Finding::warning(
                about,
                format_args!("none: whoever reaches {listen} may read and write all"),
            )];
        }
        Err(why) => return vec![Finding::problem(about, why)],
    };
    let exposed = files.exposed();
    let mut findings: Vec<_> = exposed.iter().map(|it| Finding::warning("key", it)).collect();
    let keys = counted(files.keys.len() as u64, "key file", "key files");
    findings.push(match Tokens::new(Arc::new(files)).await {
        Ok(_) => Finding::good(about, format_args!("{keys}, of which all keys can be used")),
        Err(why) => Finding::problem(about, why),
    });
    findings
}

/// Checks the NATS servers of a cluster, if it is one. Creates nothing there.
pub(super) async fn cluster(settings: &Settings, report: &mut Report) -> Result<(), Failure> {
    let Some(options) = settings.cluster()? else { return Ok(()) };
    report.add(&match roomlog_jetstream::probe(&options).await {
        Ok(_) if options.declared => Finding::warning(
            "journal",
            "NATS answers; that it flushes each message is declared, and was not looked at",
        ),
        Ok(servers) => Finding::good(
            "journal",
            format_args!(
                "{}; enough flush each message",
                counted(servers as u64, "NATS server answers", "NATS servers answer")
            ),
        ),
        Err(why) => Finding::problem("journal", why),
    })
}
