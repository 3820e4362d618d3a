"""SQL of the queue. The hot statements name the index they stand on: one that has gone is an
error at once, not a slow queue."""

from __future__ import annotations

from typing import Final

from ..model import MessageState

STATES: Final = tuple(MessageState)  # the column holds the position
READY, DELAYED, LEASED, DONE, DEAD, EXPIRED, CANCELLED = range(len(STATES))
GONE: Final = -1  # where a deleted message goes

INSERT: Final = """
INSERT INTO message (id, env, kind, target, priority, state, max_attempts, sender, dedup_key,
                     due_at, expires_at, created_at, updated_at, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# Of most messages, which have neither key nor times: each NULL that is not bound saves a share.
INSERT_PLAIN: Final = """
INSERT INTO message (id, env, kind, target, priority, state, max_attempts, sender, created_at,
                     updated_at, body)
VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)"""
INSERT_ONCE: Final = INSERT + " ON CONFLICT (env, dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING"
SELECT_BY_KEY: Final = "SELECT id FROM message WHERE env = ? AND dedup_key = ?"

# --- claim ------------------------------------------------------------------------------------

# Without a limit: to SQLite a bound one is a reason to plan the statement anew each time. As many
# rows as are wanted are fetched, and no more are read.
_HEAD: Final = """
SELECT 10 - priority, id, kind, body, priority, attempt, sender, target, created_at, expires_at,
       attempt > 0
FROM message"""
HEADS: Final = f"""{_HEAD} INDEXED BY message_ready
WHERE env = ? AND target = ? AND state = 0
ORDER BY priority DESC, id"""
HEADS_OF_KIND: Final = f"""{_HEAD} INDEXED BY message_ready_kind
WHERE env = ? AND target = ? AND kind = ? AND state = 0
ORDER BY priority DESC, id"""
# The time always moves, also on a clock set back, so that the schema's own trigger never has to.
TAKE: Final = """
UPDATE message SET state = 2, attempt = attempt + 1, holder = ?, lease_until = ?,
    updated_at = max(?, updated_at + 1)
WHERE id = ?"""
UNTAKE: Final = """
UPDATE message SET state = 0, attempt = attempt - 1, holder = NULL, lease_until = NULL,
    updated_at = max(?, updated_at + 1)
WHERE id = ? AND state = 2 AND holder = ? AND attempt = ?
RETURNING target, kind, priority, created_at, expires_at, attempt"""

# --- what a holder does -----------------------------------------------------------------------

ACK: Final = """
UPDATE message SET state = 3, result = ?, error = '', lease_until = NULL,
    updated_at = max(?, updated_at + 1)
WHERE id = ? AND env = ? AND state = 2 AND holder = ? AND attempt = ?"""
EXTEND: Final = """
UPDATE message SET lease_until = ?, updated_at = max(?, updated_at + 1)
WHERE id = ? AND env = ? AND state = 2 AND holder = ? AND attempt = ?"""
SELECT_LEASE: Final = """
SELECT target, kind, priority, created_at, attempt, spent, max_attempts, expires_at, state, holder
FROM message
WHERE id = ? AND env = ?"""
SETTLE: Final = """
UPDATE message SET state = ?, due_at = ?, error = ?, holder = NULL, lease_until = NULL,
    updated_at = max(?, updated_at + 1)
WHERE id = ?"""
BURY: Final = """
UPDATE message SET state = 4, error = ?, lease_until = NULL, updated_at = max(?, updated_at + 1)
WHERE id = ?"""

# --- time -------------------------------------------------------------------------------------

DUE_EXPIRY: Final = """
SELECT id, state, target, kind, priority, created_at FROM message INDEXED BY message_expiry
WHERE env = ? AND expires_at IS NOT NULL AND expires_at <= ? AND state < 2
ORDER BY expires_at LIMIT ?"""
DUE_LEASE: Final = """
SELECT id, target, kind, priority, created_at, attempt, spent, max_attempts, expires_at, holder
FROM message INDEXED BY message_leased
WHERE env = ? AND state = 2 AND lease_until <= ?
ORDER BY lease_until LIMIT ?"""
DUE_DELAY: Final = """
SELECT id, target, kind, priority, created_at FROM message INDEXED BY message_delayed
WHERE env = ? AND state = 1 AND due_at <= ?
ORDER BY due_at LIMIT ?"""
HELD: Final = """
SELECT id, target, kind, priority, created_at, attempt, spent, max_attempts, expires_at, holder
FROM message INDEXED BY message_leased
WHERE env = ? AND state = 2 AND holder = ?
LIMIT ?"""
EXPIRE: Final = """
UPDATE message SET state = 5, due_at = NULL, updated_at = max(?, updated_at + 1) WHERE id = ?"""
PROMOTE: Final = """
UPDATE message SET state = 0, due_at = NULL, updated_at = max(?, updated_at + 1) WHERE id = ?"""
NEXT_EXPIRY: Final = """
SELECT min(expires_at) FROM message INDEXED BY message_expiry
WHERE env = ? AND expires_at IS NOT NULL AND state < 2"""
NEXT_LEASE: Final = """
SELECT min(lease_until) FROM message INDEXED BY message_leased WHERE env = ? AND state = 2"""
NEXT_DELAY: Final = """
SELECT min(due_at) FROM message INDEXED BY message_delayed WHERE env = ? AND state = 1"""

# --- by hand ----------------------------------------------------------------------------------

RETRY: Final = """
UPDATE message SET state = 0, spent = attempt, holder = NULL, due_at = NULL,
    expires_at = CASE WHEN expires_at > ? THEN expires_at END,
    updated_at = max(?, updated_at + 1)
