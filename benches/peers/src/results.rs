//! Figures as data: JSON lines in a file, for whoever makes a table of them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a span costs with one set-up and one workload.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct SpanCost {
    /// Name of the set-up.
    pub setup: String,
    /// What the set-up is, in words.
    pub what: String,
    /// Name of the workload; `D` is `A` on two threads.
    pub workload: String,
    /// Instructions per span on the thread that makes it.
    pub hot_instructions: Option<f64>,
    /// Instructions per span on all threads.
    pub all_instructions: Option<f64>,
    /// Allocations per span on the thread that makes it.
    pub hot_allocations: Option<f64>,
    /// Allocations per span on all threads.
    pub all_allocations: Option<f64>,
    /// Bytes allocated per span on all threads.
    pub all_bytes: Option<f64>,
    /// Why something was not measured.
    pub problem: Option<String>,
}

/// Writes one line for each.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, costs: &[SpanCost]) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create(path)?);
    for cost in costs {
        serde_json::to_writer(&mut file, cost)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// What the system says, or if a line is none of those.
pub fn read(path: &Path) -> io::Result<Vec<SpanCost>> {
    BufReader::new(File::open(path)?).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let cost = SpanCost {
            setup: "no-op".to_owned(),
            what: "a layer".to_owned(),
            workload: "A".to_owned(),
            hot_instructions: Some(1188.25),
            all_instructions: None,
            hot_allocations: Some(0.0),
            all_allocations: None,
            all_bytes: None,
            problem: Some("no\nvalgrind".to_owned()),
        };
        let path = folder.path().join("costs");
        write(&path, &[cost.clone(), cost.clone()])?;
        assert_eq!(read(&path)?, [cost.clone(), cost]);
        Ok(())
    }
}
