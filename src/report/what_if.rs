//! What a run's length would have been if nodes had been different: by name, several changes together.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::AllowedRow;
use super::analysed::Analysed;
use super::booking::NodeIx;
use super::build::{ReportOptions, rows_of};
use super::what_if_cost::{CostWhatIf, ModelSwitch, on_another_model};
use crate::analysis::replay::{Changes, Scale};
use crate::run::{Run, RunOptions, SpanIx};
use crate::run_assembler::FinishedRun;
use crate::time::Duration;

/// Something different about the executions of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Their own time is so many times shorter; below 1, longer.
    Faster {
        /// The node.
        node: String,
        /// How many times.
        times: f64,
        /// Whether that goes for everything inside them as well.
        with_below: bool,
    },
    /// They and everything inside them are not there.
    Remove {
        /// The node.
        node: String,
    },
    /// All but the first few are answered from a cache, at once.
    Cache {
        /// The node.
        node: String,
        /// How many have to run.
        misses: u64,
    },
    /// At most so many of those under one parent run at once, each as soon as there is room.
    AtOnce {
        /// The node.
        node: String,
        /// How many.
        limit: u64,
    },
    /// They run as soon as they are there.
    NoQueueing {
        /// The node.
        node: String,
    },
    /// Those under one parent, of all these nodes, start together with the first of them.
    Together {
        /// The nodes.
        nodes: Vec<String>,
    },
}

/// What a run would have been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    /// How long it was.
    pub wall_ns: Duration,
    /// How long it would have been.
    pub new_wall_ns: Duration,
    /// What that saves; zero if it takes longer.
    pub saves_ns: Duration,
    /// The nodes on the critical path that it would have had, in order of first appearance, with their time.
    pub path: Vec<AllowedRow>,
    /// The node with the most time on that path: what to look at next.
    pub next: Option<String>,
}

/// The name of the JSON form of a [`WhatIfAnswer`] and its major version.
pub const SCHEMA: &str = "longpole.whatif/1";

/// What was asked about a run, and the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhatIfAnswer {
    /// [`SCHEMA`].
    pub schema: String,
    /// The run's id: its trace and its root span.
    pub run: String,
    /// What is different, all of it together.
    pub changes: Vec<Change>,
    /// How long it would have been; absent where nothing that takes time is different.
    pub time: Option<WhatIf>,
    /// Which calls go to another model.
    pub switch: Option<ModelSwitch>,
    /// What it would have cost; absent where no call does.
    pub cost: Option<CostWhatIf>,
}

/// Answers both questions about one run.
///
/// # Errors
/// As [`what_if`] and [`on_another_model`].
pub fn answer(
    run: FinishedRun,
    changes: &[Change],
    switch: Option<&ModelSwitch>,
    options: &ReportOptions,
) -> Result<WhatIfAnswer, WhatIfError> {
    let cost = match switch {
        Some(switch) => Some(on_another_model(run.clone(), switch, options)?),
        None => None,
    };
    let whole = Run::with_options(run.records.clone(), &options.run).ok_or(WhatIfError::NoSpans)?;
    let root = &whole.span(whole.root).record;
    let id = format!("{}-{}", root.trace_id, root.span_id);
    let time = match changes {
        [] => None,
        changes => Some(what_if(run, changes, &options.run)?),
    };
    Ok(WhatIfAnswer {
        schema: SCHEMA.to_owned(),
        run: id,
        changes: changes.to_vec(),
        time,
        switch: switch.cloned(),
        cost,
    })
}

/// A change cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WhatIfError {
    /// There is nothing to change.
    #[error("the run has no spans")]
    NoSpans,
    /// No node goes by that name.
    #[error("no node {name:?} in this run{}", did_you_mean(.near))]
    NoSuchNode {
        /// The name.
        name: String,
        /// Nodes with names like it.
        near: Vec<String>,
    },
    /// No call was of that model.
    #[error("no call of a model {name:?} in this run{}", did_you_mean(.near))]
    NoSuchModel {
        /// The name.
        name: String,
        /// Models with names like it.
        near: Vec<String>,
    },
    /// The factor is no positive number.
    #[error("{times} times faster is no change: expected a number above 0")]
    NoFactor {
        /// The factor.
        times: f64,
    },
}

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}

/// How many near names an error tells.
const MAX_NEAR: usize = 3;

