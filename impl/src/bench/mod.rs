//! `zabra bench`: a load generator for any ZooKeeper server, of ours or not.
//!
//! A closed loop on one thread: every connection keeps `depth` requests in flight, appends all that a read has made room for to
//! one write, and takes every reply that a read brings. Measured are throughput, latency from the moment a request is handed
//! to the socket until its reply has been read, and CPU time: the generator's own and, from `/proc`, the servers'.
//! CPU time per operation is the number that holds on a shared or small machine.

mod args;
mod connection;
mod cpu;
mod error;
mod histogram;
mod load;
mod prepare;
mod report;
mod tally;
mod template;
#[cfg(test)]
mod tests;

pub use args::{BenchArgs, Operation, TlsArgs};
pub use error::BenchError;
pub use histogram::Histogram;
pub use load::Sessions;
pub use report::{Latency, Report};

/// Runs a load and returns what was measured. Needs a tokio runtime; one with a single thread is enough and disturbs least.
///
/// Errors: see [`BenchError`]. Connections that break during the run are reported, unless all do.
pub async fn measure(args: &BenchArgs) -> Result<Report, BenchError> {
    load::measure(args).await
}

/// The whole command: measures and prints the report. Call it outside of any runtime.
pub fn run(args: &BenchArgs) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(args))?;
    if args.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(())
}
