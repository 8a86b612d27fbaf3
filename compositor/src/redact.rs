//! Keeps secrets out of everything that is printed.

use memorialstream_compositor_protocol::Secret;
use std::sync::{Mutex, PoisonError};

/// What stands where a secret stood.
const REDACTED: &str = "[secret]";
/// How every JSON Web Token starts.
const TOKEN_START: &str = "eyJ";

/// Secrets that libraries might repeat in their messages.
static SECRETS: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

/// From now on [`redact`] takes `secret` out of any text.
pub fn keep_out(secret: &Secret) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if !secret.reveal().is_empty() && !secrets.contains(secret) {
        secrets.push(secret.clone());
        // The longest first: one that is part of another must not leave the rest of it standing.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
    }
}

/// `text` without any secret that is known, and without anything that looks like a LiveKit token.
pub fn redact(text: &str) -> String {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = secrets.iter().fold(text.to_string(), |text, secret| text.replace(secret.reveal(), REDACTED));
    without_tokens(&known)
}

fn without_tokens(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(TOKEN_START) {
        let (before, token) = rest.split_at(start);
        let end = token.find(|character: char| !is_token(character)).unwrap_or(token.len());
        clean.push_str(before);
        clean.push_str(REDACTED);
        rest = &token[end..];
    }
    clean.push_str(rest);
    clean
}

fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_known_secrets_are_taken_out() {
        keep_out(&Secret::new("stream-key-of-a-test"));
        let text = "failed: ws://host/rtc?access_token=eyJhbGciOi.eyJ2aWRl-_b.c1gn&x=1, rtmp://host/app/stream-key-of-a-test";
        let expected = "failed: ws://host/rtc?access_token=[secret]&x=1, rtmp://host/app/[secret]";
        assert_eq!(redact(text), expected);
    }

    #[test]
    fn a_secret_that_is_part_of_another_leaves_nothing_of_it() {
        for secret in ["part-of-a-longer", "a-part-of-a-longer-one"] {
            keep_out(&Secret::new(secret));
        }
        assert_eq!(redact("x a-part-of-a-longer-one y"), "x [secret] y");
    }

    #[test]
    fn other_text_stays() {
        assert_eq!(redact("nothing to hide"), "nothing to hide");
        keep_out(&Secret::new(""));
        assert_eq!(redact("plain"), "plain");
    }
}
