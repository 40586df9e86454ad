//! Instruction counts against those that were committed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// A count this many per cent above the baseline fails, and one as far below asks for a new baseline.
pub const TOLERATED_PERCENT: f64 = 3.0;

/// In a thousand spans; an allocation more in each would be a thousand.
const FEW_ALLOCATIONS: u64 = 10;

/// Counts, and what they were counted with.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Baseline {
    /// Version of rustc.
    pub rust: String,
    /// What the programs were built for.
    pub target: String,
    /// What each case costs.
    pub cases: BTreeMap<String, Counts>,
}

/// What a span or a call costs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Counts {
    /// Instructions for one.
    pub instructions: u64,
    /// Allocations for a thousand, where they are looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocations_per_1000: Option<u64>,
}

/// The baseline could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// What the system said.
    #[error("cannot use the baseline {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is no baseline", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// How a count stands against the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within what is tolerated.
    Same,
    /// Fails.
    Worse,
    /// The baseline should be made anew.
    Better,
    /// Not in the baseline: fails, or the case would never be checked.
    New,
}

/// A count beside the baseline's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Which case.
    pub case: String,
    /// In the baseline.
    pub before: Option<Counts>,
    /// Now.
    pub now: Counts,
}

impl Baseline {
    /// Reads a file of counts.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn read(path: &Path) -> Result<Baseline, BaselineError> {
        let text = fs::read_to_string(path)
            .map_err(|source| BaselineError::File { path: path.to_owned(), source })?;
        serde_json::from_str(&text).map_err(|source| BaselineError::Format { path: path.to_owned(), source })
    }

    /// Writes it, the same bytes for the same counts.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|source| BaselineError::Format { path: path.to_owned(), source })?;
        text.push('\n');
        fs::write(path, text).map_err(|source| BaselineError::File { path: path.to_owned(), source })
    }

    /// A count beside this.
    pub fn compare(&self, case: &str, now: Counts) -> Compared {
        Compared { case: case.to_owned(), before: self.cases.get(case).copied(), now }
    }
}

impl Compared {
    /// How many more instructions it takes, in per cent of the baseline; 0 if there is none.
    pub fn percent(&self) -> f64 {
        self.before.map_or(0.0, |before| percent(before.instructions, self.now.instructions))
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        let Some(before) = self.before else { return Verdict::New };
        let instructions = self.percent();
        // Attributes of time vary in length, so that a few buffers more may grow.
        let most = |before: u64| before + before * 3 / 100 + FEW_ALLOCATIONS;
        let allocates_more = before
            .allocations_per_1000
            .zip(self.now.allocations_per_1000)
            .is_some_and(|(before, now)| now > most(before));
        if instructions > TOLERATED_PERCENT || allocates_more {
            Verdict::Worse
        } else if instructions < -TOLERATED_PERCENT {
            Verdict::Better
        } else {
            Verdict::Same
        }
    }
}

fn percent(before: u64, now: u64) -> f64 {
    (now as f64 - before as f64) * 100.0 / before.max(1) as f64
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compared { case, now, .. } = self;
        write!(f, "{case}: {} instructions", now.instructions)?;
        let Some(before) = self.before else { return f.write_str(", not in the baseline") };
        write!(f, ", baseline {} ({:+.1} %)", before.instructions, self.percent())?;
        if let (Some(before), Some(now)) = (before.allocations_per_1000, now.allocations_per_1000)
            && before != now
        {
            write!(f, "; {now} allocations in 1,000, baseline {before}")?;
        }
        Ok(())
    }
}

/// Version and target of the rustc on PATH (or in `RUSTC`), which is the one cargo builds with; both `unknown` without.
pub fn compiler() -> (String, String) {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc).arg("-vV").output().map(|output| output.stdout).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    let line = |key: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(key));
        line.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
    };
    (line("release:"), line("host:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: Counts = Counts { instructions: 3000, allocations_per_1000: Some(0) };

    fn baseline() -> Baseline {
        Baseline {
            rust: "1.95.0".to_owned(),
            target: "x86_64-unknown-linux-gnu".to_owned(),
            cases: BTreeMap::from([("A lean".to_owned(), COUNTS)]),
        }
    }

    #[test]
    fn five_per_cent_more_fails_and_says_where() {
        let compared = baseline().compare("A lean", Counts { instructions: 3150, ..COUNTS });
        assert_eq!(compared.verdict(), Verdict::Worse);
        assert_eq!(compared.to_string(), "A lean: 3150 instructions, baseline 3000 (+5.0 %)");
    }

    #[test]
    fn three_per_cent_are_tolerated_and_no_more() {
        let verdict =
            |instructions| baseline().compare("A lean", Counts { instructions, ..COUNTS }).verdict();
        assert_eq!(verdict(2909), Verdict::Better);
        assert_eq!(verdict(2910), Verdict::Same);
        assert_eq!(verdict(3000), Verdict::Same);
        assert_eq!(verdict(3090), Verdict::Same);
        assert_eq!(verdict(3091), Verdict::Worse);
    }

    #[test]
    fn an_allocation_for_each_span_fails() {
        let compared = baseline().compare("A lean", Counts { allocations_per_1000: Some(1000), ..COUNTS });
        assert_eq!(compared.verdict(), Verdict::Worse);
        let told = "A lean: 3000 instructions, baseline 3000 (+0.0 %); 1000 allocations in 1,000, baseline 0";
        assert_eq!(compared.to_string(), told);
        let compared = baseline().compare("A lean", Counts { allocations_per_1000: Some(10), ..COUNTS });
        assert_eq!(compared.verdict(), Verdict::Same);
    }

    #[test]
    fn a_case_without_baseline_is_not_passed_over() {
        let compared = baseline().compare("A full", COUNTS);
        assert_eq!(compared.verdict(), Verdict::New);
        assert_eq!(compared.to_string(), "A full: 3000 instructions, not in the baseline");
    }

    #[test]
    fn a_baseline_reads_back() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("baseline.json");
        assert!(matches!(Baseline::read(&path), Err(BaselineError::File { .. })));
        fs::write(&path, "[]")?;
        assert!(matches!(Baseline::read(&path), Err(BaselineError::Format { .. })));
        baseline().write(&path)?;
        assert_eq!(Baseline::read(&path)?, baseline());
        Ok(())
    }
}
