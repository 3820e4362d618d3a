-- What was measured, one row for each subject and step of time. step_s: seconds a row stands for;
-- older rows are thinned into larger steps. readings: JSON object, name to a number, or for a larger step
-- to [mean, least, greatest].

CREATE TABLE measurement (
    step_s   INTEGER NOT NULL,
    subject  TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    readings BLOB    NOT NULL,
    PRIMARY KEY (step_s, subject, at)
) WITHOUT ROWID;
CREATE INDEX measurement_age ON measurement (step_s, at);