/// Replays a run with changes, all of them together.
///
/// A prediction under the order that was declared or seen; see [`replay`](crate::analysis::replay). O(n log n).
///
/// # Errors
/// [`WhatIfError`] if the run is empty, a node is not in it, or a factor is no positive number.
///
/// ```
/// # use longpole::run_assembler::{AssemblerConfig, RunAssembler};
/// # use longpole::time::Timestamp;
/// use longpole::report::what_if::{Change, what_if};
///
/// # let file = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[
/// #   {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","name":"job",
/// #    "startTimeUnixNano":"0","endTimeUnixNano":"100"},
/// #   {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b8","parentSpanId":"00f067aa0ba902b7",
/// #    "name":"fetch","startTimeUnixNano":"10","endTimeUnixNano":"90"}
/// # ]}]}]}"#;
/// # let mut assembler = RunAssembler::new(AssemblerConfig::default());
/// # for span in longpole::decode::decode(file).unwrap().spans {
/// #     assembler.push(span, Timestamp::EPOCH).unwrap();
/// # }
/// # let run = assembler.finish().remove(0);
/// // A run of 100 ns in which `fetch` takes 80.
/// let change = Change::Faster { node: "fetch".to_owned(), times: 2.0, with_below: false };
/// let answer = what_if(run, &[change], &Default::default())?;
/// assert_eq!(answer.new_wall_ns.as_nanos(), 60);
/// # Ok::<(), longpole::report::what_if::WhatIfError>(())
/// ```
pub fn what_if(run: FinishedRun, changes: &[Change], options: &RunOptions) -> Result<WhatIf, WhatIfError> {
    let run = Run::with_options(run.records, options).ok_or(WhatIfError::NoSpans)?;
    let analysed = Analysed::of(&run);
    let mut all = Changes::default();
    for change in changes {
        add(&analysed, change, &mut all)?;
    }
    let segments = analysed.graph.replayed_path(&all).segments;
    // The path of a replay is as long as the replay.
    let new_wall_ns: Duration = segments.iter().map(|segment| segment.length).sum();
    let path = rows_of(&analysed, &segments);
    let nodes = path.iter().rev().filter(|row| row.node.is_some());
    let next = nodes.max_by_key(|row| row.duration_ns).and_then(|row| row.node.clone());
    Ok(WhatIf {
        wall_ns: run.wall(),
        new_wall_ns,
        saves_ns: run.wall().saturating_sub(new_wall_ns),
        path,
        next,
    })
}

fn add(analysed: &Analysed<'_>, change: &Change, all: &mut Changes) -> Result<(), WhatIfError> {
    let executions = |name: &str| Ok(analysed.blocking_executions(node_named(analysed, name)?));
    match change {
        Change::Faster { node, times, with_below } => {
            let scale = scale(*times)?;
            if *with_below {
                let executions = executions(node)?;
                executions.into_iter().for_each(|ix| all.scale_with_below(analysed.run, ix, scale));
            } else {
                analysed.spans_of(node_named(analysed, node)?).for_each(|ix| all.scale(ix, scale));
            }
        }
        Change::Remove { node } => {
            let executions = executions(node)?;
            executions.into_iter().for_each(|ix| all.scale_with_below(analysed.run, ix, Scale::FREE));
        }
        Change::Cache { node, misses } => {
            let misses = usize::try_from(*misses).unwrap_or(usize::MAX);
            let hits = executions(node)?.into_iter().skip(misses);
            hits.for_each(|ix| all.scale_with_below(analysed.run, ix, Scale::FREE));
        }
        Change::AtOnce { node, limit } => {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            for set in sets(analysed, executions(node)?) {
                all.limit(set, limit);
            }
        }
        Change::NoQueueing { node } => executions(node)?.into_iter().for_each(|ix| all.unqueue(ix)),
        Change::Together { nodes } => {
            let mut together = Vec::new();
            for node in nodes {
                together.extend(executions(node)?);
            }
            for mut set in sets(analysed, together) {
                set.sort_by_key(|ix| (analysed.run.span(*ix).clipped.start, *ix));
                if let [first, rest @ ..] = &set[..] {
                    rest.iter().for_each(|ix| all.start_with(*ix, *first));
                }
            }
        }
    }
    Ok(())
}

/// The executions under one parent together, in order of the parents.
fn sets(analysed: &Analysed<'_>, executions: Vec<SpanIx>) -> Vec<Vec<SpanIx>> {
    let mut at: HashMap<Option<SpanIx>, usize> = HashMap::new();
    let mut sets: Vec<Vec<SpanIx>> = Vec::new();
    for ix in executions {
        let set = *at.entry(analysed.run.span(ix).parent).or_insert_with(|| {
            sets.push(Vec::new());
            sets.len() - 1
        });
        sets[set].push(ix);
    }
    sets
}

fn scale(times: f64) -> Result<Scale, WhatIfError> {
    const UNIT: f64 = 1e6;
    let most = f64::from(u32::MAX);
    if !times.is_finite() || times <= 0.0 {
        return Err(WhatIfError::NoFactor { times });
    }
    Ok(if times.fract() == 0.0 && times <= most {
        Scale::faster(times as u32)
    } else if times * UNIT <= most {
        Scale { num: UNIT as u32, den: ((times * UNIT).round() as u32).max(1) }
    } else {
        Scale { num: (UNIT / times).round() as u32, den: UNIT as u32 }
    })
}

pub(super) fn node_named(analysed: &Analysed<'_>, name: &str) -> Result<NodeIx, WhatIfError> {
    let nodes = &analysed.booking.nodes;
    nodes.iter().position(|tally| &*tally.name == name).ok_or_else(|| {
        let names = nodes.iter().map(|tally| &*tally.name);
        WhatIfError::NoSuchNode { name: name.to_owned(), near: near(name, names) }
    })
}

/// The first few of `names` that look like `name`.
pub(crate) fn near<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let lower = name.to_lowercase();
    let is_near = |other: &&str| {
        let other = other.to_lowercase();
        other.contains(&lower) || lower.contains(&other) || distance(&lower, &other) <= 2
    };
    names.filter(is_near).take(MAX_NEAR).map(str::to_owned).collect()
}

/// How many letters have to be put in, left out or changed to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (j, right) in b.iter().enumerate() {
            let above = row[j + 1];
            let changed = diagonal + usize::from(left != *right);
            diagonal = above;
            row[j] = before;
            before = changed.min(above + 1).min(before + 1);
        }
        row[b.len()] = before;
    }
    row.last().copied().unwrap_or(0)
}
