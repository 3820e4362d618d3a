-- Artifacts: what agents have made, whole files of any size. Their contents lie outside of the
-- database, in files named by address; a row here counts only when its file is on the disk.

-- A content, kept once however many artifacts have it. address: a keyed hash of it. size: bytes of
-- the content, stored: bytes of its file. secret: sealed, the key of its file, its SHA-256 and the
-- numbers beside it. damage: what was found wrong the last time, '' if nothing was.
CREATE TABLE artifact_content (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    env        TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    size       INTEGER NOT NULL CHECK (size >= 0),
    stored     INTEGER NOT NULL CHECK (stored > 0),
    chunks     INTEGER NOT NULL CHECK (chunks > 0),
    secret     BLOB,
    created_at INTEGER NOT NULL,
    checked_at INTEGER,
    damage     TEXT    NOT NULL DEFAULT '',
    UNIQUE (env, address)
);

-- series: the first version of the same thing, itself for that one. owner, level, team and swarm
-- are those of the series, author is who made this version. parent: what it was made from, which
-- may be gone by now. metadata: sealed where the environment seals; it says again what the row
-- says, so that a changed row shows. An id is never used twice.
CREATE TABLE artifact (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    env        TEXT    NOT NULL,
    series     INTEGER NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    name       TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    format     TEXT    NOT NULL DEFAULT '',
    content    TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    level      INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    owner      TEXT    NOT NULL,
    team       TEXT,
    swarm      TEXT,
    author     TEXT    NOT NULL,
    parent     INTEGER,
    metadata   BLOB,
    created_at INTEGER NOT NULL,
    UNIQUE (env, series, version),
    FOREIGN KEY (env, content) REFERENCES artifact_content (env, address)
);
CREATE INDEX artifact_name ON artifact (env, owner, name, version);
CREATE INDEX artifact_content_of ON artifact (env, content);
CREATE INDEX artifact_parent ON artifact (env, parent) WHERE parent IS NOT NULL;
