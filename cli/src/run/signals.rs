//! Signals that are meant for the command.

use std::io;

/// Catches signals that would end this process, so that it outlives its command and can report.
#[cfg(unix)]
pub(super) struct Signals {
    streams: Vec<(i32, tokio::signal::unix::Signal)>,
}

#[cfg(unix)]
impl Signals {
    /// From here on such signals end this process no more. Needs a tokio runtime with IO.
    ///
    /// Signals that are ignored when this process starts, as under `nohup`, stay so, for the command too.
    pub(super) fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let ignored = ignored();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        let kept = kinds.into_iter().filter(|kind| ignored >> (kind.as_raw_value() - 1) & 1 == 0);
        let streams = kept.map(|kind| Ok((kind.as_raw_value(), signal(kind)?))).collect::<io::Result<_>>()?;
        Ok(Signals { streams })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Whether it asks for an end of the command, as Ctrl-C does.
#[cfg(unix)]
pub(super) fn asks_to_end(signal: i32) -> bool {
    use rustix::process::Signal;
    let asking = [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP];
    asking.iter().any(|it| it.as_raw() == signal)
}

/// Hands a signal on to the command, unless the terminal has sent it to both.
#[cfg(unix)]
pub(super) fn forward(signal: i32, child: Option<u32>) {
    use rustix::process::{Pid, Signal, kill_process};
    let is_from_keys = signal == Signal::INT.as_raw() || signal == Signal::QUIT.as_raw();
    if is_from_keys && is_in_foreground() {
        return;
    }
    let pid = child.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        // It may have ended already.
        let _ = kill_process(pid, signal);
    }
}

/// Whether the keys of a terminal send signals to this process, and so to its command, which is in the same group.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// The signals that are ignored, a bit each, where the system tells.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Catches Ctrl-C, so that this process outlives its command and can report. The console sends it to both.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Signals)
    }

    pub(super) async fn next(&mut self) -> i32 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        INTERRUPT
    }
}

#[cfg(not(unix))]
const INTERRUPT: i32 = 2;

#[cfg(not(unix))]
pub(super) fn asks_to_end(_: i32) -> bool {
    true
}

#[cfg(not(unix))]
pub(super) fn forward(_: i32, _: Option<u32>) {}
