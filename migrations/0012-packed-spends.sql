-- What blocks spent, packed: see store/packed-keys.ts. A row for each indexed block; `keys` has its own, until the 32 blocks
-- of its segment are packed together.
CREATE TABLE indexed_blocks (
  height INTEGER PRIMARY KEY REFERENCES blocks (height),
  keys BLOB
) STRICT;

-- The rows of a segment: id = 1,024 × segment + bucket. What was kept in another form goes over (store/migrate.ts).
ALTER TABLE spent_keys RENAME TO old_spent_keys;
CREATE TABLE spent_keys (
  id INTEGER PRIMARY KEY,
  keys BLOB NOT NULL
) STRICT;

-- Spends of the last blocks, and those that may still change, are found without reading the transactions beside them.
DROP INDEX spenders_by_height;
CREATE INDEX spenders_by_height ON spenders (height, txid) WHERE height IS NOT NULL;
DROP INDEX spenders_unconfirmed;
CREATE INDEX spenders_unconfirmed ON spenders (in_mempool, txid) WHERE height IS NULL;
-- Announcements that never qualified: the youngest are kept.
CREATE INDEX bonds_refused ON bonds (conf_height) WHERE refusal IS NOT NULL;

-- Nobody asks for a block by its hash: without that index a block changes a page less.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE old_blocks (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, time_s INTEGER NOT NULL) STRICT;
INSERT INTO old_blocks SELECT height, hash, time_s FROM blocks;
DROP TABLE blocks;
CREATE TABLE blocks (
  height INTEGER PRIMARY KEY CHECK (height >= 0),
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  time_s INTEGER NOT NULL
) STRICT;
INSERT INTO blocks SELECT height, hash, time_s FROM old_blocks;
DROP TABLE old_blocks;
