-- What is measured of tasks, agents and swarms.

CREATE TABLE IF NOT EXISTS task_metrics (
    task_id       TEXT NOT NULL,
    agent_id      TEXT NOT NULL,
    duration_ms   INTEGER,
    result        TEXT NOT NULL,        -- success, failure, timeout, cancelled
    tokens_used   INTEGER DEFAULT 0,
    files_changed INTEGER DEFAULT 0,
    timestamp     DATETIME DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (task_id, timestamp)
);
CREATE INDEX IF NOT EXISTS idx_task_metrics_agent  ON task_metrics (agent_id, timestamp);
CREATE INDEX IF NOT EXISTS idx_task_metrics_time   ON task_metrics (timestamp);
CREATE INDEX IF NOT EXISTS idx_task_metrics_result ON task_metrics (result, timestamp);

CREATE TABLE IF NOT EXISTS agent_metrics (
    metric_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id    TEXT NOT NULL,
    metric_type TEXT NOT NULL,          -- duration, success_rate, error_count
    value       REAL NOT NULL,
    metadata    TEXT,                   -- JSON
    timestamp   DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS idx_agent_metrics_agent ON agent_metrics (agent_id, metric_type, timestamp);
CREATE INDEX IF NOT EXISTS idx_agent_metrics_type  ON agent_metrics (metric_type, timestamp);

CREATE TABLE IF NOT EXISTS swarm_metrics (
    metric_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    swarm_id    TEXT NOT NULL,
    metric_type TEXT NOT NULL,          -- health, throughput, latency, resource
    value       REAL NOT NULL,
    metadata    TEXT,                   -- JSON
    timestamp   DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS idx_swarm_metrics_swarm ON swarm_metrics (swarm_id, metric_type, timestamp);
CREATE INDEX IF NOT EXISTS idx_swarm_metrics_type  ON swarm_metrics (metric_type, timestamp);

-- Beyond what programs rely on: a value is found by all it is named by, not by one part of that.
CREATE INDEX IF NOT EXISTS idx_session_memory_place ON session_memory (session_id, memory_type, key);
