//! The options that say how runs are read and what is told about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use longpole::ReportOptions;
use longpole::ids::SpanId;
use longpole::prices::PriceTable;
use longpole::run::{self, RunOptions, Skew, Tolerance};

use crate::failure::Failure;

/// How runs are read. The defaults claim least.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How runs are read")]
pub(crate) struct AnalysisArgs {
    /// What a parent did about children that ended after it: waited for what they did while it was open (clip), left
    /// them to an ancestor that was open longer (inherit), or waited for nothing they did (drop)
    #[arg(long, hide_short_help = true, value_enum, default_value_t = AsyncChildren::Clip, value_name = "HOW")]
    async_children: AsyncChildren,

    /// Where spans go whose parent is missing: under the root, if there is one (adopt), beside it (root), or out (drop)
    #[arg(long, hide_short_help = true, value_enum, default_value_t = Orphans::Adopt, value_name = "WHERE")]
    orphans: Orphans,

    /// Whether to clip children on other hosts to their parents (clip), or to move those that do not fit to the
    /// middle of them (center)
    #[arg(long, hide_short_help = true, value_enum, default_value_t = SkewKind::Clip, value_name = "HOW")]
    skew: SkewKind,

    /// With --skew center: the longest move that is made [default: any]
    #[arg(long, hide_short_help = true, value_parser = humantime::parse_duration, value_name = "TIME")]
    max_skew: Option<Duration>,

    /// Whether links between siblings say that one waited for the other
    #[arg(long, hide_short_help = true, value_enum, default_value_t = Links::Ignore, value_name = "HOW")]
    links: Links,

    /// How much a span may overlap the one that waited for it: a time, or a part of their parent such as 0.1%
    #[arg(long, hide_short_help = true, value_parser = tolerance, default_value = "0s", value_name = "TIME|PERCENT")]
    overlap_tolerance: Tolerance,

    /// Report on this span and what is below it only
    #[arg(long, hide_short_help = true, value_parser = span_id, value_name = "SPAN")]
    pub(crate) root: Option<SpanId>,

    /// How long a node may take on average: `draft=5s`; can be given again
    #[arg(long = "sla", value_parser = sla, value_name = "NODE=TIME", help_heading = "What is told")]
    slas: Vec<(String, Duration)>,

    /// How long any other node may take on average
    #[arg(long, value_parser = positive, value_name = "TIME", help_heading = "What is told")]
    slow: Option<Duration>,

    /// A span that keeps its thread so long without a break blocks it
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10ms", value_name = "TIME", help_heading = "What is told")]
    blocking: Duration,

    /// Also tell nodes whose P99 is more than twice their mean, or whose longest execution is more than five times
    /// their shortest
    #[arg(long, help_heading = "What is told")]
    simple_variance: bool,

    /// The share of all node time from which a node is a bottleneck in the summary, in percent
    #[arg(long, default_value_t = 50.0, value_name = "PERCENT", help_heading = "What is told")]
    threshold: f64,

    /// A file with earlier runs of the same workflows, oldest first: what is usual; can be given again
    #[arg(long, value_name = "FILE", help_heading = "What is told")]
    pub(crate) history: Vec<PathBuf>,

    /// A file with the prices of models, for calls that do not say what they cost [default: the table inside]
    #[arg(
        long,
        env = "LONGPOLE_PRICES",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "What is told"
    )]
    prices: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AsyncChildren {
    Clip,
    Inherit,
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Orphans {
    Adopt,
    Root,
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SkewKind {
    Clip,
    Center,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Links {
    Ignore,
    AsDeps,
}

impl AnalysisArgs {
    /// What the library is to do.
    pub(crate) fn options(&self) -> Result<ReportOptions, Failure> {
        Ok(ReportOptions {
            prices: self.prices.as_deref().map(read_prices).transpose()?,
            bottleneck_threshold_percent: self.threshold,
            run: self.run_options(),
            slas: self
                .slas
                .iter()
                .map(|(node, time)| (node.clone(), (*time).into()))
                .collect::<BTreeMap<_, _>>(),
            slow_threshold: self.slow.map(Into::into),
            blocking_threshold: self.blocking.into(),
            simple_variance_rules: self.simple_variance,
            ..ReportOptions::default()
        })
    }

    fn run_options(&self) -> RunOptions {
        let max = self.max_skew.unwrap_or(Duration::MAX).into();
        RunOptions {
            async_children: match self.async_children {
                AsyncChildren::Clip => run::AsyncChildren::Clip,
                AsyncChildren::Inherit => run::AsyncChildren::Inherit,
                AsyncChildren::Drop => run::AsyncChildren::Drop,
            },
            orphans: match self.orphans {
                Orphans::Adopt => run::Orphans::Adopt,
                Orphans::Root => run::Orphans::Root,
                Orphans::Drop => run::Orphans::Drop,
            },
            skew: match self.skew {
                SkewKind::Clip => Skew::Clip,
                SkewKind::Center => Skew::Center { max },
            },
            links: match self.links {
                Links::Ignore => run::Links::Ignore,
                Links::AsDeps => run::Links::AsDeps,
            },
            overlap_tolerance: self.overlap_tolerance,
        }
    }
}

/// The prices in a file.
fn read_prices(file: &Path) -> Result<PriceTable, Failure> {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let read = || -> anyhow::Result<PriceTable> {
        Ok(PriceTable::from_json_named(&std::fs::read_to_string(file)?, &name)?)
    };
    read().with_context(|| format!("cannot read prices from {}", file.display())).map_err(|error| {
        Failure::could_not(
            error,
            "docs/prices.md tells what such a file holds; without one the table inside is used",
        )
    })
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    let Some(percent) = text.strip_suffix('%') else {
        let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        return Ok(Tolerance::Absolute(time.into()));
    };
    match percent.trim().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => {
            Ok(Tolerance::PartsPerMillion((percent * 10_000.0).round() as u32))
        }
        _ => Err("expected a percentage between 0% and 100%".to_owned()),
    }
}

fn span_id(text: &str) -> Result<SpanId, String> {
    let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let id = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    id.map(|id| SpanId::from_bytes(id.to_be_bytes())).ok_or_else(|| "expected 16 hex digits".to_owned())
}

fn positive(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() { Err("expected a time above zero".to_owned()) } else { Ok(time) }
}

fn sla(text: &str) -> Result<(String, Duration), String> {
    // Node ids may hold an equals sign; times do not.
    let (node, time) = text.rsplit_once('=').ok_or("expected NODE=TIME, such as draft=5s")?;
    Ok((node.to_owned(), positive(time)?))
}
