//! Who has what a source lists: by the map file, by whom the source itself names, or the map's default.

use std::collections::HashMap;

use domain::ids::{GuildId, Slug};
use domain::party::{HolderId, HolderRef};
use sources::{Listed, Map, Whose};

use crate::city::City;

/// Where guilds are looked up.
pub trait Guilds: Send {
    fn guild(&mut self, slug: &Slug) -> impl Future<Output = anyhow::Result<Option<GuildId>>> + Send;
}

/// A city that is open here.
pub struct Tables<'a>(pub &'a City);

impl Guilds for Tables<'_> {
    async fn guild(&mut self, slug: &Slug) -> anyhow::Result<Option<GuildId>> {
        Ok(self.0.guild(slug).await?)
    }
}

/// Remembers which guilds there are, for as long as one listing takes.
#[derive(Default)]
pub struct Holders(HashMap<Slug, Option<GuildId>>);

impl Holders {
    pub async fn of(
        &mut self,
        map: &Map,
        listed: &Listed,
        guilds: &mut impl Guilds,
    ) -> anyhow::Result<Option<HolderId>> {
        if let Some(mapped) = map.holder(&listed.names) {
            return self.named(mapped, guilds).await;
        }
        let named = match &listed.whose {
            Some(Whose::Citizen(citizen)) => Some(HolderId::Citizen(*citizen)),
            Some(Whose::Guild(slug)) => self.guild(slug, guilds).await?.map(HolderId::Guild),
            None => None,
        };
        match &map.default {
            Some(default) if named.is_none() => self.named(default, guilds).await,
            _ => Ok(named),
        }
    }

    async fn named(&mut self, holder: &HolderRef, guilds: &mut impl Guilds) -> anyhow::Result<Option<HolderId>> {
        match holder {
            HolderRef::Id(id) => Ok(Some(*id)),
            HolderRef::Guild(slug) => Ok(self.guild(slug, guilds).await?.map(HolderId::Guild)),
        }
    }

    async fn guild(&mut self, slug: &Slug, guilds: &mut impl Guilds) -> anyhow::Result<Option<GuildId>> {
        if let Some(known) = self.0.get(slug) {
            return Ok(*known);
        }
        let found = guilds.guild(slug).await?;
        self.0.insert(slug.clone(), found);
        Ok(found)
    }
}
