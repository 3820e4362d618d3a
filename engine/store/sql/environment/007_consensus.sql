-- What agents decide together, and what stands between them.

-- A proposal. strategy says how its ballots are to be counted. It is closed when closed_at is set;
-- one that is open past its deadline has expired, whoever notes that. score is the part that
-- approved when it was closed, in millionths; NULL: nobody approved or rejected. owner made it.
-- participants: JSON list of agents, teams and swarms; empty: all who may read it.
CREATE TABLE consensus (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    env          TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    type         TEXT    NOT NULL CHECK (type IN ('gate', 'validation', 'approval', 'decision')),
    target_type  TEXT    CHECK (target_type IN ('task', 'event', 'phase', 'sprint', 'epic')),
    target       TEXT,
    strategy     TEXT    NOT NULL CHECK (strategy IN ('simple', 'weighted', 'unanimous', 'majority')),
    threshold    INTEGER NOT NULL CHECK (threshold BETWEEN 0 AND 1000000),
    participants TEXT    NOT NULL,
    loop         INTEGER NOT NULL CHECK (loop >= 1),
    status       TEXT    NOT NULL CHECK (status IN ('pending', 'in_progress', 'achieved', 'failed', 'expired')),
    score        INTEGER,
    owner        TEXT    NOT NULL,
    team         TEXT,
    swarm        TEXT,
    level        INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    deadline     INTEGER,
    closed_at    INTEGER,
    closed_by    TEXT,
    reason       TEXT    NOT NULL DEFAULT '',
    body         BLOB    NOT NULL,           -- what exactly is proposed
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CHECK ((target_type IS NULL) = (target IS NULL))
);
CREATE INDEX consensus_target   ON consensus (env, target, id) WHERE target IS NOT NULL;
CREATE INDEX consensus_deadline ON consensus (env, deadline) WHERE closed_at IS NULL AND deadline IS NOT NULL;
CREATE INDEX consensus_closed   ON consensus (env, closed_at) WHERE closed_at IS NOT NULL;

-- One of each voter, replaced as long as the proposal is open. The seal of its reason binds the
-- vote: one that was changed behind the engine does not open.
CREATE TABLE ballot (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    env        TEXT    NOT NULL,
    proposal   INTEGER NOT NULL REFERENCES consensus (id) ON DELETE CASCADE,
    voter      TEXT    NOT NULL,
    vote       TEXT    NOT NULL CHECK (vote IN ('approve', 'reject', 'abstain')),
    confidence INTEGER NOT NULL CHECK (confidence BETWEEN 0 AND 1000000),
    reason     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (proposal, voter)
);

-- one and other are the two that are in each other's way: ids, keys, names. attempts counts the
-- attempts to resolve it that have failed since it was reported or reopened; at threshold it is
-- escalated. times is how often it was reported while it was not resolved. auto: a program may
-- resolve it without asking a person.
CREATE TABLE conflict (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    env         TEXT    NOT NULL,
    title       TEXT    NOT NULL,
    type        TEXT    NOT NULL CHECK (type IN ('resource', 'data', 'access', 'priority', 'dependency', 'version', 'consensus')),
    severity    INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 4),  -- low, medium, high, critical
    one         TEXT    NOT NULL,
    other       TEXT    NOT NULL,
    strategy    TEXT    NOT NULL,
    auto        INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('unresolved', 'in_progress', 'resolved', 'escalated')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    threshold   INTEGER NOT NULL CHECK (threshold >= 1),
    times       INTEGER NOT NULL DEFAULT 1,
    holder      TEXT,                        -- who works on it, or who has resolved it
    owner       TEXT    NOT NULL,
    team        TEXT,
    swarm       TEXT,
    level       INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    reason      TEXT    NOT NULL DEFAULT '', -- why the last attempt failed, or why it was escalated
    escalated_at INTEGER,
    resolved_at INTEGER,
    body        BLOB    NOT NULL,            -- what is known of it
    resolution  BLOB,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
);
CREATE INDEX conflict_open      ON conflict (env, type, one, other) WHERE state <> 'resolved';
CREATE INDEX conflict_escalated ON conflict (env, severity DESC, id) WHERE state = 'escalated';
CREATE INDEX conflict_resolved  ON conflict (env, resolved_at) WHERE state = 'resolved';

-- What is known of an agent beside its capabilities, and when it was last heard.
ALTER TABLE agent ADD COLUMN metadata  TEXT NOT NULL DEFAULT '{}';  -- JSON object
ALTER TABLE agent ADD COLUMN last_seen INTEGER;
