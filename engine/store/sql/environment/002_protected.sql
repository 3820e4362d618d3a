-- Keys, a chain over the audit trail, conditions of grants, an end to tokens.

-- Keys that seal records, wrapped by the key of the environment. A destroyed key has no bytes.
-- uses counts the messages sealed with it, reserved ahead in blocks: never too low.
CREATE TABLE data_key (
    env          TEXT    NOT NULL,
    id           INTEGER NOT NULL,
    class        TEXT    NOT NULL CHECK (class IN ('private', 'team', 'rest')),
    state        TEXT    NOT NULL CHECK (state IN ('active', 'retiring', 'destroyed')),
    wrapped      BLOB,
    uses         INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    destroyed_at INTEGER,
    PRIMARY KEY (env, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX data_key_active ON data_key (env, class) WHERE state = 'active';

-- A record that only gets another key has not changed: its time stays, and with it what its seal
-- says. Whoever changes one without moving the time breaks the seal.
DROP TRIGGER memory_touch;
CREATE TRIGGER memory_touch AFTER UPDATE ON memory
WHEN new.updated_at IS old.updated_at AND new.key_id IS old.key_id
BEGIN UPDATE memory SET updated_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE rowid = new.rowid; END;

-- kind: entry; export: public records may be read from another environment, which is the subject;
-- break-glass: the operator reads a private record, for a stated reason.
-- hours '09:00-17:30', days 'mon,tue', both in zone; empty: always.
ALTER TABLE grant_entry ADD COLUMN kind   TEXT NOT NULL DEFAULT 'entry'
    CHECK (kind IN ('entry', 'export', 'break-glass'));
ALTER TABLE grant_entry ADD COLUMN name   TEXT NOT NULL DEFAULT '';
ALTER TABLE grant_entry ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE grant_entry ADD COLUMN hours  TEXT NOT NULL DEFAULT '';
ALTER TABLE grant_entry ADD COLUMN days   TEXT NOT NULL DEFAULT '';
ALTER TABLE grant_entry ADD COLUMN zone   TEXT NOT NULL DEFAULT '';

-- Without an end a token counts no more. Those of processes that run now end a day from their start.
ALTER TABLE agent ADD COLUMN token_expires INTEGER;
UPDATE agent SET token_expires = updated_at + 86400000000, updated_at = updated_at + 1
WHERE token_hash IS NOT NULL;

-- hash: SHA-256 over the hash before it and all rows since, on the last row of each commit.
ALTER TABLE audit ADD COLUMN hash BLOB;

-- Where the chain begins: after this row, with this hash.
CREATE TABLE audit_anchor (
    env      TEXT    PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash     BLOB    NOT NULL
) WITHOUT ROWID;
INSERT INTO audit_anchor
SELECT env, max(sequence), zeroblob(32) FROM audit GROUP BY env;

-- A signed head. kind: checkpoint, disputed (made while a rollback is not explained), restored;
-- anchor is the sequence of the anchor at that time.
CREATE TABLE audit_checkpoint (
    env       TEXT    NOT NULL,
    sequence  INTEGER NOT NULL,
    hash      BLOB    NOT NULL,
    kind      TEXT    NOT NULL,
    anchor    INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    signature BLOB    NOT NULL,
    PRIMARY KEY (env, sequence)
) WITHOUT ROWID;
