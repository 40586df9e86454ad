-- One row per run.
CREATE TABLE runs (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workflow TEXT NOT NULL,
    version TEXT,
    -- ok, error, panicked, cancelled, incomplete; running while it has not ended.
    status TEXT NOT NULL,
    started_unix_ns INTEGER NOT NULL,
    recorded_unix_ns INTEGER NOT NULL,
    wall_ns INTEGER,
    -- 10^-12 USD.
    cost_picousd INTEGER,
    spans INTEGER NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0,
    longest_node TEXT,
    -- Slowest node and nodes above the threshold, as JSON.
    bottleneck_info TEXT
) STRICT;
CREATE INDEX runs_by_workflow ON runs (workflow, started_unix_ns);
CREATE INDEX runs_by_start ON runs (started_unix_ns);
CREATE INDEX runs_by_record ON runs (recorded_unix_ns);

-- What later runs are compared with, as JSON; absent for incomplete runs. The report (longpole.report/1) and the spans
-- (OTLP TracesData), both packed with gzip.
CREATE TABLE documents (
    run INTEGER PRIMARY KEY REFERENCES runs (key) ON DELETE CASCADE,
    past_run TEXT,
    report BLOB NOT NULL,
    spans BLOB
) STRICT;

-- One row per node of a run: sums over its executions.
CREATE TABLE nodes (
    run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
    node TEXT NOT NULL,
    kind TEXT NOT NULL,
    calls INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    execution_time_ns INTEGER NOT NULL,
    queued_ns INTEGER NOT NULL,
    on_path_ns INTEGER NOT NULL,
    cost_picousd INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    model TEXT,
    PRIMARY KEY (run, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE labels (
    run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

-- The same in milliseconds and dollars, for who asks with SQL.
CREATE VIEW workflow_run_records AS
SELECT id AS run_id, workflow, version, status, wall_ns / 1e6 AS total_time_ms,
    cost_picousd / 1e12 AS cost_usd, bottleneck_info
FROM runs;
CREATE VIEW execution_state_records AS
SELECT runs.id AS run_id, node AS node_id, calls, execution_time_ns / 1e6 AS execution_time_ms,
    nodes.cost_picousd / 1e12 AS cost_usd
FROM nodes JOIN runs ON runs.key = nodes.run;
