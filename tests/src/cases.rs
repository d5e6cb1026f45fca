//! The cases, by what they are about.

pub mod argument;
pub mod certificates;
pub mod cli;
pub mod client;
pub mod console;
pub mod credential;
pub mod egress;
pub mod exec;
pub mod exports;
pub mod exports_http;
pub mod exports_kafka;
pub mod exports_kafka_login;
pub mod exports_nats;
pub mod exports_syslog;
pub mod exports_tls;
pub mod facts;
pub mod fault;
pub mod filters;
pub mod guard;
pub mod keep;
pub mod keep_egress;
pub mod keep_files;
pub mod loss;
pub mod metrics;
pub mod oci_hook;
pub mod place;
pub mod policy;
pub mod policy_asking;
mod policy_bench;
pub mod policy_calls;
pub mod policy_enforce;
pub mod policy_explained;
pub mod policy_fault;
pub mod policy_file_systems;
pub mod policy_foreign;
pub mod policy_hashes;
pub mod policy_many;
pub mod policy_post;
pub mod policy_programs;
pub mod policy_rails;
pub mod policy_same_file;
pub mod policy_scenarios;
pub mod policy_signals;
pub mod policy_values;
pub mod process;
pub mod reload;
pub mod rotation;
pub mod service;
pub mod start;
pub mod terminal;
pub mod thread;
pub mod watchdog;
pub mod workload_hooks;
pub mod workloads;

use crate::case::Case;

/// All of them.
pub const TABLES: &[&[Case]] = &[
    process::CASES,
    thread::CASES,
    exec::CASES,
    place::CASES,
    argument::CASES,
    credential::CASES,
    client::CASES,
    filters::CASES,
    cli::CASES,
    terminal::CASES,
    start::CASES,
    loss::CASES,
    fault::CASES,
    console::CASES,
    exports::CASES,
    exports_http::CASES,
    exports_kafka::CASES,
    exports_kafka_login::CASES,
    exports_nats::CASES,
    exports_syslog::CASES,
    exports_tls::CASES,
    rotation::CASES,
    metrics::CASES,
    service::CASES,
    reload::CASES,
    watchdog::CASES,
    certificates::CASES,
    policy::CASES,
    policy_asking::CASES,
    policy_enforce::CASES,
    policy_explained::CASES,
    policy_fault::CASES,
    policy_same_file::CASES,
    policy_file_systems::CASES,
    policy_scenarios::CASES,
    policy_calls::CASES,
    policy_values::CASES,
    policy_hashes::CASES,
    policy_programs::CASES,
    policy_signals::CASES,
    egress::CASES,
    policy_foreign::CASES,
    keep::CASES,
    keep_egress::CASES,
    keep_files::CASES,
    guard::CASES,
    policy_rails::CASES,
    workloads::CASES,
    workload_hooks::CASES,
    oci_hook::CASES,
];
