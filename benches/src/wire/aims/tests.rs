//! What counts as met.

use super::*;
use crate::wire::workload::Workload;

fn round(requests_per_s: f64, server_cpu: f64) -> Round {
    Round {
        processors: 1.0,
        requests_per_s,
        p50: 0.0,
        p99: 0.0,
        p999: 0.0,
        callers_cpu: Some(1.0),
        processors_cpu: Some(1.0),
        server_cpu: Some(server_cpu),
        commands: 0.0,
        peak_memory: 0.0,
    }
}

fn results(name: &str) -> Results {
    let workload = Workload::ALL.into_iter().find(|each| each.name == name);
    Results::new(workload.expect("a workload of this name"))
}

/// Our rates and the floor's, round by round.
fn rate_verdict(ours: &[f64], floor: &[f64]) -> String {
    let mut results = results("outstanding/1024");
    for (subject, rates) in [(OursRedis, ours), (FloorReplyStream, floor)] {
        for rate in rates {
            results.add(subject, round(*rate, 1.0));
        }
    }
    RATE.verdict(&[results])
}

#[test]
fn what_counts_is_the_ratio_in_the_same_round() {
    let text =
        "requests/s, ours-redis / floor-reply-stream ≥ 0.8 (stretch ≥ 0.9): outstanding/1024";
    // The medians alone would say 2.
    let slowed = rate_verdict(&[80.0, 40.0, 8.0], &[100.0, 20.0, 10.0]);
    assert_eq!(slowed, format!("{:<12} {text} 0.80", "met"));
    let slower = rate_verdict(&[70.0, 7.0, 40.0], &[100.0, 10.0, 20.0]);
    assert_eq!(slower, format!("{:<12} {text} 0.70", "NOT MET"));
    let fast = rate_verdict(&[90.0, 9.0, 40.0], &[100.0, 10.0, 20.0]);
    assert_eq!(fast, format!("{:<12} {text} 0.90", "met, stretch"));
}

#[test]
fn growth_is_over_the_same_round_of_the_smaller_workload() {
    let text = "processor time of all, ours-redis / its own with outstanding/64 ≤ 1.1";
    let verdict = |many: f64| {
        let [mut small, mut large] = ["outstanding/64", "outstanding/8192"].map(results);
        for slow in [1.0, 2.0, 4.0] {
            small.add(OursRedis, round(1.0, 8.0 * slow - 2.0));
            large.add(OursRedis, round(1.0, many * slow - 2.0));
        }
        GROWTH.verdict(&[large, small])
    };
    let flat = format!("{:<12} {text}: outstanding/8192 1.00", "met");
    assert_eq!(verdict(8.0), flat);
    let grown = format!("{:<12} {text}: outstanding/8192 1.25", "NOT MET");
    assert_eq!(verdict(10.0), grown);
}

#[test]
fn an_aim_without_its_subjects_is_not_met() {
    for verdict in verdicts(&[], &[]) {
        assert!(verdict.starts_with("not measured "), "{verdict}");
    }
}

#[test]
fn every_aim_names_workloads_that_there_are() {
    let all = Workload::ALL.into_iter().chain(Workload::TENTHS);
    let names: Vec<_> = all.map(|workload| workload.name).collect();
    for aim in AIMS {
        let over = match aim.over {
            Over::Workload(name) => Some(name),
            _ => None,
        };
        for name in aim.workloads.iter().chain(&over) {
            assert!(names.contains(name), "{name}");
        }
    }
}
