//! What PostgreSQL keeps of a password, made here: so the password itself is in no statement, and in no log of statements.
//!
//! SCRAM-SHA-256, RFC 5802 and RFC 7677; the text is that of `pg_authid.rolpassword`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::Failure;

/// PostgreSQL's own default.
const ITERATIONS: u32 = 4096;

/// The verifier of this password, under a new random salt.
///
/// # Errors
/// [`Failure::Contradiction`] for a password that is not printable ASCII: others would have to be normalised as the client does it.
pub(crate) fn verifier(password: &str) -> Result<String, Failure> {
    if password.is_empty() || !password.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(Failure::Contradiction("the login role's password must be printable ASCII".to_owned()));
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| Failure::system("randomness", error))?;
    Ok(with_salt(password, &salt, ITERATIONS))
}

fn with_salt(password: &str, salt: &[u8], iterations: u32) -> String {
    let salted = stretch(password.as_bytes(), salt, iterations);
    let stored = Sha256::digest(mac(&salted, &[b"Client Key"]));
    let server = mac(&salted, &[b"Server Key"]);
    let [salt, stored, server] = [salt, stored.as_slice(), &server].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{server}")
}

/// `Hi` of RFC 5802: PBKDF2 with one block of output.
fn stretch(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut block = mac(password, &[salt, &1u32.to_be_bytes()]);
    let mut sum = block;
    for _ in 1..iterations {
        block = mac(password, &[&block]);
        sum.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a MAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user `user`, password `pencil`. The server's signature there follows from the same server key.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let text = with_salt("pencil", &salt, 4096);
        assert_eq!(
            text,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn passwords_that_would_be_normalised_are_refused() {
        for password in ["", "straße", "tab\t"] {
            assert!(verifier(password).is_err(), "{password:?}");
        }
    }
}
