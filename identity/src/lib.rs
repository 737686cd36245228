//! Who is asking, and what they may do: API keys, the policy table, and the permit that a decision relies on.
//!
//! Two steps, never mixed: `authenticate` says that a presented secret belongs to a key, `authorize` says what that key
//! may do now. Only the second is asked again under the writer's lock, against the log and without the secret.

pub mod authorize;
pub mod key;
pub mod policy;

pub use authorize::{Credential, Refused, Verdict, authenticate, authorize};
pub use key::{ApiKey, KeyError, Pepper, PresentedKey};
