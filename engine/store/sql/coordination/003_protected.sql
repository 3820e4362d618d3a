-- A chain over the audit trail, and sessions of people and programs that come over a network.

ALTER TABLE audit ADD COLUMN hash BLOB;

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

-- Only the SHA-256 of a session's token is kept.
CREATE TABLE session (
    env        TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    principal  TEXT    NOT NULL,
    token_hash BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    PRIMARY KEY (env, id)
) WITHOUT ROWID;
