-- One environment: its memory, queue, swarms, agents, teams, grants and audit trail.
-- Every table leads its key with the environment, so that one server can hold all of them.
-- Times are microseconds since the epoch.

CREATE TABLE memory (
    env        TEXT    NOT NULL,
    namespace  TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    level      INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    owner      TEXT    NOT NULL,
    team       TEXT,
    swarm      TEXT,
    version    INTEGER NOT NULL,
    format     INTEGER NOT NULL,           -- bits 0-3 plain form, above: how the body is wrapped
    key_id     INTEGER,                    -- the key that sealed the body, if any
    body       BLOB    NOT NULL,
    mac        BLOB,                       -- keyed check of a body that is not sealed
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    UNIQUE (env, namespace, key)
);
CREATE INDEX memory_expiry ON memory (env, expires_at) WHERE expires_at IS NOT NULL;

-- states: 0 ready, 1 delayed, 2 leased, 3 done, 4 dead, 5 expired, 6 cancelled
-- target is '' for anyone, else an agent, team or swarm id. An id is never used twice, also not
-- after its message was deleted: a worker that comes back late must not meet somebody else's.
CREATE TABLE message (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    env          TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    target       TEXT    NOT NULL DEFAULT '',
    priority     INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 10),
    state        INTEGER NOT NULL CHECK (state BETWEEN 0 AND 6),
    attempt      INTEGER NOT NULL DEFAULT 0,
    spent        INTEGER NOT NULL DEFAULT 0, -- attempts used up before the last retry by hand
    max_attempts INTEGER NOT NULL,
    sender       TEXT    NOT NULL,
    holder       TEXT,                       -- who holds it, or who finished it
    dedup_key    TEXT,
    due_at       INTEGER,
    lease_until  INTEGER,
    expires_at   INTEGER,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    error        TEXT    NOT NULL DEFAULT '',
    body         BLOB    NOT NULL,
    result       BLOB
);
-- A message is in one of the first five, by its state. Ready messages are in two: a claim for
-- any kind reads one run per target, a claim for some kinds one per target and kind.
CREATE INDEX message_ready       ON message (env, target, priority DESC, id) WHERE state = 0;
CREATE INDEX message_ready_kind  ON message (env, target, kind, priority DESC, id) WHERE state = 0;
CREATE INDEX message_delayed     ON message (env, due_at) WHERE state = 1;
CREATE INDEX message_leased      ON message (env, lease_until) WHERE state = 2;
CREATE INDEX message_done        ON message (env, holder, id) WHERE state = 3;
CREATE INDEX message_finished    ON message (env, state, id) WHERE state >= 4;
CREATE INDEX message_expiry      ON message (env, expires_at) WHERE expires_at IS NOT NULL AND state < 2;
CREATE INDEX message_redelivered ON message (env, attempt) WHERE attempt > 1;
CREATE UNIQUE INDEX message_dedup ON message (env, dedup_key) WHERE dedup_key IS NOT NULL;

CREATE TABLE swarm (
    env          TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    agents       INTEGER NOT NULL,         -- wanted
    memory_bytes INTEGER NOT NULL,
    command      TEXT    NOT NULL,         -- JSON list; empty: the bundled worker
    lasting      INTEGER NOT NULL DEFAULT 1, -- 0: ends with the action that made it
    reason       TEXT    NOT NULL DEFAULT '',
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (env, id)
) WITHOUT ROWID;

CREATE TABLE team (
    env        TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    leader     TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (env, id)
) WITHOUT ROWID;

CREATE TABLE agent (
    env          TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    type         TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    swarm        TEXT,
    capabilities TEXT    NOT NULL,         -- JSON list
    state        TEXT    NOT NULL,
    token_hash   BLOB,                     -- SHA-256 of the token it was started with
    pid          INTEGER,
    started_at   INTEGER,                  -- the process's own start time: pid alone is reused
    restarts     INTEGER NOT NULL DEFAULT 0,
    reason       TEXT    NOT NULL DEFAULT '',
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (env, id),
    FOREIGN KEY (env, swarm) REFERENCES swarm (env, id)
) WITHOUT ROWID;

CREATE TABLE team_member (
    env   TEXT NOT NULL,
    team  TEXT NOT NULL,
    agent TEXT NOT NULL,
    PRIMARY KEY (env, team, agent),
    FOREIGN KEY (env, team)  REFERENCES team (env, id)  ON DELETE CASCADE,
    FOREIGN KEY (env, agent) REFERENCES agent (env, id) ON DELETE CASCADE
) WITHOUT ROWID;

-- env is the environment of the records; the subject may belong to another one.
CREATE TABLE grant_entry (
    env        TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    effect     TEXT    NOT NULL CHECK (effect IN ('allow', 'deny')),
    resource   TEXT    NOT NULL,
    level      INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    actions    TEXT    NOT NULL,           -- comma-separated
    namespace  TEXT    NOT NULL,
    key_prefix TEXT    NOT NULL,
    granted_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (env, id)
) WITHOUT ROWID;

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    env      TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    object   TEXT    NOT NULL,
    allowed  INTEGER NOT NULL,
    detail   TEXT    NOT NULL
);

-- Whoever writes a row without moving its time gets it moved. The hot statements set it
-- themselves, so the triggers cost them one comparison.
CREATE TRIGGER memory_touch AFTER UPDATE ON memory WHEN new.updated_at IS old.updated_at
BEGIN UPDATE memory SET updated_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE rowid = new.rowid; END;
CREATE TRIGGER message_touch AFTER UPDATE ON message WHEN new.updated_at IS old.updated_at
BEGIN UPDATE message SET updated_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE id = new.id; END;
CREATE TRIGGER swarm_touch AFTER UPDATE ON swarm WHEN new.updated_at IS old.updated_at
BEGIN UPDATE swarm SET updated_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE env = new.env AND id = new.id; END;
CREATE TRIGGER team_touch AFTER UPDATE ON team WHEN new.updated_at IS old.updated_at
BEGIN UPDATE team SET updated_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE env = new.env AND id = new.id; END;
CREATE TRIGGER agent_touch AFTER UPDATE ON agent WHEN new.updated_at IS old.updated_at
BEGIN UPDATE agent SET updated_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE env = new.env AND id = new.id; END;
