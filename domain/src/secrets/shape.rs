//! What one word looks like: a key of a known maker, a signed token, chance, or something that people and ids are called.

/// How keys of known makers begin.
const PREFIXES: [&str; 29] = [
    "sk-",
    "pit-",
    "gh_",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "glrt-",
    "xoxa-",
    "xoxb-",
    "xoxe-",
    "xoxp-",
    "xoxr-",
    "xoxs-",
    "xapp-",
    "hf_",
    "npm_",
    "pypi-",
    "dop_v1_",
    "shpat_",
    "lin_api_",
];
/// Shortest key with its prefix.
const SHORTEST: usize = 16;
/// Longest part of a word that is taken for something that people say.
const LONGEST_SPOKEN: usize = 15;
/// Digits of what is named by a hash, beyond those of an id.
const HASHES: [usize; 5] = [40, 56, 64, 96, 128];
const LONGEST_ID: usize = 32;

/// Whether a word begins as keys do, and goes on as nobody would name anything.
pub(super) fn begins_as_key(word: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|prefix| {
        let start = word.get(..prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then(|| &word[prefix.len()..])
    });
    if rest.is_some_and(|rest| word.len() >= SHORTEST && !is_plain(rest)) {
        return true;
    }
    let capitals = |rest: &str, least: usize| {
        rest.bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count() >= least
            && rest.bytes().any(|b| b.is_ascii_digit())
    };
    word.strip_prefix("AKIA").is_some_and(|rest| capitals(rest, 12))
        || word.strip_prefix("ASIA").is_some_and(|rest| capitals(rest, 16))
        || word.strip_prefix("AIza").is_some_and(|rest| rest.len() >= 12)
}

/// A JSON object in base64url and at least one more such part behind it: what a signed or sealed token looks like.
pub(super) fn is_token(word: &str) -> bool {
    ["eyJ", "eyA", "ewo", "ewA"].iter().any(|start| {
        word.match_indices(start).any(|(at, _)| {
            let begins = word[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
            begins && word[at..].split('.').take(2).filter(|part| part.len() >= 8).count() == 2
        })
    })
}

/// Whether every part of a word is one that people say, or a short number.
pub(super) fn is_plain(word: &str) -> bool {
    word.split(|c: char| !c.is_alphanumeric()).all(|part| {
        let letters = part.chars().all(char::is_alphabetic);
        let hexadecimal = part.len() >= 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
        part.len() <= 4 || (letters && part.chars().count() <= LONGEST_SPOKEN && !hexadecimal)
    })
}

/// Whether at least so many characters of a word are of no id, no hash and no language.
pub(super) fn is_random(word: &str, least: usize) -> bool {
    word.split('.').any(|part| {
        let rest: Vec<&str> = part.split(['-', '_', '~', '+']).filter(|piece| !is_named(piece)).collect();
        rest.iter().any(|piece| is_odd_hash(piece) || is_shouted(piece, least)) || is_mixed(&rest.concat(), least)
    })
}

/// A word, a number, a ULID, or what else things are named by.
fn is_named(piece: &str) -> bool {
    let all = |is: fn(&u8) -> bool| piece.bytes().all(|b| is(&b));
    let ulid = piece.len() == 26
        && piece.starts_with(|c| ('0'..='7').contains(&c))
        && (all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
            || all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
    let spoken = piece.len() <= 20
        && (all(u8::is_ascii_lowercase)
            || piece.get(1..).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()))
            || all(u8::is_ascii_uppercase));
    let hash = is_hexadecimal(piece) && (piece.len() <= LONGEST_ID || HASHES.contains(&piece.len()));
    piece.len() <= 4 || all(u8::is_ascii_digit) || !piece.is_ascii() || ulid || spoken || hash
}

fn is_hexadecimal(piece: &str) -> bool {
    let of = |letters: std::ops::RangeInclusive<u8>| piece.bytes().all(|b| b.is_ascii_digit() || letters.contains(&b));
    of(b'a'..=b'f') || of(b'A'..=b'F')
}

/// As long as no hash is: tokens are.
fn is_odd_hash(piece: &str) -> bool {
    piece.len() > LONGEST_ID && is_hexadecimal(piece)
}

/// Capitals without end, as in a URL that lets in whoever knows it.
fn is_shouted(piece: &str, least: usize) -> bool {
    piece.len() >= least && piece.bytes().all(|b| b.is_ascii_uppercase())
}

/// Letters and digits in no order. People change between them where a word begins; chance changes all the time.
fn is_mixed(text: &str, least: usize) -> bool {
    let kind = |b: u8| match b {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        _ => 2,
    };
    let kinds: Vec<u8> = text.bytes().map(kind).collect();
    if kinds.len() < least {
        return false;
    }
    let has = |kind: u8| kinds.contains(&kind);
    // A capital and what follows it are one word.
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1] && **pair != [1, 0]).count();
    let percent = match (has(0) && has(1), has(2)) {
        (true, _) => 28,
        (false, true) => 25,
        (false, false) => return false,
    };
    changes * 100 >= percent * (kinds.len() - 1)
}
