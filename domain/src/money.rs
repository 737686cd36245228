//! Money: minor units in checked `i128`, and the one way a movement of it is made.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ids::{Malformed, TreasuryId, text_serde};
use crate::rejection::{Code, Rejection};

/// Every amount is strictly smaller in size than this many minor units.
pub const LIMIT: i128 = 10_i128.pow(28);
pub const MAX_SCALE: u8 = 18;
pub const BASIS_POINTS: u32 = 10_000;

/// A currency's code: `[A-Z][A-Z0-9]{2,11}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(Arc<str>);

impl Currency {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Currency {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bytes = text.as_bytes();
        let good = (3..=12).contains(&bytes.len())
            && bytes[0].is_ascii_uppercase()
            && bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if good { Ok(Self(text.into())) } else { Err(Malformed::new("a currency code such as USD", text)) }
    }
}

text_serde!(Currency);

/// An exact decimal at its currency's scale; its text always shows exactly that many decimals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    minor: i128,
    scale: u8,
}

impl Amount {
    /// `minor` units at `scale` decimals; `None` outside the limits.
    pub fn new(minor: i128, scale: u8) -> Option<Self> {
        (minor.abs() < LIMIT && scale <= MAX_SCALE).then_some(Self { minor, scale })
    }

    pub const fn minor(self) -> i128 {
        self.minor
    }

    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// The same scale with another number of minor units.
    pub fn with_minor(self, minor: i128) -> Result<Self, Rejection> {
        Self::new(minor, self.scale).ok_or_else(|| Rejection::new(Code::AmountOverflow))
    }

    pub fn negated(self) -> Self {
        Self { minor: -self.minor, scale: self.scale }
    }

    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        let digits = format!("{:0width$}", self.minor.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.minor < 0 { "-" } else { "" };
        if scale == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Amount {
    type Err = Malformed;

    /// Reads the recorded form, whose decimals say the scale.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("an exact decimal amount such as 12.50", text);
        let decimal = AmountText::from_str(text)?.0;
        let scale = u8::try_from(decimal.scale()).map_err(|_| malformed())?;
        Self::new(decimal.mantissa(), scale).filter(|amount| amount.to_string() == text).ok_or_else(malformed)
    }
}

text_serde!(Amount);

/// An amount as a caller writes it, before the currency's scale is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AmountText(Decimal);

impl AmountText {
    /// At the currency's scale, or the refusal that says why not. The sign is the caller's business.
    pub fn at_scale(self, scale: u8) -> Result<Amount, Rejection> {
        let decimal = self.0.normalize();
        let have = u8::try_from(decimal.scale()).unwrap_or(u8::MAX);
        let missing = scale.checked_sub(have).ok_or_else(|| Rejection::new(Code::TooManyDecimals))?;
        let minor = decimal.mantissa().checked_mul(10_i128.pow(u32::from(missing)));
        minor.and_then(|minor| Amount::new(minor, scale)).ok_or_else(|| Rejection::new(Code::AmountOverflow))
    }

    /// At the currency's scale and above zero.
    pub fn positive(self, scale: u8) -> Result<Amount, Rejection> {
        let amount = self.at_scale(scale)?;
        if amount.minor <= 0 { Err(Rejection::new(Code::AmountNotPositive)) } else { Ok(amount) }
    }
}

impl fmt::Display for AmountText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for AmountText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for AmountText {
    type Err = Malformed;

    /// Plain digits only, and only what survives the round trip unchanged: the parser rounds silently otherwise.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("a decimal amount such as 12.50, at most 28 digits", text);
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !digits(whole) || !digits(fraction) || leading_zero || text.len() > 40 {
            return Err(malformed());
        }
        let decimal = Decimal::from_str_exact(text).map_err(|_| malformed())?;
        let negative_zero = decimal.is_zero() && text.starts_with('-');
        if decimal.to_string() != text || negative_zero { Err(malformed()) } else { Ok(Self(decimal)) }
    }
}

text_serde!(AmountText);

/// Where money can be: a treasury, or the outside world, which has no row and is whatever the others are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    External,
    Treasury(TreasuryId),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External => f.write_str("external"),
            Self::Treasury(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Account {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "external" {
            return Ok(Self::External);
        }
        text.parse().map(Self::Treasury).map_err(|_| Malformed::new("a treasury id (try_<ULID>) or \"external\"", text))
    }
}

text_serde!(Account);

/// What a leg is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegRole {
    Principal,
    Fee,
}

/// One side of a movement; inflows to the account are positive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    pub account: Account,
    pub amount: Amount,
    pub role: LegRole,
}

/// The legs of one movement in one currency: they sum to zero, and no treasury occurs twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Legs(Vec<Leg>);

