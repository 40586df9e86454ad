//! The options every command has: where runs are kept, and what the terminal is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anstream::ColorChoice;
use clap::builder::{OsStringValueParser, TypedValueParser};
use longpole::render::TextStyle;

use crate::args::Color;
use crate::output;

/// Options that mean the same for every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Context {
    /// The file runs are kept in [default: longpole/runs.db in $XDG_STATE_HOME, else in ~/.local/state]
    #[arg(long, global = true, env = "LONGPOLE_STORE", hide_env_values = true, value_name = "PATH")]
    pub(crate) store: Option<PathBuf>,

    /// Whether to colour the text; `auto` asks the terminal, NO_COLOR and CLICOLOR_FORCE
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,

    /// Use ASCII characters only; the default where the locale is not UTF-8
    #[arg(long, global = true)]
    pub(crate) ascii: bool,

    /// Columns of the text, 60 to 200 [default: the terminal's, else 80]
    #[arg(long, global = true, value_name = "COLUMNS")]
    pub(crate) width: Option<usize>,

    /// A file with defaults for options [default: the nearest longpole.toml upwards, else longpole/longpole.toml in
    /// $XDG_CONFIG_HOME or ~/.config]; none if empty
    #[arg(long, global = true, env = "LONGPOLE_CONFIG", hide_env_values = true, value_parser = OsStringValueParser::new().map(PathBuf::from), value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Say nothing on standard error but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Say more on standard error
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Whether spans keep the attributes they were made of, for commands that write them again.
    #[arg(skip)]
    pub(crate) keeps_attributes: bool,

    /// Whether it was said that text is drawn in ASCII; said once, however often it is drawn.
    #[arg(skip)]
    pub(crate) ascii_told: Arc<AtomicBool>,
}

impl Context {
    /// How text is drawn for this terminal and these options.
    pub(crate) fn text_style(&self) -> TextStyle {
        output::text_style(self)
    }

    /// Whether text on standard output is coloured.
    pub(crate) fn color_choice(&self) -> ColorChoice {
        output::color_choice(self.color)
    }

    /// Says something on standard error, as it is, unless nothing is to be said.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            crate::failure::say(text);
        }
    }

    /// Says on standard error that something is odd, unless nothing is to be said; the command goes on.
    pub(crate) fn warn(&self, kind: &str, text: &str) {
        if !self.quiet {
            crate::failure::warn(kind, text);
        }
    }
}
