-- What is probed and how it is recovered, circuit breakers, and alerts that outlive an engine.
-- Times are microseconds since the epoch.

-- subject: a swarm, an environment, or disk, memory, bus. standby: the swarm that takes over.
CREATE TABLE recovery (
    subject       TEXT    PRIMARY KEY,
    policy        TEXT    NOT NULL
        CHECK (policy IN ('RESTART', 'RECREATE', 'SCALE_UP', 'FAILOVER', 'ALERT_ONLY')),
    standby       TEXT    NOT NULL DEFAULT '',
    address       TEXT    NOT NULL DEFAULT '',  -- HTTP address that is probed
    attempts      INTEGER NOT NULL DEFAULT 0,
    attempted_at  INTEGER,
    healthy_since INTEGER,
    outcome       TEXT    NOT NULL DEFAULT '',
    successor     TEXT    NOT NULL DEFAULT '',  -- the swarm that has taken over
    changed_at    INTEGER NOT NULL,
    changed_by    TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE breaker (
    name       TEXT    PRIMARY KEY,
    state      TEXT    NOT NULL CHECK (state IN ('closed', 'open', 'half-open')),
    failures   INTEGER NOT NULL DEFAULT 0,    -- one after the other
    successes  INTEGER NOT NULL DEFAULT 0,    -- since it is half open
    opened_at  INTEGER,
    calls      TEXT    NOT NULL DEFAULT '[]', -- JSON: [time, 0 or 1] of those in its window
    changed_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE alert (
    id              TEXT    PRIMARY KEY,
    rule            TEXT    NOT NULL,
    severity        TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('firing', 'acknowledged', 'resolved')),
    env             TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    detail          TEXT    NOT NULL,
    hint            TEXT    NOT NULL,
    since_at        INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    resolved_at     INTEGER
) WITHOUT ROWID;
