//! A terminal that shows lines while the user types.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    sync::mpsc::{self as std_mpsc, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustyline::{Config, DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc;

/// Lines of piped input that are read ahead.
const READ_AHEAD: usize = 64;

/// The prompt before the line that is being typed.
const PROMPT: &str = "> ";

/// A text that leaves the cursor where it is.
const UP_AND_DOWN: &str = "\x1b[A\n";

/// How long the editor may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The output of a terminal, on which lines are shown.
pub struct Screen {
    editor: Option<Editor>,
}

struct Editor {
    printer: Box<dyn ExternalPrinter + Send>,
    /// Disconnected once the editor has restored the terminal.
    ended: std_mpsc::Receiver<()>,
}

/// Lines as they are typed or piped in.
#[derive(Debug)]
pub struct Lines(Source);

#[derive(Debug)]
enum Source {
    Editor(mpsc::UnboundedReceiver<String>),
    Pipe(mpsc::Receiver<String>),
}

/// Opens a line editor on standard input and output, or reads plain lines if one of them is not a terminal. The lines
/// end before the first for which `is_last` is true.
///
/// # Panics
///
/// Outside a tokio runtime.
#[must_use]
pub fn open(is_last: fn(&str) -> bool) -> (Lines, Screen) {
    open_with_prompt(is_last, || PROMPT.to_owned())
}

/// As [`open`], with a prompt that is asked for before each line. Nobody is prompted for plain lines.
///
/// # Panics
///
/// Outside a tokio runtime.
#[must_use]
pub fn open_with_prompt(
    is_last: fn(&str) -> bool,
    prompt: impl Fn() -> String + Send + 'static,
) -> (Lines, Screen) {
    if io::stdin().is_terminal()
        && io::stdout().is_terminal()
        && let Ok(opened) = edit(is_last, prompt)
    {
        return opened;
    }
    let (sender, lines) = mpsc::channel(READ_AHEAD);
    // Nothing can interrupt a thread that reads a pipe; it ends with the process.
    thread::spawn(move || read_pipe(&sender, is_last));
    (Lines(Source::Pipe(lines)), Screen { editor: None })
}

fn edit(
    is_last: fn(&str) -> bool,
    prompt: impl Fn() -> String + Send + 'static,
) -> rustyline::Result<(Lines, Screen)> {
    // While a line is edited, the editor handles the SIGINT that `close` sends. Between two lines this handler does,
    // as the signal would otherwise end the process.
    #[cfg(unix)]
    let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let config = Config::builder().auto_add_history(true).build();
    let mut editor = DefaultEditor::with_config(config)?;
    let printer = Box::new(editor.create_external_printer()?);
    // Unbounded, as people type slowly. With a bound the editor could wait for the chat to take a line while the chat
    // waits for the editor to show one.
    let (sender, lines) = mpsc::unbounded_channel();
    let (ending, ended) = std_mpsc::channel();
    thread::spawn(move || {
        while let Some(line) = ask(&mut editor, &prompt()) {
            if is_last(&line) || sender.send(line).is_err() {
                break;
            }
        }
        // In this order: restore the terminal, report that, and only then end the lines.
        drop(editor);
        drop(ending);
        drop(sender);
    });
    Ok((Lines(Source::Editor(lines)), Screen { editor: Some(Editor { printer, ended }) }))
}

/// Reads one line; `None` after Ctrl-C, Ctrl-D, or when the terminal is gone.
fn ask(editor: &mut DefaultEditor, prompt: &str) -> Option<String> {
    editor.readline(prompt).ok()
}

fn read_pipe(lines: &mpsc::Sender<String>, is_last: fn(&str) -> bool) {
    let mut input = io::stdin().lock();
    let mut bytes = Vec::new();
    while input.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
        if is_last(&line) || lines.blocking_send(line).is_err() {
            return;
        }
        bytes.clear();
    }
}

impl Lines {
    /// The next line; `None` when there are no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it resolves, no line is lost.
    pub async fn next(&mut self) -> Option<String> {
        match &mut self.0 {
            Source::Editor(lines) => lines.recv().await,
            Source::Pipe(lines) => lines.recv().await,
        }
    }
}

impl Screen {
    /// Shows one line, above the one that is being typed.
    ///
    /// # Errors
    ///
    /// When standard output is closed, such as a pipe whose reader has ended.
    pub fn show(&mut self, line: &str) -> io::Result<()> {
        match &mut self.editor {
            Some(editor) => editor.print(&format!("{line}\n")),
            None => writeln!(io::stdout(), "{line}"),
        }
    }

    /// Shows a last line and restores the terminal, also while a line is being typed.
    ///
    /// # Errors
    ///
    /// As with [`show`](Self::show).
    pub fn close(mut self, line: &str) -> io::Result<()> {
        self.restore()?;
        self.show(line)
    }

    /// Ends the editor, also while a line is being typed, and restores the terminal. What is shown then is written as it
    /// is.
    ///
    /// # Errors
    ///
    /// When the editor cannot be interrupted.
    pub fn restore(&mut self) -> io::Result<()> {
        self.editor.take().map_or(Ok(()), |mut editor| editor.end())
    }

    /// Whether lines are edited on a terminal.
    #[must_use]
    pub fn is_editor(&self) -> bool {
        self.editor.is_some()
    }
}

impl Editor {
    fn print(&mut self, text: &str) -> io::Result<()> {
        self.printer.print(text.to_owned()).map_err(io::Error::other)
    }

    /// Waits until the editor has restored the terminal.
    #[cfg(unix)]
    fn end(&mut self) -> io::Result<()> {
        use rustix::process::{Signal, getpid, kill_process};
        // The editor holds one line that it has not shown yet, and takes the next one only after that. So when it has
        // taken the second of these two, everything before them is on the screen.
        for _ in 0..2 {
            // Fails when the editor has ended.
            let _ = self.print(UP_AND_DOWN);
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            kill_process(getpid(), Signal::INT)?;
            // Between two lines the editor does not get the signal, so it is sent again.
            if self.ended.recv_timeout(PATIENCE / 20) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        Ok(())
    }

    /// Nothing can interrupt the editor here; it ends with the process.
    #[cfg(not(unix))]
    fn end(&mut self) -> io::Result<()> {
        (0..2).try_for_each(|_| self.print(UP_AND_DOWN))
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("editor", &self.editor.is_some()).finish_non_exhaustive()
    }
}
