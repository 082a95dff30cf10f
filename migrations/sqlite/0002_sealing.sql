-- Sealing: keyrings, data keys, and sealed values apart from the skeletons. Nothing of version 1 was sealed: a database that has
-- environments already is refused before this runs.

DROP TABLE hole;
DROP TABLE value;
ALTER TABLE environment DROP COLUMN wrapped_secret;

-- Everything of an environment that is wrapped to the master key.
CREATE TABLE keyring (
    environment TEXT PRIMARY KEY,
    meta TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The keys of states, wrapped to an identity of their environment.
CREATE TABLE data_key (
    id BLOB PRIMARY KEY,
    environment TEXT NOT NULL,
    name INTEGER NOT NULL,
    state BLOB NOT NULL,
    identity INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    status TEXT NOT NULL,
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX data_key_by_name ON data_key (name);
CREATE INDEX data_key_by_environment ON data_key (environment, id, identity, epoch, status);

-- What new things of a state are sealed under.
CREATE TABLE ground (
    state BLOB PRIMARY KEY,
    data_key BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    next_ordinal INTEGER NOT NULL,
    collected INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sealed values, shared by the documents of a state. The tag is their first bytes: equal values at one place have equal ones.
CREATE TABLE value (
    data_key BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    tag BLOB NOT NULL,
    sealed BLOB,                      -- NULL: in the pieces of `body`
    body BLOB,
    PRIMARY KEY (data_key, ordinal)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX value_by_tag ON value (data_key, tag);

ALTER TABLE version ADD COLUMN data_key BLOB;
ALTER TABLE version ADD COLUMN ordinals TEXT;
ALTER TABLE draft ADD COLUMN data_key BLOB;
ALTER TABLE draft ADD COLUMN ordinals TEXT;
ALTER TABLE staged ADD COLUMN data_key BLOB;
