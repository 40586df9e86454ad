//! Limits in a file: for every run, for those of a workflow, for nodes.
//!
//! ```toml
//! quality = "medium"            # every run
//!
//! [workflow.research-agent]
//! wall = "25s"
//! cost = "$0.10"
//!
//! [workflow.research-agent.node.draft]
//! p95 = "6s"
//! ```

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use longpole::gates::Gate;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;
use crate::runs::nearest;

const HELP: &str = "what may stand there: longpole explain budgets";

/// What may be said about a run, and the gate that it makes; the limit takes the place of the `_`.
const RUN_KEYS: [(&str, &str); 6] = [
    ("wall", "wall>_"),
    ("cost", "cost>_"),
    ("tokens", "tokens>_"),
    ("errors", "errors>_"),
    ("retries", "retries>_"),
    ("quality", "quality<_"),
];

/// The same about a node.
const NODE_KEYS: [(&str, &str); 10] = [
    ("sla", "avg>_"),
    ("p50", "p50>_"),
    ("p95", "p95>_"),
    ("p99", "p99>_"),
    ("max", "max>_"),
    ("total", "total>_"),
    ("cost", "cost>_"),
    ("share", "share>_"),
    ("cost_share", "cost_share>_"),
    ("calls", "calls>_"),
];

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// The file, for messages.
    name: String,
    /// For every run.
    all: Vec<Gate>,
    /// For those of a workflow.
    workflows: Vec<(String, Vec<Gate>)>,
}

/// What is wrong with a file, and in which line, from 1 on.
#[derive(Debug)]
struct WrongBudget {
    line: usize,
    what: String,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Budgets {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no such file: the line is told, and what may stand there.
    pub(crate) fn read(file: &Path) -> Result<Budgets, Failure> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read budgets from {name}"))
            .map_err(|error| Failure::could_not(error, HELP))?;
        let budgets = Budgets::parse(&text).map_err(|WrongBudget { line, what }| {
            Failure::could_not(anyhow!("{name}, line {line}: {what}"), HELP)
        })?;
        Ok(Budgets { name, ..budgets })
    }

    /// The gates for runs of a workflow.
    ///
    /// # Errors
    /// There are none: the name may be misspelt, and no limit would pass for a kept one.
    pub(crate) fn of(&self, workflow: &str) -> Result<Vec<Gate>, Failure> {
        let gates = self.gates_of(workflow);
        if gates.is_empty() {
            let names: Vec<&str> = self.workflows.iter().map(|(name, _)| name.as_str()).collect();
            let help = match names.is_empty() {
                true => HELP.to_owned(),
                false => format!("it has limits for {}", names.join(", ")),
            };
            let error = anyhow!("no limit for {workflow} in {}", self.name);
            return Err(Failure::nothing_there(error, help));
        }
        Ok(gates)
    }

    fn parse(text: &str) -> Result<Budgets, WrongBudget> {
        let wrong = |span: Range<usize>, what: String| {
            let before = text.get(..span.start).unwrap_or(text);
            WrongBudget { line: before.bytes().filter(|byte| *byte == b'\n').count() + 1, what }
        };
        let table = DeTable::parse(text).map_err(|error| {
            wrong(
                error.span().unwrap_or_default(),
                format!("no TOML: {}", error.message().replace('\n', ", ")),
            )
        })?;
        let reader = Reader { wrong: &wrong };
        let mut budgets = Budgets::default();
        for (key, value) in table.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("workflow", DeValue::Table(workflows)) => {
                    for (name, value) in workflows {
                        let DeValue::Table(limits) = value.get_ref() else {
                            let what = format!("workflow.{} is a table of limits", name.get_ref());
                            return Err(wrong(value.span(), what));
                        };
                        let mut gates = Vec::new();
                        for (key, value) in limits {
                            reader.limits(key, value, &mut gates)?;
                        }
                        budgets.workflows.push((name.get_ref().to_string(), gates));
                    }
                }
                _ => reader.limits(key, value, &mut budgets.all)?,
            }
        }
        Ok(budgets)
    }

    fn gates_of(&self, workflow: &str) -> Vec<Gate> {
        let own = self.workflows.iter().filter(|(name, _)| name == workflow).flat_map(|(_, gates)| gates);
        self.all.iter().chain(own).cloned().collect()
    }
}

struct Reader<'f> {
    wrong: &'f dyn Fn(Range<usize>, String) -> WrongBudget,
}

