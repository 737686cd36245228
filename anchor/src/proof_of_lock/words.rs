//! What controls, attacks and reasons are called where people read them.

use super::{Attack, Control, Reason};

impl Control {
    pub fn words(self) -> &'static str {
        match self {
            Self::DeleteUnlocked => "delete a key that is not locked",
            Self::DeleteVersion => "delete a version that is not locked",
            Self::Bypass => "shorten and delete, with the bypass, what only governance locks",
            Self::Extend => "extend a retention",
            Self::Overwrite => "overwrite a key that is not locked",
            Self::SetVersioning => "set the bucket's versioning",
        }
    }
}

impl Attack {
    pub fn words(self) -> &'static str {
        match self {
            Self::DeleteVersion => "delete the version",
            Self::DeleteVersionWithBypass => "delete the version with the bypass",
            Self::Shorten => "shorten the retention",
            Self::ShortenWithBypass => "shorten the retention with the bypass",
            Self::Downgrade => "downgrade the retention to governance",
            Self::DowngradeWithBypass => "downgrade the retention to governance with the bypass",
            Self::RemoveRetention => "remove the retention with the bypass",
            Self::Overwrite => "overwrite the key",
            Self::Delete => "delete the key",
            Self::SuspendVersioning => "suspend the bucket's versioning",
        }
    }
}

impl Reason {
    pub fn words(self) -> &'static str {
        match self {
            Self::Harmed => "an attack did harm",
            Self::NotLocked => "the store took a locked object and does not keep it as asked",
            Self::LeftSuspended => {
                "versioning of the bucket was suspended and could not be turned on again: turn it on NOW"
            }
            Self::NoLock => "this kind of store has no lock; nothing was tried",
            Self::NoProver => {
                "no credential that could do harm is configured (GUILDHALL_PROVER_KEY_ID, GUILDHALL_PROVER_SECRET); nothing was tried"
            }
            Self::NoCanary => "the store did not take the canary; nothing was tried on it",
            Self::NoControl => {
                "the credential was not seen to be able to do harm where nothing is locked, so that it was refused proves nothing"
            }
            Self::NoAnswer => "an attack, or the look after it, was not answered",
        }
    }
}
