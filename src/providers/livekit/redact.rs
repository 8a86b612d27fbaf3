//! Addresses without their keys, as LiveKit writes them. Source: livekit/protocol `utils/redact.go`.

/// `url` as LiveKit shows it: the stream key becomes `{abc...xyz}`. The full key can never be read back from LiveKit,
/// so addresses are compared in this form.
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return redact_query(url) };
    match scheme {
        "mux" | "twitch" => format!("{scheme}://{}", redact_identifier(rest)),
        "rtmp" | "rtmps" => {
            let (rest, live) = rest.strip_suffix(" live=1").map_or((rest, ""), |rest| (rest, " live=1"));
            // At least {host}/{app}/{key}.
            match rest.rsplit_once('/') {
                Some((place, key)) if place.contains('/') && !key.contains(char::is_whitespace) => {
                    format!("{scheme}://{place}/{}{live}", redact_identifier(key))
                }
                _ => redact_query(url),
            }
        }
        _ => redact_query(url),
    }
}

/// Redacts the addresses in a sentence of LiveKit's; what is redacted already stays.
pub(super) fn redact_text(text: &str) -> String {
    const SCHEMES: [&str; 5] = ["rtmp://", "rtmps://", "srt://", "mux://", "twitch://"];
    let mut redacted = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '\n', '\t', '"', '\'', '`', '<', '>', '(', ')', ',', ';']) {
        let start = SCHEMES.iter().filter_map(|scheme| word.find(scheme)).min();
        let (before, address) = word.split_at(start.unwrap_or(word.len()));
        let end =
            address.trim_end_matches(|end: char| !end.is_alphanumeric() && end != '}' && end != '/').len();
        let (address, after) = address.split_at(end);
        redacted.push_str(before);
        if address.contains("...") && address.contains('{') {
            redacted.push_str(address);
        } else {
            redacted.push_str(&redact(address));
        }
        redacted.push_str(after);
    }
    redacted
}

fn redact_query(url: &str) -> String {
    let Some((place, query)) = url.split_once('?').filter(|(_, query)| !query.is_empty()) else {
        return url.to_owned();
    };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, value)) if !value.is_empty() => format!("{name}={{...}}"),
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{place}?{}", parameters.join("&"))
}

/// Keeps one to three characters at each end, never more than two thirds in all.
fn redact_identifier(identifier: &str) -> String {
    let kept = (identifier.len() / 3).min(3);
    let (start, end) = (identifier.get(..kept), identifier.get(identifier.len() - kept..));
    format!("{{{}...{}}}", start.unwrap_or(""), end.unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_redacted_as_livekit_does() {
        // The table is what utils/redact.go yields.
        let table = [
            ("rtmp://host/app/0123456789", "rtmp://host/app/{012...789}"),
            ("rtmps://global-live.mux.com:443/app/abcdefgh", "rtmps://global-live.mux.com:443/app/{ab...gh}"),
            ("rtmp://127.0.0.1:1935/a/b/abcde", "rtmp://127.0.0.1:1935/a/b/{a...e}"),
            ("rtmp://host/app/ab", "rtmp://host/app/{...}"),
            ("rtmp://host/app/", "rtmp://host/app/{...}"),
            ("rtmp://host/app/0123456789 live=1", "rtmp://host/app/{012...789} live=1"),
            ("rtmp://host/key", "rtmp://host/key"),
            ("mux://0123456789", "mux://{012...789}"),
            ("twitch://abc", "twitch://{a...c}"),
            ("srt://host:6001?streamid=key&passphrase=&x", "srt://host:6001?streamid={...}&passphrase=&x"),
            ("https://host/path", "https://host/path"),
        ];
        for (address, redacted) in table {
            assert_eq!(redact(address), redacted);
        }
    }

    #[test]
    fn no_sentence_shows_a_key() {
        assert_eq!(
            redact_text(
                "could not connect to \"rtmp://host/app/0123456789\": refused (url=srt://h?streamid=key)."
            ),
            "could not connect to \"rtmp://host/app/{012...789}\": refused (url=srt://h?streamid={...})."
        );
        assert_eq!(
            redact_text("invalid rtmps://h/app/0123456789: no"),
            "invalid rtmps://h/app/{012...789}: no"
        );
        let already = "failed: rtmp://host/app/{012...789}";
        assert_eq!(redact_text(already), already);
        assert_eq!(redact_text("participant program not found"), "participant program not found");
    }
}
