//! Which rule decides which treasury command.

use crate::command::{Command, Governed};
use crate::rejection::Code;
use crate::turn::{Mode, Outcome, Stop, Turn};

use super::{deposits, holds, standing, transfers};

pub fn run(turn: &mut Turn<'_>, command: &Command) -> Result<Outcome, Stop> {
    // Votes decide governed acts only: a ratified proposal must not stand in for the authority these acts ask for.
    if matches!(command.governed(), Governed::No(_)) && turn.mode != Mode::Asked {
        return Err(Code::NotGoverned.into());
    }
    match command {
        Command::Deposit(c) => deposits::deposit(turn, c),
        Command::Withdraw(c) => deposits::withdraw(turn, c, command),
        Command::PlaceHold(c) => holds::place(turn, c, command),
        Command::CaptureHold(c) => holds::capture(turn, c, command),
        Command::ReleaseHold(c) => holds::release(turn, c, command),
        Command::ExpireHold(c) => holds::expire(turn, c),
        Command::OfferTransfer(c) => transfers::offer(turn, c, command),
        Command::AcceptTransfer(c) => transfers::accept(turn, c, command),
        Command::RejectTransfer(c) => transfers::reject(turn, c, command),
        Command::CancelTransfer(c) => transfers::cancel(turn, c, command),
        Command::ExpireTransfer(c) => transfers::expire(turn, c),
        Command::SplitTransfer(c) => transfers::split(turn, c, command),
        Command::FreezeTreasury(c) => standing::freeze(turn, c, command),
        Command::UnfreezeTreasury(c) => standing::unfreeze(turn, c, command),
        Command::SettleTreasury(c) => standing::settle(turn, c, command),
        Command::SetAutoAccept(c) => standing::set_auto_accept(turn, c, command),
        other => unreachable!("{} is not a command of a treasury", other.action()),
    }
}
