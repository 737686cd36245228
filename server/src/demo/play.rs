//! Playing the file: every row becomes the commands it stands for, in order, and the balance is compared after each.

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use serde_json::json;

use super::cast::{CURRENCY, Cast};
use super::client::{Answer, Client};
use super::rows::{Act, Cents, OPENING, Row};

/// How far the guild's treasury was after a row.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Position of the last entry that changed its balance.
    pub position: u64,
    pub balance: Cents,
    /// Whether the file says the same; `None` when it says nothing.
    pub agreed: Option<bool>,
}

#[derive(Debug, Default, Clone)]
pub struct Played {
    pub commands: u64,
    pub entries: u64,
    pub proposals: u64,
    /// One per row.
    pub marks: Vec<Mark>,
    /// What the host's treasury holds at the end.
    pub host: Cents,
}

struct Player<'a> {
    client: &'a Client,
    cast: &'a Cast,
    row: &'a Row,
    step: u32,
    played: &'a mut Played,
    balance: Cents,
    position: u64,
}

/// Plays all rows. Commands go one at a time: the file's order is the order of effect.
///
/// # Errors
/// At the first refusal, or the first row after which the balance is not the file's.
pub async fn play(client: &Client, cast: &Cast, rows: &[Row], bar: &ProgressBar) -> anyhow::Result<Played> {
    let mut played = Played::default();
    let (mut balance, mut position) = (OPENING, 0);
    for row in rows {
        let mut player = Player { client, cast, row, step: 0, played: &mut played, balance, position };
        player.act().await.with_context(|| format!("line {} of the file", row.line))?;
        (balance, position) = (player.balance, player.position);
        let agreed = row.balance_after.map(|after| after == balance);
        ensure!(
            agreed != Some(false),
            "line {}: the balance is {balance}, the file says {:?}",
            row.line,
            row.balance_after
        );
        played.marks.push(Mark { position, balance, agreed });
        bar.inc(1);
    }
    Ok(played)
}

impl Player<'_> {
    async fn act(&mut self) -> anyhow::Result<()> {
        match self.row.act {
            Act::Inflow { gross, fee, host_fee } => {
                self.deposit(gross, fee).await?;
                if host_fee.is_zero() { Ok(()) } else { self.host_fee(host_fee).await }
            }
            Act::HostFee { amount } => self.host_fee(amount).await,
            Act::FromHost { amount } => self.host_pays(amount).await,
            Act::Refund { paid, host_pays } => {
                if !host_pays.is_zero() {
                    self.host_pays(host_pays).await?;
                }
                self.spend(paid, Cents::ZERO).await
            }
            Act::Expense { paid, fee } => self.spend(paid, fee).await,
        }
    }

    /// Gross in, and what the processor kept out again: one command.
    async fn deposit(&mut self, gross: Cents, fee: Cents) -> anyhow::Result<()> {
        let body = json!({
            "source": self.row.source,
            "reference": self.row.transaction,
            "currency": CURRENCY,
            "amount": gross.to_string(),
            "fee": fee.to_string(),
            "effective_at": self.row.at,
            "memo": self.memo(),
        });
        let answer =
            self.send(&self.cast.bridge.key, &format!("/treasuries/{}/deposits", self.cast.guild), body).await?;
        ensure!(answer.outcome == "done", "the deposit was answered with {}", answer.outcome);
        Ok(())
    }

    /// Under the standing mandate: no vote, but within its share of what came in, and to its one payee.
    async fn host_fee(&mut self, amount: Cents) -> anyhow::Result<()> {
        let body = json!({
            "to": self.cast.host,
            "currency": CURRENCY,
            "amount": amount.to_string(),
            "mandate": "host-fee",
            "effective_at": self.row.at,
            "memo": self.memo(),
        });
        let path = format!("/treasuries/{}/transfers", self.cast.guild);
        self.transfer(&self.cast.bookkeeper.key, &path, body).await?;
        self.played.host = self.played.host.plus(amount);
        Ok(())
    }

    /// Out of the host's treasury, which its own manager decides about.
    async fn host_pays(&mut self, amount: Cents) -> anyhow::Result<()> {
        let body = json!({
            "to": self.cast.guild,
            "currency": CURRENCY,
            "amount": amount.to_string(),
            "effective_at": self.row.at,
            "memo": self.memo(),
        });
        let path = format!("/treasuries/{}/transfers", self.cast.host);
        self.transfer(&self.cast.host_manager.key, &path, body).await?;
        self.played.host = self.played.host.minus(amount);
        Ok(())
    }

    async fn transfer(&mut self, key: &str, path: &str, body: serde_json::Value) -> anyhow::Result<()> {
        let answer = self.send(key, path, body).await?;
        ensure!(answer.wrote("treasury.credited.v1"), "the transfer waits to be accepted");
        Ok(())
    }

    /// Money to the outside: the agent proposes, which sets it aside; a second ratifier's vote pays it out of what was set aside.
    async fn spend(&mut self, paid: Cents, fee: Cents) -> anyhow::Result<()> {
        let body = json!({
            "reference": self.row.transaction,
            "currency": CURRENCY,
            "amount": paid.to_string(),
            "fee": fee.to_string(),
            "effective_at": self.row.at,
            "memo": self.memo(),
        });
        let path = format!("/treasuries/{}/withdrawals", self.cast.guild);
        let before = self.balance;
        let proposed = self.send(&self.cast.bookkeeper.key, &path, body).await?;
        ensure!(proposed.outcome == "proposed", "a withdrawal without a vote: {}", proposed.outcome);
        ensure!(proposed.wrote("treasury.hold_placed.v1") && self.balance == before, "the proposal set nothing aside");
        let proposal = proposed.proposal.context("the answer names no proposal")?;
        // The two humans take turns.
        let ratifier =
            if self.played.proposals.is_multiple_of(2) { &self.cast.treasurer } else { &self.cast.maintainer };
        let path = format!("/guilds/prettier/proposals/{proposal}/ratify");
        let ratified = self.send(&ratifier.key, &path, json!({})).await?;
        let captured = ratified.wrote("treasury.hold_captured.v1") && ratified.wrote("treasury.debited.v1");
        ensure!(captured, "the deciding vote paid nothing");
        self.played.proposals += 1;
        Ok(())
    }

    /// Sealed on its way in: only members can read it, and it can be forgotten.
    fn memo(&self) -> String {
        let refunds = self.row.refunds.as_deref().map(|original| format!(", refunds {original}")).unwrap_or_default();
        format!("{} {}{refunds}", self.row.combination, self.row.counterparty)
    }

    async fn send(&mut self, key: &str, path: &str, body: serde_json::Value) -> anyhow::Result<Answer> {
        self.step += 1;
        let retry_key = format!("demo-{}-{}", self.row.transaction, self.step);
        let answer = self.client.command(key, path, &retry_key, &body).await?;
        self.played.commands += 1;
        self.played.entries += answer.entries.len() as u64;
        for entry in answer.entries.iter().filter(|entry| entry.stream == self.cast.guild) {
            let amount = || -> anyhow::Result<Cents> {
                entry.data["amount"].as_str().context("a movement without an amount")?.parse()
            };
            match entry.kind.as_str() {
                "treasury.credited.v1" => self.balance = self.balance.plus(amount()?),
                "treasury.debited.v1" => self.balance = self.balance.minus(amount()?),
                _ => continue,
            }
            self.position = entry.position;
        }
        Ok(answer)
    }
}
