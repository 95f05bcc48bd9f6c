-- One row: whose chain this database holds, and the secret behind its outpoint keys.
CREATE TABLE identity (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  network TEXT NOT NULL,
  -- Block script of a custom signet, which shares its genesis block with every other.
  signet_challenge TEXT,
  key_salt BLOB NOT NULL CHECK (length(key_salt) = 16)
) STRICT;

-- The best chain as far as it was scanned; the highest row is our tip. Hashes in display order everywhere.
CREATE TABLE blocks (
  height INTEGER PRIMARY KEY CHECK (height >= 0),
  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
  time_s INTEGER NOT NULL
) STRICT;

-- Confirmed announcements, never forgotten but by a reorg. States are computed against the tip, not stored.
CREATE TABLE bonds (
  txid BLOB NOT NULL CHECK (length(txid) = 32),
  vout INTEGER NOT NULL,
  address TEXT NOT NULL,
  format TEXT NOT NULL CHECK (format IN ('A', 'B', 'C', 'D')),
  amount_sats INTEGER NOT NULL CHECK (amount_sats >= 0),
  is_p2wsh INTEGER NOT NULL CHECK (is_p2wsh IN (0, 1)),
  lock_height INTEGER,
  conf_height INTEGER NOT NULL REFERENCES blocks (height),
  refusal TEXT,
  PRIMARY KEY (txid, vout)
) STRICT, WITHOUT ROWID;
CREATE INDEX bonds_by_conf_height ON bonds (conf_height);
CREATE INDEX bonds_by_address ON bonds (address);

-- Announcements in the mempool. Emptied at every start, filled from the node.
CREATE TABLE pending_bonds (
  txid BLOB NOT NULL CHECK (length(txid) = 32),
  vout INTEGER NOT NULL,
  address TEXT NOT NULL,
  format TEXT NOT NULL CHECK (format IN ('A', 'B', 'C', 'D')),
  amount_sats INTEGER NOT NULL CHECK (amount_sats >= 0),
  is_p2wsh INTEGER NOT NULL CHECK (is_p2wsh IN (0, 1)),
  lock_height INTEGER,
  PRIMARY KEY (txid, vout)
) STRICT, WITHOUT ROWID;

-- Outpoints somebody asked us to watch, until a height.
CREATE TABLE watches (
  txid BLOB NOT NULL CHECK (length(txid) = 32),
  vout INTEGER NOT NULL,
  until_height INTEGER NOT NULL,
  PRIMARY KEY (txid, vout)
) STRICT, WITHOUT ROWID;
CREATE INDEX watches_by_until_height ON watches (until_height);

-- Spends of bond outputs and watched outpoints, with the whole transaction, for ever.
-- height set: confirmed in that block of our chain. Else in_mempool tells "in the mempool now" from "seen, then gone".
CREATE TABLE spends (
  txid BLOB NOT NULL CHECK (length(txid) = 32),
  vout INTEGER NOT NULL,
  spender_txid BLOB NOT NULL CHECK (length(spender_txid) = 32),
  vin INTEGER NOT NULL,
  raw_tx BLOB NOT NULL,
  first_seen_s INTEGER NOT NULL,
  height INTEGER REFERENCES blocks (height),
  in_mempool INTEGER NOT NULL CHECK (in_mempool IN (0, 1)),
  PRIMARY KEY (txid, vout, spender_txid),
  CHECK (height IS NULL OR in_mempool = 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX spends_by_height ON spends (height);
CREATE INDEX spends_by_spender ON spends (spender_txid);

-- What every block of the retention spent: 8-byte keys (two big-endian words), one row per block and bucket, with
-- id = 64 × height + bucket: a block is written to a few pages in a row, and a row of a bucket is found by one seek.
CREATE TABLE spent_keys (
  id INTEGER PRIMARY KEY,
  keys BLOB NOT NULL
) STRICT;

-- One row: what the running daemon says of itself, as JSON, for the status verb.
CREATE TABLE daemon (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  report TEXT NOT NULL
) STRICT;
