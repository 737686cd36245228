-- What the workers look for.
create index reputation_outdated on reputation_holders (holder) where outdated = 1;
