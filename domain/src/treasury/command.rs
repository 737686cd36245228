//! What can be asked of a treasury.

use serde::{Deserialize, Serialize};

use crate::guild::command::command;
use crate::ids::{HoldId, Slug, TreasuryId};
use crate::money::{Account, AmountText, Currency, LegRole, Share};
use crate::text::{Reference, Text};
use crate::time::Time;

/// One payee of a hold or a capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payee {
    pub to: Account,
    pub amount: AmountText,
    #[serde(default = "principal")]
    pub role: LegRole,
}

pub const fn principal() -> LegRole {
    LegRole::Principal
}

const fn yes() -> bool {
    true
}

command! {
    /// Money arrives from outside, attested by the caller; `fee` is what the processor kept of it.
    Deposit {
        treasury: TreasuryId,
        source: Slug,
        reference: Reference,
        currency: Currency,
        amount: AmountText,
        #[serde(default, skip_serializing_if = "Option::is_none")] fee: Option<AmountText>,
        #[serde(default, skip_serializing_if = "Option::is_none")] effective_at: Option<Time>,
        #[serde(default, skip_serializing_if = "Option::is_none")] memo: Option<Text>,
    }
    /// Money leaves the city, with the processor's fee on top.
    Withdraw {
        treasury: TreasuryId,
        reference: Reference,
        currency: Currency,
        amount: AmountText,
        #[serde(default, skip_serializing_if = "Option::is_none")] fee: Option<AmountText>,
        #[serde(default, skip_serializing_if = "Option::is_none")] mandate: Option<Slug>,
        #[serde(default, skip_serializing_if = "Option::is_none")] effective_at: Option<Time>,
        #[serde(default, skip_serializing_if = "Option::is_none")] memo: Option<Text>,
    }
    PlaceHold {
        treasury: TreasuryId,
        currency: Currency,
        legs: Vec<Payee>,
        expires_at: Time,
        #[serde(default, skip_serializing_if = "Option::is_none")] purpose: Option<Text>,
    }
    /// Pays legs within the hold; `final` (the default) releases the rest.
    CaptureHold {
        treasury: TreasuryId,
        hold: HoldId,
        legs: Vec<Payee>,
        #[serde(default = "yes", rename = "final")] is_final: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")] effective_at: Option<Time>,
        #[serde(default, skip_serializing_if = "Option::is_none")] memo: Option<Text>,
    }
    ReleaseHold { treasury: TreasuryId, hold: HoldId }
    ExpireHold { treasury: TreasuryId, hold: HoldId }
    /// Offers money to another treasury; accepted at once when the receiver auto-accepts the sender. Default life 7 days.
    /// `effective_at` counts for a transfer accepted at once; otherwise the money moves when the receiver accepts.
    OfferTransfer {
        treasury: TreasuryId,
        to: TreasuryId,
        currency: Currency,
        amount: AmountText,
        #[serde(default, skip_serializing_if = "Option::is_none")] expires_at: Option<Time>,
        #[serde(default, skip_serializing_if = "Option::is_none")] mandate: Option<Slug>,
        #[serde(default, skip_serializing_if = "Option::is_none")] effective_at: Option<Time>,
        #[serde(default, skip_serializing_if = "Option::is_none")] memo: Option<Text>,
    }
    /// `treasury` is the sender's in all four; accept and reject come from the receiver's side.
    AcceptTransfer { treasury: TreasuryId, offer: HoldId }
    RejectTransfer { treasury: TreasuryId, offer: HoldId }
    CancelTransfer { treasury: TreasuryId, offer: HoldId }
    ExpireTransfer { treasury: TreasuryId, offer: HoldId }
    /// Pays several at once by shares; takes effect at once, receivers are asked nothing.
    SplitTransfer {
        treasury: TreasuryId,
        currency: Currency,
        amount: AmountText,
        shares: Vec<Share>,
        #[serde(default, skip_serializing_if = "Option::is_none")] effective_at: Option<Time>,
        #[serde(default, skip_serializing_if = "Option::is_none")] memo: Option<Text>,
    }
    /// As the city's gate, coordinator or principal when `as_city`, else by the owner.
    FreezeTreasury { treasury: TreasuryId, reason: Text, #[serde(default)] as_city: bool }
    UnfreezeTreasury { treasury: TreasuryId, #[serde(default)] as_city: bool }
    /// Closes the period before `as_of`: afterwards nothing with an earlier `effective_at` is recorded.
    SettleTreasury { treasury: TreasuryId, as_of: Time }
    SetAutoAccept { treasury: TreasuryId, from: Vec<TreasuryId> }
}
