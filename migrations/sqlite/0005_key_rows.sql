-- Rows of keys with a digest beside them. Wrapped keys are bound to more than those of version 4 were: a database that has environments already is
-- refused before this runs, so these tables are empty.

DROP TABLE keyring;
DROP TABLE data_key;

-- Everything of an environment that is wrapped to the master key.
CREATE TABLE keyring (
    environment TEXT PRIMARY KEY,
    meta TEXT NOT NULL,
    digest BLOB NOT NULL              -- of the row
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
    wrapped BLOB NOT NULL,
    digest BLOB NOT NULL              -- of what never changes in the row
) STRICT, WITHOUT ROWID;
CREATE INDEX data_key_by_name ON data_key (name);
CREATE INDEX data_key_by_environment ON data_key (environment, id, identity, epoch, status);
