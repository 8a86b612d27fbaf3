//! Tokens with which participants join, each with no more rights than it needs.

use super::credentials::LiveKitCredentials;
use crate::providers::{ErrorClass, Provider, ProviderError, Result, Secret};
use livekit_api::access_token::{AccessToken, VideoGrants};
use std::time::Duration;

/// How long any token can be used to join. A participant that joined may stay longer.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Signs tokens. Asks nobody.
#[derive(Clone, Debug)]
pub struct TokenMinter {
    api_key: String,
    api_secret: Secret,
}

impl TokenMinter {
    /// Signs with this key and secret.
    pub fn new(credentials: &LiveKitCredentials) -> Self {
        Self { api_key: credentials.api_key.clone(), api_secret: credentials.api_secret.clone() }
    }

    /// For a camera: publishes picture and sound, sees and hears nobody. `name` is what people see.
    ///
    /// # Errors
    /// `lifetime` is longer than [`MAX_TOKEN_LIFETIME`], or key and secret cannot sign.
    pub fn camera_token(&self, room: &str, identity: &str, name: &str, lifetime: Duration) -> Result<Secret> {
        let grants = VideoGrants {
            can_publish: Some(true),
            can_publish_sources: vec!["camera".into(), "microphone".into()],
            can_subscribe: Some(false),
            ..VideoGrants::default()
        };
        self.sign("camera_token", room, identity, name, grants, lifetime)
    }

    /// For the compositor, to watch a camera: hidden, publishes nothing. Each needs an identity of its own.
    ///
    /// # Errors
    /// Key and secret cannot sign.
    pub fn source_token(&self, room: &str, identity: &str) -> Result<Secret> {
        let grants = VideoGrants {
            can_publish: Some(false),
            can_subscribe: Some(true),
            hidden: true,
            ..VideoGrants::default()
        };
        self.sign("source_token", room, identity, "", grants, MAX_TOKEN_LIFETIME)
    }

    /// For the compositor, to publish Program: seen by everybody (egress must find it), sees nobody.
    ///
    /// # Errors
    /// Key and secret cannot sign.
    pub fn program_token(&self, room: &str, identity: &str) -> Result<Secret> {
        let grants =
            VideoGrants { can_publish: Some(true), can_subscribe: Some(false), ..VideoGrants::default() };
        self.sign("program_token", room, identity, "", grants, MAX_TOKEN_LIFETIME)
    }

    fn sign(
        &self,
        operation: &'static str,
        room: &str,
        identity: &str,
        name: &str,
        grants: VideoGrants,
        lifetime: Duration,
    ) -> Result<Secret> {
        let error = |class, message: String| ProviderError::new(Provider::LiveKit, operation, class, message);
        if lifetime > MAX_TOKEN_LIFETIME {
            return Err(error(ErrorClass::Terminal, "a token lives at most 24 hours; ask for less".into()));
        }
        // A right that is left out would be LiveKit's default, which is to have it.
        let grants =
            VideoGrants { room_join: true, room: room.to_owned(), can_publish_data: Some(false), ..grants };
        AccessToken::with_api_key(&self.api_key, self.api_secret.reveal())
            .with_identity(identity)
            .with_name(name)
            .with_grants(grants)
            .with_ttl(lifetime)
            .to_jwt()
            .map(Secret::new)
            .map_err(|cause| {
                let message = format!("no token for {identity} in room {room} can be signed: {cause}; check LiveKit's API key and secret");
                error(ErrorClass::Credentials, message)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_api::access_token::{Claims, TokenVerifier};

    fn minter() -> TokenMinter {
        TokenMinter::new(&LiveKitCredentials {
            url: "ws://127.0.0.1:7880".into(),
            api_key: "key".into(),
            api_secret: Secret::new("a-secret-of-at-least-32-characters"),
        })
    }

    fn claims(token: &Secret) -> Claims {
        let verifier = TokenVerifier::with_api_key("key", "a-secret-of-at-least-32-characters");
        verifier.verify(token.reveal()).unwrap()
    }

    fn lifetime(claims: &Claims) -> usize {
        claims.exp - claims.nbf
    }

    #[test]
    fn a_camera_only_publishes_picture_and_sound() {
        let hour = Duration::from_secs(3600);
        let claims = claims(&minter().camera_token("room", "camera-lectern", "Lectern", hour).unwrap());
        assert_eq!(
            (claims.sub.as_str(), claims.name.as_str(), claims.iss.as_str()),
            ("camera-lectern", "Lectern", "key")
        );
        assert!((3599..=3601).contains(&lifetime(&claims)));
        assert_eq!(
            claims.video,
            VideoGrants {
                room_join: true,
                room: "room".into(),
                can_publish: Some(true),
                can_publish_sources: vec!["camera".into(), "microphone".into()],
                can_subscribe: Some(false),
                can_publish_data: Some(false),
                ..VideoGrants::default()
            }
        );
    }

    #[test]
    fn a_source_only_watches_and_is_not_seen() {
        let claims = claims(&minter().source_token("room", "source-lectern").unwrap());
        assert!((86_399..=86_401).contains(&lifetime(&claims)));
        assert_eq!(
            claims.video,
            VideoGrants {
                room_join: true,
                room: "room".into(),
                can_publish: Some(false),
                can_subscribe: Some(true),
                can_publish_data: Some(false),
                hidden: true,
                ..VideoGrants::default()
            }
        );
    }

    #[test]
    fn program_is_seen_and_sees_nobody() {
        let claims = claims(&minter().program_token("room", "program").unwrap());
        assert_eq!(claims.sub, "program");
        assert_eq!(
            claims.video,
            VideoGrants {
                room_join: true,
                room: "room".into(),
                can_publish: Some(true),
                can_subscribe: Some(false),
                can_publish_data: Some(false),
                ..VideoGrants::default()
            }
        );
    }

    #[test]
    fn no_token_lives_longer_than_a_day_or_joins_no_room() {
        let long = MAX_TOKEN_LIFETIME + Duration::from_secs(1);
        assert_eq!(minter().camera_token("room", "c", "", long).unwrap_err().class, ErrorClass::Terminal);
        assert_eq!(minter().program_token("", "program").unwrap_err().class, ErrorClass::Credentials);
        assert!(!format!("{:?}", minter()).contains("a-secret"));
    }
}
