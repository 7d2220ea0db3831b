//! The terminal of a run: taken when there is something to show, and given back however it ends.
//!
//! Standard input is left alone: Ctrl-C is the signal it always is. What was written before is there again afterwards,
//! because the picture is on the terminal's other screen.

use super::{View, draw};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use std::io::{self, Stderr};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the other screen is on, so that whoever leaves in a hurry knows.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal behind standard error, while it shows a run.
#[derive(Debug)]
pub struct Screen(Terminal<CrosstermBackend<Stderr>>);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it is none, or cannot be written to.
    pub fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        let terminal = Terminal::new(CrosstermBackend::new(io::stderr()))?;
        TAKEN.store(true, Ordering::SeqCst);
        let screen = Self(terminal);
        // not the clearing of `Terminal`, which asks the terminal where its cursor is, and waits for an answer
        execute!(io::stderr(), EnterAlternateScreen, Hide, Clear(ClearType::All))?;
        Ok(screen)
    }

    /// Shows the view as it is now.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn show(&mut self, view: &View) -> io::Result<()> {
        self.0.draw(|frame| draw(view, frame.area(), frame.buffer_mut())).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, if it was taken. Twice does no harm.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
    }
}
