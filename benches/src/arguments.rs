//! What the programs are asked for: `[--quick] [--json] [--threads N] [--only TEXT] [--subject TEXT]`.

use std::error::Error;
use std::num::NonZeroUsize;

/// The arguments of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Only to see that everything runs.
    pub quick: bool,
    /// For programs: a JSON object on each line, and nothing else.
    pub json: bool,
    /// The workers of each tokio runtime.
    pub threads: NonZeroUsize,
    /// What is in the names of the workloads that are measured.
    only: String,
    /// What is in the names of the subjects that are.
    subject: String,
}

impl Arguments {
    /// Reads them; without `--threads` a runtime has `threads` workers.
    ///
    /// # Errors
    ///
    /// When there is another argument, or `--threads` without a number.
    pub fn read(
        arguments: impl IntoIterator<Item = String>,
        threads: NonZeroUsize,
    ) -> Result<Self, Box<dyn Error>> {
        let mut read = Self {
            quick: false,
            json: false,
            threads,
            only: String::new(),
            subject: String::new(),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => read.quick = true,
                "--json" => read.json = true,
                "--threads" => {
                    let number = arguments.next().unwrap_or_default();
                    let number = number.parse();
                    read.threads = number.map_err(|error| format!("--threads: {error}"))?;
                }
                "--only" => {
                    read.only = arguments.next().ok_or("--only: no text")?;
                }
                "--subject" => {
                    read.subject = arguments.next().ok_or("--subject: no text")?;
                }
                _ => {
                    let allowed = "--quick, --json, --threads N, --only TEXT and --subject TEXT";
                    return Err(format!("{argument}: allowed are {allowed}").into());
                }
            }
        }
        Ok(read)
    }

    /// Says what is for people: with the results, or beside them where those are for programs.
    #[allow(
        clippy::print_stdout,
        clippy::print_stderr,
        reason = "what a benchmark says is its result"
    )]
    pub fn tell(&self, line: &str) {
        match self.json {
            true => eprintln!("{line}"),
            false => println!("{line}"),
        }
    }

    /// Whether the workload of this name is measured.
    #[must_use]
    pub fn choose(&self, workload: &str) -> bool {
        workload.contains(&self.only)
    }

    /// Whether the subject of this name is.
    #[must_use]
    pub fn choose_subject(&self, subject: &str) -> bool {
        subject.contains(&self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments, String> {
        let arguments = text.split_whitespace().map(str::to_owned);
        Arguments::read(arguments, NonZeroUsize::MIN).map_err(|error| error.to_string())
    }

    #[test]
    fn each_argument_says_one_thing() {
        let plain = read("").unwrap();
        assert!(!plain.quick && !plain.json);
        assert_eq!(plain.threads.get(), 1);
        let all = read("--json --threads 8 --quick").unwrap();
        assert!(all.quick && all.json);
        assert_eq!(all.threads.get(), 8);
        assert!(all.choose("small/64"));
        let some = read("--only /64").unwrap();
        assert!(some.choose("small/64") && !some.choose("small/1"));
        assert!(some.choose_subject("amate"));
        let some = read("--subject ours").unwrap();
        assert!(some.choose("small/64"));
        assert!(some.choose_subject("ours-static") && !some.choose_subject("amate"));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(read("--fast").unwrap_err().starts_with("--fast: "));
        assert!(read("--only").unwrap_err().starts_with("--only: "));
        assert!(read("--subject").unwrap_err().starts_with("--subject: "));
        assert!(read("--threads").unwrap_err().starts_with("--threads: "));
        assert!(read("--threads 0").unwrap_err().starts_with("--threads: "));
    }
}
