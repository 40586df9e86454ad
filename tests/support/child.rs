//! Tests whose program must be a process of its own: because it may be aborted, or because it changes what all of a
//! process share.

use std::process::{Command, Output};

const VARIABLE: &str = "LONGPOLE_TEST_CHILD";

/// Runs the test `name` of this file in a new process and gives what came of it; `None` in that process itself.
pub fn in_child(name: &str) -> Option<Output> {
    if std::env::var(VARIABLE).is_ok_and(|child| child == name) {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(VARIABLE, name);
    Some(command.output().unwrap())
}

/// Fails if the child did not end well or did not come to `last_words`.
pub fn assert_ended_well(output: &Output, last_words: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains(last_words), "{out}\n{err}");
}
