//! When a span ran: the stretches in which some thread was inside it.
//!
//! Pure arithmetic on given times. A *poll* is one thread's stretch from entering the span to leaving it, nested
//! enters included; busy time is the union of the polls of all threads.

use crate::time::{Duration, Timestamp};

use super::current_span::EnteredSpan;

/// Adds up the polls of one span.
#[derive(Clone, Debug)]
pub(crate) struct PollClock {
    /// Most spans are inside one thread at a time, few inside two.
    inside: [Poll; 2],
    inside_more: Vec<Poll>,
    threads_inside: u32,
    /// Since when at least one thread is inside.
    busy_since: Timestamp,
    busy: Duration,
    polls: u64,
    longest_poll: Duration,
    /// [`Timestamp::MAX`]: no thread ever entered.
    first_enter: Timestamp,
    last_exit: Timestamp,
    panicked: bool,
}

/// A poll that goes on; free if its depth is zero.
#[derive(Clone, Copy, Debug, Default)]
struct Poll {
    thread: u32,
    depth: u32,
    since: Timestamp,
    /// The thread was unwinding already when it entered.
    entered_panicking: bool,
    /// What the thread was inside of before; only carried along.
    before: EnteredSpan,
}

impl Default for PollClock {
    fn default() -> Self {
        PollClock {
            inside: Default::default(),
            inside_more: Vec::new(),
            threads_inside: 0,
            busy_since: Timestamp::EPOCH,
            busy: Duration::ZERO,
            polls: 0,
            longest_poll: Duration::ZERO,
            first_enter: Timestamp::MAX,
            last_exit: Timestamp::EPOCH,
            panicked: false,
        }
    }
}

impl PollClock {
    /// `thread` enters, having been inside of `before`. Returns whether a poll begins: not if it was inside already.
    #[inline]
    pub(crate) fn enter(
        &mut self,
        thread: u32,
        now: Timestamp,
        panicking: bool,
        before: EnteredSpan,
    ) -> bool {
        if self.threads_inside > 0 {
            return self.enter_beside(thread, now, panicking, before);
        }
        // Field by field: a whole one would be put together elsewhere first.
        let [first, _] = &mut self.inside;
        first.thread = thread;
        first.depth = 1;
        first.since = now;
        first.entered_panicking = panicking;
        first.before = before;
        self.busy_since = now;
        self.threads_inside = 1;
        if self.first_enter == Timestamp::MAX {
            self.first_enter = now;
        }
        true
    }

    /// Enters where some thread is inside already.
    #[inline(never)]
    fn enter_beside(&mut self, thread: u32, now: Timestamp, panicking: bool, before: EnteredSpan) -> bool {
        if let Some(poll) = self.poll_of(thread) {
            poll.depth = poll.depth.saturating_add(1);
            return false;
        }
        let poll = Poll { thread, depth: 1, since: now, entered_panicking: panicking, before };
        match self.inside.iter_mut().find(|poll| poll.depth == 0) {
            Some(free) => *free = poll,
            None => self.inside_more.push(poll),
        }
        self.threads_inside = self.threads_inside.saturating_add(1);
        true
    }

    /// `thread` leaves; a thread that is not inside changes nothing. If its poll ends, returns what it was inside
    /// of before.
    #[inline]
    pub(crate) fn exit(&mut self, thread: u32, now: Timestamp, panicking: bool) -> Option<EnteredSpan> {
        let [first, _] = &mut self.inside;
        if self.threads_inside != 1 || first.thread != thread || first.depth != 1 {
            return self.exit_beside(thread, now, panicking);
        }
        first.depth = 0;
        let Poll { since, entered_panicking, before, .. } = *first;
        if panicking && !entered_panicking {
            self.panicked = true;
        }
        self.end_poll(since, now);
        Some(before)
    }

    /// Leaves where other threads are inside too, or this one entered more than once.
    #[inline(never)]
    fn exit_beside(&mut self, thread: u32, now: Timestamp, panicking: bool) -> Option<EnteredSpan> {
        let poll = self.poll_of(thread)?;
        poll.depth = poll.depth.saturating_sub(1);
        let Poll { depth, since, entered_panicking, before, .. } = *poll;
        if panicking && !entered_panicking {
            self.panicked = true;
        }
        if depth > 0 {
            return None;
        }
        if !self.inside_more.is_empty() {
            self.inside_more.retain(|poll| poll.depth > 0);
        }
        self.end_poll(since, now);
        Some(before)
    }

    /// The span closes: polls that still go on end here.
    pub(crate) fn close(&mut self, now: Timestamp) {
        if self.threads_inside == 0 {
            return;
        }
        let open = std::mem::take(&mut self.inside).into_iter().chain(std::mem::take(&mut self.inside_more));
        for poll in open.filter(|poll| poll.depth > 0) {
            self.end_poll(poll.since, now);
        }
    }

    #[inline]
    fn end_poll(&mut self, since: Timestamp, now: Timestamp) {
        self.polls = self.polls.wrapping_add(1);
        self.longest_poll = self.longest_poll.max(now.saturating_since(since));
        self.last_exit = self.last_exit.max(now);
        self.threads_inside = self.threads_inside.saturating_sub(1);
        if self.threads_inside == 0 {
            let busy = now.saturating_since(self.busy_since).as_nanos();
            // At most the time that passed: no overflow.
            self.busy = Duration::from_nanos(self.busy.as_nanos().wrapping_add(busy));
        }
    }

