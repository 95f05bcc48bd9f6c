-- Makers that were probed: where they stand. `id` only to keep the tables below narrow; the address is the key.
CREATE TABLE makers (
  id INTEGER PRIMARY KEY,
  address TEXT NOT NULL UNIQUE,
  -- Unix milliseconds, here and below. The last probe of any outcome, and the last valid answer.
  last_probe_ms INTEGER NOT NULL,
  last_up_ms INTEGER,
  -- Judged failures in a row since the last answer, the first and the last of them, and what failed in the last.
  failures INTEGER NOT NULL CHECK (failures >= 0),
  first_failure_ms INTEGER,
  last_failure_ms INTEGER,
  failure TEXT,
  failure_text TEXT,
  -- The dialect it answered last, and the protocols it listed, as JSON.
  dialect TEXT,
  protocols TEXT,
  pinged_ms INTEGER,
  -- The last time its offer was asked for; what became of the proof in the last offer: empty `proof_failed` = proven.
  offer_asked_ms INTEGER,
  proof_ms INTEGER,
  proof_txid BLOB CHECK (length(proof_txid) = 32),
  proof_vout INTEGER,
  proof_failed TEXT,
  proof_text TEXT
) STRICT;

-- The terms of a maker's last offer: claims, shown as such.
CREATE TABLE offers (
  maker_id INTEGER PRIMARY KEY REFERENCES makers (id) ON DELETE CASCADE,
  at_ms INTEGER NOT NULL,
  base_fee_sats INTEGER NOT NULL,
  amount_fee_pct REAL NOT NULL,
  time_fee_pct REAL NOT NULL,
  required_confirms INTEGER,
  lock_blocks_min INTEGER NOT NULL,
  amount_sats_min INTEGER NOT NULL,
  amount_sats_max INTEGER NOT NULL
) STRICT;

-- Bonds proven to be their maker's, by an offer or a Post. Only what the chain has: written for announced bonds alone,
-- and void when a reorg moved the bond into another block.
CREATE TABLE proofs (
  txid BLOB NOT NULL CHECK (length(txid) = 32),
  vout INTEGER NOT NULL,
  conf_hash BLOB NOT NULL CHECK (length(conf_hash) = 32),
  era TEXT NOT NULL,
  source TEXT NOT NULL CHECK (source IN ('offer', 'post')),
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (txid, vout)
) STRICT, WITHOUT ROWID;

-- Every probe, for some days. `unjudged`: it failed while our own Tor was not known to work, so it says nothing.
CREATE TABLE probes (
  id INTEGER PRIMARY KEY,
  maker_id INTEGER NOT NULL REFERENCES makers (id) ON DELETE CASCADE,
  at_ms INTEGER NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('answered', 'failed', 'unjudged')),
  failure TEXT,
  failure_text TEXT,
  dialect TEXT,
  latency_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX probes_by_maker ON probes (maker_id, at_ms);
CREATE INDEX probes_by_time ON probes (at_ms);

-- The same counted by the hour (Unix time ÷ 3,600 s), for more than a year: 24 narrow rows a day and maker.
CREATE TABLE probe_hours (
  maker_id INTEGER NOT NULL REFERENCES makers (id) ON DELETE CASCADE,
  hour INTEGER NOT NULL,
  answered INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  unjudged INTEGER NOT NULL,
  PRIMARY KEY (maker_id, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX probe_hours_by_hour ON probe_hours (hour);
