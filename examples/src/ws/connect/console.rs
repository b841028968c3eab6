//! Where messages and news of the connection are shown.

use std::io::{self, IsTerminal};

use websockets_simple_client::Message;

use super::shown::View;
use crate::{
    chat::wire::one_line,
    terminal::Screen,
    ws::{exit::Failure, output},
};

/// Standard output for messages and standard error for news, or a terminal with a line editor for both.
pub(super) struct Console {
    screen: Screen,
    view: View,
    quiet: bool,
}

impl Console {
    pub(super) fn new(screen: Screen, view: View, quiet: bool) -> Self {
        Self { screen, view, quiet }
    }

    /// Whether somebody types.
    pub(super) fn is_editor(&self) -> bool {
        self.screen.is_editor()
    }

    pub(super) fn message(&mut self, message: &Message) -> Result<(), Failure> {
        if !io::stdout().is_terminal() {
            return output::line(&self.view.in_pipe(message));
        }
        let mut lines = self.view.on_terminal(message).into_iter();
        lines.try_for_each(|line| self.screen.show(&line)).map_err(|error| output::closed(&error))
    }

    /// News that may be left out.
    pub(super) fn news(&mut self, text: &str) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { self.warning(text) }
    }

    pub(super) fn warning(&mut self, text: &str) -> Result<(), Failure> {
        let line = format!("ws: {}", one_line(text));
        // Beside the editor it would be written into the line that is being typed.
        if self.is_editor() && io::stderr().is_terminal() {
            return self.screen.show(&line).map_err(|error| output::closed(&error));
        }
        output::status(&line);
        Ok(())
    }

    /// Gives the terminal back.
    pub(super) fn restore(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = self.screen.restore();
    }
}
