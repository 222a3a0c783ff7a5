-- What is looked up by a refresh is found by an integer key: a session by the
-- first half of its id, its user, its terms and its client by small numbers
-- that never change and are never given twice. Times are milliseconds since
-- 1970 in UTC, 0 or NULL for none.

PRAGMA application_id = 0x48667374;

CREATE TABLE schema_migration (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

-- Accounts. A removed account keeps its row with gone = 1 and nothing in it, so
-- that its sessions can still name their owner.
CREATE TABLE user (
    ref            INTEGER PRIMARY KEY,
    id             BLOB    NOT NULL UNIQUE,
    epoch          INTEGER NOT NULL,
    disabled       INTEGER NOT NULL,
    gone           INTEGER NOT NULL DEFAULT 0,
    version        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    number         INTEGER NOT NULL,
    email_verified INTEGER NOT NULL,
    staff          INTEGER NOT NULL,
    superuser      INTEGER NOT NULL,
    username       TEXT    NOT NULL,
    email          TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    given_name     TEXT    NOT NULL,
    family_name    TEXT    NOT NULL,
    password_hash  TEXT    NOT NULL
) STRICT;

-- User names and e-mail addresses in canonical form, one name space.
CREATE TABLE login (
    canonical TEXT    NOT NULL PRIMARY KEY,
    user      INTEGER NOT NULL REFERENCES user (ref)
) STRICT, WITHOUT ROWID;

CREATE INDEX login_user ON login (user);

-- Why and when each epoch of a user began.
CREATE TABLE user_epoch (
    user   INTEGER NOT NULL REFERENCES user (ref),
    epoch  INTEGER NOT NULL,
    reason TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (user, epoch)
) STRICT, WITHOUT ROWID;

-- Registered clients as JSON documents. Version 0 is a client that is not
-- registered (any more) but named by sessions.
CREATE TABLE client (
    ref     INTEGER PRIMARY KEY,
    id      TEXT    NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    stopped INTEGER NOT NULL,
    doc     TEXT    NOT NULL
) STRICT;

CREATE TABLE client_revision (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL
) STRICT;

INSERT INTO client_revision VALUES (1, 0);

-- What sessions have in common: the client, what was granted and how. There are
-- few, they never change, and each session carries only a number.
CREATE TABLE terms (
    ref    INTEGER PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES client (ref),
    scope  TEXT    NOT NULL,
    earned TEXT    NOT NULL,
    amr    TEXT    NOT NULL,
    UNIQUE (client, scope, earned, amr)
) STRICT;

-- One row per signed-in device. key and tail are the two halves of the id: a
-- random integer key needs no second index and stays densely packed while
-- sessions come and go. facts and chain are packed (pack.go, session/rowchain.go).
CREATE TABLE session (
    key        INTEGER PRIMARY KEY,
    tail       BLOB    NOT NULL,
    version    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    user       INTEGER NOT NULL REFERENCES user (ref),
    terms      INTEGER NOT NULL REFERENCES terms (ref),
    used_at    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    end_reason TEXT,
    parent     INTEGER, -- the parent's key
    facts      BLOB    NOT NULL,
    chain      BLOB    NOT NULL
) STRICT;

CREATE INDEX session_user ON session (user);

-- The record of revocations. AUTOINCREMENT: a position is never given twice,
-- not even after the newest entries were forgotten.
CREATE TABLE revocation (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    except_sid TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    until      INTEGER NOT NULL
) STRICT;

CREATE INDEX revocation_key ON revocation (key, kind);

-- Wrapped keys and the sealed roll of their ids.
CREATE TABLE wrapped_key (
    id         INTEGER PRIMARY KEY,
    purpose    TEXT    NOT NULL,
    alg        TEXT    NOT NULL,
    kid        TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    wrapped    BLOB,
    created_at INTEGER NOT NULL,
    active_at  INTEGER NOT NULL,
    retired_at INTEGER NOT NULL
) STRICT;

CREATE TABLE key_roll (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    roll    BLOB
) STRICT;

INSERT INTO key_roll VALUES (1, 0, NULL);

-- A row to write when nothing else needs writing: is the disk back?
CREATE TABLE write_probe (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL
) STRICT;

INSERT INTO write_probe VALUES (1, 0);
