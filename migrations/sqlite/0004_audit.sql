-- What was done, by whom. Rows are appended and never change; `line` is what is hashed, signed and exported, byte for byte.

CREATE TABLE audit (
    n INTEGER PRIMARY KEY,            -- in commit order, without gaps
    line TEXT NOT NULL
) STRICT;

-- Signed statements of how the chain over the rows stands.
CREATE TABLE audit_checkpoint (
    n INTEGER PRIMARY KEY,            -- the last row that it covers; 0: it comes before all
    line TEXT NOT NULL
) STRICT;
