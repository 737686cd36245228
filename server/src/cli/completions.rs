//! `guildhall completions`: scripts for the shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall completions bash > ~/.local/share/bash-completion/completions/guildhall
  guildhall completions zsh  > ~/.zfunc/_guildhall
  guildhall completions fish > ~/.config/fish/completions/guildhall.fish")]
pub struct CompletionsArgs {
    shell: Shell,
}

pub fn run(args: CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "guildhall", &mut script);
    println!("{}", String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
