//! Checks the names that a user types without a parser: environment variables, keys of a settings
//! file.
//!
//! A `ROOMLOG_…` variable that nothing reads is rejected, with the name that was probably meant: a
//! misspelled variable must not silently leave a server with the default.

use std::ffi::OsString;

use clap::{
    Command,
    error::{ContextKind, ContextValue},
};

use crate::failure::Failure;

const PREFIX: &str = "ROOMLOG_";

/// The variable that may hold a token. It is no flag: everyone on a machine sees those of a command.
pub(crate) const TOKEN_VARIABLE: &str = "ROOMLOG_TOKEN";

/// Read by the project's scripts and tests, which run this binary in their environment.
const OF_SCRIPTS: [&str; 4] =
    ["ROOMLOG_TOOLS", "ROOMLOG_BINARY", "ROOMLOG_NATS_SERVER", "ROOMLOG_TEST_MAY_MOUNT"];

/// The least similarity of a suggested name, from 0 to 1.
const SIMILAR: f64 = 0.8;

/// Rejects a variable whose name begins with `ROOMLOG_` and that no command reads.
pub(crate) fn check_environment(
    command: &Command,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), Failure> {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let variables = commands.flat_map(Command::get_arguments).filter_map(|arg| arg.get_env());
    let known: Vec<_> = variables.filter_map(|name| name.to_str()).collect();
    for (name, _) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if !known.contains(&name)
            && name != TOKEN_VARIABLE
            && !OF_SCRIPTS.contains(&name)
            && !is_service_link(name)
        {
            let hint = did_you_mean(name, known.iter().copied());
            return Err(Failure::usage(format!(
                "roomlog does not read the environment variable {name}{hint}; `roomlog serve \
                 --help` lists those it reads"
            )));
        }
    }
    Ok(())
}

/// Whether Kubernetes sets this variable in every pod next to a service called `roomlog`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
fn is_service_link(name: &str) -> bool {
    ["ROOMLOG_PORT", "ROOMLOG_SERVICE_HOST", "ROOMLOG_ADMIN_PORT", "ROOMLOG_ADMIN_SERVICE_HOST"]
        .contains(&name)
        || name.starts_with("ROOMLOG_PORT_")
        || name.starts_with("ROOMLOG_SERVICE_PORT")
}

/// ` (did you mean …?)` with the most similar known name; empty if none is similar.
pub(crate) fn did_you_mean<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> String {
    // The common prefix would make all names similar.
    let bare = |name: &'a str| name.strip_prefix(PREFIX).unwrap_or(name);
    let typed = typed.strip_prefix(PREFIX).unwrap_or(typed);
    let scored = known.map(|name| (strsim::jaro_winkler(typed, bare(name)), name));
    match scored.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((score, name)) if score >= SIMILAR => format!(" (did you mean {name}?)"),
        _ => String::new(),
    }
}

/// The environment variable that a wrong value comes from; `None` if it was typed.
pub(crate) fn variable_of(answer: &clap::Error) -> Option<String> {
    let ContextValue::String(argument) = answer.get(ContextKind::InvalidArg)? else { return None };
    let flag = argument.split_whitespace().next()?;
    let typed = |word: String| word.split('=').next() == Some(flag);
    let is_typed = std::env::args_os().any(|word| word.into_string().is_ok_and(typed));
    let variable = format!("{PREFIX}{}", flag.strip_prefix("--")?.replace('-', "_").to_uppercase());
    (!is_typed && std::env::var_os(&variable).is_some()).then_some(variable)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn refusal(name: &str) -> Option<String> {
        let environment = std::iter::once((name.into(), "1".into()));
        check_environment(&Cli::command(), environment).err().map(|why| why.to_string())
    }

    #[test]
    fn an_unknown_variable_is_rejected_with_the_probable_name() {
        for (typed, meant) in [
            ("ROOMLOG_LISTENS", "ROOMLOG_LISTEN"),
            ("ROOMLOG_ALLOWED_ORIGINS", "ROOMLOG_ALLOW_ORIGIN"),
            ("ROOMLOG_SEVER", "ROOMLOG_SERVER"),
            ("ROOMLOG_INSECURE-OPEN", "ROOMLOG_INSECURE_OPEN"),
        ] {
            let error = refusal(typed).expect("a refusal");
            assert!(error.contains(&format!("did you mean {meant}?)")), "{error}");
        }
        assert!(refusal("ROOMLOG_Q").is_some_and(|error| !error.contains("did you mean")));
    }

    #[test]
    fn known_variables_and_those_of_kubernetes_are_accepted() {
        for name in [
            "ROOMLOG_DATA",
            "ROOMLOG_SERVER",
            "ROOMLOG_CONFIG",
            "ROOMLOG_JOURNAL_PREFIX",
            "ROOMLOG_TOOLS",
            "ROOMLOG_SERVICE_HOST",
            "ROOMLOG_SERVICE_PORT_HTTP",
            "ROOMLOG_PORT_7400_TCP_ADDR",
            "PATH",
        ] {
            assert_eq!(refusal(name), None);
        }
    }
}
