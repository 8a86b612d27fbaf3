//! Where a tenant's Secret may lead the operator. Requests go out from the operator's network, so the addresses that a
//! Secret names must be on the installation's list. The operator's own Secret is the installation's word.

use super::SecretData;

/// The keys that name addresses.
const KEYS: [&str; 4] = ["MUX_BASE_URL", "MUX_RTMP_URL", "MUX_PLAYBACK_BASE_URL", "LIVEKIT_URL"];
/// How much of a host a message repeats.
const LONGEST_HOST: usize = 100;

/// The hosts to which a tenant's Secret may lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedEndpoints(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// `*`
    Any,
    /// `*.suffix`, with the dot, and a port where one is given.
    Below(String, Option<u16>),
    /// `host`, and a port where one is given.
    Host(String, Option<u16>),
}

impl AllowedEndpoints {
    /// The providers' own hosts.
    pub const DEFAULT: &str = "mux.com,*.mux.com,*.livekit.cloud";

    /// A list with commas: `host`, `host:port`, `*.suffix`, `*.suffix:port`, or `*` for everything.
    ///
    /// # Errors
    /// Names the entry that is none of these.
    pub fn parse(list: &str) -> Result<Self, String> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let pattern = |entry: &str| {
            if entry == "*" {
                return Ok(Pattern::Any);
            }
            let (below, rest) = match entry.strip_prefix('*') {
                Some(rest) if rest.starts_with('.') => (true, &rest[1..]),
                _ => (false, entry),
            };
            let (host, port) = host_and_port(rest).ok_or_else(|| {
                format!("{entry:?} is neither host, host:port, *.suffix, *.suffix:port nor *")
            })?;
            Ok(if below { Pattern::Below(format!(".{host}"), port) } else { Pattern::Host(host, port) })
        };
        entries.map(pattern).collect::<Result<_, _>>().map(Self)
    }

    fn allow(&self, endpoint: &Endpoint) -> bool {
        let fits = |port: &Option<u16>| port.is_none_or(|port| Some(port) == endpoint.port);
        self.0.iter().any(|pattern| match pattern {
            Pattern::Any => true,
            Pattern::Below(suffix, port) => {
                endpoint.host.len() > suffix.len() && endpoint.host.ends_with(suffix) && fits(port)
            }
            Pattern::Host(host, port) => endpoint.host == *host && fits(port),
        })
    }

    /// The first address in a tenant's Secret that is not allowed, as key and host. What the operator's own Secret names
    /// is allowed too.
    pub(super) fn refused(
        &self,
        tenant: &SecretData,
        own: Option<&SecretData>,
    ) -> Option<(&'static str, String)> {
        if self.0.contains(&Pattern::Any) {
            return None;
        }
        let own: Vec<Endpoint> =
            own.map(addresses).into_iter().flatten().filter_map(|(_, url)| Endpoint::parse(url)).collect();
        addresses(tenant).find_map(|(key, url)| match Endpoint::parse(url) {
            Some(endpoint) if self.allow(&endpoint) || own.contains(&endpoint) => None,
            Some(endpoint) => Some((key, endpoint.host.chars().take(LONGEST_HOST).collect())),
            None => Some((key, "that cannot be read".to_owned())),
        })
    }
}

fn addresses(data: &SecretData) -> impl Iterator<Item = (&'static str, &str)> {
    KEYS.into_iter().filter_map(|key| {
        let url = data.get(key)?.reveal().trim();
        (!url.is_empty()).then_some((key, url))
    })
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    host: String,
    /// The scheme's own where none is given.
    port: Option<u16>,
}

impl Endpoint {
    /// Understands only what every parser of URLs understands in the same way: no user, no escapes, no backslash, no
    /// script but ASCII. Several programs will read it.
    fn parse(url: &str) -> Option<Self> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let usual = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            "rtmp" => 1935,
            "rtmps" => 443,
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = host_and_port(authority)?;
        Some(Self { host, port: Some(port.unwrap_or(usual)) })
    }
}