    fn poll_of(&mut self, thread: u32) -> Option<&mut Poll> {
        if self.threads_inside == 0 {
            return None;
        }
        let is_its = |poll: &&mut Poll| poll.depth > 0 && poll.thread == thread;
        match self.inside.iter_mut().find(is_its) {
            None if !self.inside_more.is_empty() => self.inside_more.iter_mut().find(is_its),
            found => found,
        }
    }

    /// Forgets everything, for the next span.
    #[inline]
    pub(crate) fn reset(&mut self) {
        if self.threads_inside > 0 {
            // Somebody entered after the close: the span had been given up.
            *self = PollClock::default();
        }
        self.busy = Duration::ZERO;
        self.polls = 0;
        self.longest_poll = Duration::ZERO;
        self.first_enter = Timestamp::MAX;
        self.last_exit = Timestamp::EPOCH;
        self.panicked = false;
    }

    /// Time in which at least one thread was inside.
    pub(crate) fn busy(&self) -> Duration {
        self.busy
    }

    /// Whether a thread is inside.
    pub(crate) fn is_running(&self) -> bool {
        self.threads_inside > 0
    }

    /// How many polls ended.
    pub(crate) fn polls(&self) -> u64 {
        self.polls
    }

    /// The longest of them.
    pub(crate) fn longest_poll(&self) -> Duration {
        self.longest_poll
    }

    /// When a thread first entered.
    pub(crate) fn first_enter(&self) -> Option<Timestamp> {
        Some(self.first_enter).filter(|first_enter| *first_enter != Timestamp::MAX)
    }

    /// The same; [`Timestamp::MAX`] if none did.
    pub(crate) fn first_enter_or_max(&self) -> Timestamp {
        self.first_enter
    }

    /// When a thread last left; `None` if none ever entered.
    pub(crate) fn last_exit(&self) -> Option<Timestamp> {
        self.first_enter().map(|_| self.last_exit)
    }

    /// Whether a panic unwound out of it.
    pub(crate) fn panicked(&self) -> bool {
        self.panicked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_unix_nanos(nanos)
    }

    /// The table of enter and exit sequences with answers worked out by hand.
    #[test]
    fn polls_add_up_as_in_the_table() {
        let table: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/oracles/dag/span_events.json")).unwrap();
        let cases = table["cases"].as_array().unwrap();
        assert!(cases.len() >= 7);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let mut clock = PollClock::default();
            let (mut created, mut closed, mut poll_sum) = (0, 0, 0);
            let mut entered_at = std::collections::HashMap::new();
            for event in case["events"].as_array().unwrap() {
                let now = event[1].as_u64().unwrap();
                let thread = event[2].as_u64().unwrap_or(1) as u32;
                match event[0].as_str().unwrap() {
                    "new" => created = now,
                    "enter" => {
                        entered_at.insert(thread, now);
                        clock.enter(thread, at(now), false, EnteredSpan::default());
                    }
                    "exit" => {
                        let before = clock.polls();
                        clock.exit(thread, at(now), false);
                        if clock.polls() > before {
                            poll_sum += now - entered_at[&thread];
                        }
                    }
                    "close" => {
                        closed = now;
                        clock.close(at(now));
                    }
                    other => panic!("{name}: unknown event {other}"),
                }
            }
            let expect = &case["expect"];
            let wall = closed - created;
            assert_eq!(expect["wall"], wall, "{name}: wall");
            assert_eq!(expect["busy"], clock.busy().as_nanos(), "{name}: busy");
            assert_eq!(expect["idle"], wall - clock.busy().as_nanos(), "{name}: idle");
            assert_eq!(expect["polls"], clock.polls(), "{name}: polls");
            assert_eq!(expect["max_poll"], clock.longest_poll().as_nanos(), "{name}: longest poll");
            if let Some(sum) = expect["busy_sum"].as_u64() {
                assert_eq!(sum, poll_sum, "{name}: sum of polls");
            }
            if let Some(blocking) = expect["blocking"].as_bool() {
                assert_eq!(blocking, clock.longest_poll().as_nanos() > 100, "{name}: blocking");
            }
        }
    }

    #[test]
    fn more_than_two_threads_inside_count_like_two() {
        let mut clock = PollClock::default();
        for thread in 0..5 {
            clock.enter(thread, at(u64::from(thread)), false, EnteredSpan::default());
        }
        for thread in 0..5 {
            clock.exit(thread, at(10 + u64::from(thread)), false);
        }
        assert_eq!((clock.busy(), clock.polls()), (Duration::from_nanos(14), 5));
        assert_eq!(clock.longest_poll(), Duration::from_nanos(10));
        clock.enter(9, at(20), false, EnteredSpan::default());
        clock.close(at(25));
        assert_eq!((clock.busy(), clock.polls()), (Duration::from_nanos(19), 6));
        assert_eq!(clock.last_exit(), Some(at(25)));
    }

    #[test]
    fn leaving_without_having_entered_changes_nothing() {
        let mut clock = PollClock::default();
        clock.exit(1, at(5), true);
        assert_eq!((clock.polls(), clock.last_exit(), clock.panicked()), (0, None, false));
    }

    #[test]
    fn only_a_panic_that_began_inside_counts() {
        let mut clock = PollClock::default();
        clock.enter(1, at(0), true, EnteredSpan::default());
        clock.exit(1, at(1), true);
        assert!(!clock.panicked());
        clock.enter(1, at(2), false, EnteredSpan::default());
        clock.exit(1, at(3), true);
        assert!(clock.panicked());
    }
}
