-- compatible-with: 1
--
-- What nodes share besides what they keep.

-- What is used once until it expires: proofs that were spent (sealed is NULL), and
-- values that are taken once. Keys are digests; sealed is what only the server
-- reads.
CREATE TABLE single_use (
    key      bytea  PRIMARY KEY,
    until    bigint NOT NULL,
    taken_at bigint,
    sealed   bytea
);

CREATE INDEX single_use_until ON single_use (until);

-- How often something may still be tried. A budget that is not there is whole, and
-- that is also what the nodes have after a crash of the server: the table is not
-- logged, so that counting an attempt waits for no disk. Times are microseconds.
-- wait is what the last attempt was told.
CREATE UNLOGGED TABLE budget (
    key   bytea  PRIMARY KEY,
    whole bigint NOT NULL,
    wait  bigint NOT NULL
);

CREATE INDEX budget_whole ON budget (whole);
