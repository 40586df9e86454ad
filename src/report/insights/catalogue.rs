//! What each insight means: its code never changes its meaning.

/// One kind of insight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insight {
    /// `LP101`.
    pub code: &'static str,
    /// What it stands for, in a few words.
    pub title: &'static str,
    /// Why it is worth fixing.
    pub rationale: &'static str,
    /// When it is not so.
    pub caveat: &'static str,
}

/// All of them, by code.
pub const INSIGHTS: [Insight; 15] = [
    Insight {
        code: "LP101",
        title: "longest pole",
        rationale: "The run cannot end before its critical path does, and this node takes much of it.",
        caveat: "The saving stops where another branch begins to set the pace; it is replayed, not measured.",
    },
    Insight {
        code: "LP102",
        title: "slower than usual",
        rationale: "It took longer than in earlier runs by more than they differ among themselves.",
        caveat: "Other input may ask for more work; look at the measures that moved along.",
    },
    Insight {
        code: "LP103",
        title: "queueing at a limit",
        rationale: "More executions were ready than ran at once: a pool, a semaphore or a rate limit holds them.",
        caveat: "What lies behind the limit may not stand more at once.",
    },
    Insight {
        code: "LP104",
        title: "serial but maybe independent",
        rationale: "These steps ran one after the other, and none declared that it needs the one before.",
        caveat: "A guess from the order of time: they may share data no span shows. Declare node.depends_on to settle it.",
    },
    Insight {
        code: "LP105",
        title: "repeated call",
        rationale: "One caller made the same call many times; one call for all, or a cache, is often cheaper.",
        caveat: "The calls may differ in ways the spans do not tell.",
    },
    Insight {
        code: "LP106",
        title: "identical input",
        rationale: "It got input it had answered before in this run; a cache would have answered at once.",
        caveat: "Only right if equal input may get an equal answer.",
    },
    Insight {
        code: "LP107",
        title: "straggler",
        rationale: "One of several alike took more than twice as long as the middle one, and the others waited for it.",
        caveat: "It may have had more to do; compare what it got.",
    },
    Insight {
        code: "LP108",
        title: "retry or timeout",
        rationale: "Tries that fail cost their whole time, and the wait for the next one.",
        caveat: "The saving assumes that the first try would have taken as long as the last one did.",
    },
    Insight {
        code: "LP109",
        title: "high variance",
        rationale: "A few executions take far longer than the usual one, so some runs are slow for no visible reason.",
        caveat: "Different input takes different time; a wide spread is not always wrong.",
    },
    Insight {
        code: "LP110",
        title: "cost hot spot",
        rationale: "Much of what the run cost was spent here.",
        caveat: "Only recorded or priced calls count; unpriced ones are not in it.",
    },
    Insight {
        code: "LP111",
        title: "slow model output",
        rationale: "The model wrote fewer tokens per second than in earlier runs: it was slower, it did not write more.",
        caveat: "Speed includes the wait for the first token, which weighs more on short answers.",
    },
    Insight {
        code: "LP112",
        title: "gap",
        rationale: "The run waited here and no span says for what.",
        caveat: "The time may be well spent; put a span around it to see.",
    },
    Insight {
        code: "LP113",
        title: "low parallelism",
        rationale: "The declared graph allows more at once than ran at once, and work was waiting.",
        caveat: "Assumes workers that do not slow each other down.",
    },
    Insight {
        code: "LP114",
        title: "error on the path",
        rationale: "The run spent time on its critical path in work that failed.",
        caveat: "Time before a failure is not saved by failing faster if the work has to be done.",
    },
    Insight {
        code: "LP115",
        title: "trace quality",
        rationale: "Spans are missing, moved or out of place, so part of the answer rests on less than the whole run.",
        caveat: "What is therefore not claimed is listed with the report's confidence.",
    },
];

/// The insight with this code; `None` if there is none.
pub fn insight(code: &str) -> Option<&'static Insight> {
    INSIGHTS.iter().find(|insight| insight.code == code)
}
