-- Events: what agents tell one another has happened, to be looked at and worked on.

-- states: 0 ready, 1 waiting for another try, 2 processing, 3 completed, 4 failed, 5 expired; the
-- first two are called pending. owner is who published it. lane is who takes it: its target, else
-- those its level is for ('' anyone). chain is the first event of those that follow from one
-- another. attempt counts how often it was taken, retries the failures since it was published or
-- retried by hand. Every statement that changes an event moves updated_at itself.
CREATE TABLE event (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    env         TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    team        TEXT,
    swarm       TEXT,
    level       INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    target      TEXT    NOT NULL DEFAULT '',
    lane        TEXT    NOT NULL DEFAULT '',
    priority    INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 10),
    parent      INTEGER,
    chain       INTEGER NOT NULL,
    tags        TEXT    NOT NULL DEFAULT '',  -- each between commas: ,a,b,
    state       INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 5),
    attempt     INTEGER NOT NULL DEFAULT 0,
    retries     INTEGER NOT NULL DEFAULT 0,
    max_retries INTEGER NOT NULL,
    holder      TEXT,                         -- who works on it, or was the last to
    due_at      INTEGER,
    lease_until INTEGER,
    taken_at    INTEGER,
    duration_us INTEGER,
    ttl_us      INTEGER NOT NULL CHECK (ttl_us > 0),
    expires_at  INTEGER NOT NULL,
    error       TEXT    NOT NULL DEFAULT '',
    payload     BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
);
CREATE INDEX event_ready      ON event (env, lane, priority DESC, id) WHERE state = 0;
CREATE INDEX event_ready_type ON event (env, lane, type, priority DESC, id) WHERE state = 0;
CREATE INDEX event_waiting    ON event (env, due_at) WHERE state = 1;
CREATE INDEX event_leased     ON event (env, lease_until) WHERE state = 2;
CREATE INDEX event_expiry     ON event (env, expires_at) WHERE state < 2;
CREATE INDEX event_ended      ON event (env, state, updated_at) WHERE state >= 3;
CREATE INDEX event_chain      ON event (env, chain, id);
