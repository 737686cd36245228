-- A unique index lets nulls repeat: so one for what has a scope, and one for what has none.
create unique index one_scoped_score on reputation_scores (holder, figure, scope) where scope is not null;
create unique index one_global_score on reputation_scores (holder, figure) where scope is null;
create unique index one_scoped_rating on reputation_ratings (holder, figure, scope) where scope is not null;
create unique index one_global_rating on reputation_ratings (holder, figure) where scope is null;
