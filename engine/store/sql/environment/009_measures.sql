-- What users measure: series, and what was recorded in each.

-- A series belongs to who records it: two agents that record the same name have one each. labels is
-- a JSON object of texts, its names in order; keep_s says how long samples are kept; last is what
-- was recorded last. kind: counter adds up, gauge stands until it changes, histogram and timer are
-- distributions.
CREATE TABLE measure (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    env        TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('counter', 'gauge', 'histogram', 'timer')),
    unit       TEXT    NOT NULL DEFAULT '',
    labels     TEXT    NOT NULL DEFAULT '{}',
    level      INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    owner      TEXT    NOT NULL,
    team       TEXT,
    swarm      TEXT,
    keep_s     INTEGER NOT NULL CHECK (keep_s > 0),
    last       REAL    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (env, owner, name, labels)
);
CREATE INDEX measure_name ON measure (env, name);

-- All that was recorded in step_s seconds from `at` on: 1, and when it is older 60 and 3600. sketch:
-- how many values there were of which size, for percentiles of histograms and timers.
CREATE TABLE sample (
    env      TEXT    NOT NULL,
    measure  INTEGER NOT NULL,
    step_s   INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    total    REAL    NOT NULL,
    least    REAL    NOT NULL,
    greatest REAL    NOT NULL,
    last     REAL    NOT NULL,
    sketch   BLOB,
    PRIMARY KEY (env, measure, step_s, at)
) WITHOUT ROWID;
CREATE INDEX sample_age ON sample (env, step_s, at);
