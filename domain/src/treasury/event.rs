//! What can have happened to a treasury. Balance and held change in disjoint events.

use serde::{Deserialize, Serialize};

use crate::ids::{CitizenId, GuildId, HoldId, MovementId, ProposalId, Slug, TreasuryId};
use crate::money::{Account, Amount, Currency, LegRole, Legs};
use crate::text::{Digest, Sealed};
use crate::time::Time;

/// Whose treasury it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Owner {
    Guild(GuildId),
    Citizen(CitizenId),
}

/// Which side froze: each can lift only its own freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreezeSide {
    City,
    Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    Deposit,
    /// The processor's fee kept from a deposit.
    DepositFee,
    Withdrawal,
    Capture,
    Transfer,
    Split,
    Dissolution,
}

/// One movement as one treasury sees it: what it is for this treasury, and all of its legs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    pub movement: MovementId,
    pub kind: MovementKind,
    pub currency: Currency,
    /// What this treasury's balance changes by, without sign.
    pub amount: Amount,
    pub legs: Legs,
    pub effective_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Slug>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Sealed>,
    /// Keyed digest of (source, reference), claimed for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_lookup: Option<Digest>,
    /// Digest of what the reference stands for: the same content again is "already done", anything else is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_content: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Sealed>,
    /// The hold or offer it was paid from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<Slug>,
}

/// What a hold promises to one payee, at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldLeg {
    pub payee: Account,
    pub role: LegRole,
    pub maximum: Amount,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", deny_unknown_fields)]
pub enum TreasuryEvent {
    #[serde(rename = "treasury.opened.v1")]
    Opened { owner: Owner },
    #[serde(rename = "treasury.credited.v1")]
    Credited(Box<Moved>),
    #[serde(rename = "treasury.debited.v1")]
    Debited(Box<Moved>),
    #[serde(rename = "treasury.hold_placed.v1")]
    HoldPlaced {
        hold: HoldId,
        currency: Currency,
        /// Sum of the legs' maxima.
        amount: Amount,
        legs: Vec<HoldLeg>,
        expires_at: Time,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<Sealed>,
        /// Set while a proposal decides about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<ProposalId>,
    },
    /// The proposal passed and the hold stands on its own.
    #[serde(rename = "treasury.hold_confirmed.v1")]
    HoldConfirmed { hold: HoldId, expires_at: Time },
    /// Precedes the debit of the same append; the legs say what each payee gets now; `captured` + `released` leave held.
    #[serde(rename = "treasury.hold_captured.v1")]
    HoldCaptured {
        hold: HoldId,
        currency: Currency,
        legs: Vec<HoldLeg>,
        captured: Amount,
        released: Amount,
        closed: bool,
    },
    #[serde(rename = "treasury.hold_released.v1")]
    HoldReleased { hold: HoldId, currency: Currency, amount: Amount },
    #[serde(rename = "treasury.hold_expired.v1")]
    HoldExpired { hold: HoldId, currency: Currency, amount: Amount },
    #[serde(rename = "treasury.offer_made.v1")]
    OfferMade {
        offer: HoldId,
        to: TreasuryId,
        currency: Currency,
        amount: Amount,
        expires_at: Time,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memo: Option<Sealed>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mandate: Option<Slug>,
    },
    /// Precedes the debit of the same append.
    #[serde(rename = "treasury.offer_accepted.v1")]
    OfferAccepted { offer: HoldId, currency: Currency, amount: Amount },
    #[serde(rename = "treasury.offer_rejected.v1")]
    OfferRejected { offer: HoldId, currency: Currency, amount: Amount },
    #[serde(rename = "treasury.offer_cancelled.v1")]
    OfferCancelled { offer: HoldId, currency: Currency, amount: Amount },
    #[serde(rename = "treasury.offer_expired.v1")]
    OfferExpired { offer: HoldId, currency: Currency, amount: Amount },
    #[serde(rename = "treasury.frozen.v1")]
    Frozen { side: FreezeSide, reason: Sealed },
    #[serde(rename = "treasury.unfrozen.v1")]
    Unfrozen { side: FreezeSide },
    /// The period before `as_of` is closed: balances count every movement with an earlier `effective_at`.
    #[serde(rename = "treasury.settled.v1")]
    Settled { as_of: Time, balances: Vec<SettledBalance> },
    #[serde(rename = "treasury.auto_accept_set.v1")]
    AutoAcceptSet { from: Vec<TreasuryId> },
    /// The owner is gone; nothing comes in any more.
    #[serde(rename = "treasury.closed.v1")]
    Closed {},
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettledBalance {
    pub currency: Currency,
    pub balance: Amount,
}
