//! Instructions of a program, counted by callgrind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The C library has several ways to copy memory and chooses by processor and cache sizes. With this it copies on all
/// machines alike, and a little slower than it could.
const ONE_C_LIBRARY: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM:\
     glibc.cpu.x86_non_temporal_threshold=0xc0000:glibc.cpu.x86_rep_movsb_threshold=0x800:\
     glibc.cpu.x86_rep_stosb_threshold=0x800:glibc.malloc.tcache_count=7",
);
const ALLOCATING: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// A program could not be counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CountError {
    /// valgrind could not be started, or what it wrote could not be read.
    #[error("cannot run {program} under valgrind")]
    Valgrind {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program, or valgrind, failed.
    #[error("the program failed under valgrind ({status}): {told}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        told: String,
    },
    /// Nothing was counted: no function has the name given, or it was not called.
    #[error("nothing was counted: {toggle:?} is no function that was called")]
    Nothing {
        /// The name given.
        toggle: String,
    },
}

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Instructions, on all threads.
    pub instructions: u64,
    /// Of these, the ones of threads other than the first.
    pub of_other_threads: u64,
    /// Calls of the allocator for memory, on all threads, from functions that were counted. Calls are counted outside
    /// of the function that is counted too.
    pub allocations: u64,
    /// What the program printed.
    pub printed: String,
}

/// valgrind's version; `None` if there is none.
pub fn valgrind_version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(version)
}

/// Makes counts of a program comparable with those of other machines. Not for comparing programs: those that copy more
/// lose more by it.
pub fn pin_c_library(command: &mut Command) {
    command.env(ONE_C_LIBRARY.0, ONE_C_LIBRARY.1);
}

/// Runs a program under callgrind. `toggle`: the function that is counted, with all it calls, on the threads that call
/// it; the whole program else. Files of callgrind's go to `folder`, which must exist.
///
/// # Errors
/// If the program cannot be run or fails, or nothing was counted.
pub fn count(command: &Command, toggle: Option<&str>, folder: &Path) -> Result<Counted, CountError> {
    let program = PathBuf::from(command.get_program());
    let failed = |source| CountError::Valgrind { program: program.clone(), source };
    let profile = tempfile::Builder::new().prefix("callgrind").tempdir_in(folder).map_err(failed)?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        // Threads take turns, as they would with processors of their own.
        .args(["--tool=callgrind", "--separate-threads=yes", "--compress-strings=no", "--fair-sched=try"])
        .arg(format!("--callgrind-out-file={}/out", profile.path().display()));
    if let Some(toggle) = toggle {
        valgrind.args(["--collect-atstart=no", &format!("--toggle-collect={toggle}")]);
    }
    valgrind.arg(&program).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => valgrind.env(key, value),
            None => valgrind.env_remove(key),
        };
    }
    let output = valgrind.output().map_err(failed)?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        let end: Vec<&str> = told.lines().rev().take(8).collect();
        let told = end.into_iter().rev().collect::<Vec<_>>().join("\n");
        return Err(CountError::Failed { status: output.status, told });
    }
    let mut counted = Counted {
        instructions: 0,
        of_other_threads: 0,
        allocations: 0,
        printed: String::from_utf8_lossy(&output.stdout).into_owned(),
    };
    for file in fs::read_dir(profile.path()).map_err(failed)? {
        let file = file.map_err(failed)?;
        let text = fs::read(file.path()).map_err(failed)?;
        let (instructions, allocations) = read_profile(&String::from_utf8_lossy(&text));
        counted.instructions += instructions;
        if !file.file_name().to_string_lossy().ends_with("-01") {
            counted.of_other_threads += instructions;
        }
        counted.allocations += allocations;
    }
    match toggle {
        Some(toggle) if counted.instructions == 0 => Err(CountError::Nothing { toggle: toggle.to_owned() }),
        _ => Ok(counted),
    }
}

/// Instructions and calls of the allocator in a file of callgrind's, which is one thread's.
fn read_profile(text: &str) -> (u64, u64) {
    let (mut instructions, mut allocations) = (0, 0);
    let mut is_allocating = false;
    for line in text.lines() {
        if let Some(total) = line.strip_prefix("totals:") {
            instructions += total.trim().parse::<u64>().unwrap_or(0);
        } else if let Some(called) = line.strip_prefix("cfn=") {
            is_allocating = ALLOCATING.contains(&called);
        } else if let Some(calls) = line.strip_prefix("calls=")
            && is_allocating
        {
            allocations += calls.split(' ').next().and_then(|calls| calls.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    (instructions, allocations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_and_calls_of_the_allocator_are_read() {
        let profile = "\
events: Ir

fn=one
16 100
cob=/lib/libc.so.6
cfn=malloc
calls=3 0
16 90
cfn=free
calls=2 0
16 20

fn=two
18 4
cfn=realloc
calls=4 +2
18 40

totals: 254
";
        assert_eq!(read_profile(profile), (254, 7));
    }
}
