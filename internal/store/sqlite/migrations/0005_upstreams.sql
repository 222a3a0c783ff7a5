-- Providers whose users may sign in here. doc is JSON; sealed is the client
-- secret, which only the server reads.
CREATE TABLE upstream (
    id      TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    doc     TEXT    NOT NULL,
    sealed  BLOB
) STRICT, WITHOUT ROWID;

-- Which account a provider's subject is: one each way.
CREATE TABLE upstream_link (
    upstream  TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    user      INTEGER NOT NULL REFERENCES user (ref),
    linked_at INTEGER NOT NULL,
    PRIMARY KEY (upstream, subject)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX upstream_link_user ON upstream_link (user, upstream);
