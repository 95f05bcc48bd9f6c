-- Relays that the operator names: what each showed of the market when it was last read.
CREATE TABLE relays (
  id INTEGER PRIMARY KEY,
  url TEXT NOT NULL UNIQUE,
  -- Unix seconds, here and below. The newest event read there, from which the next reading goes on.
  cursor_s INTEGER,
  -- The last time that everything was read.
  read_s INTEGER,
  -- The last time that it was told where this tracker is.
  news_s INTEGER,
  -- Seconds until new bonds were seen there, and events that were not valid by their fault, as JSON.
  delays TEXT NOT NULL,
  faults TEXT NOT NULL,
  -- Its row as the daemon told it last, as JSON; NULL before it told one.
  report TEXT
) STRICT;

-- Bonds that a relay's valid events announce, and until when takers look at the last of them.
CREATE TABLE relay_bonds (
  relay_id INTEGER NOT NULL REFERENCES relays (id) ON DELETE CASCADE,
  txid BLOB NOT NULL CHECK (length(txid) = 32),
  until_s INTEGER NOT NULL,
  -- Signed by our own key.
  is_own INTEGER NOT NULL CHECK (is_own IN (0, 1)),
  PRIMARY KEY (relay_id, txid)
) STRICT, WITHOUT ROWID;

-- The four counts as they were at the end of each hour (Unix time ÷ 3,600 s).
CREATE TABLE relay_hours (
  relay_id INTEGER NOT NULL REFERENCES relays (id) ON DELETE CASCADE,
  hour INTEGER NOT NULL,
  announced INTEGER NOT NULL,
  missing INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  invalid INTEGER NOT NULL,
  PRIMARY KEY (relay_id, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX relay_hours_by_hour ON relay_hours (hour);