WHERE id = ?
RETURNING target, kind, priority, created_at, expires_at"""
CANCEL: Final = """
UPDATE message SET state = 6, due_at = NULL, lease_until = NULL,
    updated_at = max(?, updated_at + 1)
WHERE id = ?"""
SELECT_STEERED: Final = """
SELECT state, target, kind, priority, created_at, sender FROM message WHERE id = ? AND env = ?"""
SELECT_EDITED: Final = """
SELECT due_at, expires_at, max_attempts FROM message WHERE id = ? AND env = ?"""
EDIT: Final = """
UPDATE message SET state = ?, priority = ?, due_at = ?, expires_at = ?, max_attempts = ?,
    body = coalesce(?, body), updated_at = max(?, updated_at + 1)
WHERE id = ?"""
SELECT_DOOMED: Final = """
SELECT id, state, target, kind, priority, created_at, holder, attempt FROM message
WHERE env = ? AND id > ? AND id <= ?
  AND (? IS NULL OR sender = ?) AND (? IS NULL OR kind = ?) AND (? IS NULL OR target = ?)
ORDER BY id LIMIT ?"""
SELECT_ONE_DOOMED: Final = """
SELECT id, state, target, kind, priority, created_at, holder, attempt FROM message
WHERE id = ? AND env = ?"""
DELETE: Final = "DELETE FROM message WHERE id = ?"

# --- opening: from the partial indexes; rows are read of what is delayed, leased or dead ------

COUNT_READY: Final = """
SELECT target, kind, priority, count(*) FROM message INDEXED BY message_ready_kind
WHERE env = ? AND state = 0 GROUP BY target, kind, priority"""
COUNT_AGES: Final = """
SELECT priority, created_at, count(*) FROM message INDEXED BY message_ready
WHERE env = ? AND state = 0 GROUP BY priority, created_at"""
# For an engine that is over in a moment, one row of each lane: ids grow with time.
FIRST_AGES: Final = """
SELECT message.priority, min(message.created_at), sum(lane.count)
FROM (SELECT min(id) AS first, count(*) AS count FROM message INDEXED BY message_ready
      WHERE env = ? AND state = 0 GROUP BY target, priority) AS lane
CROSS JOIN message ON message.id = lane.first
GROUP BY message.priority"""
COUNT_DELAYED: Final = """
SELECT priority, count(*) FROM message INDEXED BY message_delayed
WHERE env = ? AND state = 1 GROUP BY priority"""
COUNT_DONE: Final = """
SELECT holder, count(*) FROM message INDEXED BY message_done
WHERE env = ? AND state = 3 GROUP BY holder"""
COUNT_FINISHED: Final = """
SELECT state, count(*) FROM message INDEXED BY message_finished
WHERE env = ? AND state >= 4 GROUP BY state"""
COUNT_DEAD: Final = """
SELECT priority, count(*) FROM message INDEXED BY message_finished
WHERE env = ? AND state = 4 AND state >= 4 GROUP BY priority"""
SUM_REDELIVERED: Final = """
SELECT coalesce(sum(attempt - 1), 0) FROM message INDEXED BY message_redelivered
WHERE env = ? AND attempt > 1"""
SELECT_LEASES: Final = """
SELECT id, holder, sender, priority FROM message INDEXED BY message_leased
WHERE env = ? AND state = 2"""
LAST_ID: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'message'"

# --- looking ----------------------------------------------------------------------------------

_SHOWN: Final = """id, kind, priority, state, attempt, spent, max_attempts, sender, holder, target,
       created_at, due_at, lease_until, expires_at, error"""


def _select(rest: str) -> str:
    return f"SELECT {_SHOWN} FROM message {rest}"  # noqa: S608 - constants of this file


SELECT_SHOWN: Final = _select("WHERE id = ? AND env = ?")
SELECT_VALUES: Final = "SELECT body, result FROM message WHERE id = ? AND env = ?"
SELECT_PAGE: Final = _select("WHERE id IN (SELECT value FROM json_each(?)) AND env = ?")
# Ids of one priority: of one lane in order, of many lanes together, of another state, and the
# first of each lane.
LANE_OF_PRIORITY: Final = """
SELECT id FROM message INDEXED BY message_ready
WHERE env = ? AND target = ? AND state = 0 AND priority = ?"""
LANES_OF_PRIORITY: Final = """
SELECT message.id AS id FROM json_each(?) AS lane
CROSS JOIN message INDEXED BY message_ready
ON env = ? AND target = lane.value AND state = 0 AND priority = ?"""
OF_PRIORITY: Final = """
SELECT id FROM message INDEXED BY {index} WHERE env = ? AND state = {state} AND priority = ?"""
FIRSTS_OF_PRIORITY: Final = """
SELECT (SELECT id FROM message INDEXED BY message_ready
        WHERE env = ? AND target = lane.value AND state = 0 AND priority = ?
        ORDER BY id LIMIT 1) AS id
FROM json_each(?) AS lane"""
# What is to be purged: read beside the writer, from the indexes alone but for a kind.
IDS_OF_STATE: Final = """
SELECT id FROM message INDEXED BY {index}
WHERE env = ? AND state = {state} AND (? IS NULL OR kind = ?)"""
TALLY: Final = """
SELECT holder, state, count(*), sum(max(attempt - 1, 0)) FROM message
WHERE env = ? AND target = ? GROUP BY holder, state"""
