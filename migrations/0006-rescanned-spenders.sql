-- A rescan takes back blocks that bitcoind may have pruned meanwhile, so that they are never read again. Where a spender
-- was confirmed then is kept here, until a block of that height is connected, which tells anew. Hash in display order.
CREATE TABLE rescanned_spenders (
  txid BLOB PRIMARY KEY REFERENCES spenders (txid) ON DELETE CASCADE,
  height INTEGER NOT NULL CHECK (height >= 0),
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;
CREATE INDEX rescanned_spenders_by_height ON rescanned_spenders (height);
