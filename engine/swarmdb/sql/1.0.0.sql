-- What agents did, who they are, and what sessions remember. Names and columns are those that
-- programs with SQL of their own rely on.

CREATE TABLE IF NOT EXISTS schema_info (
    key        TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at TEXT DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS agent_events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id   TEXT UNIQUE NOT NULL,
    event_type TEXT NOT NULL,           -- spawn, complete, error
    agent_id   TEXT NOT NULL,
    agent_type TEXT NOT NULL,
    timestamp  TEXT NOT NULL,           -- ISO 8601
    metadata   TEXT,                    -- JSON
    created_at TEXT DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS idx_agent_events_agent_id   ON agent_events (agent_id);
CREATE INDEX IF NOT EXISTS idx_agent_events_event_type ON agent_events (event_type);
CREATE INDEX IF NOT EXISTS idx_agent_events_timestamp  ON agent_events (timestamp);

CREATE TABLE IF NOT EXISTS agent_registry (
    agent_id      TEXT PRIMARY KEY,
    agent_type    TEXT NOT NULL,
    status        TEXT NOT NULL,        -- spawned, running, complete, error
    spawn_time    REAL NOT NULL,        -- seconds since the epoch, as complete_time
    complete_time REAL,
    duration_ms   INTEGER,
    metadata      TEXT,                 -- JSON
    last_updated  TEXT DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS idx_agent_registry_status     ON agent_registry (status);
CREATE INDEX IF NOT EXISTS idx_agent_registry_agent_type ON agent_registry (agent_type);

CREATE TABLE IF NOT EXISTS session_memory (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id  TEXT NOT NULL,
    memory_type TEXT NOT NULL,          -- semantic, episodic, context_hint
    key         TEXT NOT NULL,
    value       TEXT,                   -- JSON
    timestamp   TEXT NOT NULL,
    ttl_hours   INTEGER,                -- NULL: for ever
    created_at  TEXT DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS idx_session_memory_session_id  ON session_memory (session_id);
CREATE INDEX IF NOT EXISTS idx_session_memory_memory_type ON session_memory (memory_type);
CREATE INDEX IF NOT EXISTS idx_session_memory_key         ON session_memory (key);
