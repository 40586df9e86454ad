//! `longpole.toml`: defaults for options.
//!
//! A file that lies in a folder somebody enters may be anybody's. So it can set what says how runs are read and told,
//! but nothing that writes, removes or runs.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Arg, Command, CommandFactory, ValueHint};
use toml::{Table, Value};

use crate::args::Args;
use crate::context::Context;
use crate::failure::Failure;

const NAME: &str = "longpole.toml";

/// The options a file can set, by the headings they stand under in the help.
const HEADINGS: [&str; 3] = ["Global options", "How runs are read", "What is told"];
/// Except where the file itself is.
const ITSELF: &str = "config";

/// What a file sets: values by the long names of options.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    path: PathBuf,
    values: Vec<(String, Vec<String>)>,
}

/// Reads the file that counts here: the one that is named, else the nearest `longpole.toml` upwards, else the one in
/// the configuration folder; none of them sets nothing.
pub(crate) fn defaults(context: &Context) -> Result<Defaults, Failure> {
    let path = match &context.config {
        Some(path) if path.as_os_str().is_empty() => return Ok(Defaults::default()),
        Some(path) => path.clone(),
        None => match found(context) {
            Some(path) => path,
            None => return Ok(Defaults::default()),
        },
    };
    if context.verbose {
        context.warn("note", &format!("options are set in {}", path.display()));
    }
    let read = || -> anyhow::Result<Defaults> { Defaults::read(&path, &fs::read_to_string(&path)?) };
    read().with_context(|| format!("cannot read {}", path.display())).map_err(|error| {
        let help = "it holds lines such as width = 100, for options under these headings of --help:";
        Failure::could_not(error, format!("{help}\n      {}", HEADINGS.join(", ")))
    })
}

fn found(context: &Context) -> Option<PathBuf> {
    let here = env::current_dir().ok();
    let upwards = here.iter().flat_map(|here| here.ancestors()).map(|folder| folder.join(NAME));
    for path in upwards {
        match belongs_to_us(&path) {
            Ok(true) => return Some(path),
            Ok(false) => context.warn(
                "note",
                &format!("{} is somebody else's and is left alone; --config uses it", path.display()),
            ),
            Err(_) => {}
        }
    }
    let folder = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")))?;
    let path = folder.join("longpole").join(NAME);
    path.is_file().then_some(path)
}

/// Whether a file is there and was put there by who runs this, or by the machine's owner.
fn belongs_to_us(path: &Path) -> io::Result<bool> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    #[cfg(unix)]
    {
        let owner = std::os::unix::fs::MetadataExt::uid(&about);
        Ok(owner == rustix::process::geteuid().as_raw() || owner == 0)
    }
    #[cfg(not(unix))]
    Ok(true)
}

impl Defaults {
    /// Reads the text of a file at `path`; paths in it are meant from its folder.
    fn read(path: &Path, text: &str) -> anyhow::Result<Defaults> {
        let table: Table = text.parse()?;
        let command = Args::command();
        let known: Vec<&Arg> = options(&command).collect();
        let mut values = Vec::new();
        for (name, value) in table {
            let arg = known.iter().find(|arg| arg.get_long() == Some(name.as_str()));
            let Some(arg) = arg else { return Err(unknown(&name, &known)) };
            let is_path = matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath);
            let folder = path.parent().filter(|_| is_path);
            let in_folder = |text: String| match folder {
                Some(folder) => folder.join(text).to_string_lossy().into_owned(),
                None => text,
            };
            let texts = texts(&name, value)?.into_iter().map(in_folder).collect();
            values.push((name, texts));
        }
        Ok(Defaults { path: path.to_owned(), values })
    }

    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The command with these defaults. What is typed or stands in a variable goes before them.
    pub(crate) fn apply(&self, command: Command) -> Command {
        if self.values.is_empty() {
            return command;
        }
        let set = |arg: Arg| {
            let value = self.values.iter().find(|(name, _)| can_be_set(&arg) && arg.get_long() == Some(name));
            match value {
                Some((_, texts)) => arg.default_values(texts.clone()),
                None => arg,
            }
        };
        command.mut_args(set).mut_subcommands(|command| self.apply(command))
    }

    /// One of the values is none the option can take.
    pub(crate) fn failure(&self, what: String) -> Failure {
        let error = anyhow!(what).context(format!("cannot use {}", self.path.display()));
        Failure::could_not(error, "mend the file, or leave it out: --config ''")
    }
}

