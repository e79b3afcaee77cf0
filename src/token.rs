//! Tokens: who somebody is, signed.
//!
//! JSON Web Tokens (RFC 7519) with HMAC-SHA-256 and nothing else: the algorithm is fixed, so that no token can choose a
//! weaker one (RFC 8725, section 3.1). Whoever shares the secret may issue them. Refuses to be stored anywhere: a token is
//! all there is of a session.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::{channel::Channel, id::UserId, timestamp::Timestamp};

/// The longest token taken.
const MAX_TOKEN: usize = 4096;

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(rename = "sub")]
    pub user_id: UserId,
    #[serde(rename = "name")]
    pub user_name: String,
    /// Seconds since 1970; later the token is void.
    #[serde(rename = "exp")]
    expires: i64,
    /// The rooms this person may use, as `channel:general` or `channel:team-*`; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
}

impl Claims {
    /// A person who may use all rooms until `expires`.
    #[must_use]
    pub fn new(user_id: UserId, user_name: String, expires: Timestamp) -> Self {
        Self { user_id, user_name, expires: expires.millis() / 1000, channels: None }
    }

    /// When the token is void.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_millis(self.expires.saturating_mul(1000))
    }

    /// Whether this person may use `channel`.
    #[must_use]
    pub fn may_use(&self, channel: &Channel) -> bool {
        if !channel.is_room() {
            return *channel == Channel::of_user(&self.user_id);
        }
        let Some(patterns) = &self.channels else { return true };
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => channel.as_str().starts_with(start),
            None => channel.as_str() == pattern,
        })
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// Signs and verifies tokens.
pub struct Signer(hmac::Key);

/// What only the operator knows: whoever shows it administers. The token itself isn't kept, and can't be printed.
#[derive(Clone)]
pub struct AdminToken {
    key: hmac::Key,
    seal: hmac::Tag,
}

impl AdminToken {
    /// The token that is `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
        Self { seal: hmac::sign(&key, text.as_bytes()), key }
    }

    /// Whether `given` is this token; takes the same time for every one that isn't.
    #[must_use]
    pub fn is(&self, given: &str) -> bool {
        hmac::verify(&self.key, given.as_bytes(), self.seal.as_ref()).is_ok()
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Not a token, or not signed with this secret.
    #[error("the token is not one of this server")]
    Forged,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

impl Signer {
    /// A signer with this secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token that says so.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        let claims = serde_json::to_vec(claims).expect("claims are plain data with text keys");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#), URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What the token says, if it is good now.
    ///
    /// # Errors
    /// [`InvalidToken`].
    pub fn verify(&self, token: &str) -> Result<Claims, InvalidToken> {
        let claims = self.read(token).ok_or(InvalidToken::Forged)?;
        if claims.expires() <= Timestamp::now() {
            return Err(InvalidToken::Expired);
        }
        Ok(claims)
    }

    fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        hmac::verify(&self.0, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        (header.alg == "HS256").then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn claims(expires: Timestamp) -> Claims {
        Claims::new("u_1".parse().unwrap(), "Ada".into(), expires)
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_only_under_its_secret() {
        let (signer, later) = (Signer::new(b"one"), Timestamp::now().after(Duration::from_mins(1)));
        let token = signer.sign(&claims(later));
        assert_eq!(signer.verify(&token).unwrap().user_name, "Ada");
        assert_eq!(Signer::new(b"two").verify(&token), Err(InvalidToken::Forged));
        assert_eq!(signer.verify(&signer.sign(&claims(Timestamp::from_millis(0)))), Err(InvalidToken::Expired));
    }

    #[test]
    fn a_token_without_a_signature_is_refused_whatever_it_claims() {
        let body = URL_SAFE_NO_PAD.encode(r#"{"sub":"u_1","name":"Ada","exp":99999999999}"#);
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        assert_eq!(Signer::new(b"one").verify(&format!("{header}.{body}.")), Err(InvalidToken::Forged));
    }

    #[test]
    fn an_admin_token_is_itself_alone_and_never_printed() {
        let token = AdminToken::new("correct-horse");
        assert!(token.is("correct-horse"));
        assert!(["", "correct-hors", "correct-horse ", "Correct-horse"].iter().all(|other| !token.is(other)));
        assert!(!format!("{token:?}").contains("horse"));
    }

    #[test]
    fn a_channels_claim_limits_rooms() {
        let mut claims = claims(Timestamp::now());
        let may = |claims: &Claims, channel: &str| claims.may_use(&channel.parse().unwrap());
        assert!(may(&claims, "channel:any") && may(&claims, "user:u_1") && !may(&claims, "user:u_2"));
        claims.channels = Some(vec!["channel:general".into(), "channel:team-*".into()]);
        assert!(may(&claims, "channel:general") && may(&claims, "channel:team-a") && may(&claims, "user:u_1"));
        assert!(!may(&claims, "channel:generals") && !may(&claims, "channel:secret"));
    }

    proptest! {
        #[test]
        fn random_text_is_refused(text in any::<String>()) {
            prop_assert_eq!(Signer::new(b"one").verify(&text), Err(InvalidToken::Forged));
        }
    }
}
