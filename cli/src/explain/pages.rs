//! The words of reports, and what helps against what they find.

/// What a word means.
pub(super) struct Page {
    /// What it is called; the first name is its title.
    pub(super) names: &'static [&'static str],
    /// Lines of at most 80 columns.
    pub(super) text: &'static str,
}

/// By topic, the whole before its parts.
pub(super) const PAGES: &[Page] = &[
    Page {
        names: &["run", "workflow", "trace"],
        text: "\
One execution of a workflow, from the start of its root span to its end. The
root is the span marked workflow.name; without one, the outermost span of the
trace. A run goes by its trace id and its root span's id; `longpole ls` lists
those that are kept.
",
    },
    Page {
        names: &["node", "step"],
        text: "\
A named step of a workflow: a span with node.id, a model call, a tool or an
agent as their libraries mark them, or whatever the program selected. In a run
without any, every span is one. Spans inside a node that are none themselves
count as its phases.
",
    },
    Page {
        names: &["execution", "call"],
        text: "\
One time a node ran: one span. `fetch ×6` is a node with six executions.
",
    },
    Page {
        names: &["attempt", "retry"],
        text: "\
An execution that is the second or a later try of the same work: its
node.attempt says so, or it follows a failure of the same node. What failed
tries cost is time and money that a first success would have saved (LP108).
",
    },
    Page {
        names: &["critical path", "on the path", "pole"],
        text: "\
The chain of work that set the run's length: from the end backwards, at every
moment what the rest was waiting for. Its parts and the time without a span add
up to the wall time. Only what is on it can make the run shorter; the node with
the most time on it is the longest pole.

Two paths have names: *as run*, with the queueing that happened, and *as the
graph allows*, without it. The difference is what queueing cost.
",
    },
    Page {
        names: &["wall time", "wall", "makespan", "duration"],
        text: "\
From the run's start to its end, as a clock on the wall shows it; scheduling
calls it the makespan. Shares in a report are shares of this, never of a sum.
",
    },
    Page {
        names: &["work"],
        text: "\
The self time of all spans together: how long the run would take with nothing at
the same time. Divided by the wall time it says how much ran at once on average.
",
    },
    Page {
        names: &["self time"],
        text: "\
The time of an execution in which no nested node was running: its own. Total
time counts what is inside as well, so totals of nested nodes count twice.
",
    },
    Page {
        names: &["slack", "free float"],
        text: "\
How much longer an execution could have taken without making the run longer. A
node on the critical path has none. Free float is how much longer before
anything after it would have started later. Speeding up what has slack saves
nothing.
",
    },
    Page {
        names: &["save at most", "drag", "saving"],
        text: "\
How much shorter the run would be if the node took no time at all, found by
replaying the run without it: at some point another branch sets the pace. It is
at most the node's time on the path. What a realistic change would save stands
behind `try`, replayed in the same way: longpole whatif last --set NODE=2x
",
    },
    Page {
        names: &["beside it", "beside the path"],
        text: "\
Nodes that ran while the critical path was busy elsewhere. With their slack: how
much longer they may become before they set the pace.
",
    },
    Page {
        names: &["queued", "queueing"],
        text: "\
The time between an execution being there and beginning to run: behind a limit,
a pool, or other work of the same task. It is part of the execution's duration,
and shown apart from its running.
",
    },
    Page {
        names: &["parallelism", "efficiency"],
        text: "\
Parallelism is work divided by wall time: how much ran at once on average; the
peak is the most at any moment. Efficiency is the share of the wall time that
the declared graph needs with any number of workers: 100% is as short as the
dependencies allow. It is known only where nodes declare what they depend on
(node.depends_on).
",
    },
    Page {
        names: &["usual", "baseline", "noise", "noise band"],
        text: "\
What earlier runs of the same workflow took: their median, and the median
distance from it (MAD). From five earlier runs on, what is beyond three such
distances and beyond 5% is slower than usual (LP102); what is not is noise.
Between two sets of ten runs or more, a change is told from chance by a
bootstrap of the medians and a rank test: longpole compare.
",
    },
    Page {
        names: &["severity"],
        text: "\
By the share of the wall time that fixing it would save at most, not by how long
something took:

  CRITICAL  25% or more
  HIGH      10% or more
  MEDIUM     5% or more
  LOW        2% or more
  below: not listed

Where a node has a limit (--sla draft=5s, --slow 2s) its average is held against
that as well: above it LOW, above 1.5 times MEDIUM, above 2 times HIGH, above 3
times CRITICAL. The worse of the two wins.
",
    },
    Page {
        names: &["confidence", "quality"],
        text: "\
How much to trust a report. High: nothing is open, orphaned, skewed or dropped.
Medium: at most 1% of the spans are affected, none of them on the critical path.
Low: more. What is then not claimed is listed (LP115).

Of a finding: *sure* follows from what was measured; *likely* rests on an order
inferred from time or on few runs; *guess* needs a look before acting.
",
    },
    Page {
        names: &["cost", "prices"],
        text: "\
What model calls cost: as the program recorded it, as the provider told it, or
estimated from tokens and a table of prices, in this order. A call without a
price counts as unknown, not as nothing; then the sum is a lower bound and says
so.
",
    },
    Page {
        names: &["detached"],
        text: "\
Work that nobody in the run waited for. It is told, and is not on the path.
",
    },
    Page {
        names: &["gates", "gate", "fail-if"],
        text: "\
Conditions under which a run fails, with status 3: --fail-if EXPR of run, show,
compare and check. Read them as `fail if`.

  wall>25s                    takes longer; also work, queued
  wall>+10%                   takes longer than usual, or than the base
  cost>$0.10                  costs more; also cost>+10%
  tokens>20000                also input_tokens, output_tokens
  unpriced>0                  calls of models have no price
  errors>0                    also retries, executions, spans
  efficiency<80%              less of its time is what its graph needs
  quality<medium              the report can be trusted less
  insight(LP105)              there is such an insight
  node(draft).p95>6s          also avg min max p50 p90 p99 total self queued
                              on_path
  node(draft).share>40%       of the wall time, on the critical path
  node(draft).cost>$0.05      also cost_share>50%
  node(draft).failures>0      also calls, retries
  node(draft).avg>+10%        in compare; against earlier runs: total

Comparisons are > >= < <=. A gate on what is not known fails and says why,
unless what is known settles it. A change within noise does not fail. Of several
runs together, times, costs and shares fail if they do in at least half of them,
all else if it does in any.
",
    },
    Page {
        names: &["budgets", "budget", "budgets.toml", "sla"],
        text: "\
A file of limits for --budget. At the top what goes for every run, then what
goes for those of a workflow; a limit may be reached, not passed.

  quality = \"medium\"             # at least: low, medium, high
  errors = 0

  [workflow.research-agent]
  wall = \"25s\"                   # or \"+10%\" than usual
  cost = \"$0.10\"

  [workflow.research-agent.node.draft]
  sla = \"5s\"                     # on average
  p95 = \"6s\"
  cost = \"$0.05\"
  share = \"40%\"                  # of the wall time, on the critical path

Of runs: wall, cost, tokens, errors, retries, quality. Of nodes: sla, p50, p95,
p99, max, total, cost, share, cost_share, calls. Names with other characters
than letters, digits, - and _ stand in quotes: [node.\"execute_tool search\"].
",
    },
    Page {
        names: &["exit status", "exit code", "status"],
        text: "\
  0    done, gates passed
  1    could not do it: a file, a port, what is no trace
  2    wrong usage
  3    a gate failed; the report is written all the same
  4    nothing matched: no such run, no spans received
  N    longpole run: the program's own status if it failed
  130  interrupted
",
    },
];

/// What is usually done about an insight.
pub(super) fn what_helps(code: &str) -> &'static str {
    match code {
        "LP101" => {
            "Make the node faster, begin it earlier, or split it so that parts run beside each other. \
             `longpole whatif last --set NODE=2x` tells what that saves."
        }
        "LP102" => {
            "Look at what moved along (tokens, calls, retries, queueing): more work asks for other input, the same work \
             for a look at the service behind it. `longpole trend WORKFLOW` shows since when."
        }
        "LP103" => {
            "Raise the limit, if what lies behind it can stand that; otherwise call less. \
             `longpole whatif last --set NODE.limit=6` tells what a higher one saves."
        }
        "LP104" => {
            "Start them together if none needs the other. `longpole whatif last --parallel A,B` tells what that saves."
        }
        "LP105" => "One call for all items (a batch), or a cache in front of it.",
        "LP106" => "A cache by input. `longpole whatif last --set NODE.cache=1` tells what that saves.",
        "LP107" => {
            "Divide the work more evenly, begin the largest part first, or send a second request after a while."
        }
        "LP108" => "Look at why the first try failed; shorten the time-out and the pause if it fails anyway.",
        "LP109" => {
            "Compare a fast with a slow execution: input, queueing, what they waited for. Tails are mostly waiting."
        }
        "LP110" => {
            "A smaller model, a shorter prompt, cached input. `longpole whatif last --model NODE=PROVIDER/MODEL` tells \
             what another model would have cost."
        }
        "LP111" => "Try another time, region or model; shorter output helps in any case.",
        "LP112" => "Put a span around what happens there, to see what it is.",
        "LP113" => "More workers, or a limit that lets more run at once; the insight tells how many help.",
        "LP114" => "Fix the error; until then check first what makes it fail, so that it fails early.",
        "LP115" => {
            "Flush the exporter before the program ends (shutdown of the tracer provider), and look for dropped spans: \
             longpole doctor."
        }
        _ => "",
    }
}
