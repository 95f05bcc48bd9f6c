-- What is wrong with a maker's last offer: such an offer has no row in offers.
ALTER TABLE makers ADD COLUMN offer_fault TEXT;
