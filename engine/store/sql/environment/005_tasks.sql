-- What agents have to do, and what each of it waits for.

-- agent: who works on it, or who alone may take it. blockers: a JSON list of texts, what holds it
-- beside its dependencies. Waiting for those is not a status: it follows from them. requirements,
-- deliverables and result are JSON texts, protected by keys.
CREATE TABLE task (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    env             TEXT    NOT NULL,
    title           TEXT    NOT NULL,
    type            TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed',
                                                       'failed', 'cancelled', 'blocked')),
    priority        INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 10),
    level           INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    owner           TEXT    NOT NULL,
    team            TEXT,
    swarm           TEXT,
    agent           TEXT,
    parent          INTEGER,
    progress        REAL    NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    confidence      REAL    CHECK (confidence BETWEEN 0 AND 1),
    estimated_hours REAL,
    actual_hours    REAL,
    deadline_at     INTEGER,
    attempt         INTEGER NOT NULL DEFAULT 0,  -- how often it was begun
    max_attempts    INTEGER NOT NULL DEFAULT 1,
    reason          TEXT    NOT NULL DEFAULT '', -- why it failed or was cancelled
    blockers        TEXT    NOT NULL DEFAULT '[]',
    version         INTEGER NOT NULL DEFAULT 1,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    started_at      INTEGER,
    ended_at        INTEGER,
    requirements    BLOB,
    deliverables    BLOB,
    result          BLOB
);
CREATE INDEX task_unfinished ON task (env, id) WHERE status <> 'completed';
CREATE INDEX task_ended      ON task (env, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX task_working    ON task (env, agent) WHERE status = 'in_progress';
CREATE INDEX task_parent     ON task (env, parent) WHERE parent IS NOT NULL;

-- What `task` waits for: the task `needs`, or else something that is no task, by its name. met: what
-- the condition said of a task that has ended; NULL while it has not. resolved_at: somebody has said
-- that it is not to be waited for any more.
CREATE TABLE dependency (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    env         TEXT    NOT NULL,
    task        INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    needs       INTEGER REFERENCES task (id) ON DELETE CASCADE,
    resource    TEXT    NOT NULL DEFAULT '',
    kind        TEXT    NOT NULL CHECK (kind IN ('hard', 'soft', 'optional', 'conditional')),
    condition   TEXT    NOT NULL DEFAULT '',
    met         INTEGER,
    resolved_at INTEGER,
    resolved_by TEXT    NOT NULL DEFAULT '',
    created_by  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    CHECK ((needs IS NULL) <> (resource = '')),
    CHECK ((kind = 'conditional') = (condition <> ''))
);
CREATE UNIQUE INDEX dependency_once ON dependency (env, task, ifnull(needs, 0), resource);
CREATE INDEX dependency_needs ON dependency (env, needs) WHERE needs IS NOT NULL;
