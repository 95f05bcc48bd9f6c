-- What takers of today's market hold against a bond's transaction, a JSON list of codes, empty for nothing. Null where it was
-- stored by a version that did not look: the daemon reads the transaction again.
ALTER TABLE bonds ADD COLUMN tx_refusals TEXT CHECK (json_valid(tx_refusals));
ALTER TABLE pending_bonds ADD COLUMN tx_refusals TEXT CHECK (json_valid(tx_refusals));
CREATE INDEX bonds_unread ON bonds (conf_height) WHERE tx_refusals IS NULL;

-- The Lightning terms of an offer by OpenSwap's names, a JSON object, or what is wrong with them; null both without any.
ALTER TABLE offers ADD COLUMN lightning TEXT CHECK (json_valid(lightning));
ALTER TABLE offers ADD COLUMN lightning_fault TEXT;
