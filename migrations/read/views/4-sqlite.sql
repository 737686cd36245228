-- Whether somebody said of an ended grant that it is not to come back.
alter table inventory add column withheld integer not null default 0;
-- For whom the actor acted: who imported what the city's own workers then recorded.
alter table grant_history add column on_behalf_of text;
