-- A registered outpoint that no transaction has made yet is kept until this height, unless it is funded before; null: it
-- is, or was when it was registered, and is kept until until_height.
ALTER TABLE watches ADD COLUMN unfunded_until INTEGER;
CREATE INDEX watches_unfunded ON watches (unfunded_until) WHERE unfunded_until IS NOT NULL;
