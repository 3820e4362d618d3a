-- What the processes of a swarm are started with, and when an agent said that it is ready.

ALTER TABLE swarm ADD COLUMN variables   TEXT NOT NULL DEFAULT '{}'; -- JSON object
ALTER TABLE swarm ADD COLUMN directory   TEXT NOT NULL DEFAULT '';   -- '': one of the swarm's own
ALTER TABLE swarm ADD COLUMN warm_up_s   REAL;                       -- NULL: the setting
ALTER TABLE swarm ADD COLUMN cpu_percent INTEGER;                    -- of one core; NULL: no quota
ALTER TABLE agent ADD COLUMN ready_at    INTEGER;
