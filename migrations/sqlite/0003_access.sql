-- Who may do what: grants, and tokens by hash.

CREATE TABLE api_token (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    exchanged TEXT UNIQUE,            -- the hash of the credential it was exchanged for
    expires INTEGER,                  -- wall time in milliseconds
    used INTEGER,                     -- the same, to a minute
    meta TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_grant (
    id BLOB PRIMARY KEY,
    subject TEXT NOT NULL,
    meta TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX access_grant_by_subject ON access_grant (subject);
