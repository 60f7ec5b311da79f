//! `roomlog config`: prints a line of TOML for each setting, with its origin as a comment; one that has its
//! default is a comment as a whole. Rejects what `serve` would reject before it opens anything.

use clap::{ArgMatches, CommandFactory, parser::ValueSource};

use super::printer::Printer;
use crate::{
    cli::{Cli, ConfigArgs},
    failure::Failure,
    settings::Settings,
};

pub(crate) fn run(args: ConfigArgs, matches: &ArgMatches) -> Result<(), Failure> {
    let ConfigArgs { check, serve } = args;
    let file = serve.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let settings = serve.settings.over_file(serve.config.as_ref())?;
    settings.check()?;
    if check {
        settings.check_files()?;
        return Ok(());
    }
    let mut printer = Printer::new(false);
    let set = settings.table()?;
    for (name, value) in &set {
        let source = matches.subcommand().and_then(|(_, matches)| matches.value_source(name));
        let set_at = match source {
            Some(ValueSource::CommandLine) => format!("--{}", name.replace('_', "-")),
            Some(ValueSource::EnvVariable) => format!("ROOMLOG_{}", name.to_uppercase()),
            _ => file.clone(),
        };
        printer.line(format_args!("{name} = {value}  # {set_at}"))?;
    }
    for (name, default) in defaults() {
        if !set.contains_key(&name) {
            printer.line(format_args!("# {name} = {default}  # default"))?;
        }
    }
    printer.flush()
}

/// The settings with their defaults, as their help says them.
fn defaults() -> Vec<(String, String)> {
    let known = Settings::names();
    let all = Cli::command();
    let config = all.find_subcommand("config");
    let of_arg = |arg: &clap::Arg| {
        let name = arg.get_id().as_str();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default = help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        let default = default.map_or("none", |(default, _)| default).to_owned();
        known.contains(&name).then(|| (name.to_owned(), default))
    };
    config.into_iter().flat_map(|config| config.get_arguments()).filter_map(of_arg).collect()
}
