-- Through which application an actor acted, for operators with a token.
ALTER TABLE audit ADD COLUMN actor_client TEXT NOT NULL DEFAULT '';

-- Calls that were sent with an idempotency key, so that the same call sent again
-- is answered and not carried out again. sealed is what only the server reads.
CREATE TABLE idempotent (
    call     BLOB    NOT NULL PRIMARY KEY,
    at       INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    sealed   BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotent_at ON idempotent (at);
