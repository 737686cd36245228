//! With healthy sources no grant is ever older than a day, however many there are. `bench/run reconciler` does the same with 100,000.

use guildhall_tests::block_on;
use guildhall_tests::days::Days;

const GRANTS: usize = 10_000;

#[test]
fn ten_thousand_grants_are_never_older_than_a_day() {
    block_on(async {
        let mut days = Days::begin(4).await;
        let mut verified = 0;
        for hour in 0..72 {
            // They come in waves, the last one of all at once.
            if hour < 4 {
                days.add(GRANTS / 4).await;
            }
            let round = days.hour().await;
            assert_eq!((round.gone, round.unknown), (0, 0), "hour {hour}: {round:?}");
            verified += round.alive;
        }
        let grants = GRANTS as u64;
        assert!((3 * grants..=4 * grants).contains(&verified), "{verified}: each about every eighteen hours");
        days.end().await;
    });
}
