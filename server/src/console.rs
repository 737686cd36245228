//! Standard output: a reader that has seen enough and went away (`guildhall anchor list | head -1`) is no failure.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// Takes the place of the standard library's, which ends the program when nobody reads any more.
macro_rules! println {
    () => { $crate::console::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::console::write(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        // What was asked for was not delivered: a script must not take it for done.
        eprintln!("standard output cannot be written: {error}");
        std::process::exit(2);
    }
}
