-- compatible-with: 1
--
-- Times are milliseconds since 1970 in UTC, 0 or NULL for none. Ids are random,
-- so no table here needs a sequence.

-- Accounts. A removed account keeps its row with gone set and nothing in it, so
-- that its sessions can still name their owner.
CREATE TABLE account (
    id             uuid    PRIMARY KEY,
    epoch          bigint  NOT NULL,
    version        bigint  NOT NULL,
    created_at     bigint  NOT NULL,
    updated_at     bigint  NOT NULL,
    number         bigint  NOT NULL,
    disabled       boolean NOT NULL,
    gone           boolean NOT NULL DEFAULT false,
    email_verified boolean NOT NULL,
    staff          boolean NOT NULL,
    superuser      boolean NOT NULL,
    username       text    NOT NULL,
    email          text    NOT NULL,
    name           text    NOT NULL,
    given_name     text    NOT NULL,
    family_name    text    NOT NULL,
    password_hash  text    NOT NULL
);

-- User names and e-mail addresses in canonical form, one name space.
CREATE TABLE login (
    canonical text COLLATE "C" PRIMARY KEY,
    account   uuid NOT NULL REFERENCES account (id)
);

CREATE INDEX login_account ON login (account);

-- Why and when each epoch of an account began.
CREATE TABLE account_epoch (
    account uuid   NOT NULL REFERENCES account (id),
    epoch   bigint NOT NULL,
    reason  text   NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (account, epoch)
);

CREATE INDEX account_epoch_at ON account_epoch (at);

-- Registered clients as JSON documents. Version 0 is a client that was deleted
-- but may be named by sessions; they may name one that has no row here, too.
CREATE TABLE client (
    id      text COLLATE "C" PRIMARY KEY,
    version bigint  NOT NULL,
    stopped boolean NOT NULL,
    doc     text    NOT NULL
);

CREATE TABLE client_revision (
    one      integer PRIMARY KEY CHECK (one = 1),
    revision bigint  NOT NULL
);

INSERT INTO client_revision VALUES (1, 0);

-- One row per signed-in device. A refresh changes no indexed column, so that it
-- writes one row and no index (a HOT update); the free space in each page is for
-- that. Eight partitions, because a statement that touches a session then takes
-- at most sixteen locks, which is what a PostgreSQL process keeps to itself
-- before it must share a table of locks with all others.
CREATE TABLE session (
    id            uuid   NOT NULL,
    account       uuid   NOT NULL REFERENCES account (id),
    version       bigint NOT NULL,
    epoch         bigint NOT NULL,
    used_at       bigint NOT NULL,
    created_at    bigint NOT NULL,
    auth_time     bigint NOT NULL,
    ended_at      bigint,
    end_reason    text,
    parent        uuid,
    install       uuid,
    secret        bytea  NOT NULL,
    attempt       bytea  NOT NULL,
    client        text   COLLATE "C" NOT NULL,
    scope         text   NOT NULL,
    earned        text   NOT NULL,
    amr           text   NOT NULL,
    bound_to      text   NOT NULL,
    device_name   text   NOT NULL,
    device_model  text   NOT NULL,
    device_system text   NOT NULL,
    device_app    text   NOT NULL,
    chain         bytea  NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY HASH (id);

CREATE TABLE session_0 PARTITION OF session FOR VALUES WITH (MODULUS 8, REMAINDER 0) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE session_1 PARTITION OF session FOR VALUES WITH (MODULUS 8, REMAINDER 1) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE session_2 PARTITION OF session FOR VALUES WITH (MODULUS 8, REMAINDER 2) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE session_3 PARTITION OF session FOR VALUES WITH (MODULUS 8, REMAINDER 3) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE session_4 PARTITION OF session FOR VALUES WITH (MODULUS 8, REMAINDER 4) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE session_5 PARTITION OF session FOR VALUES WITH (MODULUS 8, REMAINDER 5) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE session_6 PARTITION OF session FOR VALUES WITH (MODULUS 8, REMAINDER 6) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE session_7 PARTITION OF session FOR VALUES WITH (MODULUS 8, REMAINDER 7) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX session_account ON session (account);

-- The record of revocations. An entry is written without a position in the
-- transaction of its change, and gets one after that has committed
-- (docs/adr/0011-postgres-record-order.md).
CREATE TABLE revocation (
    id         uuid   PRIMARY KEY DEFAULT gen_random_uuid(),
    position   bigint UNIQUE,
    written    bigint NOT NULL, -- microseconds
    kind       text   NOT NULL,
    key        text   COLLATE "C" NOT NULL,
    epoch      bigint NOT NULL,
    except_sid text   NOT NULL,
    reason     text   NOT NULL,
    at         bigint NOT NULL,
    until      bigint NOT NULL
);

CREATE INDEX revocation_pending ON revocation (written) WHERE position IS NULL;
CREATE INDEX revocation_key ON revocation (key, kind);
CREATE INDEX revocation_until ON revocation (until);

-- The last position that was given.
CREATE TABLE record_head (
    one  integer PRIMARY KEY CHECK (one = 1),
    head bigint  NOT NULL
);

INSERT INTO record_head VALUES (1, 0);

-- What happened, one row an event, only ever added. The position is the time of
-- the event and twenty random bits. It names accounts without a reference, so
-- that it outlives them.
CREATE TABLE audit (
    position bigint PRIMARY KEY,
    at       bigint NOT NULL,
    name     text   NOT NULL,
    actor    text   NOT NULL,
    actor_id text   NOT NULL,
    via      text   NOT NULL, -- the client of the actor's token
    address  text   NOT NULL,
    account  uuid,
    client   text   NOT NULL,
    sid      text   NOT NULL,
    object   text   NOT NULL,
    reason   text   NOT NULL,
    details  text   NOT NULL
);

CREATE INDEX audit_account ON audit (account, position) WHERE account IS NOT NULL;

-- Wrapped keys and the sealed roll of their ids.
CREATE TABLE wrapped_key (
    id         bigint PRIMARY KEY,
    purpose    text   NOT NULL,
    alg        text   NOT NULL,
    kid        text   NOT NULL,
    state      text   NOT NULL,
    wrapped    bytea,
    created_at bigint NOT NULL,
    active_at  bigint NOT NULL,
    retired_at bigint NOT NULL
);

CREATE TABLE key_roll (
    one     integer PRIMARY KEY CHECK (one = 1),
    version bigint  NOT NULL,
    roll    bytea
);

INSERT INTO key_roll VALUES (1, 0, NULL);

-- Calls that were sent with an idempotency key, so that the same call sent again
-- is answered and not carried out again. sealed is what only the server reads.
CREATE TABLE idempotent (
    call     bytea   PRIMARY KEY,
    at       bigint  NOT NULL,
    answered boolean NOT NULL,
    sealed   bytea   NOT NULL
);

CREATE INDEX idempotent_at ON idempotent (at);

-- A row to write when nothing else needs writing: is the disk back?
CREATE TABLE write_probe (
    one   integer PRIMARY KEY CHECK (one = 1),
    count bigint  NOT NULL
);

INSERT INTO write_probe VALUES (1, 0);
