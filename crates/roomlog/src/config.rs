//! `roomlog config`: the settings that `serve` would use.
//!
//! Enters: the command line of `serve`, the environment, the settings file. Leaves: a line of TOML for each
//! setting that was set, with where it was set as a comment. Invariant: it refuses what `serve`
//! would refuse before it opens anything.

use std::process::ExitCode;

use clap::{ArgMatches, parser::ValueSource};

use crate::{commands::output::Output, failure::Failure, serve::ServeArgs};

pub(crate) fn run(args: ServeArgs, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let file = args.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let settings = args.settings.over_file(args.config.as_ref())?;
    settings.check()?;
    let unreadable =
        |why: toml::ser::Error| Failure::said(format!("a setting has no TOML form: {why}"));
    let table = toml::Table::try_from(&settings).map_err(unreadable)?;
    let mut output = Output::new(false);
    for (name, value) in table {
        let set_at =
            match matches.subcommand().and_then(|(_, of_serve)| of_serve.value_source(&name)) {
                Some(ValueSource::CommandLine) => format!("--{}", name.replace('_', "-")),
                Some(ValueSource::EnvVariable) => format!("ROOMLOG_{}", name.to_uppercase()),
                _ => file.clone(),
            };
        output.line(format_args!("{name} = {value}  # {set_at}"))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
