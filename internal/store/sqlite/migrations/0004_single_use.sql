-- What is used once until it expires: proofs that were spent (sealed is NULL), and
-- values that are taken once. Keys are digests; sealed is what only the server
-- reads.
CREATE TABLE single_use (
    key      BLOB    NOT NULL PRIMARY KEY,
    until    INTEGER NOT NULL,
    taken_at INTEGER,
    sealed   BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX single_use_until ON single_use (until);
