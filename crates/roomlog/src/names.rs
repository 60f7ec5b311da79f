//! Names that a person types where nothing checks them: environment variables and lines of a settings file.
//!
//! Enters: the environment, and the command line's own list of variables. Leaves: a refusal of a
//! `ROOMLOG_…` name that nothing reads, with the name that was probably meant. Invariant: a misspelt
//! variable never leaves a server with the default in silence.

use std::ffi::OsString;

use clap::Command;

use crate::failure::Failure;

const PREFIX: &str = "ROOMLOG_";

/// Read by the project's scripts and tests, which run this binary in their environment.
const OF_SCRIPTS: [&str; 4] =
    ["ROOMLOG_TOOLS", "ROOMLOG_BINARY", "ROOMLOG_NATS_SERVER", "ROOMLOG_TEST_MAY_MOUNT"];

/// How similar two names must be for one to be suggested, from 0 to 1.
const SIMILAR: f64 = 0.8;

/// Refuses a variable whose name begins with `ROOMLOG_` when no command reads it.
///
/// # Errors
/// [`Failure::Usage`] with the name, and the name that is most like it.
pub(crate) fn check_environment(
    command: &Command,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), Failure> {
    let known = variables(command);
    for (name, _) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let is_known = known.iter().any(|known| known == name) || OF_SCRIPTS.contains(&name);
        if !is_known && !is_service_link(name) {
            let hint = did_you_mean(name, known.iter().map(String::as_str));
            return Err(Failure::usage(format!(
                "the environment variable {name} is not one that roomlog reads{hint}; `roomlog serve --help` lists \
                 them"
            )));
        }
    }
    Ok(())
}

/// The variables that a command or one of its subcommands reads.
fn variables(command: &Command) -> Vec<String> {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let arguments = commands.flat_map(Command::get_arguments);
    arguments.filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())).collect()
}

/// Whether Kubernetes sets this variable in every pod beside a service called `roomlog`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
fn is_service_link(name: &str) -> bool {
    ["ROOMLOG_PORT", "ROOMLOG_SERVICE_HOST"].contains(&name)
        || name.starts_with("ROOMLOG_PORT_")
        || name.starts_with("ROOMLOG_SERVICE_PORT")
}

/// ` (did you mean …?)` for the known name that is most like what was typed; empty if none is.
pub(crate) fn did_you_mean<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> String {
    // The prefix is the same in all, and would make all of them alike.
    let bare = |name: &'a str| name.strip_prefix(PREFIX).unwrap_or(name);
    let typed = typed.strip_prefix(PREFIX).unwrap_or(typed);
    let scored = known.map(|name| (strsim::jaro_winkler(typed, bare(name)), name));
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0));
    match best {
        Some((score, name)) if score >= SIMILAR => format!(" (did you mean {name}?)"),
        _ => String::new(),
    }
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
    fn a_variable_that_nothing_reads_is_refused_with_the_name_that_was_meant() {
        for (typed, meant) in [
            ("ROOMLOG_LISTENS", "ROOMLOG_LISTEN"),
            ("ROOMLOG_ALLOWED_ORIGINS", "ROOMLOG_ALLOW_ORIGIN"),
            ("ROOMLOG_SEVER", "ROOMLOG_SERVER"),
            ("ROOMLOG_INSECURE-OPEN", "ROOMLOG_INSECURE_OPEN"),
        ] {
            let said = refusal(typed).expect("a refusal");
            assert!(said.contains(&format!("did you mean {meant}?)")), "{said}");
        }
        assert!(refusal("ROOMLOG_Q").is_some_and(|said| !said.contains("did you mean")));
    }

    #[test]
    fn variables_of_ours_of_others_and_of_kubernetes_are_taken() {
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