/// The options of all commands that a file can set.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let all = std::iter::once(command).chain(command.get_subcommands());
    all.flat_map(Command::get_arguments).filter(|arg| can_be_set(arg))
}

fn can_be_set(arg: &Arg) -> bool {
    let is_told = arg.get_help_heading().is_some_and(|heading| HEADINGS.contains(&heading));
    is_told && arg.get_long() != Some(ITSELF)
}

/// A value as it would be typed; a table as one NAME=VALUE for each of its rows.
fn texts(name: &str, value: Value) -> anyhow::Result<Vec<String>> {
    let one = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(is) => Ok(is.to_string()),
        other => Err(anyhow!("{name} cannot be {}", other.type_str())),
    };
    match value {
        Value::Array(values) => values.into_iter().map(one).collect(),
        Value::Table(rows) => {
            rows.into_iter().map(|(key, value)| Ok(format!("{key}={}", one(value)?))).collect()
        }
        value => Ok(vec![one(value)?]),
    }
}

fn unknown(name: &str, known: &[&Arg]) -> anyhow::Error {
    let likeness = |arg: &&Arg| strsim::jaro_winkler(name, arg.get_long().unwrap_or_default());
    let nearest = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|arg| likeness(arg) >= 0.8).and_then(Arg::get_long) {
        Some(near) => anyhow!("{name} is no option that can be set there; near it is {near}"),
        None => anyhow!("{name} is no option that can be set there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command as Chosen;
    use clap::FromArgMatches;

    fn parsed(defaults: &Defaults, words: &[&str]) -> Args {
        let matches = defaults.apply(Args::command()).try_get_matches_from(words).unwrap();
        Args::from_arg_matches(&matches).unwrap()
    }

    fn read(text: &str) -> anyhow::Result<Defaults> {
        Defaults::read(Path::new("/team/longpole.toml"), text)
    }

    #[test]
    fn a_file_sets_what_is_not_typed_and_its_paths_are_meant_from_its_folder() {
        let defaults = read("width = 100\nascii = true\nstore = 'runs.db'\n").unwrap();
        let args = parsed(&defaults, &["longpole", "show", "--width", "72"]);
        assert_eq!(args.context.width, Some(72));
        assert!(args.context.ascii);
        if std::env::var_os("LONGPOLE_STORE").is_none() {
            assert_eq!(args.context.store.as_deref(), Some(Path::new("/team/runs.db")));
        }
    }

    #[test]
    fn a_table_sets_an_option_that_is_given_once_per_row() {
        let defaults = read("blocking = '20ms'\n[sla]\n'chat gpt-4o' = '5s'\nfetch = '2s'\n").unwrap();
        let args = parsed(&defaults, &["longpole", "show"]);
        let Some(Chosen::Show(show)) = args.command else { panic!("{args:?}") };
        let options = show.analysis.options().unwrap_or_else(|failure| panic!("{failure:?}"));
        let slas: Vec<_> = options.slas.iter().map(|(node, time)| (node.as_str(), time.as_nanos())).collect();
        assert_eq!(slas, [("chat gpt-4o", 5_000_000_000), ("fetch", 2_000_000_000)]);
        assert_eq!(options.blocking_threshold.as_nanos(), 20_000_000);
    }

    #[test]
    fn nothing_that_writes_or_removes_can_be_set_and_a_near_name_is_told() {
        for name in ["output", "yes", "keep", "config", "out", "workflow"] {
            let error = read(&format!("{name} = '/etc/passwd'")).unwrap_err();
            assert!(error.to_string().contains("can be set"), "{name}: {error}");
        }
        assert!(read("widht = 3").unwrap_err().to_string().ends_with("near it is width"));
        assert!(read("width = 1979-05-27").unwrap_err().to_string().contains("width cannot be datetime"));
        assert!(read("width = ").is_err());
    }
}
