-- What no import brings back, and of which ended grant somebody said so.
create table withholdings (
    holder    text collate "C" not null,
    kind      text collate "C" not null,
    reference text collate "C" not null,
    source    text collate "C" not null,
    grant_id  text collate "C" not null,
    primary key (holder, kind, reference, source)
);

-- From what happened, since the grant itself may have been pruned; but not what whoever has the source's authority gave again.
with granted as (
    select grant_id, position, data::jsonb as said from grant_history where event = 'grant.granted.v1'
), withheld as (
    select grant_id, max(position) as position from grant_history where event = 'grant.withheld.v1' group by grant_id
)
insert into withholdings (holder, kind, reference, source, grant_id)
select distinct on (ended.said->>'holder', ended.said->>'kind', ended.said->>'ref', ended.said->>'source')
    ended.said->>'holder', ended.said->>'kind', ended.said->>'ref', ended.said->>'source', ended.grant_id
from withheld join granted as ended on ended.grant_id = withheld.grant_id
where not exists (
    select 1 from granted as again
    where again.said->>'holder' = ended.said->>'holder' and again.said->>'kind' = ended.said->>'kind'
        and again.said->>'ref' = ended.said->>'ref' and again.said->>'source' = ended.said->>'source'
        and again.said->>'granted_by' is not null and again.said->>'parent' is null and again.position > withheld.position
)
order by ended.said->>'holder', ended.said->>'kind', ended.said->>'ref', ended.said->>'source', withheld.position desc;

update inventory set withheld = 0 where withheld = 1 and grant_id not in (select grant_id from withholdings);
