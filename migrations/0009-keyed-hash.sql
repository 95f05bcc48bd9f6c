-- Keys of outpoints are made by a keyed hash from here on. Those of the mix before it name nothing any more: what blocks
-- spent is indexed anew from the next one on, or, by a rescan, from wherever it begins.
DELETE FROM spent_keys;
