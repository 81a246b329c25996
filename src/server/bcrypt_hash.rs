//! A bcrypt hash, checked when it is read.

use std::fmt;
use std::str::FromStr as _;

use bcrypt::HashParts;
use serde::Deserialize;

/// Costs allowed. Each step doubles the work; 16 takes about four seconds on a current core, and a scrape waits for it.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// The bcrypt hash of a password. Neither it nor what was found in its place is ever shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BcryptHash(String);

impl BcryptHash {
    /// Whether this is the hash of `password`, in the time that the hash's cost takes.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, &self.0).unwrap_or(false)
    }
}

impl TryFrom<String> for BcryptHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = HashParts::from_str(&text)
            .map_err(|_| "not a bcrypt hash such as `htpasswd -nBC 10 \"\"` makes ($2y$10$ and 53 characters)")?;
        if COSTS.contains(&parts.get_cost()) {
            Ok(Self(text))
        } else {
            Err(format!("bcrypt cost {}: must be from {} to {}", parts.get_cost(), COSTS.start(), COSTS.end()))
        }
    }
}

impl fmt::Debug for BcryptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BcryptHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_every_tool_are_read() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        for prefix in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            let hash = BcryptHash::try_from(format!("{prefix}{}", &hash[4..])).unwrap();
            assert!(hash.matches(b"secret") && !hash.matches(b"secre"), "{prefix}");
        }
    }

    #[test]
    fn another_text_is_refused_without_showing_it() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        for text in ["", "hunter2", "$2y$10$short", &hash.replace("$2b$04", "$1$04"), &"é".repeat(30)] {
            let error = BcryptHash::try_from(text.to_owned()).unwrap_err();
            assert!(error.starts_with("not a bcrypt hash"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_cost_that_would_block_for_minutes_is_refused() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        for (cost, allowed) in [("03", false), ("04", true), ("16", true), ("17", false), ("31", false)] {
            let text = hash.replace("$2b$04$", &format!("$2b${cost}$"));
            assert_eq!(BcryptHash::try_from(text).is_ok(), allowed, "{cost}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let hash = BcryptHash::try_from(bcrypt::hash("secret", 4).unwrap()).unwrap();
        assert_eq!(format!("{hash:?}"), "BcryptHash(…)");
    }
}
