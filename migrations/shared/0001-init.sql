-- What several trackers share. Each migration is one row here, written in its own transaction.
CREATE TABLE schema_version (
  version integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- One row: the Bitcoin network that everything in this database is about.
CREATE TABLE identity (
  id integer PRIMARY KEY CHECK (id = 1),
  network text NOT NULL,
  made_at timestamptz NOT NULL DEFAULT now()
);
