-- The first schema. Migrations are append-only: a file that has been released never changes.
-- Deadlines are store time in microseconds; `wall` columns are milliseconds since 1970, for people.

CREATE TABLE server (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    instance BLOB NOT NULL,           -- which database this is; its sidecar names it too
    history BLOB NOT NULL,            -- which history of events; a restore begins another
    epoch INTEGER NOT NULL,           -- the high part of fencing tokens granted now
    seq INTEGER NOT NULL,             -- commits so far
    beat INTEGER NOT NULL,            -- store time at the last commit
    revision INTEGER NOT NULL,        -- the last event
    trimmed INTEGER NOT NULL,         -- the last event that is gone
    clean INTEGER NOT NULL            -- 1: closed in order
) STRICT;

CREATE TABLE environment (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    wrapped_secret BLOB NOT NULL,
    meta TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for everything under a name: the lock, and which version is current. It outlives its state.
CREATE TABLE name (
    id INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    path TEXT NOT NULL,
    current INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    lock TEXT NOT NULL DEFAULT '{}',
    UNIQUE (environment, path)
) STRICT;

CREATE TABLE ticket (
    name INTEGER NOT NULL,
    place INTEGER NOT NULL,           -- served by ascending place
    id INTEGER NOT NULL,
    principal TEXT NOT NULL,
    session TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    meta TEXT NOT NULL,
    PRIMARY KEY (name, place)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX ticket_by_session ON ticket (name, session, principal);

CREATE TABLE version (
    name INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body BLOB,                        -- NULL: deleted here, or the bytes are gone
    meta TEXT NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE draft (
    seq INTEGER PRIMARY KEY,
    name INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    lease TEXT NOT NULL,              -- principal, session and token: drafts of one lease are one entry
    token INTEGER NOT NULL,
    digest TEXT NOT NULL,
    body BLOB NOT NULL,
    stored INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    meta TEXT NOT NULL
) STRICT;
CREATE INDEX draft_by_name ON draft (name, lease, seq);
CREATE INDEX draft_by_expiry ON draft (expires);

-- The skeleton of a document, in pieces.
CREATE TABLE chunk (
    body BLOB NOT NULL,
    n INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (body, n)
) STRICT, WITHOUT ROWID;

-- Sealed values, shared by the versions of a state, and the holes of each body that they fill.
CREATE TABLE value (
    state BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (state, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE hole (
    body BLOB NOT NULL,
    n INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (body, n)
) STRICT, WITHOUT ROWID;

-- Bodies on their way in, that nothing refers to yet.
CREATE TABLE staged (
    body BLOB PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Effects by request id. The id comes first: time-ordered ids append, whoever sends them.
CREATE TABLE request (
    id BLOB NOT NULL,
    principal TEXT NOT NULL,
    digest TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (id, principal)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    revision INTEGER PRIMARY KEY,
    wall INTEGER NOT NULL,
    environment TEXT NOT NULL,
    path TEXT,
    event TEXT NOT NULL
) STRICT;
