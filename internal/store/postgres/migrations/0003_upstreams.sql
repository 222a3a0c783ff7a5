-- compatible-with: 1
--
-- Providers whose users may sign in here. doc is JSON; sealed is the client
-- secret, which only the server reads.
CREATE TABLE upstream (
    id      text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    doc     text   NOT NULL,
    sealed  bytea
);

-- Which account a provider's subject is: one each way.
CREATE TABLE upstream_link (
    upstream  text COLLATE "C" NOT NULL,
    subject   text COLLATE "C" NOT NULL,
    account   uuid   NOT NULL REFERENCES account (id),
    linked_at bigint NOT NULL,
    PRIMARY KEY (upstream, subject),
    CONSTRAINT upstream_link_account UNIQUE (account, upstream)
);
