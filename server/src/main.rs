//! The `guildhall` binary.

use std::process::ExitCode;

/// A batch is many small things made on one thread and dropped on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    guildhall::cli::main()
}
