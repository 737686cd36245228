//! Money from outside and money to outside, each under a reference that is claimed for ever.

use crate::command::Command;
use crate::guild::govern::SpendRequest;
use crate::ids::TreasuryId;
use crate::money::{Account, Amount, Currency, LegRole};
use crate::rejection::{Code, Rejection};
use crate::text::{Digest, Reference, Text};
use crate::time::Time;
use crate::turn::{Claim, Mode, Outcome, Stop, Turn};

use super::command::{Deposit, Withdraw};
use super::event::{HoldLeg, MovementKind};
use super::movements::{self, Movement, Referenced, deposit_claim, withdrawal_claim};
use super::{authority, holds, terms};

/// Credits the gross amount; a fee that the processor kept leaves again as a movement of its own.
pub(super) fn deposit(turn: &mut Turn<'_>, command: &Deposit) -> Result<Outcome, Stop> {
    let attester = turn.caller()?;
    turn.treasury(command.treasury)?;
    let scale = terms::scale_of(turn, &command.currency)?;
    if !turn.citizen(attester)?.may_attest(&command.source, &command.currency) {
        return Err(Code::NotAnAttester.into());
    }
    if authority::household_spends_from(turn, command.treasury, attester)? {
        return Err(Code::AttesterConflict.into());
    }
    let amount = terms::positive(command.amount, scale)?;
    let fee = terms::fee(command.fee, scale)?;
    if fee.is_some_and(|fee| fee > amount) {
        return Err(Rejection::new(Code::FeeTooLarge).field("fee").into());
    }
    let content = content(command.treasury, &command.currency, amount, fee, command.effective_at);
    if already_done(turn, &deposit_claim(&command.source, command.reference.lookup), content)? {
        return Ok(Outcome::AlreadyDone);
    }
    let effective_at = terms::effective_at(turn, command.effective_at)?;

    let (outside, inside) = (Account::External, Account::Treasury(command.treasury));
    let legs = movements::single(outside, inside, amount, LegRole::Principal)?;
    let mut arriving = Movement::new(MovementKind::Deposit, &command.currency, legs, effective_at);
    arriving.source = Some(command.source.clone());
    arriving.reference = Some(referenced(&command.reference, content));
    arriving.memo = command.memo.as_ref().map(Text::sealed);
    movements::record(turn, &arriving)?;
    if let Some(fee) = fee {
        let legs = movements::single(inside, outside, fee, LegRole::Fee)?;
        let mut kept = Movement::new(MovementKind::DepositFee, &command.currency, legs, effective_at);
        kept.source = Some(command.source.clone());
        movements::record(turn, &kept)?;
    }
    Ok(Outcome::Done)
}

/// Pays the outside world, the processor's fee on top.
pub(super) fn withdraw(turn: &mut Turn<'_>, asked: &Withdraw, command: &Command) -> Result<Outcome, Stop> {
    let scale = terms::scale_of(turn, &asked.currency)?;
    authority::handles(turn, asked.treasury)?;
    let amount = terms::positive(asked.amount, scale)?;
    let fee = terms::fee(asked.fee, scale)?;
    let effective_at = terms::effective_at(turn, asked.effective_at)?;
    let content = content(asked.treasury, &asked.currency, amount, fee, asked.effective_at);
    let claim = withdrawal_claim(Account::Treasury(asked.treasury), asked.reference.lookup);
    if already_done(turn, &claim, content)? {
        // A second proposal for a withdrawal that was paid meanwhile must fail, or its reserve would stay set aside.
        return if turn.mode == Mode::Asked { Ok(Outcome::AlreadyDone) } else { Err(Code::ReferenceReused.into()) };
    }
    let leg = |role, maximum| HoldLeg { payee: Account::External, role, maximum };
    let mut legs = vec![leg(LegRole::Principal, amount)];
    legs.extend(fee.map(|fee| leg(LegRole::Fee, fee)));
    let spend = SpendRequest {
        treasury: asked.treasury,
        currency: asked.currency.clone(),
        amount: terms::total(&legs)?,
        legs: legs.clone(),
        mandate: asked.mandate.clone(),
        purpose: None,
    };
    authority::governed(turn, asked.treasury, command, Some(spend), |turn| {
        let paid = movements::paying(asked.treasury, &legs)?;
        let mut leaving = Movement::new(MovementKind::Withdrawal, &asked.currency, paid, effective_at);
        leaving.hold = holds::draw_reserved(turn, asked.treasury, &legs)?;
        leaving.reference = Some(referenced(&asked.reference, content));
        leaving.memo = asked.memo.as_ref().map(Text::sealed);
        leaving.mandate = asked.mandate.clone();
        movements::record(turn, &leaving)?;
        Ok(Outcome::Done)
    })
}

/// Digest of everything about the money that a retry must repeat. Memos are left out: their seal is salted anew each time.
fn content(
    treasury: TreasuryId,
    currency: &Currency,
    amount: Amount,
    fee: Option<Amount>,
    effective_at: Option<Time>,
) -> Digest {
    let meaning = serde_json::to_vec(&(treasury, currency, amount, fee, effective_at));
    let meaning = meaning.expect("identifiers, amounts and times are texts");
    Digest(*blake3::hash(&meaning).as_bytes())
}

fn referenced(reference: &Reference, content: Digest) -> Referenced {
    Referenced { sealed: reference.text.sealed(), lookup: reference.lookup, content }
}

/// The claim that deciding this command looks up, where the command alone tells: so that those of many can be looked up at once.
pub fn claim_of(command: &Command) -> Option<Claim> {
    match command {
        Command::Deposit(command) => Some(deposit_claim(&command.source, command.reference.lookup)),
        Command::Withdraw(command) => {
            Some(withdrawal_claim(Account::Treasury(command.treasury), command.reference.lookup))
        }
        _ => None,
    }
}

/// Whether the reference stands for exactly this already; for anything else it is refused.
fn already_done(turn: &Turn<'_>, claim: &Claim, content: Digest) -> Result<bool, Stop> {
    match turn.claimed(claim)? {
        None => Ok(false),
        Some(taken) if taken == content.to_string() => Ok(true),
        Some(_) => Err(Rejection::new(Code::ReferenceReused).field("reference").into()),
    }
}
