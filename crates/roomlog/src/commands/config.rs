//! `roomlog config`: prints one line of TOML for each setting that was set, with its origin as a
//! comment. Rejects what `serve` would reject before it opens anything.

use clap::{ArgMatches, parser::ValueSource};

use super::printer::Printer;
use crate::{failure::Failure, serve::ServeArgs};

pub(crate) fn run(args: ServeArgs, matches: &ArgMatches) -> Result<(), Failure> {
    let file = args.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let settings = args.settings.over_file(args.config.as_ref())?;
    settings.check()?;
    let mut printer = Printer::new(false);
    for (name, value) in settings.table()? {
        let source = matches.subcommand().and_then(|(_, matches)| matches.value_source(&name));
        let set_at = match source {
            Some(ValueSource::CommandLine) => format!("--{}", name.replace('_', "-")),
            Some(ValueSource::EnvVariable) => format!("ROOMLOG_{}", name.to_uppercase()),
            _ => file.clone(),
        };
        printer.line(format_args!("{name} = {value}  # {set_at}"))?;
    }
    printer.flush()
}
