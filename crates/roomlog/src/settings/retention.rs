//! The setting `retention`: how long the texts of which rooms are kept.

use std::time::Duration;

use roomlog_server::{Retention, RetentionRule};

use super::Settings;
use crate::{failure::Failure, tokens::seconds};

impl Settings {
    /// The rules; fails if one is not of the form `ROOMS=AGE`.
    pub(crate) fn retention(&self) -> Result<Retention, Failure> {
        // An empty environment variable is an empty list.
        let listed = self.retention.iter().flatten().filter(|typed| !typed.is_empty());
        let rules = listed.map(|typed| rule(typed.trim())).collect::<Result<_, _>>()?;
        Retention::new(rules).map_err(|why| Failure::usage(format!("retention: {why}")))
    }
}

fn rule(typed: &str) -> Result<RetentionRule, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "retention: {typed:?} is not ROOMS=AGE; write a room or the beginning of names and *, and \
             seconds or a number with s, m, h or d, such as 'team-*=30d', or `forever`"
        ))
    };
    let (pattern, age) = typed.split_once('=').ok_or_else(wrong)?;
    let age = match age {
        "forever" => None,
        age => Some(seconds(age).filter(|seconds| *seconds > 0).ok_or_else(wrong)?),
    };
    Ok(RetentionRule { pattern: pattern.into(), age: age.map(Duration::from_secs) })
}
