-- What trackers share. Who writes takes the row of `clock` first and stamps his rows with its `change`: so changes are
-- committed in their order, and whoever has read up to one misses nothing that comes after it.
CREATE TABLE clock (
  id int PRIMARY KEY CHECK (id = 1),
  change bigint NOT NULL,
  -- The last change of each kind, so that a kind with no news isn't read.
  registrations bigint NOT NULL,
  makers bigint NOT NULL,
  -- Another one in each database.
  place uuid NOT NULL
) WITH (fillfactor = 10);
INSERT INTO clock VALUES (1, 0, 0, 0, gen_random_uuid());

-- Hashes as bitcoin-cli prints them: encode(txid, 'hex').
CREATE TABLE watches (
  txid bytea NOT NULL CHECK (length(txid) = 32),
  vout bigint NOT NULL,
  until_height int NOT NULL,
  -- As long as no transaction has made the outpoint: until when it is kept without one.
  unfunded_until int,
  change bigint NOT NULL,
  PRIMARY KEY (txid, vout)
);
CREATE INDEX watches_by_change ON watches (change, txid, vout);
CREATE INDEX watches_by_end ON watches (until_height);
CREATE INDEX watches_unfunded ON watches (unfunded_until) WHERE unfunded_until IS NOT NULL;

-- Ended by an operator; one that stands in `watches` too was registered again since, and counts as not ended.
CREATE TABLE dropped (
  txid bytea NOT NULL CHECK (length(txid) = 32),
  vout bigint NOT NULL,
  until_height int NOT NULL,
  change bigint NOT NULL,
  PRIMARY KEY (txid, vout)
);
CREATE INDEX dropped_by_change ON dropped (change, txid, vout);
CREATE INDEX dropped_by_end ON dropped (until_height);

CREATE TABLE makers (
  address text PRIMARY KEY,
  last_probe_ms bigint NOT NULL,
  offer_asked_ms bigint,
  -- Of two with the same times the one with the greater number counts.
  tie bigint NOT NULL,
  record jsonb NOT NULL,
  offer jsonb,
  change bigint NOT NULL
);
CREATE INDEX makers_by_change ON makers (change, address);
CREATE INDEX makers_by_probe ON makers (last_probe_ms);

-- Without `conf_hash`: the maker no longer shows the proof.
CREATE TABLE proofs (
  txid bytea NOT NULL CHECK (length(txid) = 32),
  vout bigint NOT NULL,
  at_ms bigint NOT NULL,
  conf_hash bytea CHECK (length(conf_hash) = 32),
  era text,
  source text,
  change bigint NOT NULL,
  PRIMARY KEY (txid, vout),
  CHECK ((conf_hash IS NULL) = (era IS NULL) AND (era IS NULL) = (source IS NULL))
);
CREATE INDEX proofs_by_change ON proofs (change, txid, vout);

CREATE TABLE probes (
  address text NOT NULL,
  at_ms bigint NOT NULL,
  source bigint NOT NULL,
  outcome text NOT NULL,
  failure text,
  failure_text text,
  dialect text,
  latency_ms bigint NOT NULL,
  change bigint NOT NULL,
  PRIMARY KEY (address, at_ms, source)
);
CREATE INDEX probes_by_change ON probes (change, address, at_ms, source);
CREATE INDEX probes_by_time ON probes (at_ms);

CREATE TABLE probe_hours (
  address text NOT NULL,
  hour int NOT NULL,
  source bigint NOT NULL,
  answered int NOT NULL,
  failed int NOT NULL,
  unjudged int NOT NULL,
  change bigint NOT NULL,
  PRIMARY KEY (address, hour, source)
);
CREATE INDEX probe_hours_by_change ON probe_hours (change, address, hour, source);
CREATE INDEX probe_hours_by_hour ON probe_hours (hour);

-- Whose turn it is to probe a host. Not stamped: nobody reads it but to take a turn.
CREATE TABLE turns (
  host text PRIMARY KEY,
  free_at timestamptz NOT NULL,
  holder text,
  lease_until timestamptz
) WITH (fillfactor = 70);

CREATE TABLE leases (
  name text PRIMARY KEY,
  holder text NOT NULL,
  until timestamptz NOT NULL
);
