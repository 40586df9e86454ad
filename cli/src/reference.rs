//! `docs/cli.md`: every command and option, made of the very definitions that read the command line.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use crate::args::Args;

const ABOUT: &str = "\
# The command line

Every command and option of `longpole`. This page is made of the definitions that read the command line; `longpole man`
prints the same as manual pages, `longpole COMMAND --help` for one command, and `longpole completions SHELL` makes a shell
complete commands, runs, workflows, nodes and codes.

## Exit status

| status | meaning |
|--:|:--|
| 0 | done, gates passed |
| 1 | could not do it: a file, a port, something that cannot be read |
| 2 | wrong usage |
| 3 | a gate failed; the report is written all the same |
| 4 | nothing there: no such run, no spans |
| 130 | interrupted; `run` reports on what had come by then |
| other | `run`: the command's own status if it failed, 128 and the signal if one killed it |

What went wrong is on standard error: `error:` what, `caused by:` why, `help:` what to type instead. A reader that goes
away, as `head` does, is no error.

## Configuration

`longpole.toml` sets options for all commands: the nearest one upwards from the folder you are in, else
`longpole/longpole.toml` in `$XDG_CONFIG_HOME` or `~/.config`; `--config FILE` or `LONGPOLE_CONFIG` names another, and
an empty name none. What is typed goes before a variable, and a variable before the file.

```toml
store = \"runs.db\"          # paths are meant from the file's folder
width = 100
prices = \"team-prices.json\"

[sla]
draft = \"5s\"
```

It can set the options under *Global options*, *How runs are read* and *What is told*, which all say how things are read
and told. What writes, removes or runs something cannot be set there, and a file of somebody else's is left alone.
";

/// Headings of options that several commands have.
const SHARED: [&str; 2] = ["How runs are read", "What is told"];

/// The page.
fn page() -> String {
    let mut command = Args::command().term_width(0);
    command.build();
    let mut page = ABOUT.to_owned();
    let is_global = |arg: &&Arg| arg.get_help_heading() == Some("Global options");
    page += "\n## Global options\n\nEvery command has them.\n\n";
    page += &table(command.get_arguments().filter(is_global));
    for heading in SHARED {
        shared(&mut page, &command, heading);
    }
    let is_told_above = |arg: &&Arg| {
        is_global(arg) || arg.get_help_heading().is_some_and(|heading| SHARED.contains(&heading))
    };
    for command in command.get_subcommands() {
        section(&mut page, command, is_told_above);
    }
    page
}

/// Options that several commands have, told once.
fn shared(page: &mut String, command: &Command, heading: &str) {
    let under = |arg: &&Arg| arg.get_help_heading() == Some(heading);
    let having: Vec<&Command> =
        command.get_subcommands().filter(|it| it.get_arguments().any(|arg| under(&arg))).collect();
    let names: Vec<String> = having.iter().map(|it| format!("`{}`", it.get_name())).collect();
    let Some(first) = having.first() else { return };
    let _ = writeln!(page, "\n## {heading}\n\nOptions of {}.\n", names.join(", "));
    *page += &table(first.get_arguments().filter(under));
}

fn section(page: &mut String, command: &Command, is_told_above: impl Fn(&&Arg) -> bool) {
    let _ = writeln!(page, "\n## longpole {}\n", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let _ = writeln!(page, "{}\n", about.unwrap_or_default());
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(page, "```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    let own = |arg: &&Arg| !is_told_above(arg) && arg.get_id() != "help" && !arg.is_hide_set();
    *page += &table(command.get_arguments().filter(own));
    let Some(after) = command.get_after_long_help().map(ToString::to_string) else { return };
    let (examples, rest) = after.split_once("\n\n").unwrap_or((&after, ""));
    let examples = examples.strip_prefix("Examples:\n").unwrap_or(examples);
    // What is said beside a command is a comment in a shell.
    let line = |line: &str| match line.trim().split_once("  ") {
        Some((command, said)) => format!("{command:<46} # {}", said.trim()),
        None => line.trim().to_owned(),
    };
    let lines = examples.lines().map(line);
    let _ = writeln!(page, "\n```sh\n{}\n```", lines.collect::<Vec<_>>().join("\n"));
    if !rest.is_empty() {
        let _ = writeln!(page, "\n{rest}");
    }
}

fn table<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let rows: Vec<String> = args.map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("| option | meaning |\n|:--|:--|\n{}", rows.concat())
}

fn row(arg: &Arg) -> String {
    let values = || {
        let names = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
        names.collect::<Vec<_>>().join(" ")
    };
    let takes_value = arg.get_action().takes_values();
    let long = arg.get_long().map(|long| match takes_value {
        true => format!("--{long} {}", values()),
        false => format!("--{long}"),
    });
    let short = arg.get_short().map(|short| format!("-{short}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let name = if arg.is_positional() { values() } else { names.join(", ") };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut more = Vec::new();
    let choices: Vec<String> = match takes_value {
        true => arg.get_possible_values().iter().map(|it| format!("`{}`", it.get_name())).collect(),
        false => Vec::new(),
    };
    if !choices.is_empty() {
        more.push(format!("one of {}", choices.join(", ")));
    }
    let defaults =
        arg.get_default_values().iter().map(|it| it.to_string_lossy()).collect::<Vec<_>>().join(" ");
    if takes_value && !defaults.is_empty() {
        more.push(format!("default `{defaults}`"));
    }
    if let Some(variable) = arg.get_env() {
        more.push(format!("variable `{}`", variable.to_string_lossy()));
    }
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    let cell = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    format!("| `{}` | {} |\n", cell(&name), cell(&format!("{help}{more}")))
}

/// Every option that is told says what it does, and every command has examples, which are read without complaint.
#[test]
fn every_command_has_examples_that_can_be_typed_and_every_option_has_a_word_of_help() {
    let mut command = Args::command();
    command.build();
    for command in command.get_subcommands() {
        let name = command.get_name();
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n  "), "{name}: after_long_help begins with examples");
        assert!(command.get_after_help().is_none(), "{name}: -h is short, examples are for --help");
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{name}: {} has no help", arg.get_id());
        }
    }
    let whole = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let pages = command.get_subcommands().filter_map(Command::get_after_long_help).map(ToString::to_string);
    let lines: Vec<String> = pages.chain([whole, crate::args::SHORT_HELP.to_owned()]).collect();
    let mut typed = 0;
    for line in lines.iter().flat_map(|page| page.lines()).filter(|line| line.starts_with("  longpole ")) {
        // What the shell does with it, and what is said beside it, is not the command.
        let line = line.trim().split(" | ").next().unwrap_or_default();
        let line = line.split("  ").next().unwrap_or_default();
        let words = line.split(' ').take_while(|word| ![">", "<"].contains(word));
        let words: Vec<String> = words.map(|word| word.trim_matches('\'').to_owned()).collect();
        if let Err(error) = Args::command().try_get_matches_from(&words) {
            panic!("{line}\n{error}");
        }
        typed += 1;
    }
    assert!(typed > 20, "{typed}");
}

#[test]
fn the_page_about_the_command_line_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/cli.md is stale: UPDATE_DOCS=1 cargo test -p longpole-cli --bin longpole");
}
