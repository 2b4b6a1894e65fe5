//! The accounts, and the check of a password.

use argon2::{
    Argon2,
    password_hash::{PasswordVerifier, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Names and hashes, as a database would have them. The passwords are on the login page.
const ACCOUNTS: [(&str, &str); 2] = [
    (
        "alice",
        "$argon2id$v=19$m=19456,t=2,p=1$tN01Ybfu1Ez5WE7bTGpT+A$//zeKAkBP1jK7DxyiF+qDMxFTQkQm74AKeZ9pS6uUL8",
    ),
    (
        "bob",
        "$argon2id$v=19$m=19456,t=2,p=1$ZebpQgtY/j8MWfZgp4Mywg$PIOU2wBOe8NKGeHT+6+Q6XX81OoX//3XIax6cERKEUU",
    ),
];

/// What an unknown user's password is checked against.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$wK/qqrxeyOEaxOfaqoivDA$6J7MjjFu+Jinoi6DMehSRB2Ep0jIcqhvyE5dj6CQYzI";

/// A check takes 19 MiB and a processor: a flood of logins waits here instead of exhausting both.
static CHECKS: Semaphore = Semaphore::const_new(4);

/// The account's name, if the password is right.
///
/// An unknown user takes as long as a wrong password, so that nobody learns who has an account.
pub(crate) async fn verify(user: String, password: String) -> Option<&'static str> {
    let turn = CHECKS.acquire().await.ok()?;
    let check = move || {
        // Until the check is done, also when nobody waits for it any more.
        let _turn = turn;
        let account = ACCOUNTS.iter().find(|(name, _)| *name == user);
        let hash = account.map_or(NOBODY, |(_, hash)| hash);
        let hash = PasswordHash::new(hash).expect("the hashes above are well formed");
        let matches = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        account.filter(|_| matches).map(|(name, _)| *name)
    };
    // It would keep the other tasks of an async thread waiting.
    spawn_blocking(check).await.expect("the check doesn't panic")
}
