//! Every fault that must do no harm over Redis, with real processes and both client crates.

mod callers;
mod connecting;
mod draining;
mod garbage;
mod letters;
mod network;
mod processors;
mod python;
mod rig;
mod server;

/// Each of the tests below with each client crate.
macro_rules! with_both_clients {
    ($($(#[$attribute:meta])* $module:ident::$test:ident,)*) => {
        mod redis {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$module::$test(super::rig::Client::Redis).await;
                }
            )*
        }
        mod fred {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$module::$test(super::rig::Client::Fred).await;
                }
            )*
        }
    };
}

with_both_clients! {
    processors::killed_processors_lose_nothing,
    processors::a_stopped_processor_loses_nothing_and_does_no_harm_when_it_goes_on,
    processors::a_batch_may_run_longer_than_its_lease,
    processors::what_a_handler_does_wrong_is_told_to_its_batch_alone,
    processors::a_handler_that_never_returns_is_given_up_after_its_run_timeout,
    processors::a_handler_that_never_returns_keeps_its_request,
    processors::requests_behind_a_handler_that_never_returns_go_to_others,
    processors::a_request_that_kills_its_processors_is_given_up_and_harms_no_other,
    server::a_durable_server_that_is_killed_loses_nothing,
    server::what_a_server_forgets_is_told_soon_and_new_requests_work,
    server::what_is_flushed_is_told_soon_and_new_requests_work,
    server::a_stopped_server_holds_up_no_timeout,
    server::a_sign_of_life_is_given_while_the_server_lives,
    server::a_full_server_is_an_error_until_it_has_room,
    server::a_full_server_is_emptied_by_the_answers,
    server::a_full_server_takes_the_answers_to_python_callers,
    server::what_stood_where_somebody_writes_something_else_is_lost,
    network::connections_cut_at_random_bytes_do_no_harm,
    network::all_connections_cut_at_once_do_no_harm,
    network::a_slow_network_in_pieces_does_no_harm,
    network::half_closed_connections_do_no_harm,
    network::a_stalled_network_holds_up_no_timeout,
    network::connections_that_fall_silent_are_replaced,
    network::a_notice_that_a_cut_connection_has_swallowed_is_taken,
    network::a_reply_stream_is_kept_however_often_connections_are_cut,
    network::a_failure_that_a_cut_network_holds_back_ends_nothing_that_another_runs,
    callers::a_killed_caller_leaves_nothing,
    callers::dropped_calls_are_not_started_and_the_others_are_answered,
    callers::overload_is_refused,
    callers::nothing_of_a_request_stays_that_a_python_processor_had,
    callers::an_answer_that_reads_as_a_publication_harms_no_other,
    callers::a_runtime_that_ends_takes_no_calls_of_others_with_it,
    connecting::a_forbidden_command_or_key_is_refused,
    connecting::a_key_of_another_type_is_refused,
    connecting::a_permission_taken_away_is_told_soon,
    connecting::a_processor_that_may_no_longer_read_ends_and_says_why,
    connecting::a_processor_whose_key_is_overwritten_ends_and_says_why,
    connecting::a_server_that_is_busy_or_crowded_is_a_connection_error,
    connecting::what_the_manual_permits_is_enough,
    garbage::what_nobody_should_write_fails_alone,
    garbage::a_processor_answers_nowhere_outside_its_names,
    draining::a_drain_under_load_ends_in_time_and_loses_nothing,
    draining::a_processor_that_drains_takes_nothing_from_others,
    draining::a_drain_without_a_server_ends_in_time,
    draining::a_drain_with_a_handler_that_never_returns_ends_in_time,
    draining::what_tells_of_requests_given_back_goes_with_them,
    letters::a_letter_that_is_refused_costs_no_request,
    python::a_mixed_fleet_loses_nothing_when_rust_processors_are_killed,
    python::a_failure_is_told_also_of_what_was_trimmed_meanwhile,
}