impl Legs {
    /// Money leaves `from` and arrives at every payee. The only constructor: the paying leg is computed, never given.
    pub fn pay(from: Account, payees: Vec<(Account, Amount, LegRole)>) -> Result<Self, Rejection> {
        let first = payees.first().ok_or_else(|| Rejection::new(Code::AmountNotPositive))?.1;
        let mut total: i128 = 0;
        let mut legs = Vec::with_capacity(payees.len() + 1);
        for (account, amount, role) in payees {
            if amount.minor <= 0 || amount.scale != first.scale {
                return Err(Rejection::new(Code::AmountNotPositive));
            }
            if account == from {
                return Err(Rejection::new(Code::SameTreasury));
            }
            let repeated = account != Account::External && legs.iter().any(|leg: &Leg| leg.account == account);
            if repeated {
                return Err(Rejection::new(Code::PayeeRepeated));
            }
            total = total.checked_add(amount.minor).ok_or_else(|| Rejection::new(Code::AmountOverflow))?;
            legs.push(Leg { account, amount, role });
        }
        let paid = first.with_minor(-total)?;
        legs.insert(0, Leg { account: from, amount: paid, role: LegRole::Principal });
        Ok(Self(legs))
    }

    pub fn as_slice(&self) -> &[Leg] {
        &self.0
    }

    /// What the movement changes for one account.
    pub fn net(&self, account: Account) -> i128 {
        self.0.iter().filter(|leg| leg.account == account).map(|leg| leg.amount.minor).sum()
    }
}

impl<'de> Deserialize<'de> for Legs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let legs = Vec::<Leg>::deserialize(deserializer)?;
        let sum = legs.iter().try_fold(0_i128, |sum, leg| sum.checked_add(leg.amount.minor));
        if sum != Some(0) || legs.len() < 2 {
            return Err(serde::de::Error::custom("the legs of a movement must sum to zero"));
        }
        Ok(Self(legs))
    }
}

/// A share of a whole, in basis points (1/10000).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub to: Account,
    pub basis_points: u32,
}

/// Checks that shares are positive, name nobody twice and sum to 10000.
pub fn check_shares(shares: &[Share]) -> Result<(), Rejection> {
    let sum = shares.iter().try_fold(0_u32, |sum, share| sum.checked_add(share.basis_points));
    let zero = shares.iter().any(|share| share.basis_points == 0);
    if sum != Some(BASIS_POINTS) || zero || shares.len() > 100 {
        return Err(Rejection::new(Code::SharesNotWhole));
    }
    let mut accounts: Vec<_> = shares.iter().map(|share| share.to).collect();
    accounts.sort_unstable();
    accounts.dedup();
    if accounts.len() != shares.len() { Err(Rejection::new(Code::PayeeRepeated)) } else { Ok(()) }
}

/// Splits an amount by checked shares: each rounded down to the scale, the remainder to the last. Parts can be zero.
pub fn split(amount: Amount, shares: &[Share]) -> Result<Vec<(Account, Amount)>, Rejection> {
    let mut rest = amount.minor;
    let mut parts = Vec::with_capacity(shares.len());
    for (index, share) in shares.iter().enumerate() {
        let exact = amount.minor.checked_mul(i128::from(share.basis_points));
        let rounded = exact.ok_or_else(|| Rejection::new(Code::AmountOverflow))? / i128::from(BASIS_POINTS);
        let part = if index + 1 == shares.len() { rest } else { rounded };
        rest -= part;
        parts.push((share.to, amount.with_minor(part)?));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_would_be_rounded_is_refused() {
        for bad in [
            "1e3",
            "01",
            "1.",
            ".5",
            "+1",
            "-0",
            "-0.00",
            "",
            " 1",
            "1_000",
            "NaN",
            "0.00000000000000000000000000001",
            "79228162514264337593543950336",
        ] {
            assert!(bad.parse::<AmountText>().is_err(), "{bad}");
        }
        assert_eq!("12.5".parse::<AmountText>().unwrap().at_scale(2).unwrap().to_string(), "12.50");
        let too_fine = "0.005".parse::<AmountText>().unwrap().at_scale(2).unwrap_err();
        assert_eq!(too_fine.code, Code::TooManyDecimals);
        let most = "9999999999999999999999999999".parse::<AmountText>().unwrap();
        assert_eq!(most.at_scale(0).unwrap().minor(), LIMIT - 1);
        assert_eq!(most.at_scale(1).unwrap_err().code, Code::AmountOverflow);
    }

    #[test]
    fn an_amount_has_one_spelling_at_every_scale() {
        for (minor, scale, text) in
            [(0, 0, "0"), (0, 2, "0.00"), (-5, 2, "-0.05"), (1, 18, "0.000000000000000001"), (1250, 2, "12.50")]
        {
            let amount = Amount::new(minor, scale).unwrap();
            assert_eq!(amount.to_string(), text);
            assert_eq!(text.parse::<Amount>().unwrap(), amount);
        }
    }

    #[test]
    fn a_split_loses_nothing_and_gives_the_remainder_to_the_last() {
        let treasury = |n| Account::Treasury(TreasuryId::from_bits(n));
        let shares: Vec<_> =
            (1..=3).map(|n| Share { to: treasury(n), basis_points: if n == 3 { 3334 } else { 3333 } }).collect();
        check_shares(&shares).unwrap();
        let parts = split(Amount::new(100, 2).unwrap(), &shares).unwrap();
        assert_eq!(parts.iter().map(|part| part.1.minor()).collect::<Vec<_>>(), [33, 33, 34]);
    }
}
