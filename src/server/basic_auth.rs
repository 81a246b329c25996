//! Basic authentication.
//!
//! bcrypt is slow on purpose, so a password that was right is remembered: per user, as a keyed digest that is bound
//! to the user's name. A user's memory can so only ever answer for that user (an exporter-toolkit before 0.8.2 had
//! one cache for all, which a client could fill with answers for others: CVE-2022-46146). A wrong password is never
//! remembered and always costs a bcrypt, and so does an unknown user: by time they look alike.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::BcryptHash;

/// How many requests may wait while another's password is verified.
const QUEUE: usize = 16;

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// User and password are right.
    Granted,
    /// They are not, or there are none.
    Denied,
    /// Too many passwords wait to be verified.
    Busy,
}

/// Lets one bcrypt run at a time, for all versions of the configuration together.
#[derive(Debug)]
pub(super) struct Gate {
    /// The running one and those that wait.
    room: Semaphore,
    turn: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { room: Semaphore::new(1 + QUEUE), turn: Arc::new(Semaphore::new(1)) }
    }
}

/// The users of a configuration.
#[derive(Debug)]
pub(super) struct Users {
    /// In the order of their names.
    users: Vec<User>,
    /// Makes digests worthless outside this process, and stand-ins unforeseeable.
    secret: [u8; 32],
}

#[derive(Debug)]
struct User {
    name: Box<str>,
    hash: BcryptHash,
    /// The digest of name and password that was last found right.
    proven: Mutex<Option<[u8; 32]>>,
}

impl Users {
    /// The users; `None` if there are none. `secret` is random.
    pub(super) fn new(users: &BTreeMap<String, BcryptHash>, secret: [u8; 32]) -> Option<Self> {
        let users: Vec<_> = users
            .iter()
            .map(|(name, hash)| User { name: name.as_str().into(), hash: hash.clone(), proven: Mutex::new(None) })
            .collect();
        (!users.is_empty()).then_some(Self { users, secret })
    }

    /// Judges the credentials of a request.
    pub(super) async fn judge(self: &Arc<Self>, headers: &HeaderMap, gate: &Gate) -> Verdict {
        let Some((name, password)) = credentials(headers) else { return Verdict::Denied };
        let digest = self.digest(&name, &password);
        let (index, known) = self.find(&name);
        if known && self.users[index].remembers(&digest) {
            return Verdict::Granted;
        }
        let Ok(_room) = gate.room.try_acquire() else { return Verdict::Busy };
        // The gate is never closed.
        let Ok(turn) = Arc::clone(&gate.turn).acquire_owned().await else { return Verdict::Busy };
        // Whoever was before may have proven the same password: Prometheus servers come in pairs.
        if known && self.users[index].remembers(&digest) {
            return Verdict::Granted;
        }
        if self.verify(index, password, turn).await && known {
            *self.users[index].proven.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
            return Verdict::Granted;
        }
        Verdict::Denied
    }

    /// Runs bcrypt. The turn ends with it, even if nobody waits for it any more.
    async fn verify(self: &Arc<Self>, index: usize, password: Vec<u8>, turn: OwnedSemaphorePermit) -> bool {
        let users = Arc::clone(self);
        let verified = tokio::task::spawn_blocking(move || {
            let right = users.users[index].hash.matches(&password);
            drop(turn);
            right
        });
        verified.await.unwrap_or(false)
    }

    /// The user of that name; else a stand-in for the work, always the same for a name.
    fn find(&self, name: &[u8]) -> (usize, bool) {
        match self.users.binary_search_by(|user| user.name.as_bytes().cmp(name)) {
            Ok(index) => (index, true),
            Err(_) => {
                let digest = self.digest(name, b"");
                let start = u64::from_be_bytes(std::array::from_fn(|at| digest[at]));
                // The remainder is below the number of users, a usize.
                (usize::try_from(start % self.users.len() as u64).unwrap_or(0), false)
            }
        }
    }

    fn digest(&self, name: &[u8], password: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.secret);
        digest.update((name.len() as u64).to_be_bytes()); // so that a name's end cannot pass for a password's start
        digest.update(name);
        digest.update(password);
        digest.finalize().into()
    }
}

impl User {
    fn remembers(&self, digest: &[u8; 32]) -> bool {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        // How long this takes says nothing: nobody outside can choose or foresee a digest.
        proven.as_ref() == Some(digest)
    }
}

