-- A rescan takes back blocks that bitcoind may have pruned meanwhile, so that they are never read again. Where a spender
-- was confirmed then is kept beside it, until a block of that height is connected, which tells anew.
ALTER TABLE spenders ADD COLUMN rescan_height INTEGER CHECK (rescan_height >= 0);
ALTER TABLE spenders ADD COLUMN rescan_hash BLOB CHECK (length(rescan_hash) = 32);
CREATE INDEX spenders_by_rescan_height ON spenders (rescan_height) WHERE rescan_height IS NOT NULL;
