//! `roomlog doctor`: looks at what `serve` would use, and says what is wrong or may become so.
//!
//! Enters: the settings of `serve`; through them the machine, the data directory, a server that runs on it,
//! the NATS servers of a cluster. Leaves: a line for each finding on standard output, and exit code 1 if one
//! is a problem. Invariant: nothing is changed; a file is written, to time the disk, and removed.

mod machine;
mod server;

use std::{fmt::Display, process::ExitCode};

use super::printer::Printer;
use crate::{failure::Failure, serve::ServeArgs};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Good,
    Warning,
    Problem,
}

/// What was found about one part.
struct Finding {
    severity: Severity,
    about: &'static str,
    text: String,
}

impl Finding {
    fn good(about: &'static str, text: impl Display) -> Self {
        Self { severity: Severity::Good, about, text: text.to_string() }
    }

    fn warning(about: &'static str, text: impl Display) -> Self {
        Self { severity: Severity::Warning, about, text: text.to_string() }
    }

    fn problem(about: &'static str, text: impl Display) -> Self {
        Self { severity: Severity::Problem, about, text: text.to_string() }
    }
}

pub(crate) async fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    let mut report = Report { printer: Printer::new(false), has_problem: false };
    let checked = args.settings.over_file(args.config.as_ref());
    let checked = checked.and_then(|settings| settings.check().map(|()| settings));
    let settings = match checked {
        Ok(settings) => settings,
        // What is not known cannot be looked at.
        Err(why) => {
            report.add(&Finding::problem("settings", why))?;
            return report.finish();
        }
    };
    let set = match settings.table()?.len() {
        0 => "all have their defaults".to_owned(),
        set => format!("{set} of them set; `roomlog config` prints them"),
    };
    report.add(&Finding::good("settings", set))?;
    let running = server::data(&settings, &mut report).await?;
    machine::look(&settings, running, &mut report).await?;
    server::public(&settings, running, &mut report).await?;
    server::cluster(&settings, &mut report).await?;
    report.finish()
}

/// What is printed, as it is found: some looks take seconds.
struct Report {
    printer: Printer,
    has_problem: bool,
}

impl Report {
    fn add(&mut self, finding: &Finding) -> Result<(), Failure> {
        let Finding { severity, about, text } = finding;
        self.has_problem |= *severity == Severity::Problem;
        let name = match severity {
            Severity::Good => "ok",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        };
        self.printer.line(format_args!("{name:<8} {about:<12} {text}"))?;
        self.printer.flush()
    }

    fn finish(mut self) -> Result<ExitCode, Failure> {
        self.printer.flush()?;
        Ok(if self.has_problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