/// User name and password of `Authorization: Basic …`.
fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, encoded) = value.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut name = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((name, password))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn users(users: &[(&str, &str)]) -> Arc<Users> {
        let hash = |password: &&str| BcryptHash::try_from(bcrypt::hash(password, 4).unwrap()).unwrap();
        let users = users.iter().map(|(name, password)| ((*name).to_owned(), hash(password))).collect();
        Arc::new(Users::new(&users, [7; 32]).unwrap())
    }

    fn header(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(text).unwrap());
        headers
    }

    fn basic(name: &str, password: &str) -> HeaderMap {
        header(&format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
    }

    #[tokio::test]
    async fn right_ones_pass_and_others_do_not() {
        let users = users(&[("alice", "a"), ("bob", "b:c")]);
        let gate = Gate::default();
        for (name, password, verdict) in [
            ("alice", "a", Verdict::Granted),
            ("alice", "a", Verdict::Granted),
            ("bob", "b:c", Verdict::Granted),
            ("alice", "b:c", Verdict::Denied),
            ("bob", "a", Verdict::Denied),
            ("carol", "a", Verdict::Denied),
            ("carol", "b:c", Verdict::Denied),
            ("", "", Verdict::Denied),
            ("alice", "", Verdict::Denied),
        ] {
            assert_eq!(users.judge(&basic(name, password), &gate).await, verdict, "{name}:{password}");
        }
    }

    #[tokio::test]
    async fn a_memory_answers_for_its_user_only() {
        let users = users(&[("alice", "a")]);
        let gate = Gate::default();
        // An unknown user whose stand-in is alice, with alice's password, before and after alice was there.
        assert_eq!(users.judge(&basic("mallory", "a"), &gate).await, Verdict::Denied);
        assert!(users.users[0].proven.lock().unwrap().is_none());
        assert_eq!(users.judge(&basic("alice", "a"), &gate).await, Verdict::Granted);
        assert_eq!(users.judge(&basic("mallory", "a"), &gate).await, Verdict::Denied);
        // Names and passwords whose sums are alike.
        assert_eq!(users.judge(&basic("alic", "ea"), &gate).await, Verdict::Denied);
        assert_ne!(users.digest(b"ab", b"c"), users.digest(b"a", b"bc"));
    }

    #[tokio::test]
    async fn what_was_right_passes_without_bcrypt_and_the_rest_waits_in_a_bounded_queue() {
        let users = users(&[("alice", "a")]);
        let gate = Arc::new(Gate::default());
        assert_eq!(users.judge(&basic("alice", "a"), &gate).await, Verdict::Granted);
        let running = Arc::clone(&gate.turn).acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..=QUEUE)
            .map(|number| {
                let (users, gate) = (Arc::clone(&users), Arc::clone(&gate));
                tokio::spawn(async move { users.judge(&basic("alice", &format!("guess {number}")), &gate).await })
            })
            .collect();
        while gate.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(users.judge(&basic("alice", "one more"), &gate).await, Verdict::Busy);
        assert_eq!(users.judge(&basic("alice", "a"), &gate).await, Verdict::Granted);
        drop(running);
        for verdict in waiting {
            assert_eq!(verdict.await.unwrap(), Verdict::Denied);
        }
        assert_eq!(gate.room.available_permits(), 1 + QUEUE);
    }

    #[test]
    fn an_unknown_name_has_one_stand_in() {
        let users = users(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let mut seen = [false; 3];
        for number in 0..100 {
            let name = format!("unknown {number}");
            let (index, known) = users.find(name.as_bytes());
            assert_eq!((users.find(name.as_bytes()), known), ((index, false), false));
            seen[index] = true;
        }
        assert_eq!(seen, [true; 3], "names spread over all users, whose hashes may differ in cost");
    }

    #[test]
    fn the_header_is_read_as_browsers_and_prometheus_write_it() {
        assert_eq!(credentials(&basic("ä", "p:w")), Some(("ä".into(), b"p:w".to_vec())));
        assert_eq!(credentials(&header("basic YTpi")), Some((b"a".to_vec(), b"b".to_vec())));
        for text in ["", "Basic", "Basic ", "Bearer YTpi", "Basic YTpi=x", "Basic YQ==", "Basi\tYTpi"] {
            assert_eq!(credentials(&header(text)), None, "{text:?}");
        }
        assert_eq!(credentials(&HeaderMap::new()), None);
    }
}
