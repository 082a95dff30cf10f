-- What was done, by whom. Rows are appended and never change; `line` is what is hashed, signed and exported, byte for byte.

CREATE TABLE audit (
    n INTEGER PRIMARY KEY,            -- in commit order, without gaps
    line TEXT NOT NULL
) STRICT;

-- Signed statements of how the chain over the rows stands.
CREATE TABLE audit_checkpoint (
    place INTEGER PRIMARY KEY,        -- in the order in which they were made, without gaps
    n INTEGER NOT NULL,               -- the last row that it covers
    line TEXT NOT NULL
) STRICT;
CREATE INDEX audit_checkpoint_by_n ON audit_checkpoint (n, place);
