//! `nextvision`: runs a site file, checks one, and shows how a running one fares.
//!
//! | file | does |
//! |---|---|
//! | `main.rs` | the command line and exit statuses |
//! | `run.rs`, `conduct.rs` | runs a site: what is done, and what is to be done when |
//! | `signals.rs`, `notify.rs` | signals; readiness, status and watchdog of systemd |
//! | `log/` | the log, GStreamer's included |
//! | `check.rs` | reads a site file and says what is wrong with it |
//! | `client.rs` | asks a running one |
//! | `status.rs`, `top.rs` | shows its state, once or again and again |
//! | `view.rs`, `table.rs`, `text.rs` | what is shown, as text that fits a terminal |

use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

mod check;
mod client;
mod conduct;
mod log;
mod notify;
mod run;
mod signals;
mod status;
mod table;
mod text;
mod top;
mod view;

/// Where a running one is asked, if nobody says.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9464";

const EXIT_STATUSES: &str = "\
Exit statuses:
  0    all is well: it ended as it should, the file is right, the runtime is healthy
  1    it failed, or is not healthy: the last line says why
  2    wrong command line or site file; for `status` and `top`, nobody answers at the address
  130  ended at once by a second signal, the second being SIGINT
  143  the same, the second being SIGTERM";

/// Runs many video feeds through shared models, as a site file says.
#[derive(Parser)]
#[command(name = "nextvision", version, after_help = EXIT_STATUSES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a site file until SIGINT or SIGTERM, then deliver what is on its way. SIGHUP reads the file again.
    #[command(after_help = EXIT_STATUSES)]
    Run(Run),
    /// Say what is wrong with a site file, or what would run. Starts nothing.
    #[command(after_help = EXIT_STATUSES)]
    Check {
        /// The site file.
        site: PathBuf,
    },
    /// Show the state of a running one.
    #[command(after_help = EXIT_STATUSES)]
    Status {
        #[command(flatten)]
        whom: Whom,
        /// Print all that is known, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the state of a running one, each second, until Ctrl-C.
    #[command(after_help = EXIT_STATUSES)]
    Top {
        #[command(flatten)]
        whom: Whom,
    },
}

#[derive(Args)]
struct Run {
    /// The site file.
    site: PathBuf,
    /// What is logged: a level, TARGET=LEVEL, gst=LEVEL, gst::CATEGORY=LEVEL, with commas between. Without it, what
    /// NV_LOG says, else info.
    #[arg(long, value_name = "FILTER")]
    log: Option<log::Filter>,
    /// How it is logged, on standard error.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = log::Format::Text)]
    log_format: log::Format,
    /// Where the page, /metrics and /health are, whatever the file says.
    #[arg(long, value_name = "HOST:PORT")]
    metrics_address: Option<SocketAddr>,
    /// What GStreamer logs, as in GST_DEBUG, which it replaces. Without both: 2, warnings.
    #[arg(long, value_name = "LEVELS")]
    gst_debug: Option<String>,
}

#[derive(Args)]
#[group(multiple = false)]
struct Whom {
    /// Where it answers (its metrics-address).
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_ADDRESS)]
    address: String,
    /// The site file it runs, which says where it answers.
    #[arg(long, value_name = "SITE")]
    site: Option<PathBuf>,
}

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// All is well.
    Well,
    /// It failed; what there is to say is said.
    Failed,
    /// What it was given is wrong, or nobody is there; for each line one on standard error.
    Wrong(Vec<String>),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Well => Self::SUCCESS,
            Outcome::Failed => Self::from(1),
            Outcome::Wrong(lines) => {
                lines.iter().for_each(|line| complain(line));
                Self::from(2)
            }
        }
    }
}

/// Writes a line to standard error. If nobody reads that, nothing can be done about it.
fn complain(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check { site } => check::check(&site),
        Command::Status { whom, json } => status::status(&whom, json),
        Command::Top { whom } => top::top(&whom),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_site_and_an_address_exclude_each_other() {
        assert!(Cli::try_parse_from(["nextvision", "status", "--site", "a", "--address", "b:1"]).is_err());
        assert!(Cli::try_parse_from(["nextvision", "status", "--site", "a"]).is_ok());
        assert!(Cli::try_parse_from(["nextvision", "run", "a", "--log", "loud"]).is_err());
    }
}
