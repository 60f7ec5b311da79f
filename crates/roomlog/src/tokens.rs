//! Where the keys of tokens come from: files.
//!
//! Input: paths of key files and of a JWK set. Output: a [`Verifier`], each time that the server reads
//! them. Invariant: a file that cannot be used is named, and nothing that it holds is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use roomlog_auth::{Keys, Right, RoomRights, Rules, Verifier, revoked::KEPT_S};
use roomlog_client::Trust;
use roomlog_server::KeySource;
use serde::{Deserialize, Serialize};

/// The default of `jwt_max_life`.
pub(crate) const MAX_LIFE: &str = "24h";

/// The default of `author_claim`.
pub(crate) const AUTHOR_CLAIM: &str = "sub";

/// The most bytes of a file with keys.
const FILE_BYTES: u64 = 1 << 20;

/// How long a published set may take to come.
const PUBLISHED_TIME: Duration = Duration::from_secs(4);

/// Bits of a file's mode that give others any right.
const OTHERS: u32 = 0o077;

/// A life of a token, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Life(u64);

impl Life {
    pub(crate) fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Life {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        match seconds(typed) {
            Some(seconds @ 1..=KEPT_S) => Ok(Self(seconds)),
            _ => Err(format!(
                "{typed:?} is not a life of a token: write seconds, or a number with s, m, h or d, of \
                 at most 400d"
            )),
        }
    }
}

/// A time in seconds, written as such, or with s, m, h or d.
pub(crate) fn seconds(typed: &str) -> Option<u64> {
    let digits = typed.trim_end_matches(|last: char| !last.is_ascii_digit());
    let unit = match &typed[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

impl TryFrom<String> for Life {
    type Error = String;

    fn try_from(typed: String) -> Result<Self, String> {
        typed.parse()
    }
}

impl From<Life> for String {
    fn from(life: Life) -> Self {
        life.to_string()
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m"), (1, "s")];
        let whole = units.iter().find(|(seconds, _)| self.0.is_multiple_of(*seconds));
        let (seconds, unit) = whole.copied().unwrap_or((1, "s"));
        write!(f, "{}{unit}", self.0 / seconds)
    }
}

/// Rights to rooms as they are typed: `team-*=read,append`.
#[derive(Debug, Clone)]
pub(crate) struct RoomGrant {
    pub(crate) pattern: String,
    pub(crate) rights: BTreeSet<Right>,
}

impl FromStr for RoomGrant {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let (pattern, rights) = typed.split_once('=').ok_or_else(|| {
            format!("{typed:?} is not ROOM=RIGHT,… such as 'team-*=read,append,create'")
        })?;
        let right = |name: &str| {
            serde_json::from_value(name.into())
                .map_err(|_| format!("{name:?} is none of read, append, create, redact and admin"))
        };
        let rights = rights.split(',').map(right).collect::<Result<BTreeSet<_>, _>>()?;
        RoomRights::try_from(BTreeMap::from([(pattern.to_owned(), rights.clone())]))?;
        Ok(Self { pattern: pattern.into(), rights })
    }
}

/// Files with keys, and what tokens have to comply with.
#[derive(Debug, Clone)]
pub(crate) struct TokenFiles {
    pub(crate) keys: Vec<PathBuf>,
    /// A JWK set.
    pub(crate) jwks: Option<String>,
    pub(crate) rules: Rules,
}

impl TokenFiles {
    /// The keys of the files.
    pub(crate) fn read(&self) -> Result<Keys, String> {
        let mut keys = Keys::default();
        for path in &self.keys {
            let named = |why: String| format!("the key file {}: {why}", path.display());
            let text = read(path).map_err(named)?;
            keys = keys.and(Keys::of_file(&text).map_err(|why| named(why.to_string()))?);
        }
        if let Some(path) = self.jwks.as_ref().filter(|named| !is_url(named)) {
            let named = |why: String| format!("the JWK set {path}: {why}");
            let text = read(&path.into()).map_err(named)?;
            keys = keys.and(Keys::of_set(&text).map_err(|why| named(why.to_string()))?);
        }
        Ok(keys)
    }

    /// The keys of the set that is published at a URL, if there is one.
    async fn published(&self) -> Result<Keys, String> {
        let Some(url) = self.jwks.as_ref().filter(|named| is_url(named)) else {
            return Ok(Keys::default());
        };
        let most = usize::try_from(FILE_BYTES).unwrap_or(usize::MAX);
        let got = roomlog_client::get(url, &Trust::default(), most, PUBLISHED_TIME).await;
        let (status, text) = got.map_err(|why| why.to_string())?;
        if !status.is_success() {
            return Err(format!("the JWK set {url}: the server answered {status}"));
        }
        Keys::of_set(&text).map_err(|why| format!("the JWK set {url}: {why}"))
    }

    /// A warning for each key file whose mode lets others read a secret.
    pub(crate) fn exposed(&self) -> Vec<String> {
        let is_exposed = |path: &&PathBuf| {
            let keys = fs::read(path).ok().and_then(|text| Keys::of_file(&text).ok());
            let is_public = keys.is_some_and(|keys| !keys.have_secret());
            let mode = fs::metadata(path).map_or(0, |file| file.permissions().mode());
            !is_public && mode & OTHERS != 0
        };
        let warning = |path: &PathBuf| {
            let path = path.display();
            format!("other users can read the secret in {path}; run: chmod 600 {path}")
        };
        self.keys.iter().filter(is_exposed).map(warning).collect()
    }
}

impl KeySource for TokenFiles {
    fn fetch(&self) -> BoxFuture<'static, Result<Verifier, String>> {
        let this = self.clone();
        async move {
            let files = this.clone();
            let reading = tokio::task::spawn_blocking(move || files.read());
            let keys = reading.await.unwrap_or_else(|_| Err("reading was interrupted".into()))?;
            Ok(Verifier::new(this.rules.clone(), keys.and(this.published().await?)))
        }
        .boxed()
    }
}

/// Whether a JWK set is published, and not a file.
pub(crate) fn is_url(named: &str) -> bool {
    named.contains("://")
}

/// A small file.
pub(crate) fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    let unread = |why: std::io::Error| format!("it cannot be read: {why}");
    let bytes = fs::metadata(path).map_err(unread)?.len();
    if bytes > FILE_BYTES {
        return Err(format!("it has {bytes} bytes, more than {FILE_BYTES}"));
    }
    fs::read(path).map_err(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_seconds_or_a_number_with_a_unit() {
        for (typed, seconds, shown) in [
            ("90", 90, "90s"),
            ("3600", 3_600, "1h"),
            ("15m", 900, "15m"),
            ("24h", 86_400, "1d"),
            ("400d", KEPT_S, "400d"),
        ] {
            let life: Life = typed.parse().expect("a life");
            assert_eq!((life.seconds(), &*life.to_string()), (seconds, shown));
        }
        for bad in ["", "h", "0", "-1", "1w", "401d", "1.5h", "99999999999999999999"] {
            assert!(bad.parse::<Life>().is_err(), "{bad:?}");
        }
    }
}
