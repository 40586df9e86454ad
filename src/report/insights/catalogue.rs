//! What each insight means: its code never changes its meaning.

/// One kind of insight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insight {
    /// `LP101`.
    pub code: &'static str,
    /// What it stands for, in a few words.
    pub title: &'static str,
    /// When it is told.
    pub fires: &'static str,
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
        fires: "it would save at least 2 % of the wall time, or takes longer than its limit allows",
        rationale: "The run cannot end before its critical path does, and this node takes much of it.",
        caveat: "The saving stops where another branch begins to set the pace; it is replayed, not measured.",
    },
    Insight {
        code: "LP102",
        title: "slower than usual",
        fires: "its time is past the median of at least 5 earlier runs by three median distances and by 5 %",
        rationale: "It took longer than in earlier runs by more than they differ among themselves.",
        caveat: "Other input may ask for more work; look at the measures that moved along.",
    },
    Insight {
        code: "LP103",
        title: "queueing at a limit",
        fires: "at least 3 of a node were ready under one parent, fewer ran at once, and they were seen queueing, or each start followed an end",
        rationale: "More executions were ready than ran at once: a pool, a semaphore or a rate limit holds them.",
        caveat: "What lies behind the limit may not stand more at once.",
    },
    Insight {
        code: "LP104",
        title: "serial but maybe independent",
        fires: "steps of one node, or tools, HTTP calls, queries, I/O or retrievals, follow each other on the path and none declared what it waits for",
        rationale: "These steps ran one after the other, and none declared that it needs the one before.",
        caveat: "A guess from the order of time: they may share data no span shows. Declare node.depends_on to settle it.",
    },
    Insight {
        code: "LP105",
        title: "repeated call",
        fires: "one caller ran a node at least 5 times; not for models and agents, whose turns are no repeats",
        rationale: "One caller made the same call many times; one call for all, or a cache, is often cheaper.",
        caveat: "The calls may differ in ways the spans do not tell.",
    },
    Insight {
        code: "LP106",
        title: "identical input",
        fires: "an execution got input that one which had succeeded by then had got (`node.input_hash`, or what a tool was called with)",
        rationale: "It got input it had answered before in this run; a cache would have answered at once.",
        caveat: "Only right if equal input may get an equal answer.",
    },
    Insight {
        code: "LP107",
        title: "straggler",
        fires: "of at least 4 that ran beside each other, one on the path took more than twice the median",
        rationale: "One of several alike took more than twice as long as the middle one, and the others waited for it.",
        caveat: "It may have had more to do; compare what it got.",
    },
    Insight {
        code: "LP108",
        title: "retry or timeout",
        fires: "an execution failed and was tried again: its `node.attempt` says so, or the same node starts after a failure",
        rationale: "Tries that fail cost their whole time, and the wait for the next one.",
        caveat: "The saving assumes that the first try would have taken as long as the last one did.",
    },
    Insight {
        code: "LP109",
        title: "high variance",
        fires: "of at least 20 executions P95 (P99 from 100 on) is more than 3 medians, or they deviate by more than their mean; two simpler rules by option",
        rationale: "A few executions take far longer than the usual one, so some runs are slow for no visible reason.",
        caveat: "Different input takes different time; a wide spread is not always wrong.",
    },
    Insight {
        code: "LP110",
        title: "cost hot spot",
        fires: "at least 2 nodes cost something and it makes up 40 % of the cost, or three times its share of the time and 10 % of the cost",
        rationale: "Much of what the run cost was spent here.",
        caveat: "Only recorded or priced calls count; unpriced ones are not in it.",
    },
    Insight {
        code: "LP111",
        title: "slow model output",
        fires: "a model wrote fewer tokens per second than in at least 5 earlier runs, by three median distances and 5 %; or some of at least 5 calls of it (of 32 tokens or more) less than two thirds of their median, and by three median distances",
        rationale: "The model wrote fewer tokens per second than it usually does: it was slower, which is told apart from writing more.",
        caveat: "Speed includes the wait for the first token, which weighs more on short answers.",
    },
    Insight {
        code: "LP112",
        title: "gap",
        fires: "at least 100 ms and 2 % of the wall time on the path are in no node and nothing was queued",
        rationale: "The run waited here and no span says for what.",
        caveat: "The time may be well spent; put a span around it to see.",
    },
    Insight {
        code: "LP113",
        title: "low parallelism",
        fires: "there are declared edges, the graph allows less than 80 % of the wall time, and executions were queued",
        rationale: "The declared graph allows more at once than ran at once, and work was waiting.",
        caveat: "Assumes workers that do not slow each other down.",
    },
    Insight {
        code: "LP114",
        title: "error on the path",
        fires: "executions on the path failed and were not tried again, or the run failed",
        rationale: "The run spent time on its critical path in work that failed.",
        caveat: "Time before a failure is not saved by failing faster if the work has to be done.",
    },
    Insight {
        code: "LP115",
        title: "trace quality",
        fires: "spans never ended, lost their parent, were left out or are damaged; or other roots filled time in which the run waited with no span",
        rationale: "Spans are missing, moved or out of place, so part of the answer rests on less than the whole run.",
        caveat: "What is therefore not claimed is listed with the report's confidence.",
    },
];

/// The insight with this code; `None` if there is none.
pub fn insight(code: &str) -> Option<&'static Insight> {
    INSIGHTS.iter().find(|insight| insight.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let mut page = String::from(
            "# Insights\n\nWhat a report may find, by code; a code never changes its meaning. Each comes with its evidence in \
             numbers, a bound on what\nfixing it would save, and how sure that is: *sure* follows from what was measured, \
             *likely* rests on an order inferred from\ntime or on few runs, *guess* needs a look before acting.\n\n\
             This page is made from the code: `UPDATE_DOCS=1 cargo test --lib insights`.\n",
        );
        for insight in INSIGHTS {
            page += &format!(
                "\n## {} {}\n\n- **Told when** {}.\n- {}\n- **But**: {}\n",
                insight.code, insight.title, insight.fires, insight.rationale, insight.caveat
            );
        }
        page
    }

    #[test]
    fn the_page_of_insights_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/insights.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, page(), "made anew by UPDATE_DOCS=1 cargo test --lib insights");
    }

    #[test]
    fn codes_are_in_order_and_each_is_found() {
        for (number, known) in (101..).zip(INSIGHTS) {
            assert_eq!(known.code, format!("LP{number}"));
            assert_eq!(insight(known.code), Some(&known));
        }
        assert_eq!(insight("LP999"), None);
    }
}
