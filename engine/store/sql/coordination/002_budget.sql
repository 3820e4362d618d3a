-- Budgets that were changed while an engine ran: bytes of the plan as written, before it is scaled
-- to the host. They lie over those of the settings.

CREATE TABLE budget (
    env        TEXT    PRIMARY KEY,
    base_bytes INTEGER NOT NULL CHECK (base_bytes > 0),
    max_bytes  INTEGER NOT NULL CHECK (max_bytes >= base_bytes),
    changed_at INTEGER NOT NULL,
    changed_by TEXT    NOT NULL
);
