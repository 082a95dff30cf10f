//! The text of a page, read strictly: what this does not take, some reader of metrics would not.

use std::collections::{BTreeMap, BTreeSet};

/// What a page says.
pub(super) struct Page {
    /// Names of metrics as they are asked for, with their types: those of counters end in `_total`, that of an info in `_info`.
    pub(super) types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Page {
    /// # Panics
    /// On a line that is not as the formats have it.
    #[track_caller]
    pub(super) fn parse(text: &str, open_metrics: bool) -> Self {
        let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut helped = BTreeSet::new();
        // The family that samples belong to, and its type.
        let mut family: Option<(String, String)> = None;
        let mut lines: Vec<&str> = text.strip_suffix('\n').expect("the last line ends, too").split('\n').collect();
        if open_metrics {
            assert_eq!(lines.pop(), Some("# EOF"));
        }
        for line in lines {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(words.ends_with('.') && !words.contains(['\\', '"']), "{line}");
                assert!(helped.insert(name.to_owned()), "twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(helped.contains(name) && is_name(name), "{line}");
                assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
                // The older format has the names of samples, and no info.
                let (name, kind) = match (open_metrics, kind) {
                    (true, "counter") => (format!("{name}_total"), kind),
                    (true, "info") => (format!("{name}_info"), kind),
                    (false, "gauge") if name.ends_with("_info") => (name.to_owned(), "info"),
                    _ => (name.to_owned(), kind),
                };
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(types.insert(name.clone(), kind.to_owned()).is_none(), "twice: {line}");
                family = Some((name, kind.to_owned()));
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let (family, kind) = family.as_ref().unwrap_or_else(|| panic!("no type: {line}"));
                let part = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("not of {family}: {line}"));
                assert!(
                    if kind == "histogram" { ["_bucket", "_sum", "_count"].contains(&part) } else { part.is_empty() },
                    "{line}"
                );
                let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
                for label in labels.split(',').filter(|label| !label.is_empty()) {
                    let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
                    let value =
                        value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or_else(|| panic!("{line}"));
                    let plain = |char: char| char.is_ascii_alphanumeric() || "_.+-".contains(char);
                    assert!(is_name(name) && value.chars().all(plain), "{line}");
                }
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        let page = Self { types, samples };
        page.check_histograms();
        page
    }

    /// The sum of the samples of a metric that have all these labels, written as they are there.
    pub(super) fn value(&self, name: &str, labels: &[&str]) -> f64 {
        self.of(name, labels).map(|(_, value)| value).sum()
    }

    /// Whether there is any.
    pub(super) fn has(&self, name: &str, labels: &[&str]) -> bool {
        self.of(name, labels).next().is_some()
    }

    /// All series.
    pub(super) fn series(&self) -> BTreeSet<String> {
        self.samples.keys().cloned().collect()
    }

    fn of(&self, name: &str, labels: &[&str]) -> impl Iterator<Item = (&str, f64)> {
        let all = self.samples.iter().map(|(series, value)| (series.as_str(), *value));
        all.filter(move |(series, _)| series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label)))
    }

    /// Buckets count up, and the last has everything.
    fn check_histograms(&self) {
        let mut seen: BTreeMap<String, f64> = BTreeMap::new();
        let mut buckets = 0;
        for name in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let bucket = format!("{name}_bucket");
            let mut of: Vec<(String, f64, f64)> = Vec::new();
            for (series, value) in self.of(&bucket, &[]) {
                let (before, rest) = series.split_once("le=\"").unwrap_or_else(|| panic!("{series}"));
                let (bound, after) = rest.split_once('"').unwrap_or_else(|| panic!("{series}"));
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                of.push((format!("{before}{after}").replace(['{', '}', ','], "").replacen(&bucket, "", 1), bound, value));
            }
            of.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
            for (labels, bound, value) in of {
                let last = seen.insert(format!("{name}{labels}"), value).unwrap_or(0.0);
                assert!(value >= last, "{name}{labels}: {value} below {last}");
                if bound.is_infinite() {
                    let count = if labels.is_empty() { format!("{name}_count") } else { format!("{name}_count{{{labels}}}") };
                    assert_eq!(self.samples.get(&count), Some(&value), "{count}");
                    buckets += 1;
                }
            }
        }
        assert_eq!(buckets, seen.len(), "each histogram has a bucket without a bound");
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_ascii_lowercase() || char == '_')
}
