-- A transaction that spends outpoints of interest, once, however many of them it spends: a consolidation of a thousand
-- watched outpoints must not take its 100 kB a thousand times. What is true of the transaction (where it is, since when
-- we know it) stands with it; `spends` only says which outpoint it takes, by which input.
-- height set: confirmed in that block of our chain. Else in_mempool tells "in the mempool now" from "seen, then gone".
CREATE TABLE spenders (
  txid BLOB PRIMARY KEY CHECK (length(txid) = 32),
  raw_tx BLOB NOT NULL,
  first_seen_s INTEGER NOT NULL,
  height INTEGER REFERENCES blocks (height),
  in_mempool INTEGER NOT NULL CHECK (in_mempool IN (0, 1)),
  CHECK (height IS NULL OR in_mempool = 0)
) STRICT;

INSERT INTO spenders (txid, raw_tx, first_seen_s, height, in_mempool)
  SELECT spender_txid, raw_tx, min(first_seen_s), max(height), CASE WHEN max(height) IS NULL THEN max(in_mempool) ELSE 0 END
  FROM spends GROUP BY spender_txid;

CREATE TABLE new_spends (
  txid BLOB NOT NULL CHECK (length(txid) = 32),
  vout INTEGER NOT NULL,
  spender_txid BLOB NOT NULL REFERENCES spenders (txid),
  vin INTEGER NOT NULL,
  PRIMARY KEY (txid, vout, spender_txid)
) STRICT, WITHOUT ROWID;
INSERT INTO new_spends (txid, vout, spender_txid, vin) SELECT txid, vout, spender_txid, vin FROM spends;
DROP TABLE spends;
ALTER TABLE new_spends RENAME TO spends;

CREATE INDEX spends_by_spender ON spends (spender_txid);
-- Both are asked at every block; nearly all spenders are confirmed.
CREATE INDEX spenders_by_height ON spenders (height) WHERE height IS NOT NULL;
CREATE INDEX spenders_unconfirmed ON spenders (in_mempool) WHERE height IS NULL;
