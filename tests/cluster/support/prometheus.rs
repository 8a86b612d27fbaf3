//! Reads Prometheus' text format, as far as counters of the lab's parts need it.

use std::collections::BTreeMap;

/// The counter `name` of an exposition, summed by what `key` makes of the labels; what it makes nothing of is left out.
pub fn sums(
    text: &str,
    name: &str,
    key: impl Fn(&BTreeMap<&str, &str>) -> Option<String>,
) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let sample = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')?.rsplit_once("} "));
        let Some((labels, value)) = sample else { continue };
        // No label that is asked for holds a comma or a quote.
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(name, value)| (name, value.trim_matches('"'))).collect();
        if let Some(key) = key(&labels) {
            *sums.entry(key).or_insert(0.0) += value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        }
    }
    sums
}

#[test]
fn counters_are_summed_by_key() {
    let text = "# TYPE hits counter\nhits{verb=\"GET\",code=\"200\"} 2\nhits{verb=\"GET\",code=\"500\"} 1\n\
                hits_more{verb=\"GET\"} 9\nhits{verb=\"PUT\",code=\"200\"} 1e3\n";
    let by_verb = sums(text, "hits", |labels| labels.get("verb").map(|verb| (*verb).to_owned()));
    assert_eq!(by_verb, BTreeMap::from([("GET".into(), 3.0), ("PUT".into(), 1000.0)]));
}
