-- What happened, one row an event, only ever added. It names accounts by their
-- id, not by number, so that it outlives them.
CREATE TABLE audit (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    actor    TEXT    NOT NULL,
    actor_id TEXT    NOT NULL,
    address  TEXT    NOT NULL,
    user     BLOB,
    client   TEXT    NOT NULL,
    sid      TEXT    NOT NULL,
    object   TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    details  TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_user ON audit (user, position) WHERE user IS NOT NULL;