impl Reader<'_> {
    /// What a key says about runs: a limit, or those of nodes.
    fn limits(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Value<'_>,
        gates: &mut Vec<Gate>,
    ) -> Result<(), WrongBudget> {
        let nodes = match (key.get_ref().as_ref(), value.get_ref()) {
            ("node", DeValue::Table(nodes)) => nodes,
            ("node" | "workflow", _) => {
                let what = format!("{} is a table, such as [{0}.NAME]", key.get_ref());
                return Err((self.wrong)(value.span(), what));
            }
            _ => {
                gates.push(self.limit(key, value, &RUN_KEYS, "", ", node, workflow")?);
                return Ok(());
            }
        };
        for (node, value) in nodes {
            let DeValue::Table(limits) = value.get_ref() else {
                let what = format!("node.{} is a table of limits", node.get_ref());
                return Err((self.wrong)(value.span(), what));
            };
            for (key, value) in limits {
                gates.push(self.limit(key, value, &NODE_KEYS, &format!("node({}).", node.get_ref()), "")?);
            }
        }
        Ok(())
    }

    /// The gate that a key and its limit make.
    fn limit(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Value<'_>,
        keys: &[(&str, &str)],
        of: &str,
        others: &str,
    ) -> Result<Gate, WrongBudget> {
        let known = keys.iter().find(|(name, _)| *name == key.get_ref().as_ref());
        let (_, pattern) = known.ok_or_else(|| {
            let names: Vec<String> = keys.iter().map(|(name, _)| (*name).to_owned()).collect();
            let allowed = names.join(", ");
            let near = nearest(key.get_ref(), names);
            let hint = near.first().map(|name| format!(", did you mean {name}?")).unwrap_or_default();
            (self.wrong)(
                key.span(),
                format!("no limit {:?}{hint}; allowed: {allowed}{others}", key.get_ref()),
            )
        })?;
        let limit = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            other => {
                let what = format!(
                    "{} is {}, expected a text such as \"6s\", \"$0.10\" or \"40%\", or a whole number",
                    key.get_ref(),
                    article(other.type_str())
                );
                return Err((self.wrong)(value.span(), what));
            }
        };
        Gate::parse(&format!("{of}{}", pattern.replace('_', &limit)))
            .map_err(|error| (self.wrong)(value.span(), format!("{}: {}", key.get_ref(), error.problem)))
    }
}

fn article(word: &str) -> String {
    let letter = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{letter} {word}")
}

/// How many limits a file holds.
#[cfg(test)]
pub(crate) fn count(text: &str) -> Result<usize, String> {
    let budgets = Budgets::parse(text).map_err(|wrong| format!("{wrong:?}"))?;
    Ok(budgets.all.len() + budgets.workflows.iter().map(|(_, gates)| gates.len()).sum::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
quality = "medium"
retries = 0

[node.plan]
sla = "5s"

[workflow.research-agent]
wall = "25s"
cost = "$0.10"

[workflow.research-agent.node."execute_tool search (v2)"]
p95 = "6s"
share = "40%"
"#;

    fn told(text: &str) -> String {
        let wrong = Budgets::parse(text).unwrap_err();
        format!("line {}: {}", wrong.line, wrong.what)
    }

    #[test]
    fn limits_are_gates_on_what_is_beyond_them() {
        let budgets = Budgets::parse(FILE).unwrap();
        let of = |workflow: &str| {
            let mut gates: Vec<String> = budgets.gates_of(workflow).iter().map(ToString::to_string).collect();
            gates.sort();
            gates
        };
        assert_eq!(of("other"), ["node(plan).avg>5s", "quality<medium", "retries>0"]);
        assert_eq!(
            of("research-agent"),
            [
                "cost>$0.10",
                "node(execute_tool search (v2)).p95>6s",
                "node(execute_tool search (v2)).share>40%",
                "node(plan).avg>5s",
                "quality<medium",
                "retries>0",
                "wall>25s"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_is_allowed() {
        insta::assert_snapshot!(
            [
                "\nwall = \"25 parsecs\"",
                "wal = \"25s\"",
                "[node.plan]\n\np96 = \"5s\"",
                "node = 3",
                "[workflow.x.workflow.y]\nwall = \"1s\"",
                "[workflow]\nx = 1",
                "[node]\nplan = 5",
                "wall = 2.5",
                "wall = [",
                "retries = 0x10",
                "wall = \"+10%\"\ntokens = \"+10%\"",
            ]
            .map(told)
            .join("\n")
        );
    }
}
