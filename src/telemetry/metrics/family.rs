//! A metric family whose series are striped and merged at a scrape.
//!
//! Owns [`Family`]: one series for each set of label values, made when it is first asked for and kept as long as the
//! process lives. Knows neither names nor labels.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::histogram::Histogram;
use crate::counter::Counter;

/// In the order of the family's label names.
type LabelValues = Arc<[Box<str>]>;

/// What counts in stripes.
pub(super) trait Striped: Send + Sync + 'static {
    const TYPE: proto::MetricType;

    /// The stripes as one; without labels.
    fn merged(&self) -> proto::Metric;
}

impl Striped for Counter {
    const TYPE: proto::MetricType = proto::MetricType::COUNTER;

    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus counts in doubles, exact up to 2^53"
    )]
    fn merged(&self) -> proto::Metric {
        let mut counter = proto::Counter::default();
        counter.set_value(self.sum() as f64);
        let mut metric = proto::Metric::default();
        metric.set_counter(counter);
        metric
    }
}

impl Striped for Histogram {
    const TYPE: proto::MetricType = proto::MetricType::HISTOGRAM;

    fn merged(&self) -> proto::Metric {
        let mut metric = proto::Metric::default();
        metric.set_histogram(self.merged());
        metric
    }
}

/// All series of one name; clones are the same family.
pub(super) struct Family<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    description: Desc,
    make: fn() -> T,
    series: Mutex<HashMap<LabelValues, Arc<T>>>,
}

impl<T> Family<T> {
    /// Without series; `make` gives each of them its beginning.
    pub(super) fn new(description: Desc, make: fn() -> T) -> Self {
        Self {
            shared: Arc::new(Shared {
                description,
                make,
                series: Mutex::default(),
            }),
        }
    }

    /// The series of these values, in the order of the label names; from then on it is shown.
    pub(super) fn series(&self, values: &[&str]) -> Arc<T> {
        let shared = &self.shared;
        debug_assert_eq!(values.len(), shared.description.variable_labels.len());
        let values = values.iter().map(|value| Box::from(*value)).collect();
        let mut series = shared.series.lock().unwrap_or_else(PoisonError::into_inner);
        let one = series.entry(values);
        Arc::clone(one.or_insert_with(|| Arc::new((shared.make)())))
    }

    /// Merging takes place without the lock, so that a worker that needs a new series does not wait for a scrape.
    fn all(&self) -> Vec<(LabelValues, Arc<T>)> {
        let series = &self.shared.series;
        let series = series.lock().unwrap_or_else(PoisonError::into_inner);
        series
            .iter()
            .map(|(values, one)| (Arc::clone(values), Arc::clone(one)))
            .collect()
    }

    /// In the order of their names, as the `prometheus` crate's own families have them.
    fn label_pairs(&self, values: &[Box<str>]) -> Vec<proto::LabelPair> {
        let names = &self.shared.description.variable_labels;
        let mut pairs: Vec<_> = names
            .iter()
            .zip(values)
            .map(|(name, value)| {
                let mut pair = proto::LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.to_string());
                pair
            })
            .collect();
        pairs.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        pairs
    }
}

impl<T: Striped> Collector for Family<T> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.shared.description]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let metrics = self.all().into_iter().map(|(values, one)| {
            let mut metric = one.merged();
            metric.set_label(self.label_pairs(&values));
            metric
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.shared.description.fq_name.clone());
        family.set_help(self.shared.description.help.clone());
        family.set_field_type(T::TYPE);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

impl<T> Clone for Family<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> fmt::Debug for Family<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Family")
            .field(&self.shared.description.fq_name)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::core::Describer;
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, TextEncoder};

    use super::*;

    const SECONDS: &[f64] = &[1e-6, 2.5e-6, 0.025, 2.5];
    const NANOSECONDS: &[u64] = &[1_000, 2_500, 25_000_000, 2_500_000_000];

    fn options() -> Opts {
        Opts::new("served", "Says \\ and\nmore.")
    }

    fn family<T>(labels: &[&str], make: fn() -> T) -> Family<T> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let description = options().variable_labels(labels).describe();
        Family::new(description.unwrap(), make)
    }

    fn text(collector: impl Collector + 'static) -> String {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(collector)).unwrap();
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&registry.gather(), &mut text)
            .unwrap();
        text
    }

    #[test]
    fn counters_read_as_those_of_the_prometheus_crate() {
        let labels = ["route", "issuer", "via"];
        let ours = family(&labels, Counter::new);
        let theirs = IntCounterVec::new(options(), &labels).unwrap();
        let series = [
            ["b", "none", "cache"],
            ["a", "none", "verified"],
            ["a", "with \"quotes\"", "cache"],
            ["a", "none", "cache"],
        ];
        for (values, amount) in series.iter().zip([1, 2, 30, 4_000_000_000]) {
            ours.series(values).add(amount);
            theirs.with_label_values(values).inc_by(amount);
        }
        let text = text(ours);
        assert_eq!(text, self::text(theirs));
        assert!(text.contains("4000000000"), "{text}");
    }

    #[test]
    fn histograms_read_as_those_of_the_prometheus_crate() {
        let ours = family(&["route"], || Histogram::new(NANOSECONDS));
        let buckets = HistogramOpts::from(options()).buckets(SECONDS.to_vec());
        let theirs = HistogramVec::new(buckets, &["route"]).unwrap();
        let around = |bound: &u64| [bound - 1, *bound, bound + 1];
        for nanoseconds in NANOSECONDS.iter().flat_map(around) {
            let took = Duration::from_nanos(nanoseconds);
            let route = nanoseconds.to_string();
            ours.series(&[&route]).observe(took);
            theirs
                .with_label_values(&[&route])
                .observe(took.as_secs_f64());
        }
        ours.series(&["never"]);
        theirs.with_label_values(&["never"]);
        let text = text(ours);
        assert_eq!(text, self::text(theirs));
        assert!(text.contains(r#"le="0.0000025"} 1"#), "{text}");
    }

    #[test]
    fn a_family_without_series_is_not_shown() {
        assert_eq!(text(family(&["route"], Counter::new)), "");
    }

    #[test]
    fn the_same_values_are_the_same_series() {
        let family = family(&["route", "status"], Counter::new);
        let first = family.series(&["a", "200"]);
        assert!(Arc::ptr_eq(&first, &family.clone().series(&["a", "200"])));
        assert!(!Arc::ptr_eq(&first, &family.series(&["200", "a"])));
    }
}
