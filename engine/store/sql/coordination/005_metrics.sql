-- What was measured, one row for each subject and step of time.

-- Of what, and what each reading is called, in the order in which they are stored. A subject of
-- which something new is measured gets another row.
CREATE TABLE measured (
    id      INTEGER PRIMARY KEY,
    subject TEXT    NOT NULL,
    names   TEXT    NOT NULL, -- JSON array
    seen_s  INTEGER NOT NULL, -- the last step of it, within an hour
    UNIQUE (subject, names)
);

-- The step from at_s on, step_s seconds long; times are seconds since the epoch and divide by step_s.
-- readings: msgpack array; each a number, nil where there is none, or in a step that is put together
-- from shorter ones [mean, least, greatest, how many]. The time stands before the subject, so that
-- what is measured at one time is written to a page or two, and deleted without an index.
CREATE TABLE measurement (
    step_s   INTEGER NOT NULL,
    at_s     INTEGER NOT NULL,
    measured INTEGER NOT NULL,
    readings BLOB    NOT NULL,
    PRIMARY KEY (step_s, at_s, measured)
) WITHOUT ROWID;
