//! How SQLite stores an amount: text of fixed width whose order is the order of the numbers.
//!
//! Its numeric affinity would round at 2^53, and plain digits would put 10 before 9. So the amount is moved up by 10^28, which
//! makes it positive, and padded with zeros to 29 digits. Zero is `10000000000000000000000000000`; a CHECK compares with that.

/// Amounts stay strictly between minus and plus this many minor units.
pub const MONEY_LIMIT: i128 = 10_i128.pow(28);

pub(super) fn in_range(amount: i128) -> bool {
    -MONEY_LIMIT < amount && amount < MONEY_LIMIT
}

/// The stored text of an amount with |n| < [`MONEY_LIMIT`].
pub fn money_text(amount: i128) -> String {
    debug_assert!(in_range(amount), "amounts are checked before they reach SQL");
    format!("{:029}", amount + MONEY_LIMIT)
}

/// The amount of a stored text, or nothing if no amount is stored that way.
pub fn parse_money_text(text: &str) -> Option<i128> {
    if text.len() != 29 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount = text.parse::<i128>().ok()? - MONEY_LIMIT;
    in_range(amount).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_texts_is_the_order_of_the_amounts() {
        let amounts = [1 - MONEY_LIMIT, -10, -9, -1, 0, 1, 9, 10, MONEY_LIMIT - 1];
        let texts: Vec<String> = amounts.iter().map(|amount| money_text(*amount)).collect();
        assert!(texts.is_sorted());
        assert!(texts.iter().all(|text| text.len() == 29));
        let back: Vec<i128> = texts.iter().filter_map(|text| parse_money_text(text)).collect();
        assert_eq!(back, amounts);
    }

    #[test]
    fn other_texts_are_no_amounts() {
        for text in
            ["", "0", "00000000000000000000000000000", "20000000000000000000000000000", "-0000000000000000000000000001"]
        {
            assert_eq!(parse_money_text(text), None, "{text}");
        }
    }
}
