-- What several trackers share is merged: each process counts the probes of an hour for itself, under a number of its own.
-- What was counted so far gets one number for the whole file, another in each file. The number is text here: when nothing but
-- the pages of a damaged file is left, a record is known by the types of its columns, and six numbers are a relay's hour.
CREATE TABLE counted_by (source INTEGER NOT NULL);
INSERT INTO counted_by VALUES (abs(random() % 281474976710655) + 1);

CREATE TABLE probe_hours_by_source (
  maker_id INTEGER NOT NULL REFERENCES makers (id) ON DELETE CASCADE,
  hour INTEGER NOT NULL,
  source TEXT NOT NULL,
  answered INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  unjudged INTEGER NOT NULL,
  PRIMARY KEY (maker_id, hour, source)
) STRICT, WITHOUT ROWID;
INSERT INTO probe_hours_by_source
  SELECT maker_id, hour, (SELECT CAST(source AS TEXT) FROM counted_by), answered, failed, unjudged FROM probe_hours;
DROP TABLE probe_hours;
ALTER TABLE probe_hours_by_source RENAME TO probe_hours;
CREATE INDEX probe_hours_by_hour ON probe_hours (hour);

ALTER TABLE probes ADD COLUMN source INTEGER NOT NULL DEFAULT 0;
UPDATE probes SET source = (SELECT source FROM counted_by);
DROP TABLE counted_by;

-- A maker that no longer shows a proof, since when (Unix milliseconds): an older proof that another tracker tells of counts no
-- more. As text, since a txid and two numbers are a registration where only pages are left.
CREATE TABLE proofs_taken_back (
  txid BLOB NOT NULL CHECK (length(txid) = 32),
  vout INTEGER NOT NULL,
  at_ms TEXT NOT NULL,
  PRIMARY KEY (txid, vout)
) STRICT, WITHOUT ROWID;

-- With a shared store: what was written here and is not known to be there yet. `key` says which row: a registered outpoint or
-- a proof by `txid:vout`, a maker by its address, a probe by its id, an hour by `maker id/hour/source`. `noted` grows with
-- each note: one that was noted anew while it was being told stays.
CREATE TABLE untold (
  kind TEXT NOT NULL CHECK (kind IN ('registration', 'maker', 'proof', 'probe', 'hour')),
  key TEXT NOT NULL,
  noted INTEGER NOT NULL,
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- How far this file has read what the others have told, and where: another place is compared as a whole.
CREATE TABLE shared_position (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  place TEXT NOT NULL,
  change INTEGER NOT NULL
) STRICT;
