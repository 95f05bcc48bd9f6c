-- What a maker announced, youngest first, is found however much of it there is; a host by its addresses' part before the port.
DROP INDEX bonds_by_address;
CREATE INDEX bonds_by_address ON bonds (address, conf_height);
CREATE INDEX bonds_by_host ON bonds (substr(address, 1, instr(address, ':') - 1), conf_height);
CREATE INDEX pending_bonds_by_address ON pending_bonds (address);
CREATE INDEX pending_bonds_by_host ON pending_bonds (substr(address, 1, instr(address, ':') - 1));
