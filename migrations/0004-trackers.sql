-- Other trackers of this market: configured by the operator, or learnt from a Ping and proven by dialling back.
CREATE TABLE trackers (
  address TEXT PRIMARY KEY,
  source TEXT NOT NULL CHECK (source IN ('configured', 'learnt')),
  -- Unix seconds, here and below.
  added_s INTEGER NOT NULL,
  asked_s INTEGER,
  seen_s INTEGER,
  -- Times in a row that it was asked in vain, and what happened last.
  failures INTEGER NOT NULL,
  failure TEXT,
  -- What it last said of itself; digest and block are missing for trackers that speak version 1 alone.
  version TEXT,
  height INTEGER,
  block_hash BLOB CHECK (length(block_hash) = 32),
  digest BLOB CHECK (length(digest) = 32),
  -- At `compared_height`, where both of us were at the same block; the outpoints as JSON, at most some hundred.
  agrees INTEGER CHECK (agrees IN (0, 1)),
  compared_height INTEGER,
  only_ours TEXT NOT NULL,
  only_theirs TEXT NOT NULL
) STRICT;
