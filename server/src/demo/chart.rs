//! A line of balances as a picture in the terminal: eight dots to a character, after the braille block of Unicode.

use std::fmt::Write as _;

use super::rows::Cents;

/// Characters, not dots: a character is two dots wide and four high.
const WIDTH: usize = 68;
const HEIGHT: usize = 12;
const BRAILLE: u32 = 0x2800;
/// The bit of the dot at (row, column) within a character.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Draws `points` of (any integer time, balance), in order of time, with labels of the balance at the left and of times below.
pub fn draw(points: &[(i64, Cents)], labels: &[(i64, String)]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let (from, to) = (first.0, last.0.max(first.0 + 1));
    let top = points.iter().map(|point| point.1.0).max().unwrap_or(0).max(1);
    let column = |at: i64, columns: usize| place(at - from, to - from, columns);
    let columns = balances_by_column(points, |at| column(at, WIDTH * 2));
    let mut dots = vec![[0_u32; WIDTH]; HEIGHT];
    let mut before = None;
    for (x, balance) in columns.into_iter().enumerate() {
        let y = place(balance, top, HEIGHT * 4);
        // A jump is drawn as a line, or the picture would fall apart.
        let (low, high) = before.map_or((y, y), |before: usize| (y.min(before), y.max(before)));
        for y in low..=high {
            let row = HEIGHT * 4 - 1 - y;
            dots[row / 4][x / 2] |= DOTS[row % 4][x % 2];
        }
        before = Some(y);
    }
    let mut picture = String::new();
    for (index, row) in dots.iter().enumerate() {
        let share = i64::try_from(HEIGHT - index).unwrap_or(0) * top / i64::try_from(HEIGHT).unwrap_or(1);
        let label = if index % 3 == 0 { Cents(share / 100 * 100).to_string() } else { String::new() };
        let line: String = row.iter().filter_map(|bits| char::from_u32(BRAILLE | bits)).collect();
        let _ = writeln!(picture, "{label:>11} \u{2502}{line}");
    }
    let _ = writeln!(picture, "{:>11} \u{2514}{}", "0.00", "\u{2500}".repeat(WIDTH));
    let _ = writeln!(picture, "{:13}{}", "", axis(labels, |at| column(at, WIDTH)));
    picture
}

/// The balance that each column ends with.
fn balances_by_column(points: &[(i64, Cents)], column: impl Fn(i64) -> usize) -> Vec<i64> {
    let mut columns = vec![None; WIDTH * 2];
    for (at, balance) in points {
        columns[column(*at)] = Some(balance.0.max(0));
    }
    let mut latest = points.first().map_or(0, |point| point.1.0.max(0));
    columns
        .into_iter()
        .map(|balance| {
            latest = balance.unwrap_or(latest);
            latest
        })
        .collect()
}

fn axis(labels: &[(i64, String)], column: impl Fn(i64) -> usize) -> String {
    let mut line = String::new();
    for (at, label) in labels {
        let column = column(*at);
        if column >= line.len() && column + label.len() <= WIDTH {
            line.push_str(&" ".repeat(column - line.len()));
            line.push_str(label);
            line.push(' ');
        }
    }
    line
}

/// Which of `places` equal parts of `0..=whole` a value falls into.
fn place(value: i64, whole: i64, places: usize) -> usize {
    let (value, whole) = (i128::from(value.clamp(0, whole)), i128::from(whole.max(1)));
    let last = i128::try_from(places).unwrap_or(1) - 1;
    usize::try_from(value * last / whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_line_goes_from_the_lower_left_to_the_upper_right() {
        let points: Vec<_> = (0..=100).map(|n| (n, Cents(n * 100))).collect();
        let picture = draw(&points, &[(0, "start".to_owned()), (90, "end".to_owned())]);
        let lines: Vec<&str> = picture.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 2);
        assert!(lines[0].starts_with("     100.00 \u{2502}"), "{}", lines[0]);
        assert!(!lines[0].ends_with('\u{2800}') && lines[0].contains('\u{2800}'));
        assert!(lines[HEIGHT - 1].ends_with('\u{2800}'));
        assert!(lines[HEIGHT + 1].trim_start().starts_with("start"));
    }

    #[test]
    fn a_flat_line_and_a_single_point_are_pictures_too() {
        assert_eq!(draw(&[], &[]), "");
        assert_eq!(draw(&[(7, Cents(5))], &[]).lines().count(), HEIGHT + 2);
        assert_eq!(draw(&[(7, Cents(0)), (9, Cents(0))], &[]).lines().count(), HEIGHT + 2);
    }
}
