//! `roomlog completions` and `roomlog man`: made from the command line that `clap` parses.
//!
//! Enters: a shell, or the name of a command. Leaves: a script, or a page in roff, on standard output.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_mangen::Man;

use crate::{
    cli::{Cli, CompletionsArgs, ManArgs},
    failure::Failure,
    names,
};

/// Prints the script for a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    // In memory first: the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "roomlog", &mut script);
    print(&script)
}

/// Prints a page. Fails if there is no such command.
pub(crate) fn page(args: &ManArgs) -> Result<(), Failure> {
    let mut all = Cli::command();
    all.build();
    let command = match &args.command {
        None => all,
        Some(name) => match all.find_subcommand(name) {
            // Its name in the page is `roomlog-serve`.
            Some(found) => found.clone(),
            None => {
                let known: Vec<_> = all.get_subcommands().map(clap::Command::get_name).collect();
                let hint = names::did_you_mean(name, known.iter().copied());
                return Err(Failure::usage(format!(
                    "{name:?} is no command of roomlog{hint}; they are {}",
                    known.join(", ")
                )));
            }
        },
    };
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    print(&page)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    Ok(out.flush()?)
}