/// A host in lower case without a dot at its end, and the port if there is one.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
            (format!("[{address}]"), port)
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            let label = |label: &str| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            };
            if !host.split('.').all(label) {
                return None;
            }
            (host, port)
        }
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        Some(port) if digits(port) => Some(port.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Secret;

    fn secret(key: &str, url: &str) -> SecretData {
        [(key.to_owned(), Secret::new(url))].into()
    }

    fn refuses(list: &str, url: &str) -> bool {
        AllowedEndpoints::parse(list).unwrap().refused(&secret("LIVEKIT_URL", url), None).is_some()
    }

    #[test]
    fn the_providers_own_hosts_are_allowed_by_default() {
        for url in [
            "https://api.mux.com",
            "https://API.Mux.COM/",
            "https://api.mux.com./video/v1",
            "rtmps://global-live.mux.com:443/app",
            "https://stream.mux.com/../x?y#z",
            "wss://funeral-1a2b.livekit.cloud",
            "WSS://a.b.livekit.cloud:443",
        ] {
            assert!(!refuses(AllowedEndpoints::DEFAULT, url), "{url}");
        }
    }

    #[test]
    fn whatever_looks_like_an_allowed_host_and_is_none_is_refused() {
        for url in [
            "https://evil.example",
            "https://evilmux.com",
            "https://api.mux.com.evil.example",
            "https://api.mux.com@evil.example",
            "https://evil.example@api.mux.com",
            "https://user:pass@api.mux.com",
            "https://evil.example/api.mux.com",
            "https://evil.example?api.mux.com",
            "https://evil.example#.mux.com",
            "https://evil.example\\.mux.com",
            "https://evil.example\\@api.mux.com",
            "https://evil.example%2f.mux.com",
            "https://evil.example%00.mux.com",
            "https://api.mux.com:80:evil.example",
            "https://api.mux.com:99999",
            "https://api.mux.com:+443",
            "https://api.mux.com:",
            "https://api.mux.com..",
            "https://.mux.com",
            "https://.livekit.cloud",
            "https://livekit.cloud",
            "https://ａpi.mux.com",
            "https://аpi.mux.com",
            "https://api.mux。com",
            "https://api.mux.com\n.evil.example",
            "https://api.mux.com\tx",
            "https:/api.mux.com",
            "https:api.mux.com",
            "api.mux.com",
            "//api.mux.com",
            "file:///etc/passwd",
            "gopher://api.mux.com",
            "http://169.254.169.254/latest",
            "http://2852039166",
            "http://0x7f.1",
            "http://localhost",
            "http://[::1]",
            "http://[::ffff:127.0.0.1]:80",
            "http://[fe80::1%25eth0]",
            "http://[::1",
            "http://[api.mux.com]",
        ] {
            assert!(refuses(AllowedEndpoints::DEFAULT, url), "{url}");
        }
    }

    #[test]
    fn an_installation_names_hosts_ports_and_suffixes() {
        assert!(!refuses("livekit.media.svc:7880", "ws://livekit.media.svc:7880"));
        assert!(refuses("livekit.media.svc:7880", "ws://livekit.media.svc:7881"));
        assert!(refuses("livekit.media.svc:7880", "ws://livekit.media.svc"));
        assert!(!refuses("livekit.media.svc:443", "wss://livekit.media.svc"));
        assert!(!refuses("livekit.media.svc", "ws://livekit.media.svc:9"));
        assert!(!refuses("[::1]:7880", "ws://[0:0::1]:7880"));
        assert!(!refuses(" *.example.org:443 , x", "wss://a.example.org"));
        assert!(refuses("*.example.org:443", "ws://a.example.org"));
        assert!(!refuses("*", "http://169.254.169.254\\@x"));
        assert!(refuses("", "https://api.mux.com"));
        for wrong in ["https://mux.com", "mux.com/", "*mux.com", "a b", "*.*", "mux.com:http", "user@mux.com"]
        {
            assert!(AllowedEndpoints::parse(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_the_operators_own_secret_names_is_allowed_for_tenants() {
        let allowed = AllowedEndpoints::parse(AllowedEndpoints::DEFAULT).unwrap();
        let own = secret("LIVEKIT_URL", "ws://livekit.media.svc:7880");
        let refused = |url| allowed.refused(&secret("LIVEKIT_URL", url), Some(&own));
        assert_eq!(refused("ws://livekit.media.svc:7880/"), None);
        assert_eq!(
            refused("ws://livekit.media.svc:6443"),
            Some(("LIVEKIT_URL", "livekit.media.svc".to_owned()))
        );
        let long = format!("https://{}.example", "a".repeat(10_000));
        assert_eq!(refused(&long).unwrap().1.len(), LONGEST_HOST);
    }
}
