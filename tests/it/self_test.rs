//! The suite's own test: each fault is found by the case that is there for it, and where there is
//! no fault the same cases find none.

use dynamic_batcher_conformance::{Case, cases, run_case};

use crate::faulty::{Fault, FaultyMemory};

/// For each fault cases that have to find it.
const MEANT_FOR: &[(Fault, &[&str])] = &[
    (
        Fault::SwappedAnswers,
        &[
            "every_caller_gets_its_own_response",
            "a_bad_request_that_fails_its_batch_is_found",
        ],
    ),
    (
        Fault::LostRelease,
        &[
            "what_is_given_back_is_served_by_another_at_once",
            "what_is_released_is_delivered_to_another_at_once",
        ],
    ),
    (
        Fault::DoubledDelivery,
        &["each_request_is_served_once_by_several_processors"],
    ),
    (
        Fault::LateDeadline,
        &[
            "an_unserved_request_ends_at_its_deadline",
            "a_running_request_ends_at_its_deadline",
            "send_many_ends_at_its_deadline",
        ],
    ),
    (
        Fault::SwallowedError,
        &[
            "an_error_for_the_batch_reaches_all_its_callers",
            "an_error_for_an_item_reaches_its_caller_alone",
            "a_bad_request_that_fails_its_batch_is_found",
            "an_error_arrives_with_its_kind_and_text",
        ],
    ),
    (
        Fault::UnseenAbandonment,
        &[
            "a_request_dropped_after_it_was_read_is_not_run",
            "an_abandoned_request_is_known_to_be",
        ],
    ),
    (
        Fault::UnseenStart,
        &[
            "a_started_request_is_told_so",
            "a_running_request_ends_at_its_deadline",
        ],
    ),
    (Fault::GreedyRead, &["recv_gives_no_more_than_asked_for"]),
    (
        Fault::ForgottenEnqueueTime,
        &["a_window_counts_from_the_sending"],
    ),
    (Fault::LossyRead, &["a_dropped_recv_loses_nothing"]),
    (
        Fault::WrongPosition,
        &[
            "a_position_is_the_place_in_the_batch",
            "a_batch_that_ran_in_parts_is_one_batch",
        ],
    ),
    (
        Fault::ConsumerKeepsHandle,
        &[
            "the_last_handle_closes_the_consumers",
            "the_last_batcher_ends_the_processors",
        ],
    ),
];

fn case(name: &str) -> &'static Case {
    let found = cases().find(|case| case.name() == name);
    found.unwrap_or_else(|| panic!("there is no case {name}"))
}

#[test]
fn each_fault_is_found_by_the_cases_meant_for_it() {
    for (fault, names) in MEANT_FOR {
        for name in *names {
            let outcome = run_case(FaultyMemory(*fault), case(name));
            assert!(outcome.is_err(), "{name} does not find {fault:?}");
        }
    }
}

#[test]
fn where_there_is_no_fault_the_same_cases_find_none() {
    for name in MEANT_FOR.iter().flat_map(|(_, names)| *names) {
        let outcome = run_case(FaultyMemory(Fault::None), case(name));
        assert_eq!(outcome, Ok(()), "{name}");
    }
}

/// A processor does not rely on its transport where it can see for itself: with these faults the
/// promise is still kept.
const MADE_GOOD: &[(Fault, &str)] = &[
    (Fault::UnseenAbandonment, "an_expired_request_is_not_run"),
    (Fault::GreedyRead, "no_batch_is_above_its_size"),
];

#[test]
fn what_a_processor_makes_good_is_no_failure() {
    for (fault, name) in MADE_GOOD {
        let outcome = run_case(FaultyMemory(*fault), case(name));
        assert_eq!(outcome, Ok(()), "{name} with {fault:?}");
    }
}

#[test]
fn no_two_cases_have_one_name() {
    let mut names: Vec<_> = cases().map(Case::name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}
