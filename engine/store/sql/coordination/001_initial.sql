-- What crosses environments. Times are microseconds since the epoch.

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
