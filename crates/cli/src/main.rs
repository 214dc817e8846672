//! The `peel` command. Each subcommand is a file in [`commands`].

mod change;
mod commands;
mod exit;
mod files;
mod graph_file;
mod manual;
mod output;
mod progress;
mod settings;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{EXIT_CODES, Exit, Result, Stop};

/// Pictures come and go in blocks of megabytes from many threads. glibc's allocator hands these back to the system
/// and fetches them again page by page, which took two thirds of the time of a 4K composite. Not in huge pages: these cost
/// more to clear than they save, and what a thread keeps of one for its next picture keeps all 2 MiB.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  peel render graphs/quickstart.ron                    render every frame of a graph
  peel render shot.ron --frames 1001-1010 --skip-existing
  peel check shot.ron                                  all mistakes at once, with line and column
  peel watch shot.ron                                  render again whenever something changes
  peel explain shot.ron --change grade.exposure=0.5    what an edit would make again
  peel decompose plate.png --mask mug=mug.png -o layers.exr
  peel nodes Transform                                 the manual of a node
  peel model info layerdecomp-5b                       what a model costs
  peel bench model                                     how fast a model is, beside what the machine could do
  peel weights verify layerdecomp-s                    whether a model's weights are whole
";

/// Peels pictures into layers: a node-graph compositor whose graphs are text files.
///
/// A graph reads plates, cuts mattes, takes objects with their shadows and reflections off their background
/// (the Decompose node), edits the layers, lays them back together and writes layered EXR sequences.
#[derive(Parser)]
#[command(name = "peel", version, after_help = format!("{EXAMPLES}\n{EXIT_CODES}"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Render(commands::render::Args),
    Check(commands::check::Args),
    Watch(commands::watch::Args),
    Explain(commands::explain::Args),
    Cache(commands::cache::Args),
    Decompose(commands::decompose::Args),
    Nodes(commands::nodes::Args),
    Info(commands::info::Args),
    Train(commands::train::Args),
    Dataset(commands::dataset::Args),
    Eval(commands::eval::Args),
    Model(commands::model::Args),
    Bench(commands::bench::Args),
    Weights(commands::weights::Args),
}

fn main() -> ExitCode {
    hide_caught_panics();
    let result = match Cli::parse().command {
        Command::Render(args) => commands::render::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Watch(args) => commands::watch::run(args),
        Command::Explain(args) => commands::explain::run(args),
        Command::Cache(args) => commands::cache::run(args),
        Command::Decompose(args) => commands::decompose::run(args),
        Command::Nodes(args) => commands::nodes::run(args),
        Command::Info(args) => commands::info::run(args),
        Command::Train(args) => commands::train::run(args),
        Command::Dataset(args) => commands::dataset::run(args),
        Command::Eval(args) => commands::eval::run(args),
        Command::Model(args) => commands::model::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Weights(args) => commands::weights::run(args),
    };
    finish(result).into()
}

fn finish(result: Result) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(Stop::NobodyListens) => Exit::Done,
        Err(Stop::Error(exit, text)) => {
            output::message(format_args!("error: {text}"));
            exit
        }
    }
}

/// The engine turns a panic in a node into that node's error; the usual report with a backtrace would only
/// stand in the way, unless `RUST_BACKTRACE` asks for it. A panic outside the engine still has its report.
fn hide_caught_panics() {
    if std::env::var_os("RUST_BACKTRACE").is_some() {
        return;
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some("main") {
            usual(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
