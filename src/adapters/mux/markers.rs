//! Which live streams of an environment bear whose marker.

use crate::api::names::is_marker;
use crate::providers::mux::ListedStream;

/// Marker and id of each live stream that an operator of this kind made, in order. Every environment keeps one, with all
/// its streams in it: it is as small as it can be.
pub(super) struct Markers(Vec<(Box<str>, Box<str>)>);

impl Markers {
    pub(super) fn new(listed: Vec<ListedStream>) -> Self {
        let marked = listed.into_iter().filter_map(|ListedStream { id, passthrough }| {
            let marker = passthrough.filter(|marker| is_marker(marker))?;
            Some((marker.into_boxed_str(), id.into_boxed_str()))
        });
        let mut pairs: Vec<_> = marked.collect();
        pairs.sort_unstable();
        pairs.shrink_to_fit();
        Self(pairs)
    }

    /// The ids of all streams with this marker.
    pub(super) fn ids_of(&self, marker: &str) -> Vec<String> {
        let first = self.0.partition_point(|(other, _)| **other < *marker);
        let theirs = self.0.iter().skip(first).take_while(|(other, _)| **other == *marker);
        theirs.map(|(_, id)| id.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_marker_has_its_own_streams_and_what_others_made_is_not_kept() {
        let listed = [
            ("2", Some("memorialstream/c/b")),
            ("4", Some("shop/c/a")),
            ("3", Some("memorialstream/c/a")),
            ("1", Some("memorialstream/c/b")),
            ("5", None),
            ("6", Some("memorialstream/c/ba")),
        ];
        let listed =
            listed.map(|(id, marker)| ListedStream { id: id.into(), passthrough: marker.map(str::to_owned) });
        let markers = Markers::new(listed.into());
        assert_eq!(markers.0.len(), 4);
        assert_eq!(markers.ids_of("memorialstream/c/b"), ["1", "2"]);
        assert_eq!(markers.ids_of("memorialstream/c/a"), ["3"]);
        for nobodys in ["memorialstream/c", "memorialstream/c/c", "shop/c/a", ""] {
            assert!(markers.ids_of(nobodys).is_empty(), "{nobodys}");
        }
    }
}
