-- What no import brings back, and of which ended grant somebody said so.
create table withholdings (
    holder    text collate "C" not null,
    kind      text collate "C" not null,
    reference text collate "C" not null,
    source    text collate "C" not null,
    grant_id  text collate "C" not null,
    primary key (holder, kind, reference, source)
);

-- Of what was withheld before this table, only what nobody gave again since.
update inventory as ended set withheld = 0 where ended.withheld = 1 and exists (
    select 1 from inventory as again
    where again.holder = ended.holder and again.kind = ended.kind and again.reference = ended.reference
        and again.source = ended.source and again.granted_by is not null and again.parent is null
        and again.position > (
            select max(said.position) from grant_history as said
            where said.grant_id = ended.grant_id and said.event = 'grant.withheld.v1'
        )
);
insert into withholdings (holder, kind, reference, source, grant_id)
    select holder, kind, reference, source, grant_id from inventory where withheld = 1;
